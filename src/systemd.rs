//! Tells systemd, or whoever else is at `NOTIFY_SOCKET`, how hitless is: ready, reloading, stopping, and in a line what
//! each app does.
//!
//! Reads what is published and decides nothing. That nobody can be told never stops anything.

mod socket;
mod words;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

pub use self::socket::Manager;
use crate::control_plane::apps::{Apps, Reloads};
use crate::control_plane::driver::Handle;
use crate::control_plane::status::FirstStart;

/// By how much a start or a reload is to be given more time, and how often that is said while it goes on.
const MORE_TIME: Duration = Duration::from_secs(30);
const MORE_TIME_EVERY: Duration = Duration::from_secs(10);

/// What stopping may take beside what is configured.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Tells for as long as it exists.
#[derive(Debug)]
pub struct Service {
    manager: Arc<Manager>,
    telling: JoinSet<()>,
    _watchdog: JoinSet<()>,
}

/// What has been told so far.
struct Teller {
    manager: Arc<Manager>,
    apps: Apps,
    /// Whether hitless exits when a first start fails: then it was never ready.
    exits_on_failed_start: bool,
    is_ready: bool,
    is_reloading: bool,
    /// How many reloads were told of.
    reloads: u64,
    status: String,
}

// === impl Service ===

impl Service {
    /// Begins to tell, on the runtime it is called in. The sockets listen by now.
    pub fn start(manager: Manager, apps: &Apps, exits_on_failed_start: bool) -> Self {
        let manager = Arc::new(manager);
        let mut watchdog = JoinSet::new();
        if let Some(within) = manager.watchdog() {
            watchdog.spawn(keep_alive(Arc::clone(&manager), within / 2));
        }
        let teller = Teller {
            manager: Arc::clone(&manager),
            apps: apps.clone(),
            exits_on_failed_start,
            is_ready: false,
            is_reloading: false,
            reloads: 0,
            status: String::new(),
        };
        let mut telling = JoinSet::new();
        telling.spawn(teller.run());
        Self {
            manager,
            telling,
            _watchdog: watchdog,
        }
    }

    /// hitless begins to stop, which takes at most so long. Nothing else is told from now on.
    pub fn stopping(&mut self, within: Duration) {
        self.telling.abort_all();
        let manager = Arc::clone(&self.manager);
        // Not waited for: a manager that does not listen holds up nothing.
        self.telling.spawn(async move {
            let more = more_time(within + STOP_MARGIN);
            let status = "STATUS=stopping: requests under way may finish";
            tell(&manager, &["STOPPING=1", &more, status]).await;
        });
    }
}

async fn keep_alive(manager: Arc<Manager>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(&manager, &["WATCHDOG=1"]).await;
    }
}

fn more_time(time: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())
}

async fn tell(manager: &Manager, lines: &[&str]) {
    if let Err(error) = manager.say(&lines.join("\n")).await {
        warn!(%error, said = lines.join(" "), "systemd cannot be told");
    }
}

// === impl Teller ===

impl Teller {
    async fn run(mut self) {
        let bell = Arc::new(Notify::new());
        // Dropped with this task.
        let mut listeners = JoinSet::new();
        let mut heard: Vec<Handle> = Vec::new();
        let mut whole = self.apps.changes();
        let mut reloads = self.apps.reloads();
        let mut ticks = interval(MORE_TIME_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            for handle in whole.borrow_and_update().handles.iter() {
                if !heard.iter().any(|known| known.is(handle)) {
                    heard.push(handle.clone());
                    listeners.spawn(ring(handle.clone(), Arc::clone(&bell)));
                }
            }
            heard.retain(Handle::is_driven);
            while listeners.try_join_next().is_some() {}
            let seen = *reloads.borrow_and_update();
            self.tell_news(seen).await;
            tokio::select! {
                () = bell.notified() => {}
                Ok(()) = reloads.changed() => {}
                Ok(()) = whole.changed() => {}
                _ = ticks.tick(), if !self.is_ready || self.is_reloading => {
                    tell(&self.manager, &[&more_time(MORE_TIME)]).await;
                }
            }
        }
    }

    /// Says what is new, if anything is.
    async fn tell_news(&mut self, reloads: Reloads) {
        let apps = self.apps.status().apps;
        let status = words::status(&apps);
        let has_news = status != self.status;
        let line = format!("STATUS={status}");
        self.status = status;
        if !self.is_ready {
            self.reloads = reloads.begun;
            self.is_ready = apps.iter().all(|app| match app.first_start {
                FirstStart::UnderWay => false,
                FirstStart::Live => true,
                FirstStart::Failed => !self.exits_on_failed_start,
            });
            match self.is_ready {
                true => tell(&self.manager, &["READY=1", &line]).await,
                false if has_news => tell(&self.manager, &[&line]).await,
                false => {}
            }
            return;
        }
        let begins = reloads.begun > self.reloads;
        if begins {
            self.reloads = reloads.begun;
            self.is_reloading = true;
            let now = format!("MONOTONIC_USEC={}", socket::monotonic_usec());
            tell(&self.manager, &["RELOADING=1", &now, &line]).await;
        }
        // One that was refused has ended as soon as it is seen.
        if self.is_reloading && reloads.begun == reloads.ended {
            self.is_reloading = false;
            tell(&self.manager, &["READY=1", &line]).await;
        } else if has_news && !begins {
            tell(&self.manager, &[&line]).await;
        }
    }
}

/// Rings whenever the app has news.
async fn ring(handle: Handle, bell: Arc<Notify>) {
    let mut changes = handle.changes();
    while changes.changed().await.is_ok() {
        bell.notify_one();
    }
}
