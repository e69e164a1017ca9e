//! The shell around the core: next input, step, perform. Owns the timers, the processes and the verdicts.
//!
//! Never decides and never waits inside its loop: every action starts work, and its result comes home as an input.

mod clock;
pub mod config;
mod generations;
mod handle;
mod perform;
mod triggers;

pub use self::clock::STOP_RESERVE;
pub use self::config::{Config, StreamPolicy};
pub use self::handle::Handle;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tracing::info;

use self::clock::{Clock, Deadline};
use self::generations::Generations;
use self::handle::Asked;
use self::triggers::{Conclusion, Triggers};
use crate::control_plane::process::{self, Exit, Instance, Processes, Recipe};
use crate::control_plane::progress::Watchers;
use crate::control_plane::readiness::{self, Probe};
use crate::control_plane::status::{AppStatus, TriggerSource};
use crate::control_plane::supervisor::{Event, Supervisor};
use crate::generation::{Address, AppName, GenerationId, Reason};
use crate::live::{Backend, Live};
use crate::telemetry::metrics::AppMetrics;

/// How many inputs may wait. The senders wait beyond it, the driver never does.
const INBOX_MAX: usize = 256;

/// What an app is started with; replaced as a whole when the configuration is read again.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What to start.
    pub process: process::Config,
    /// When it is ready.
    pub readiness: readiness::Config,
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
    /// All processes of a generation run.
    Spawned(GenerationId, Arc<Instance>, Arc<Recipe>),
    /// A generation never came to life.
    SpawnFailed(GenerationId, Reason),
    /// A check of readiness had an answer.
    Probed(GenerationId, Probe),
    /// Every check holds; it listens there.
    Ready(GenerationId, Address),
    /// It cannot become ready.
    WentBad(GenerationId, Reason),
    /// Its process is gone.
    Exited(GenerationId, Exit),
    /// A candidate's process is gone, and this is why.
    ExitExplained(GenerationId, Reason),
    /// The last words of a failed start are in.
    Concluded(Box<Conclusion>),
    /// A worker's last lease on a retired generation is gone.
    Nudged,
    /// A deadline has come.
    Due,
}

impl Driver {
    /// A driver that has not started anything, and the handle to it. Nothing happens until [`run`](Self::run).
    pub fn new(name: AppName, settings: Settings, world: World) -> (Self, Handle) {
        let (home, inbox) = mpsc::channel(INBOX_MAX);
        let status = watch::Sender::new(Arc::new(AppStatus::new(name.clone())));
        let handle = Handle::new(name.clone(), home.clone(), status.subscribe());
        let core = Supervisor::new(settings.driver.rules());
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
            status,
            shutdown: None,
            exited: false,
        };
        (driver, handle)
    }

    /// Starts the app and drives it until it was shut down and its last process is gone.
    pub async fn run(mut self) {
        self.reload(TriggerSource::Start, triggers::nobody());
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
            () = until(due) => Input::Due,
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Asked(asked) => self.asked(asked),
            Input::Spawned(id, instance, recipe) => self.spawned(id, instance, recipe),
            Input::SpawnFailed(id, reason) => self.happened(Event::SpawnFailed(id, reason)),
            Input::Probed(id, probe) => self.probed(id, &probe),
            Input::Ready(id, address) => self.ready(id, address),
            Input::WentBad(id, reason) => self.happened(Event::WentBad(id, reason)),
            Input::Exited(id, exit) => self.gone(id, exit),
            Input::ExitExplained(id, reason) => self.happened(Event::Exited(id, reason)),
            Input::Concluded(conclusion) => self.conclude(*conclusion),
            Input::Nudged => self.look_for_drained(),
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
            tracing::debug!(app = %self.name, ?event, "event");
            for action in self.core.step(event) {
                tracing::debug!(app = %self.name, ?action, "action");
                self.perform(action);
            }
            self.publish_fallback();
            self.generations.forget_unknown(&self.core);
        }
        self.stepping = false;
    }

    fn asked(&mut self, asked: Asked) {
        match asked {
            Asked::Reload {
                source,
                settings,
                watchers,
            } => {
                if let Some(settings) = settings {
                    self.apply(*settings);
                }
                self.reload(source, watchers);
            }
            Asked::ShutDown { deadline } => self.shut_down(deadline),
            Asked::ClientsGone => {
                if let Some(shutdown) = &mut self.shutdown {
                    shutdown.clients_gone = true;
                }
                self.look_for_drained();
            }
        }
    }

    /// Triggers found waiting in one turn of the loop become one: each asker gets its verdict.
    fn reload(&mut self, source: TriggerSource, mut watchers: Watchers) {
        while let Ok(input) = self.inbox.try_recv() {
            match input {
                Input::Asked(Asked::Reload {
                    settings,
                    watchers: others,
                    ..
                }) => {
                    watchers.join(others);
                    if let Some(settings) = settings {
                        self.apply(*settings);
                    }
                }
                other => self.waiting.push_back(other),
            }
        }
        let id = self.triggers.accept(&self.name, source, watchers);
        info!(app = %self.name, trigger = %id, source = source.as_str(), "reload asked for");
        self.happened(Event::Triggered(id));
    }

    fn apply(&mut self, settings: Settings) {
        self.core.set_rules(settings.driver.rules());
        self.settings = settings;
    }

    fn shut_down(&mut self, deadline: Instant) {
        if self.shutdown.is_none() {
            self.shutdown = Some(Shutdown {
                frozen: self.core.live(),
                clients_gone: false,
            });
        }
        self.clock.limit(deadline);
        self.happened(Event::ShutdownAsked);
    }

    fn spawned(&mut self, id: GenerationId, instance: Arc<Instance>, recipe: Arc<Recipe>) {
        info!(app = %self.name, generation = %id, pid = instance.pid(), address = %instance.address(), "started");
        let home = self.home.clone();
        let watched = Arc::clone(&instance);
        tokio::spawn(async move {
            let exit = watched.exited().await;
            // The driver is gone only once every process is.
            let _ = home.send(Input::Exited(id, exit)).await;
        });
        self.generations.spawned(id, instance, recipe);
        self.happened(Event::Spawned(id));
    }

    fn probed(&mut self, id: GenerationId, probe: &Probe) {
        self.world.metrics.probed(matches!(probe, Probe::Passed(_)));
        if self.generations.probed(id, probe) {
            let output = self.generations.last_line(id);
            self.triggers
                .probed(&self.name, id, probe.to_string(), output);
        }
    }

    fn ready(&mut self, id: GenerationId, address: Address) {
        let nudge = Arc::clone(&self.nudge);
        let workers = self.world.workers;
        self.generations
            .ready(id, address, workers, move |_| nudge.notify_one());
        self.world
            .metrics
            .phase_ended("start", self.generations.age(id));
        self.happened(Event::Ready(id));
    }

    fn gone(&mut self, id: GenerationId, exit: Exit) {
        if self.core.candidate() == Some(id) {
            return self.explain_exit(id, exit);
        }
        let served = self.core.live() == Some(id);
        let when = if served {
            "while it served"
        } else {
            "while it was stopping"
        };
        let reason = exit.reason(when);
        info!(app = %self.name, generation = %id, %exit, "ended");
        if served && self.generations.served(id) >= clock::GOOD_SERVICE {
            self.clock.reset_backoff();
        }
        if self.generations.is_stopping(id) {
            self.world
                .metrics
                .phase_ended("stop", self.generations.stopping_for(id));
        }
        self.happened(Event::Exited(id, reason));
    }

    /// A candidate that is gone has no requests to lose: its last words come first, for the reason may stand in them.
    fn explain_exit(&self, id: GenerationId, exit: Exit) {
        let Some(instance) = self.generations.instance(id).cloned() else {
            return;
        };
        let home = self.home.clone();
        tokio::spawn(async move {
            let reason = readiness::explain_exit(&instance, exit).await;
            let _ = home.send(Input::ExitExplained(id, reason)).await;
        });
    }

    fn fire(&mut self) {
        for deadline in self.clock.due(Instant::now()) {
            match deadline {
                Deadline::Core(timer) => self.happened(Event::Fired(timer)),
                Deadline::Signal(id) => self.signal(id),
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
