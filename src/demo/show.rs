//! The show: six acts in front of clients that are at work all the time, and what they saw of it.
//!
//! It asks hitless over the control socket and its clients come in where clients do: it has no other way into hitless
//! than a person has. It starts nothing but clients, and ends nothing.

mod acts;
mod clients;
mod ledger;
mod screen;
mod socket;
mod stage;
mod telling;

pub use self::stage::Stage;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout};

use self::acts::{ACTS, Act, Mishap, Scene, Stagehand};
use self::clients::Clients;
use self::ledger::{Account, Ledger};
use self::screen::Screen;
use self::telling::{Paint, View};
use crate::control_plane::api::client::Client;
use crate::control_plane::apps::Status;

/// How long clients are watched before anything is changed.
const QUIET: Duration = Duration::from_secs(3);

/// How long hitless may take to serve the first version.
const LIVE_WITHIN: Duration = Duration::from_secs(15);

/// How often it is asked meanwhile: a socket that comes is no event.
const ASKED_EVERY: Duration = Duration::from_millis(20);

/// How often a terminal is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(100);

/// How many rows are drawn at most.
const ROWS_MAX: usize = 23;

/// How the show ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every promise was kept.
    Kept,
    /// A request failed that should not have, or hitless did not do what it should.
    Broken,
    /// It was told to stop.
    Interrupted,
}

/// Why there was no show, or none to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refuses a thread, a handler or what a runtime needs.
    #[error("the system refuses what the show needs: {0}")]
    System(#[from] io::Error),
    /// The first version is not served.
    #[error("the app does not serve after {}: {why}", telling::took(LIVE_WITHIN))]
    NotLive {
        /// What hitless says.
        why: String,
    },
    /// hitless has ended.
    #[error("hitless ended before the show did")]
    Gone,
    /// An act could not be performed.
    #[error("act {0} cannot be performed: {1}")]
    Act(usize, String),
}

/// Where hitless can be reached once it serves.
#[derive(Debug)]
struct Front {
    address: SocketAddr,
    admin: Option<String>,
}

/// The show under way.
#[derive(Debug)]
struct Show<'a> {
    front: Front,
    stage: &'a Stage,
    client: Client,
    ledger: Arc<Ledger>,
    screen: RefCell<Screen>,
    began: Instant,
    scenes: RefCell<Vec<Scene>>,
    /// That of the act whose aftermath is being watched.
    open: RefCell<Option<Scene>>,
    act: Cell<Option<&'static Act>>,
    now: RefCell<String>,
}

/// Plays on this stage until the end, or until `gone` says that hitless has ended. With `stays`, what to try next is
/// shown as well. Blocks the thread.
///
/// # Errors
///
/// See [`Error`]; the terminal is left in order.
pub fn play(stage: &Stage, stays: bool, gone: oneshot::Receiver<()>) -> Result<Ending, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let [mut interrupt, mut terminate] = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ];
        tokio::select! {
            ending = play_to_end(stage, stays) => ending,
            _ = interrupt.recv() => Ok(interrupted()),
            _ = terminate.recv() => Ok(interrupted()),
            // Dropped without a word: that is the news.
            _ = gone => Err(Error::Gone),
        }
    })
}

fn interrupted() -> Ending {
    Screen::new(0, 0).add(&["Interrupted: the acts that are left were not shown.".to_owned()]);
    Ending::Interrupted
}

async fn play_to_end(stage: &Stage, stays: bool) -> Result<Ending, Error> {
    let client = Client::new(&stage.control());
    let front = until_live(&client).await?;
    let ledger = Arc::new(Ledger::new());
    let clients = Clients::start(front.address, Arc::clone(&ledger))?;
    let show = Show {
        front,
        stage,
        client,
        ledger,
        screen: RefCell::new(Screen::new(telling::WIDTH + 1, ROWS_MAX)),
        began: Instant::now(),
        scenes: RefCell::default(),
        open: RefCell::default(),
        act: Cell::new(None),
        now: RefCell::new("generation 1 is live".to_owned()),
    };
    tokio::select! {
        played = show.play(clients) => played?,
        () = show.draw_always() => {}
    }
    Ok(show.close(stays))
}

/// Waits until the first version serves.
async fn until_live(client: &Client) -> Result<Front, Error> {
    let mut last = String::new();
    let live = timeout(LIVE_WITHIN, async {
        let mut ticks = tokio::time::interval(ASKED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match client.status().await {
                Ok(status) => match front(&status) {
                    Ok(front) => return front,
                    Err(why) => last = why,
                },
                Err(error) => last = error.to_string(),
            }
        }
    });
    live.await.map_err(|_| Error::NotLive { why: last })
}

/// Where clients come in, or why they cannot yet.
fn front(status: &Status) -> Result<Front, String> {
    let app = status.apps.first().ok_or("there is no app")?;
    if app.live.is_none() {
        let trigger = app.last_trigger.as_ref();
        let reason = trigger.and_then(|trigger| trigger.reason.clone());
        return Err(reason.unwrap_or_else(|| "it is starting".to_owned()));
    }
    let listen = status.about.listen.first().ok_or("it listens nowhere")?;
    let address = listen
        .parse()
        .map_err(|error| format!("{listen}: {error}"))?;
    Ok(Front {
        address,
        admin: status.about.admin.clone(),
    })
}

// === impl Show ===

impl Show<'_> {
    async fn play(&self, clients: Clients) -> Result<(), Error> {
        self.play_acts().await?;
        // What they have under way is part of the last act.
        clients.stop().await;
        self.end();
        Ok(())
    }

    /// Up to the end of the last one, which is left open.
    async fn play_acts(&self) -> Result<(), Error> {
        self.begin_quiet();
        sleep(QUIET).await;
        if !self.is_drawn() {
            let quiet = self.ledger.account().acts.swap_remove(0);
            self.add(&telling::quiet(&quiet));
        }
        let (stage, client, ledger) = (self.stage, &self.client, &*self.ledger);
        let hand = Stagehand {
            stage,
            client,
            ledger,
            now: &self.now,
        };
        for (index, act) in ACTS.iter().enumerate() {
            self.end();
            self.begin(index + 1, act);
            let scene = hand.perform(act).await;
            let scene =
                scene.map_err(|mishap: Mishap| Error::Act(index + 1, mishap.to_string()))?;
            self.open.replace(Some(scene));
            // Long enough that what a change does to clients shows in its act.
            sleep(act.aftermath).await;
        }
        Ok(())
    }

    fn begin_quiet(&self) {
        if !self.is_drawn() {
            let view = self.view_of(&[], None, "");
            self.add(&[view.title()]);
        }
    }

    fn begin(&self, number: usize, act: &'static Act) {
        self.ledger.enter(act.suspect());
        self.act.set(Some(act));
        if !self.is_drawn() {
            self.add(&telling::begins(number, act));
        }
    }

    /// Ends the act that is open, if one is.
    fn end(&self) {
        let Some(scene) = self.open.take() else {
            return;
        };
        if !self.is_drawn() {
            let account = self.ledger.account();
            if let (Some(tally), Some(quiet)) = (account.acts.last(), account.acts.first()) {
                self.add(&telling::ended(&scene, tally, quiet));
            }
        }
        self.scenes.borrow_mut().push(scene);
    }

    /// The account of everything, and how it ended.
    fn close(&self, stays: bool) -> Ending {
        let account = self.ledger.account();
        let scenes = self.scenes.borrow();
        let mut screen = self.screen.borrow_mut();
        let paint = Paint(screen.has_colour());
        let view = self.view_of(&scenes, None, "");
        let mut table = view.table(&account, paint);
        if screen.is_drawn() {
            table.insert(0, view.title());
            screen.draw(&table);
        } else {
            table.insert(0, String::new());
            screen.add(&table);
        }
        screen.add(&telling::summary(&account, self.ledger.elapsed()));
        screen.add(&[telling::moral(&account, &scenes)]);
        if stays {
            screen.add(&self.what_to_try());
        }
        ending(&account, &scenes)
    }

    fn what_to_try(&self) -> Vec<String> {
        let program = std::env::args_os().next().unwrap_or_default();
        let program = program.to_string_lossy();
        let (control, options) = (self.stage.control(), self.stage.options());
        let (control, options) = (control.display(), options.display());
        let address = self.front.address;
        let mut lines = vec![
            String::new(),
            "It goes on until Ctrl-C:".to_owned(),
            format!("  the app  http://{address}/"),
        ];
        if let Some(admin) = &self.front.admin {
            lines.push(format!("  metrics  http://{admin}/metrics"));
        }
        lines.extend([
            format!("  control  {control}"),
            format!("  options  {options}"),
            String::new(),
            "Try in another terminal:".to_owned(),
            format!("  export HITLESS_CONTROL={control}"),
            format!("  curl -i http://{address}/"),
            format!("  echo --version=8 > {options}"),
            format!("  {program} reload"),
            format!("  {program} rollback"),
            format!("  {program} status"),
        ]);
        lines
    }

    async fn draw_always(&self) {
        let mut ticks = tokio::time::interval(DRAWN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.is_drawn() {
                return std::future::pending().await;
            }
            let account = self.ledger.account();
            let (scenes, open) = (self.scenes.borrow(), self.open.borrow());
            let now = self.now.borrow();
            let view = self.view_of(&scenes, open.as_ref(), &now);
            let mut screen = self.screen.borrow_mut();
            let frame = view.frame(&account, Paint(screen.has_colour()));
            screen.draw(&frame);
        }
    }

    fn view_of<'v>(&self, scenes: &'v [Scene], open: Option<&'v Scene>, now: &'v str) -> View<'v> {
        View {
            address: self.front.address,
            scenes,
            open,
            act: self.act.get(),
            now,
            elapsed: self.began.elapsed(),
            lasts: QUIET + ACTS.iter().map(|act| act.lasts).sum::<Duration>(),
        }
    }

    fn is_drawn(&self) -> bool {
        self.screen.borrow().is_drawn()
    }

    fn add(&self, lines: &[String]) {
        self.screen.borrow_mut().add(lines);
    }
}

fn ending(account: &Account, scenes: &[Scene]) -> Ending {
    let failed = account.acts.iter().any(|tally| tally.failed > 0);
    let wrong = scenes.iter().any(|scene| scene.result.is_err());
    if failed || wrong || account.closed > 0 {
        Ending::Broken
    } else {
        Ending::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::ledger::Tally;
    use super::*;

    fn scene(result: Result<&str, &str>) -> Scene {
        Scene {
            said: Vec::new(),
            result: result.map(str::to_owned).map_err(str::to_owned),
        }
    }

    #[test]
    fn one_broken_promise_is_enough() {
        let well = Account {
            acts: vec![Tally::default(), Tally::default()],
            ..Account::default()
        };
        let good = [scene(Ok("it serves"))];
        assert_eq!(ending(&well, &good), Ending::Kept);
        let mut failed = well.clone();
        failed.acts[1].failed = 1;
        assert_eq!(ending(&failed, &good), Ending::Broken);
        let closed = Account {
            closed: 1,
            ..well.clone()
        };
        assert_eq!(ending(&closed, &good), Ending::Broken);
        let wrong = [scene(Ok("it serves")), scene(Err("nothing serves"))];
        assert_eq!(ending(&well, &wrong), Ending::Broken);
        assert!(telling::moral(&well, &wrong).contains("1 acts ended wrong"));
        assert!(telling::moral(&failed, &good).starts_with("1 failed"));
    }
}
