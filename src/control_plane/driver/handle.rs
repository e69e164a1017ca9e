//! What the outside may ask of a driver, and what it may look at.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Input, Settings};
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

/// What somebody or something outside asks.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A fresh generation, with other settings from now on if there are any.
    Reload {
        source: TriggerSource,
        settings: Option<Box<Settings>>,
        watchers: Watchers,
    },
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

    /// The app it is for.
    pub fn name(&self) -> &AppName {
        &self.name
    }

    /// Asks for a fresh generation. The last update is the verdict; not listening does not interrupt the reload.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the reload was not asked for.
    pub async fn reload(&self, source: TriggerSource, settings: Option<Settings>) -> Updates {
        let (sender, updates) = mpsc::unbounded_channel();
        let settings = settings.map(Box::new);
        self.ask(Asked::Reload {
            source,
            settings,
            watchers: Watchers::one(sender),
        })
        .await;
        updates
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
