//! What whoever asked for a reload is told on the way, ending with the verdict. Its JSON form, one value a line, is the
//! body that the control socket answers with.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::control_plane::status::TriggerStatus;
use crate::generation::{AppName, GenerationId, TriggerId};

/// One step on the way from a trigger to its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Progress {
    /// The trigger has arrived; it waits its turn while older processes are still stopping.
    Accepted {
        /// The app that is reloaded.
        app: AppName,
        /// The number of the trigger.
        trigger: TriggerId,
    },
    /// A generation is being started.
    Starting {
        /// The app that is reloaded.
        app: AppName,
        /// The new generation.
        generation: GenerationId,
    },
    /// A check of readiness had an answer that differs from the one before.
    Probe {
        /// The app that is reloaded.
        app: AppName,
        /// The new generation.
        generation: GenerationId,
        /// What the check saw.
        probe: String,
        /// The last line that the app wrote.
        output: Option<String>,
    },
    /// A newer trigger came first; what follows is about that one.
    Superseded {
        /// The app that is reloaded.
        app: AppName,
        /// The trigger that lost.
        trigger: TriggerId,
        /// The newer one.
        by: TriggerId,
    },
    /// The end: the verdict, and what it rests on.
    Verdict {
        /// The app that was reloaded.
        app: AppName,
        /// How it ended.
        #[serde(flatten)]
        status: TriggerStatus,
        /// Seconds from the trigger to the verdict.
        elapsed: f64,
    },
}

/// The receiving end of one asker. The number of lines is bounded by what a start can say: one line for each change.
pub type Updates = mpsc::UnboundedReceiver<Progress>;

/// The sending ends of all who wait for one trigger. Whoever stops listening is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Vec<mpsc::UnboundedSender<Progress>>);

impl Watchers {
    pub(crate) fn one(sender: mpsc::UnboundedSender<Progress>) -> Self {
        Self(vec![sender])
    }

    pub(crate) fn tell(&mut self, progress: &Progress) {
        self.0
            .retain(|watcher| watcher.send(progress.clone()).is_ok());
    }

    pub(crate) fn join(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}
