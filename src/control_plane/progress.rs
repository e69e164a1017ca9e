//! What whoever asked for a reload is told on the way, ending with the verdict. Its JSON form, one value a line, is the
//! body that the control socket answers with.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::control_plane::apps::Changes;
use crate::control_plane::status::{TriggerSource, TriggerStatus};
use crate::generation::{AppName, GenerationId, TriggerId};

/// One step on the way from a trigger to its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Progress {
    /// The configuration was read anew, and what needs no fresh generation is in force.
    Configured {
        /// What is different from now on.
        #[serde(flatten)]
        changes: Changes,
        /// The apps that are reloaded or started; none: there is nothing to wait for.
        apps: Vec<AppName>,
    },
    /// The trigger has arrived; it waits its turn while older processes are still stopping.
    Accepted {
        /// The app that is reloaded.
        app: AppName,
        /// The number of the trigger.
        trigger: TriggerId,
        /// What it came from.
        source: TriggerSource,
    },
    /// A rollback leads there. Nothing has been done yet.
    GoingBack {
        /// The app that goes back.
        app: AppName,
        /// The number of the rollback.
        trigger: TriggerId,
        /// The version, by the number of the generation that first ran it; none: there is nowhere to go.
        to: Option<GenerationId>,
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
    /// Every check has passed, and what else it takes to go live.
    Ready {
        /// The app that is reloaded.
        app: AppName,
        /// The new generation.
        generation: GenerationId,
    },
    /// New requests go there from now on.
    Live {
        /// The app that was reloaded.
        app: AppName,
        /// The generation that serves.
        generation: GenerationId,
    },
    /// What served before finishes what it has. The verdict does not wait for it: how it goes on, the status tells.
    Draining {
        /// The app that was reloaded.
        app: AppName,
        /// The generation that served before.
        generation: GenerationId,
        /// How many ordinary requests it had under way.
        requests: u32,
        /// How many streams it had under way.
        streams: u32,
    },
    /// A newer trigger came first. What follows is about that one, where both lead the same way.
    Superseded {
        /// The app that is reloaded.
        app: AppName,
        /// The trigger that lost.
        trigger: TriggerId,
        /// The newer one.
        by: TriggerId,
        /// What the newer one came from.
        source: TriggerSource,
        /// Whether its verdict is waited for; if not, `superseded` is the last word.
        joined: bool,
        /// Which files changed, where those asked for the newer one.
        #[serde(default)]
        cause: Option<String>,
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
        /// It is new and has not been live yet: no request is routed to it, whatever the configuration says.
        #[serde(default)]
        awaited: bool,
    },
    /// After the verdict `live`, for those who wait for it: how the probation ended.
    Settled {
        /// The app that was reloaded.
        app: AppName,
        /// The trigger.
        trigger: TriggerId,
        /// How it ended.
        settled: SettledWord,
        /// Why it was failed over.
        reason: Option<String>,
        /// Seconds from the trigger to this.
        elapsed: f64,
    },
}

/// How a probation ended, without its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettledWord {
    /// It stays.
    Proven,
    /// It was bad, or a rollback was asked for.
    FailedOver,
    /// A newer generation went live before.
    Replaced,
    /// hitless is stopping.
    Cancelled,
}

impl SettledWord {
    /// The word in JSON and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::FailedOver => "failed_over",
            Self::Replaced => "replaced",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The receiving end of one asker. The number of lines is bounded by what a start can say: one line for each change.
pub type Updates = mpsc::UnboundedReceiver<Progress>;

/// The sending ends of all who wait for one trigger. Whoever stops listening is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Vec<Watcher>);

#[derive(Debug)]
struct Watcher {
    sender: mpsc::UnboundedSender<Progress>,
    /// It waits for the end of the probation, too.
    through_probation: bool,
}

impl Watchers {
    pub(crate) fn one(sender: mpsc::UnboundedSender<Progress>, through_probation: bool) -> Self {
        Self(vec![Watcher {
            sender,
            through_probation,
        }])
    }

    pub(crate) fn tell(&mut self, progress: &Progress) {
        self.0
            .retain(|watcher| watcher.sender.send(progress.clone()).is_ok());
    }

    /// Those that wait for the end of the probation; the others have heard all they wanted.
    pub(crate) fn through_probation(mut self) -> Self {
        self.0.retain(|watcher| watcher.through_probation);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn join(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}
