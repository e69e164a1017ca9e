//! What the control plane says about an app: a snapshot that the driver publishes after each step.
//!
//! The admin address and the control socket read it; neither ever looks into the core. Its JSON form is that of
//! `hitless status --json`.

mod times;

pub(crate) use self::times::{maybe_seconds, seconds};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::generation::{AppName, GenerationId, ReasonKind, TriggerId};

/// One app at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// Its name.
    pub name: AppName,
    /// What it is doing, in one word.
    pub state: AppState,
    /// Whether the newest trigger failed, so that an older generation than the wanted one serves.
    pub stale: bool,
    /// Why it is stale.
    pub stale_reason: Option<String>,
    /// Whether requests are held because someone asked for it.
    pub paused: bool,
    /// When they go on by themselves.
    #[serde(with = "maybe_seconds")]
    pub paused_until: Option<SystemTime>,
    /// How well the live generation stands.
    pub standing: Option<StandingWord>,
    /// The probation of the live generation.
    pub probation: Option<ProbationStatus>,
    /// How often a version that had gone live was taken back.
    pub failovers: u64,
    /// The last time that happened.
    pub last_failover: Option<FailoverStatus>,
    /// Somebody moved it to other addresses than the configuration names.
    #[serde(default)]
    pub moved: Option<MovedStatus>,
    /// What else whoever looks should know, such as a start from changed files.
    pub notes: Vec<String>,
    /// The generation that gets new requests.
    pub live: Option<GenerationId>,
    /// Since when it does, and why.
    #[serde(default)]
    pub serving: Option<ServingStatus>,
    /// How often the app has died, or failed to start by itself, without a minute of good service in between.
    #[serde(default)]
    pub crashes: u32,
    /// The last time that happened.
    #[serde(default)]
    pub last_crash: Option<CrashStatus>,
    /// When it is started again by itself.
    #[serde(default, with = "maybe_seconds")]
    pub next_start: Option<SystemTime>,
    /// Every generation that has a process, oldest first.
    pub generations: Vec<GenerationStatus>,
    /// The newest trigger that has its verdict.
    pub last_trigger: Option<TriggerStatus>,
    /// The trigger whose generation is being started.
    pub pending: Option<TriggerId>,
    /// How often the app was started again without a trigger, because it had died.
    pub restarts: u64,
    /// How the first start has ended.
    pub first_start: FirstStart,
}

/// Since when the live generation is live, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServingStatus {
    /// Since when.
    #[serde(with = "seconds")]
    pub since: SystemTime,
    /// What brought it there.
    pub by: ServingBy,
    /// The trigger that did, if one did.
    pub trigger: Option<TriggerId>,
    /// Which files changed, where those asked.
    pub cause: Option<String>,
}

/// What brought the live generation there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServingBy {
    /// The one before it was bad, or died.
    Failover,
    /// It was started again, because nothing was live.
    Restart,
    /// A trigger, of this source.
    #[serde(untagged)]
    Trigger(TriggerSource),
}

/// One that died by itself while it served, or while it was started without a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashStatus {
    /// The generation.
    pub generation: GenerationId,
    /// How it ended, in a sentence.
    pub reason: String,
    /// When that was.
    #[serde(with = "seconds")]
    pub at: SystemTime,
}

/// How the first start of an app has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstStart {
    /// It has not.
    #[default]
    UnderWay,
    /// It went live.
    Live,
    /// It failed; the app is tried again.
    Failed,
}

/// What an app is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// Its first generation is being started; requests are held.
    Starting,
    /// A generation serves.
    Live,
    /// Nothing is alive; requests are held while it is started again.
    Down,
    /// hitless is stopping.
    Stopping,
}

/// How well the live generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandingWord {
    /// It is what is wanted.
    Proven,
    /// It may still be sent back.
    Probation,
    /// It is an older version, which serves until the wanted one is up again.
    StandIn,
    /// It was judged bad, and serves because nothing else is alive.
    Bad,
}

/// The probation of the live generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbationStatus {
    /// When it ends, if nothing bad is seen until then; none while paused.
    #[serde(with = "maybe_seconds")]
    pub until: Option<SystemTime>,
    /// The generation that is ready to take over.
    pub standby: Option<GenerationId>,
    /// Why it is undecided, or why what was seen takes nothing back.
    pub remark: Option<String>,
}

/// A version that had gone live and was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverStatus {
    /// The generation that was taken back.
    pub from: GenerationId,
    /// The generation that took over at once; none: nothing else was alive.
    pub to: Option<GenerationId>,
    /// The kind of its failure.
    pub kind: ReasonKind,
    /// Its failure in a sentence.
    pub reason: String,
    /// The last lines of its output.
    pub output: Vec<String>,
    /// When it was.
    #[serde(with = "seconds")]
    pub at: SystemTime,
}

/// An app that was moved to other addresses than the configuration names: by `hitless reload --addresses`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedStatus {
    /// Where it was moved to.
    pub addresses: Vec<String>,
    /// What the configuration names. When it names anything else, that counts again.
    pub configured: Vec<String>,
}

/// One generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatus {
    /// Its number.
    pub generation: GenerationId,
    /// The version it runs, by the number of the generation that first ran it; none once it stops.
    pub version: Option<GenerationId>,
    /// Where it is in its life.
    pub state: GenerationState,
    /// When it was started.
    #[serde(with = "seconds")]
    pub since: SystemTime,
    /// The process id of each of its instances.
    pub pids: Vec<u32>,
    /// Where each of its instances listens.
    pub addresses: Vec<String>,
    /// How many of its instances, or of their addresses, get requests when it is live.
    #[serde(default)]
    pub ready: u32,
    /// The folder that it was started in, without symlinks.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// The names of the variables that it was started with; values are never told.
    #[serde(default)]
    pub environment: Arc<[String]>,
    /// How many ordinary requests it has under way.
    pub requests: u32,
    /// How many streams it has under way.
    pub streams: u32,
}

/// Where a generation is in its life; the label `state` of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// Being started: a candidate, or one that was told to stop before it ran.
    Starting,
    /// Gets new requests.
    Live,
    /// Ready to take over again.
    Standby,
    /// Finishes what it has.
    Retiring,
    /// Told to stop.
    Stopping,
}

impl GenerationState {
    /// Every state, for label sets that stand at 0 from the start.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Live,
        Self::Standby,
        Self::Retiring,
        Self::Stopping,
    ];

    /// The word in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Standby => "standby",
            Self::Retiring => "retiring",
            Self::Stopping => "stopping",
        }
    }
}

/// How a trigger ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerStatus {
    /// Its number.
    pub trigger: TriggerId,
    /// What it came from.
    pub source: TriggerSource,
    /// Which files changed, where those asked, such as `app.py (and 3 more)`.
    #[serde(default)]
    pub cause: Option<String>,
    /// How it ended.
    pub verdict: VerdictWord,
    /// The generation that it started, if it came that far.
    pub generation: Option<GenerationId>,
    /// The kind of its failure.
    pub kind: Option<ReasonKind>,
    /// Its failure in a sentence.
    pub reason: Option<String>,
    /// What the last check of readiness saw.
    pub probe: Option<String>,
    /// The last lines of the app's output; empty unless it failed.
    pub output: Vec<String>,
    /// Whether it was started again from files that have changed since they ran before.
    #[serde(default)]
    pub changed_files: bool,
    /// Whether a rollback found what it asks for live already.
    #[serde(default)]
    pub already: bool,
    /// The generation that served when it ended; none: nothing did.
    #[serde(default)]
    pub serving: Option<GenerationId>,
    /// When it ended.
    #[serde(with = "seconds")]
    pub at: SystemTime,
}

/// What asked for a reload; the label `trigger` of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerSource {
    /// The start of hitless.
    Start,
    /// SIGHUP.
    Signal,
    /// `hitless reload` or the control socket.
    Command,
    /// A changed file.
    File,
    /// `hitless rollback`.
    Rollback,
}

impl TriggerSource {
    /// Every source, for label sets that stand at 0 from the start.
    pub const ALL: [Self; 5] = [
        Self::Start,
        Self::Signal,
        Self::Command,
        Self::File,
        Self::Rollback,
    ];

    /// The word in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Signal => "signal",
            Self::Command => "command",
            Self::File => "file",
            Self::Rollback => "rollback",
        }
    }
}

/// A verdict without its reason; the label `verdict` of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictWord {
    /// It went live.
    Live,
    /// It did not; what served before still serves.
    Failed,
    /// A newer trigger came first.
    Superseded,
    /// hitless is stopping.
    Cancelled,
}

impl VerdictWord {
    /// Every verdict, for label sets that stand at 0 from the start.
    pub const ALL: [Self; 4] = [Self::Live, Self::Failed, Self::Superseded, Self::Cancelled];

    /// The word in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }
}

impl AppStatus {
    /// An app of which nothing has been started yet.
    pub fn new(name: AppName) -> Self {
        Self {
            name,
            state: AppState::Starting,
            stale: false,
            stale_reason: None,
            paused: false,
            paused_until: None,
            standing: None,
            probation: None,
            failovers: 0,
            last_failover: None,
            moved: None,
            notes: Vec::new(),
            live: None,
            serving: None,
            crashes: 0,
            last_crash: None,
            next_start: None,
            generations: Vec::new(),
            last_trigger: None,
            pending: None,
            restarts: 0,
            first_start: FirstStart::UnderWay,
        }
    }

    /// Takes out whatever the app wrote.
    pub fn hide_output(&mut self) {
        if let Some(trigger) = &mut self.last_trigger {
            trigger.output.clear();
        }
        if let Some(failover) = &mut self.last_failover {
            failover.output.clear();
        }
    }

    /// Whether its first start has ended, live or failed.
    pub fn has_started(&self) -> bool {
        self.first_start != FirstStart::UnderWay
    }

    /// Whether nothing is wrong: the wanted version serves, and nobody holds it back.
    pub fn is_well(&self) -> bool {
        self.live.is_some() && !self.stale && !self.paused
    }
}
