//! What the outside may ask of a driver, and what it may look at.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Input, Settings};
use crate::control_plane::endpoint::Endpoint;
use crate::control_plane::progress::{Updates, Watchers};
use crate::control_plane::status::{AppStatus, TriggerSource};
use crate::generation::AppName;

/// The way to an app's driver, for as many holders as like.
#[derive(Clone, Debug)]
pub struct Handle {
    name: AppName,
    inbox: mpsc::Sender<Input>,
    status: watch::Receiver<Arc<AppStatus>>,
}

/// What a trigger comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who or what asks.
    pub source: TriggerSource,
    /// Which files changed, where those ask.
    pub cause: Option<String>,
}

impl From<TriggerSource> for Origin {
    fn from(source: TriggerSource) -> Self {
        Self {
            source,
            cause: None,
        }
    }
}

/// What one reload is asked with beside who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadOptions {
    /// How the new generation is to differ from what the configuration says.
    pub wish: Wish,
    /// Whether the updates go on to the end of probation: the last one is then [`Progress::Settled`].
    ///
    /// [`Progress::Settled`]: crate::control_plane::progress::Progress::Settled
    pub through_probation: bool,
    /// Whether apps are left alone of which nothing has changed that a fresh generation is needed for.
    pub only_changed: bool,
}

/// How one generation is to differ from what the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// How long it can be sent back. Zero: never.
    pub probation: Option<Duration>,
    /// Its addresses, of an app that has such; they last until the configuration names others than it does now.
    pub addresses: Option<Arc<[Endpoint]>>,
}

/// What somebody or something outside asks.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A fresh generation, with other settings from now on if there are any.
    Reload {
        origin: Origin,
        settings: Option<Box<Settings>>,
        wish: Wish,
        watchers: Watchers,
    },
    /// Other settings from now on, and nothing else.
    Configure { settings: Box<Settings> },
    /// The newest reload is to be undone.
    Rollback { watchers: Watchers },
    /// This is to be known about how the app's files are watched, and nothing else.
    FileNotes { notes: Vec<String> },
    /// Requests are to be held, for so long or until they are asked to go on.
    Pause { lasting: Option<Duration> },
    /// Requests are to go on.
    Resume,
    /// The end, by then. Asked twice: at once.
    ShutDown { deadline: Instant },
    /// During a shutdown: no client that may still send anything is connected.
    ClientsGone,
}

impl Handle {
    pub(super) fn new(
        name: AppName,
        inbox: mpsc::Sender<Input>,
        status: watch::Receiver<Arc<AppStatus>>,
    ) -> Self {
        Self {
            name,
            inbox,
            status,
        }
    }

    /// Whether both lead to the same driver.
    pub fn is(&self, other: &Self) -> bool {
        self.inbox.same_channel(&other.inbox)
    }

    /// Whether its driver has not ended.
    pub fn is_driven(&self) -> bool {
        !self.inbox.is_closed()
    }

    /// The app it is for.
    pub fn name(&self) -> &AppName {
        &self.name
    }

    /// Asks for a fresh generation. The last update is the verdict; not listening does not interrupt the reload.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the reload was not asked for.
    pub async fn reload(
        &self,
        origin: Origin,
        settings: Option<Settings>,
        options: ReloadOptions,
    ) -> Updates {
        let (sender, updates) = mpsc::unbounded_channel();
        let settings = settings.map(Box::new);
        self.ask(Asked::Reload {
            origin,
            settings,
            wish: options.wish,
            watchers: Watchers::one(sender, options.through_probation),
        })
        .await;
        updates
    }

    /// Has these settings in force from now on: for what runs already as far as it still lies ahead, for what is started as
    /// a whole.
    pub async fn configure(&self, settings: Settings) {
        let settings = Box::new(settings);
        self.ask(Asked::Configure { settings }).await;
    }

    /// Asks for the newest reload to be undone. The last update is the verdict; not listening interrupts nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the rollback was not asked for.
    pub async fn rollback(&self) -> Updates {
        let (sender, updates) = mpsc::unbounded_channel();
        let watchers = Watchers::one(sender, false);
        self.ask(Asked::Rollback { watchers }).await;
        updates
    }

    /// Tells what is to be known about how the app's files are watched, and replaces what was told before.
    pub async fn note_files(&self, notes: Vec<String>) {
        self.ask(Asked::FileNotes { notes }).await;
    }

    /// Asks for requests to be held: until [`resume`](Self::resume), or for so long. Asked again, the newest time counts.
    pub async fn pause(&self, lasting: Option<Duration>) {
        self.ask(Asked::Pause { lasting }).await;
    }

    /// Asks for requests to go on.
    pub async fn resume(&self) {
        self.ask(Asked::Resume).await;
    }

    /// Asks for the end, which comes not later than `deadline`; asked twice, it comes at once.
    pub async fn shut_down(&self, deadline: Instant) {
        self.ask(Asked::ShutDown { deadline }).await;
    }

    /// Tells, during a shutdown, that no client that may still send anything is connected.
    pub async fn clients_gone(&self) {
        self.ask(Asked::ClientsGone).await;
    }

    /// The app as it is now.
    pub fn status(&self) -> Arc<AppStatus> {
        Arc::clone(&self.status.borrow())
    }

    /// Tells of each change of the status.
    pub fn changes(&self) -> watch::Receiver<Arc<AppStatus>> {
        self.status.clone()
    }

    async fn ask(&self, asked: Asked) {
        // A driver that is gone has nothing left to do: whoever waits for an answer sees the end of its channel.
        let _ = self.inbox.send(Input::Asked(asked)).await;
    }
}
