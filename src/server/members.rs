//! The apps that hitless serves: what each plane has of each of them, from when it is added to when its last process is
//! gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::info;

use super::files::Watching;
use super::{Around, difference};
use crate::config;
use crate::control_plane::driver::{Driver, Handle, STOP_RESERVE, Settings, World};
use crate::control_plane::process::Processes;
use crate::control_plane::starts::Starts;
use crate::control_plane::status::{AppStatus, GenerationState, TriggerSource, VerdictWord};
use crate::data_plane;
use crate::generation::{AppName, GenerationId};
use crate::live::Live;
use crate::telemetry::metrics::{AppMetrics, Facts, Metrics};
use crate::telemetry::traffic::Traffic;

/// What apps are made with.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    pub(super) workers: usize,
    pub(super) processes: Arc<Processes>,
    pub(super) metrics: Metrics,
    pub(super) starts: Starts,
    pub(super) watching: Arc<Watching>,
    running: Arc<Mutex<Running>>,
}

/// The drivers that have not ended.
#[derive(Debug, Default)]
struct Running {
    drivers: Vec<JoinHandle<()>>,
    /// Those of apps that are served no more.
    parting: Vec<Handle>,
    /// The highest number that a generation of an app had which is served no more.
    numbers: BTreeMap<AppName, GenerationId>,
}

/// One app.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: AppName,
    pub(super) handle: Handle,
    pub(super) app: Arc<data_plane::App>,
    /// What it was last asked to be started with.
    pub(super) settings: Settings,
    /// The same, of its file of variables.
    pub(super) variables: Option<u64>,
    counts: Arc<AppMetrics>,
}

// === impl Maker ===

impl Maker {
    pub(super) fn new(around: Around<'_>, starts: Starts, watching: &Arc<Watching>) -> Self {
        Self {
            workers: around.workers,
            processes: Arc::clone(around.processes),
            metrics: around.metrics.clone(),
            starts,
            watching: Arc::clone(watching),
            running: Arc::default(),
        }
    }

    /// An app that nothing has been asked of yet, and its driver, which has not begun.
    pub(super) fn make(&self, configured: &config::App) -> (Member, Driver) {
        let name = configured.name.clone();
        let live = Arc::new(Live::new());
        let traffic = Arc::new(Traffic::new(self.workers));
        let counts = counts(configured);
        let before = self.running(|running| running.numbers.get(&name).copied());
        let world = World {
            processes: Arc::clone(&self.processes),
            live: Arc::clone(&live),
            workers: self.workers,
            starts: self.starts.clone(),
            first: before.map_or(GenerationId::FIRST, GenerationId::next),
            changes: self.watching.changes(&name),
            metrics: Arc::clone(&counts),
        };
        let settings = settings(configured);
        let (driver, handle) = Driver::new(name.clone(), settings.clone(), world);
        let facts = facts(handle.clone());
        self.metrics
            .add(&name, Arc::clone(&traffic), facts, &counts);
        let forwarding = configured.traffic.clone();
        let app = data_plane::App::new(name.clone(), forwarding, live, traffic);
        let member = Member {
            name,
            handle,
            app: Arc::new(app),
            variables: difference::variables(&settings.backing),
            settings,
            counts,
        };
        (member, driver)
    }

    /// Begins to drive an app.
    pub(super) fn drive(&self, driver: Driver) {
        let driver = tokio::spawn(driver.run());
        self.running(|running| {
            running.drivers.retain(|driver| !driver.is_finished());
            running.drivers.push(driver);
        });
    }

    /// Lets an app go that no request is routed to any more: what it has under way is drained, then it is stopped.
    pub(super) fn part(
        &self,
        member: Member,
        is_there: impl Fn(&AppName) -> bool + Send + 'static,
    ) {
        info!(app = %member.name, "not in the configuration any more: drained and stopped");
        self.metrics.remove(&member.name, &member.counts);
        self.running(|running| {
            running.parting.push(member.handle.clone());
            running.use_numbers(&member.name, &member.handle.status());
        });
        let maker = self.clone();
        tokio::spawn(async move {
            let Member {
                name,
                handle,
                settings,
                ..
            } = member;
            let times = &settings.driver;
            let end = times.drain_timeout + times.stop_timeout + STOP_RESERVE;
            handle.shut_down(Instant::now() + end).await;
            // No worker sends it anything any more.
            handle.clients_gone().await;
            let mut changes = handle.changes();
            // An error says that its driver has ended.
            while changes.changed().await.is_ok() {}
            info!(app = %name, "stopped");
            maker.running(|running| {
                running.parting.retain(|other| !other.is(&handle));
                running.use_numbers(&name, &handle.status());
            });
            if !is_there(&name) {
                maker.processes.journals().forget(&name);
            }
        });
    }

    /// The drivers that have to end, and those that only the end of their app has told so far.
    pub(super) fn take_running(&self) -> (Vec<JoinHandle<()>>, Vec<Handle>) {
        self.running(|running| {
            let drivers = std::mem::take(&mut running.drivers);
            (drivers, running.parting.clone())
        })
    }

    fn running<T>(&self, with: impl FnOnce(&mut Running) -> T) -> T {
        with(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Running ===

impl Running {
    /// What is called by these numbers keeps them, also where an app of that name comes back.
    fn use_numbers(&mut self, name: &AppName, status: &AppStatus) {
        let used = newest(status);
        let number = self.numbers.entry(name.clone()).or_insert(used);
        *number = used.max(*number);
    }
}

/// The highest number that one of its generations had.
fn newest(status: &AppStatus) -> GenerationId {
    let running = status.generations.iter().map(|known| known.generation);
    let ended = status
        .last_trigger
        .iter()
        .filter_map(|ended| ended.generation);
    running.chain(ended).max().unwrap_or(GenerationId::FIRST)
}

pub(super) fn settings(app: &config::App) -> Settings {
    Settings {
        backing: app.backing.clone(),
        readiness: app.ready.clone(),
        instances: app.instances.clone(),
        driver: app.driver.clone(),
    }
}

fn counts(app: &config::App) -> Arc<AppMetrics> {
    let triggers = TriggerSource::ALL.map(TriggerSource::as_str);
    let verdicts = VerdictWord::ALL.map(VerdictWord::as_str);
    Arc::new(AppMetrics::new(&app.name, &triggers, &verdicts))
}

fn facts(handle: Handle) -> impl Fn() -> Facts {
    move || {
        let status = handle.status();
        let generations = status.generations.iter();
        Facts {
            live: status.live.map(GenerationId::get),
            generations: generations
                .map(|known| (known.generation.get(), known.state.as_str()))
                .collect(),
            states: GenerationState::ALL.map(GenerationState::as_str).to_vec(),
            stale: status.stale,
            paused: status.paused,
        }
    }
}
