//! The composition root: bind, build both planes, join them, run until told to stop. The only file that sees both.

mod files;
mod held_back;
mod logs;
mod operators;
mod sockets;
mod stop;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

use self::files::Watching;
use self::logs::Logs;
use self::operators::{serve_admin, serve_control};
use self::sockets::Sockets;
use self::stop::Stop;
use crate::config::{self, Config, ShutdownConfig};
use crate::control_plane::apps::{About, Apps, Reread};
use crate::control_plane::driver::{Driver, Handle, ReloadOptions, Settings, World};
use crate::control_plane::process::{Keeper, OutputSink, Processes};
use crate::control_plane::starts::Starts;
use crate::control_plane::status::{FirstStart, GenerationState, TriggerSource, VerdictWord};
use crate::control_plane::trigger::{Signals, Wish};
use crate::data_plane::listen::Listen;
use crate::data_plane::pages::CurrentPages;
use crate::data_plane::route::Routes;
use crate::data_plane::{self, ClientConfig, Phase, Workers};
use crate::descriptors::{Reserve, Room};
use crate::live::Live;
use crate::systemd::{Manager, Service};
use crate::telemetry::metrics::{AppMetrics, Facts, Metrics};
use crate::telemetry::traffic::Traffic;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop, and stopped.
    Stopped,
    /// The first start failed, and the configuration wants hitless to exit then.
    FirstStartFailed,
}

/// Serves until told to stop. The app's output goes to `sink`; `reload` reads the configuration anew.
///
/// # Errors
///
/// A socket cannot be bound, or the system refuses a thread or a handler. Nothing was started then.
pub fn run(
    config: Config,
    keeper: Keeper,
    sink: Arc<dyn OutputSink>,
    reload: impl Fn() -> Result<Config, config::Error> + Send + Sync + 'static,
) -> anyhow::Result<Ended> {
    let workers = workers(&config);
    let sockets = sockets::bind(&config, workers)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let logs = Logs::open(&config.log, Arc::clone(&sink), workers)?;
    let ended = runtime.block_on(async {
        let processes = Processes::new(keeper, sink)
            .context("cannot talk to the keeper of the app's processes")?;
        let processes = Arc::new(processes);
        let metrics = Metrics::new();
        logs.count(&metrics);
        tokio::spawn(logs.clone().tell_dropped());
        let pages = Arc::new(CurrentPages::new(Arc::clone(&config.pages)));
        let watching = Arc::new(Watching::new(&config.apps));
        let reread = reread(
            reload,
            config.clone(),
            metrics.clone(),
            Arc::clone(&pages),
            Arc::clone(&watching),
        );
        let around = Around {
            workers,
            processes: &processes,
            metrics: &metrics,
            pages: &pages,
            logs: &logs,
            watching: &watching,
        };
        let ended = Server::start(config, sockets, around, reread)?.run().await;
        processes.close().await;
        Ok(ended)
    });
    logs.flush();
    ended
}

/// As many as this process may use: affinity and cgroup limits are respected.
fn workers(config: &Config) -> usize {
    match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// As many as the configuration says, or as there are workers.
fn starts(config: &Config, workers: usize) -> Starts {
    Starts::new(match config.starts_max {
        0 => workers,
        max => max,
    })
}

/// No more client connections than there are descriptors for: running out of them would hurt those that are served.
fn fitting(mut config: ClientConfig) -> ClientConfig {
    let room = Room::now();
    let (wanted, fits) = (config.connections_max, room.connections());
    if wanted > fits {
        let said = format!(
            "connections_max ({wanted}) does not fit into the {} descriptors that this process may have, for each client \
             connection may need two: there will be at most {fits}. Raise the limit to {} (LimitNOFILE= of the unit, or \
             ulimit -n), or lower connections_max",
            room.limit,
            room.needed(wanted)
        );
        // Nobody has asked for the default.
        if wanted == ClientConfig::default().connections_max {
            info!("{said}");
        } else {
            warn!("{said}");
        }
    }
    if wanted == 0 || wanted > fits {
        config.connections_max = fits;
    }
    config
}

fn reread(
    reload: impl Fn() -> Result<Config, config::Error> + Send + Sync + 'static,
    running: Config,
    metrics: Metrics,
    pages: Arc<CurrentPages>,
    watching: Arc<Watching>,
) -> Box<Reread> {
    Box::new(move || {
        let config = reload();
        metrics.config_reread(config.is_ok());
        let config = config.map_err(|error| error.to_string())?;
        let held_back = held_back::held_back(&running, &config);
        if !held_back.is_empty() {
            let keys = held_back.join(", ");
            warn!("changed in the configuration and not in effect before a restart: {keys}");
        }
        pages.replace(config.pages);
        watching.follow(&config.apps);
        Ok(config
            .apps
            .into_iter()
            .map(|app| (app.name.clone(), settings(&app)))
            .collect())
    })
}

/// For each place to listen at, what leads from there to which app.
fn all_routes(config: &Config) -> Vec<Arc<Routes>> {
    let listen = config.listen.iter();
    listen
        .map(|listen| Arc::new(routes(listen, &config.apps)))
        .collect()
}

/// What leads from there to which app, by the place of each in the configuration.
fn routes(listen: &Listen, apps: &[config::App]) -> Routes {
    let served = apps.iter().enumerate();
    let served = served.filter(|(_, app)| listen.serves(&app.name));
    Routes::new(served.flat_map(|(index, app)| app.routes.iter().map(move |route| (index, route))))
}

fn settings(app: &config::App) -> Settings {
    Settings {
        backing: app.backing.clone(),
        readiness: app.ready.clone(),
        instances: app.instances.clone(),
        driver: app.driver.clone(),
    }
}

/// What each plane has of each app.
struct Roster {
    drivers: Vec<Driver>,
    handles: Vec<Handle>,
    apps: Vec<Arc<data_plane::App>>,
}

impl Roster {
    fn new(configured: Vec<config::App>, starts: &Starts, around: Around<'_>) -> Self {
        let Around {
            workers,
            processes,
            metrics,
            watching,
            ..
        } = around;
        let (mut drivers, mut handles, mut apps) = (Vec::new(), Vec::new(), Vec::new());
        for app in configured {
            let live = Arc::new(Live::new());
            let traffic = Arc::new(Traffic::new(workers));
            let counts = counts(&app);
            let world = World {
                processes: Arc::clone(processes),
                live: Arc::clone(&live),
                workers,
                starts: starts.clone(),
                changes: watching.changes(&app.name),
                metrics: Arc::clone(&counts),
            };
            let (driver, handle) = Driver::new(app.name.clone(), settings(&app), world);
            let facts = facts(handle.clone());
            metrics.add(&app.name, Arc::clone(&traffic), facts, &counts);
            drivers.push(driver);
            handles.push(handle);
            let app = data_plane::App::new(app.name, app.traffic, live, traffic);
            apps.push(Arc::new(app));
        }
        Self {
            drivers,
            handles,
            apps,
        }
    }
}

/// What is there before the planes are built.
#[derive(Clone, Copy)]
struct Around<'a> {
    workers: usize,
    processes: &'a Arc<Processes>,
    metrics: &'a Metrics,
    pages: &'a Arc<CurrentPages>,
    logs: &'a Logs,
    watching: &'a Watching,
}

/// Both planes, running.
struct Server {
    apps: Apps,
    drivers: Vec<JoinHandle<()>>,
    workers: Workers,
    phase: watch::Sender<Phase>,
    shutdown: ShutdownConfig,
    exit_on_failed_start: bool,
    signals: Signals,
    logs: Logs,
    control_path: PathBuf,
    service: Option<Service>,
}

impl Server {
    fn start(
        config: Config,
        sockets: Sockets,
        around: Around<'_>,
        reread: Box<Reread>,
    ) -> anyhow::Result<Self> {
        let (metrics, logs) = (around.metrics, around.logs);
        // Before anything can be started: from now on these signals are wishes.
        let signals = Signals::listen()?;
        let listen = sockets.clients.addresses();
        let workers = sockets.workers;
        let routes = all_routes(&config);
        let starts = starts(&config, workers);
        let strays = Arc::new(Traffic::new(workers));
        metrics.count_strays(Arc::clone(&strays));
        let Roster {
            drivers,
            handles,
            apps,
        } = Roster::new(config.apps, &starts, around);
        let (phase, phases) = watch::channel(Phase::Serving);
        let apps = data_plane::Apps {
            apps,
            routes,
            strays,
        };
        let client = data_plane::Settings {
            client: fitting(config.client),
            trusted_proxies: config.trusted_proxies,
            pages: Arc::clone(around.pages),
            access: logs.access.clone(),
        };
        let running = data_plane::start(sockets.clients, apps, &client, &phases)?;
        metrics.count_connections(running.counter());
        metrics.count_clients(running.clients());

        let admin = sockets.admin.as_ref();
        let about = About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            name: config.name,
            since: SystemTime::now(),
            listen: listen.iter().map(ToString::to_string).collect(),
            admin: admin.map(|admin| admin.address().to_string()),
        };
        info!(listen = about.listen.join(" "), admin = about.admin, control = %sockets.control_path.display(), "listening");
        let apps = Apps::new(
            about,
            handles,
            reread,
            Arc::clone(around.processes.journals()),
        );
        around.watching.start(&apps);
        let reserve = Reserve::new();
        serve_control(sockets.control, &apps, reserve.clone());
        if let Some(listener) = sockets.admin {
            serve_admin(listener, config.admin_hosts, &apps, metrics, reserve)?;
        }
        let exits = config.exit_on_failed_start;
        let service = Manager::of_process().map(|manager| Service::start(manager, &apps, exits));
        Ok(Self {
            apps,
            drivers: drivers
                .into_iter()
                .map(|driver| tokio::spawn(driver.run()))
                .collect(),
            workers: running,
            phase,
            shutdown: config.shutdown,
            exit_on_failed_start: exits,
            signals,
            logs: logs.clone(),
            control_path: sockets.control_path,
            service,
        })
    }

    async fn run(mut self) -> Ended {
        let ended = self.until_stopped().await;
        if let Some(service) = &mut self.service {
            service.stopping(self.shutdown.timeout);
        }
        let stop = Stop {
            apps: &self.apps,
            workers: &self.workers,
            phase: &self.phase,
            config: &self.shutdown,
        };
        stop.perform(&mut self.signals, &mut self.drivers).await;
        drop(self.phase);
        self.workers.join();
        // Nobody is left to answer; the next start replaces a socket that is still there.
        let _ = std::fs::remove_file(&self.control_path);
        info!("stopped");
        ended
    }

    async fn until_stopped(&mut self) -> Ended {
        let mut first_start = std::pin::pin!(failed_first_start(
            self.apps.handles(),
            self.exit_on_failed_start
        ));
        loop {
            tokio::select! {
                wish = self.signals.next() => match wish {
                    Wish::Reload => {
                        self.logs.reopen();
                        reload_by_signal(&self.apps).await;
                    }
                    Wish::ReopenLogs => self.logs.reopen(),
                    Wish::Stop => return Ended::Stopped,
                },
                () = &mut first_start => return Ended::FirstStartFailed,
            }
        }
    }
}

/// A broken configuration changes nothing, and says so.
async fn reload_by_signal(apps: &Apps) {
    if let Err(problem) = apps
        .reload(None, TriggerSource::Signal, ReloadOptions::default())
        .await
    {
        error!("reload refused: {problem}");
    }
}

/// Ends when the first start has failed and that is to end hitless.
async fn failed_first_start(handles: &[Handle], matters: bool) {
    if !matters {
        return std::future::pending().await;
    }
    let mut starts = JoinSet::new();
    for handle in handles {
        // Each by itself: one that takes long must not hide another one's failure.
        let mut changes = handle.changes();
        starts.spawn(async move {
            let started = changes.wait_for(|status| status.has_started()).await;
            started.map_or(FirstStart::Failed, |status| status.first_start)
        });
    }
    while let Some(start) = starts.join_next().await {
        if start.is_ok_and(|start| start == FirstStart::Failed) {
            return;
        }
    }
    std::future::pending().await
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
            live: status.live.map(crate::generation::GenerationId::get),
            generations: generations
                .map(|known| (known.generation.get(), known.state.as_str()))
                .collect(),
            states: GenerationState::ALL.map(GenerationState::as_str).to_vec(),
            stale: status.stale,
            paused: status.paused,
        }
    }
}
