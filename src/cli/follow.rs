//! What the commands share that ask for something and wait for its verdict: following the way, and telling it.
//!
//! On a terminal the way goes on behind the verdict until what served before has finished its requests, for whoever wants
//! to watch; a program gets the verdict, and the command ends with it.

mod drain;
mod words;

use std::future;
use std::process::ExitCode;
use std::time::Duration;

use self::drain::Drains;
use self::words::{is_matter_of_course, sentence};
use super::screen::{self, Screen};
use super::{client, complain, exit, print};
use crate::control_plane::api::client::{Client, Error, Lines};
use crate::control_plane::progress::{Progress, SettledWord};
use crate::control_plane::status::VerdictWord;
use crate::units::show_duration;

/// The status of a program that Ctrl-C ended, by convention of shells.
const INTERRUPTED: u8 = 130;

/// How to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// How long; none: until the end.
    pub(super) timeout: Option<Duration>,
    /// Not for the verdict, only until what was asked for has arrived.
    pub(super) only_accepted: bool,
    /// For the end of probation, too.
    pub(super) through_probation: bool,
    /// Tell it as JSON.
    pub(super) json: bool,
}

/// What was seen of each app.
#[derive(Debug, Default)]
struct Seen {
    verdicts: usize,
    live: usize,
    settled: usize,
    well: usize,
    /// There is nothing to wait for.
    nothing: bool,
    /// All has been said that was waited for.
    ended: bool,
    /// Those that finish what they have.
    drains: Drains,
}

/// How the waiting ended.
enum End {
    Followed(Result<(), Error>),
    Late(Duration),
    Interrupted,
}

/// Follows to the end, and says by the exit status how it was. To stop following stops nothing else.
pub(super) async fn follow(client: &Client, mut lines: Lines, waiting: Waiting) -> ExitCode {
    let mut screen = Screen::new();
    let watched = screen.is_live() && !waiting.json && !waiting.only_accepted;
    let mut seen = Seen::default();
    let end = tokio::select! {
        followed = to_end(client, &mut lines, waiting, &mut seen, &mut screen, watched) => End::Followed(followed),
        timeout = late(waiting.timeout) => End::Late(timeout),
        () = interrupted(watched) => End::Interrupted,
    };
    drop(screen);
    match end {
        End::Followed(Err(error)) => client::failed(&error),
        End::Followed(Ok(())) => ExitCode::from(seen.status(waiting)),
        End::Late(_) | End::Interrupted if seen.ended => {
            super::say("what is still draining goes on: hitless status");
            ExitCode::from(seen.status(waiting))
        }
        End::Late(timeout) => too_late(timeout, waiting),
        End::Interrupted => {
            complain("no longer waited for; it goes on, and hitless status shows how it ends");
            ExitCode::from(INTERRUPTED)
        }
    }
}

async fn late(timeout: Option<Duration>) -> Duration {
    match timeout {
        Some(timeout) => {
            tokio::time::sleep(timeout).await;
            timeout
        }
        None => future::pending().await,
    }
}

/// Whoever watches at a terminal has seen enough. Elsewhere the signal does what it always does.
async fn interrupted(watched: bool) {
    if !watched || tokio::signal::ctrl_c().await.is_err() {
        future::pending().await
    }
}

async fn to_end(
    client: &Client,
    lines: &mut Lines,
    waiting: Waiting,
    seen: &mut Seen,
    screen: &mut Screen,
    watched: bool,
) -> Result<(), Error> {
    let mut ticks = tokio::time::interval(screen::EVERY);
    loop {
        let next = tokio::select! {
            next = lines.next() => next?,
            _ = ticks.tick() => {
                screen.tick();
                continue;
            }
        };
        let Some(update) = next else { break };
        show(&update, waiting.json, screen);
        if watched && waiting.through_probation {
            show_probation(&update, screen);
        }
        seen.see(&update);
        let is_asked = seen.nothing || !matches!(update, Progress::Configured { .. });
        if waiting.only_accepted && is_asked {
            return Ok(());
        }
    }
    if seen.verdicts == 0 && !seen.nothing {
        screen.say(
            "hitless: hitless ended before the verdict; what serves now shows: hitless status",
        );
    } else if waiting.through_probation && seen.settled < seen.live {
        screen.say("hitless: hitless ended before its probation did; what serves now shows: hitless status");
    } else {
        seen.ended = true;
    }
    if watched && seen.ended {
        seen.drains.follow(client, screen).await;
    }
    Ok(())
}

// === impl Seen ===

impl Seen {
    fn see(&mut self, update: &Progress) {
        match update {
            Progress::Configured { apps, .. } => self.nothing = apps.is_empty(),
            Progress::Draining {
                app, generation, ..
            } => self.drains.add(app.clone(), *generation),
            Progress::Verdict { status, .. } => {
                self.verdicts += 1;
                self.live += usize::from(status.verdict == VerdictWord::Live);
            }
            Progress::Settled { settled, .. } => {
                self.settled += 1;
                let well = matches!(settled, SettledWord::Proven | SettledWord::Replaced);
                self.well += usize::from(well);
            }
            _ => {}
        }
    }

    fn status(&self, waiting: Waiting) -> u8 {
        let live = (self.nothing || self.verdicts > 0) && self.live == self.verdicts;
        let well = !waiting.through_probation || self.well == self.live;
        match waiting.only_accepted || (live && well) {
            true => exit::DONE,
            false => exit::FAILED,
        }
    }
}

fn too_late(timeout: Duration, waiting: Waiting) -> ExitCode {
    let waited = show_duration(timeout);
    let end = match waiting.through_probation {
        true => "no end of probation",
        false => "no verdict",
    };
    complain(&format!(
        "{end} after {waited}; it goes on, and hitless status shows how it ends"
    ));
    ExitCode::from(exit::FAILED)
}

/// Behind a verdict nothing is told for as long as a probation goes on, which may be half a minute.
fn show_probation(update: &Progress, screen: &mut Screen) {
    if let Progress::Verdict { app, status, .. } = update
        && let (VerdictWord::Live, Some(generation)) = (status.verdict, status.generation)
    {
        screen.now(&format!("{app}: generation {generation} is on probation"));
    }
}

/// What a program reads goes to stdout, what a person reads to stderr.
fn show(update: &Progress, as_json: bool, screen: &mut Screen) {
    if as_json {
        let line = serde_json::to_string(update).expect("every key of an update is a string");
        return print(&line);
    }
    if is_matter_of_course(update) {
        return;
    }
    match update {
        Progress::Starting { .. }
        | Progress::Probe { .. }
        | Progress::Ready { .. }
        | Progress::Draining { .. } => screen.now(&sentence(update)),
        _ => screen.say(&sentence(update)),
    }
}
