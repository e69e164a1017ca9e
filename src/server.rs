//! The composition root: bind, build both planes, join them, run until told to stop. The only file that sees both, with
//! the parts of it in `server/`.

mod difference;
mod files;
mod logs;
mod members;
mod operators;
mod reconfigure;
mod sockets;
mod stop;
mod tables;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use self::files::Watching;
use self::logs::Logs;
use self::members::Maker;
use self::operators::{Ready, Scraping, serve_control};
use self::reconfigure::{Configurator, Parts, State};
use self::sockets::Sockets;
use self::stop::Stop;
use crate::config::{self, Config};
use crate::control_plane::apps::{About, Apps, Configuration, Whole};
use crate::control_plane::driver::{Handle, ReloadOptions};
use crate::control_plane::process::{Keeper, OutputSink, Processes};
use crate::control_plane::starts::Starts;
use crate::control_plane::status::{FirstStart, TriggerSource};
use crate::control_plane::trigger::{Signals, Wish};
use crate::data_plane::pages::CurrentPages;
use crate::data_plane::{self, ClientConfig, Phase, Workers};
use crate::descriptors::{Reserve, Room};
use crate::systemd::{Manager, Service};
use crate::telemetry::metrics::Metrics;
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
        let around = Around {
            workers,
            processes: &processes,
            metrics: &metrics,
            logs: &logs,
        };
        let ended = Server::start(config, sockets, around, Box::new(reload))?
            .run()
            .await;
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

/// How many apps may be starting at once.
fn starts_max(config: &Config, workers: usize) -> usize {
    match config.starts_max {
        0 => workers,
        max => max,
    }
}

/// What is there before the planes are built.
#[derive(Clone, Copy)]
struct Around<'a> {
    workers: usize,
    processes: &'a Arc<Processes>,
    metrics: &'a Metrics,
    logs: &'a Logs,
}

/// Reads the configuration anew.
type Read = Box<dyn Fn() -> Result<Config, config::Error> + Send + Sync>;

/// Both planes, running.
struct Server {
    apps: Apps,
    configurator: Arc<Configurator>,
    maker: Maker,
    workers: Arc<Workers>,
    phase: watch::Sender<Phase>,
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
        read: Read,
    ) -> anyhow::Result<Self> {
        // Before anything can be started: from now on these signals are wishes.
        let signals = Signals::listen()?;
        let listen = sockets.clients.addresses();
        let admin = sockets.admin.map(Ready::new).transpose()?;
        let starts = Starts::new(starts_max(&config, around.workers));
        let watching = Arc::new(Watching::default());
        let maker = Maker::new(around, starts, &watching);
        let (state, drivers) = State::first(config, &maker, &listen);
        let pages = Arc::new(CurrentPages::new(Arc::clone(&state.config.pages)));
        let (phase, phases) = watch::channel(Phase::Serving);
        let workers = start_workers(sockets.clients, &state, &pages, around, &phases)?;

        let config = state.config.clone();
        let reserve = Reserve::new();
        let scraping = Scraping::new(
            around.metrics.clone(),
            reserve.clone(),
            config.admin_hosts.clone(),
        );
        let about = About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            name: config.name.clone(),
            since: SystemTime::now(),
            listen: listen.iter().map(ToString::to_string).collect(),
            admin: admin.as_ref().map(|ready| ready.address().to_string()),
        };
        info!(listen = about.listen.join(" "), admin = about.admin, control = %sockets.control_path.display(), "listening");
        let handles = state.members.iter().map(|member| member.handle.clone());
        let (whole, seen) = watch::channel(Whole {
            about,
            handles: handles.collect(),
            configuration: Configuration::new(),
        });
        let configurator = Configurator::new(Parts {
            read,
            state,
            whole,
            workers: Arc::clone(&workers),
            maker: maker.clone(),
            logs: around.logs.clone(),
            pages,
            scraping,
        });
        let journals = Arc::clone(around.processes.journals());
        let apps = Apps::new(seen, Arc::clone(&configurator) as _, journals);
        watching.start(&apps, &config.apps);
        configurator.tell_of(&apps, admin);
        serve_control(sockets.control, &apps, reserve);
        let exits = config.exit_on_failed_start;
        let service = Manager::of_process().map(|manager| Service::start(manager, &apps, exits));
        drivers.into_iter().for_each(|driver| maker.drive(driver));
        Ok(Self {
            apps,
            configurator,
            maker,
            workers,
            phase,
            exit_on_failed_start: exits,
            signals,
            logs: around.logs.clone(),
            control_path: sockets.control_path,
            service,
        })
    }

    async fn run(mut self) -> Ended {
        let ended = self.until_stopped().await;
        let shutdown = self.configurator.shutdown();
        if let Some(service) = &mut self.service {
            service.stopping(shutdown.timeout);
        }
        let (mut drivers, parting) = self.maker.take_running();
        let stop = Stop {
            apps: &self.apps,
            parting: &parting,
            workers: &self.workers,
            phase: &self.phase,
            config: &shutdown,
        };
        stop.perform(&mut self.signals, &mut drivers).await;
        drop(self.phase);
        self.workers.join();
        // Nobody is left to answer; the next start replaces a socket that is still there.
        let _ = std::fs::remove_file(&self.control_path);
        info!("stopped");
        ended
    }

    async fn until_stopped(&mut self) -> Ended {
        let handles = self.apps.handles();
        let mut first_start =
            std::pin::pin!(failed_first_start(&handles, self.exit_on_failed_start));
        loop {
            tokio::select! {
                wish = self.signals.next() => match wish {
                    Wish::Reload => {
                        self.logs.reopen();
                        // A signal that follows is not to wait for it.
                        tokio::spawn(reload_by_signal(self.apps.clone()));
                    }
                    Wish::ReopenLogs => self.logs.reopen(),
                    Wish::Stop => return Ended::Stopped,
                },
                () = &mut first_start => return Ended::FirstStartFailed,
            }
        }
    }
}

/// A broken configuration changes nothing; whoever reads it has said so.
async fn reload_by_signal(apps: Apps) {
    let options = ReloadOptions::default();
    let asked = apps.reload(None, TriggerSource::Signal, options).await;
    if let Err(problem) = asked {
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

fn start_workers(
    bound: data_plane::listen::Bound,
    state: &State,
    pages: &Arc<CurrentPages>,
    around: Around<'_>,
    phases: &watch::Receiver<Phase>,
) -> anyhow::Result<Arc<Workers>> {
    let strays = Arc::new(Traffic::new(around.workers));
    around.metrics.count_strays(Arc::clone(&strays));
    let tables = state.gates.iter().map(|gate| {
        let (_, routes) = gate.table(&state.members, &state.routing, &state.routing);
        routes
    });
    let apps = data_plane::Apps {
        apps: state
            .members
            .iter()
            .map(|member| Arc::clone(&member.app))
            .collect(),
        routes: tables.collect(),
        strays,
    };
    let settings = state.settings(around.logs, pages);
    let workers = data_plane::start(bound, apps, &settings, phases)?;
    around.metrics.count_connections(workers.counter());
    around.metrics.count_clients(workers.clients());
    Ok(Arc::new(workers))
}
