//! The shell around the core: next input, step, perform. Owns the timers, the processes and the verdicts.
//!
//! Never decides and never waits inside its loop: every action starts work, and its result comes home as an input.

mod asking;
mod clock;
pub mod config;
mod failover;
mod generations;
mod handle;
pub mod judging;
mod moving;
mod perform;
mod probation;
mod report;
mod starting;
mod told;
mod transition;
mod triggers;

pub use self::clock::STOP_RESERVE;
pub use self::config::{Config, MemoryPolicy, StreamPolicy};
pub use self::handle::{Handle, Origin, ReloadOptions, Wish};

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use self::clock::{Clock, Deadline};
use self::failover::{Account, Before, Untold};
use self::generations::Generations;
use self::handle::Asked;
use self::judging::Share;
use self::probation::Probation;
use self::starting::{Delayed, Preparation};
use self::triggers::{Conclusion, Triggers};
use crate::control_plane::instances::{self, Backing, Told};
use crate::control_plane::process::{Changes, Processes};
use crate::control_plane::readiness;
use crate::control_plane::starts::Starts;
use crate::control_plane::status::{
    AppStatus, CrashStatus, FailoverStatus, ServingStatus, TriggerSource,
};
use crate::control_plane::supervisor::situation::Situation;
use crate::control_plane::supervisor::{Event, Supervisor, Timer};
use crate::generation::{AppName, GenerationId};
use crate::live::{Backend, Live};
use crate::telemetry::metrics::AppMetrics;

/// How many inputs may wait. The senders wait beyond it, the driver never does.
const INBOX_MAX: usize = 256;

/// What an app is started with; replaced as a whole when the configuration is read again.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What to start.
    pub backing: Backing,
    /// When it is ready.
    pub readiness: readiness::Config,
    /// How many processes a generation has, and how they are watched.
    pub instances: instances::Config,
    /// How it is drained and stopped.
    pub driver: Config,
}

/// What a driver needs of the world.
#[derive(Clone, Debug)]
pub struct World {
    /// Starts the processes.
    pub processes: Arc<Processes>,
    /// The meeting point with the data plane.
    pub live: Arc<Live<Backend>>,
    /// How many workers the data plane has.
    pub workers: usize,
    /// When its turn to start is.
    pub starts: Starts,
    /// The number of its first generation: none is used twice, also where an app of that name was there before.
    pub first: GenerationId,
    /// How often its files have changed.
    pub changes: Changes,
    /// What is counted about the app.
    pub metrics: Arc<AppMetrics>,
}

/// Drives one app from its first start to the end of hitless.
#[derive(Debug)]
pub struct Driver {
    name: AppName,
    settings: Settings,
    world: World,
    core: Supervisor,
    generations: Generations,
    triggers: Triggers,
    clock: Clock,
    /// Events that follow from what was just performed.
    events: VecDeque<Event>,
    /// Whether those events are being worked on.
    stepping: bool,
    inbox: mpsc::Receiver<Input>,
    /// For the tasks that report home.
    home: mpsc::Sender<Input>,
    /// Inputs taken out of the inbox while looking for triggers that wait.
    waiting: VecDeque<Input>,
    /// Rung by workers whose last lease on a retired generation is gone.
    nudge: Arc<Notify>,
    /// Rung by workers at each bad answer and each refused connection.
    alarm: Arc<Notify>,
    /// The one who judges the live generation while it can be sent back.
    probation: Option<Probation>,
    /// What the last live generation's requests came to in its last minute.
    baseline: Share,
    /// A start that waits for room.
    delayed: Option<Delayed>,
    /// A failover that is not told yet.
    untold: Option<Untold>,
    /// The generation of the newest failover, for as long as its reason may still be told better.
    failing: Option<GenerationId>,
    failovers: u64,
    /// What was live before the step under way.
    live_before: Option<GenerationId>,
    last_failover: Option<FailoverStatus>,
    /// Since when what is live is live, and why.
    serving: Option<ServingStatus>,
    last_crash: Option<CrashStatus>,
    /// What is remarkable about the start of a generation, while that exists.
    notes: BTreeMap<GenerationId, Vec<String>>,
    /// What is remarkable about how its files are watched.
    file_notes: Vec<String>,
    status: watch::Sender<Arc<AppStatus>>,
    shutdown: Option<Shutdown>,
    exited: bool,
}

/// What is known once shutdown was asked.
#[derive(Clone, Copy, Debug)]
struct Shutdown {
    /// The generation that was live then; clients that are still connected may send it more.
    frozen: Option<GenerationId>,
    clients_gone: bool,
}

/// Every cause of work.
#[derive(Debug)]
pub(crate) enum Input {
    /// Somebody or something outside asks.
    Asked(Asked),
    /// The processes of a generation have something to tell.
    Told(Told),
    /// A generation may be started.
    Prepared(Box<Preparation>),
    /// All is known about a failover.
    FailedOver(Box<Account>),
    /// The last words of a failed start are in.
    Concluded(Box<Conclusion>),
    /// A worker's last lease on a retired generation is gone.
    Nudged,
    /// A worker has seen a bad answer or a refused connection.
    Alarmed,
    /// A deadline has come.
    Due,
}

impl Driver {
    /// A driver that has not started anything, and the handle to it. Nothing happens until [`run`](Self::run).
    pub fn new(name: AppName, settings: Settings, world: World) -> (Self, Handle) {
        let (home, inbox) = mpsc::channel(INBOX_MAX);
        let status = watch::Sender::new(Arc::new(AppStatus::new(name.clone())));
        let handle = Handle::new(name.clone(), home.clone(), status.subscribe());
        let situation = Situation {
            next: world.first,
            ..Situation::default()
        };
        let core = Supervisor::resume(settings.driver.rules(), situation);
        let driver = Self {
            name,
            settings,
            world,
            core,
            generations: Generations::default(),
            triggers: Triggers::default(),
            clock: Clock::default(),
            events: VecDeque::new(),
            stepping: false,
            inbox,
            home,
            waiting: VecDeque::new(),
            nudge: Arc::new(Notify::new()),
            alarm: Arc::new(Notify::new()),
            probation: None,
            baseline: Share::default(),
            delayed: None,
            untold: None,
            failing: None,
            failovers: 0,
            live_before: None,
            last_failover: None,
            serving: None,
            last_crash: None,
            notes: BTreeMap::new(),
            file_notes: Vec::new(),
            status,
            shutdown: None,
            exited: false,
        };
        (driver, handle)
    }

    /// Starts the app and drives it until it was shut down and its last process is gone.
    pub async fn run(mut self) {
        self.reload(
            TriggerSource::Start.into(),
            Wish::default(),
            triggers::nobody(),
        );
        while !(self.exited && self.triggers.all_concluded()) {
            let input = self.next().await;
            self.take(input);
            self.publish_status();
        }
    }

    async fn next(&mut self) -> Input {
        if let Some(input) = self.waiting.pop_front() {
            return input;
        }
        let due = self.clock.next();
        tokio::select! {
            input = self.inbox.recv() => input.expect("the driver holds a sender of its own"),
            () = self.nudge.notified() => Input::Nudged,
            () = self.alarm.notified(), if self.probation.is_some() || self.is_addressed() => Input::Alarmed,
            () = until(due) => Input::Due,
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Asked(asked) => self.asked(asked),
            Input::Told(told) => self.told(told),
            Input::Prepared(preparation) => self.prepared(*preparation),
            Input::FailedOver(account) => self.failed_over(*account),
            Input::Concluded(conclusion) => self.conclude(*conclusion),
            Input::Nudged => self.look_for_drained(),
            Input::Alarmed => {
                self.judge();
                self.look_at_addresses();
            }
            Input::Due => self.fire(),
        }
    }

    /// Hands an event to the core and performs what it says, and what follows from that.
    fn happened(&mut self, event: Event) {
        self.events.push_back(event);
        self.run_events();
    }

    /// Nested calls find the queue being worked on and leave their events to it.
    fn run_events(&mut self) {
        if std::mem::replace(&mut self.stepping, true) {
            return;
        }
        while let Some(event) = self.events.pop_front() {
            self.step(event);
        }
        self.stepping = false;
    }

    fn step(&mut self, event: Event) {
        tracing::debug!(app = %self.name, ?event, "event");
        let (moment, cause) = (self.moment(), event.as_str());
        let before = Before::new(&self.core, &event);
        self.live_before = self.core.live();
        self.keep_baseline();
        let actions = self.core.step(event);
        self.notice_failover(before);
        self.settle_trust();
        for action in actions {
            tracing::debug!(app = %self.name, ?action, "action");
            self.perform(action);
        }
        self.note_serving();
        self.recall();
        self.publish_fallback();
        self.log_transition(moment, cause);
        self.tell_or_wait();
        self.generations.forget_unknown(&self.core);
        self.notes.retain(|id, _| self.core.state_of(*id).is_some());
        self.follow_probation();
        self.begin_delayed();
    }

    fn fire(&mut self) {
        for deadline in self.clock.due(Instant::now()) {
            match deadline {
                Deadline::Core(Timer::Probation(id)) => self.probation_is_over(id),
                Deadline::Core(timer) => self.happened(Event::Fired(timer)),
                Deadline::Signal(id) => self.signal(id),
                Deadline::Look => self.look(),
                Deadline::PauseEnd => self.resume(),
                Deadline::Explanation => self.tell_failover(),
            }
        }
    }
}

/// Waits for a deadline, for ever if there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

// === impl Input ===

impl From<Told> for Input {
    fn from(told: Told) -> Self {
        Self::Told(told)
    }
}
