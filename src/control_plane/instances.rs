//! The processes of one generation, or the addresses that it is, so that the core sees one thing: spawned together, ready
//! together, repaired while routed, ended together.

pub mod machine;

mod addressed;
mod backing;
mod beginning;
mod monitor;
mod place;
mod shell;

pub use self::backing::{Addressed, Backing, Record};

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::control_plane::endpoint::Endpoint;
use crate::control_plane::process::{Changes, Output, Processes};
use crate::control_plane::readiness::{self, Probe};
use crate::control_plane::starts::Starts;
use crate::generation::{AppName, AppProtocol, GenerationId, Reason};
use crate::live::{self, Backend};

/// How many processes a generation has, and how they are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many processes; at least 1. Of addresses there are as many as are named.
    pub count: u32,
    /// How many of them must be ready before clients are sent there; 0: all.
    pub min_ready: u32,
    /// How each of a live generation is asked whether it is still well; none: a process is not asked, and an address what
    /// readiness asks, every second.
    pub liveness: Option<Liveness>,
}

/// How an instance of a live generation is asked whether it is still well. One that is not is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// The path of an HTTP check; `None`: an accepted connection is enough.
    pub http: Option<String>,
    /// The `Host` of the HTTP check.
    pub host: String,
    /// The statuses that count as well.
    pub status: Vec<RangeInclusive<u16>>,
    /// The time between the starts of two checks.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// How many failures in a row make it unwell; at least 1.
    pub failures: u32,
    /// What it speaks.
    pub protocol: AppProtocol,
}

impl Liveness {
    /// The time between two checks, unless it is said.
    pub const INTERVAL: Duration = Duration::from_secs(5);
    /// How long one may take, unless it is said.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    /// How many failures in a row make it unwell, unless it is said.
    pub const FAILURES: u32 = 3;
    /// The time between two checks of an address, unless it is said: nothing else tells that it is gone.
    pub const ADDRESS_INTERVAL: Duration = Duration::from_secs(1);

    /// Asks what readiness asks.
    pub fn of(readiness: &readiness::Config) -> Self {
        Self {
            http: readiness.http.clone(),
            host: readiness.host.clone(),
            status: readiness.status.clone(),
            interval: Self::ADDRESS_INTERVAL,
            timeout: readiness.timeout,
            failures: Self::FAILURES,
            protocol: readiness.protocol,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            count: 1,
            min_ready: 0,
            liveness: None,
        }
    }
}

/// Everything it takes to start a generation.
#[derive(Debug)]
pub struct Plan {
    /// The app.
    pub app: AppName,
    /// The number of the generation.
    pub generation: GenerationId,
    /// The record of the version to start again; none: it is made now, from `backing`.
    pub record: Option<Record>,
    /// What to start.
    pub backing: Backing,
    /// The addresses that the configuration names, where those of `backing` were asked for instead.
    pub instead_of: Option<Arc<[Endpoint]>>,
    /// When an instance is ready.
    pub readiness: readiness::Config,
    /// How many there are, and how they are watched.
    pub config: Config,
    /// Starts the processes.
    pub processes: Arc<Processes>,
    /// How often the app's files have changed.
    pub changes: Changes,
    /// How many workers the data plane has.
    pub workers: usize,
    /// When its turn to start is.
    pub starts: Starts,
    /// Rung by workers whose last lease on it is gone while it is retired.
    pub nudge: Arc<Notify>,
    /// Rung by workers at each bad answer and each refused connection.
    pub alarm: Arc<Notify>,
}

/// What one generation tells.
#[derive(Debug)]
pub struct Told {
    /// The generation.
    pub generation: GenerationId,
    /// What it tells.
    pub report: Report,
}

/// What a generation tells: `SpawnFailed`; or `Spawned` first and `Exited` last.
#[derive(Debug)]
pub enum Report {
    /// All its processes run what this record says.
    Spawned(Record),
    /// One could not be started, and nothing is left.
    SpawnFailed(Reason),
    /// A check of readiness had an answer. Left out when the receiver is behind.
    Probed {
        /// The instance, from 1.
        instance: u32,
        /// What came.
        probe: Probe,
    },
    /// A check of one that serves had an answer. Left out when the receiver is behind.
    Checked {
        /// Whether it was a good one.
        passed: bool,
    },
    /// Enough are ready and warmed up; so the data plane is to know it.
    Ready(Arc<live::Generation<Backend>>),
    /// It cannot become ready.
    WentBad(Reason),
    /// On probation: an instance's readiness check failed three times in a row.
    Unready(Reason),
    /// One process is gone, or one address does not answer, and the generation goes on.
    InstanceLost {
        /// The instance, from 1.
        instance: u32,
        /// How it ended, in a few words.
        why: String,
    },
    /// An address that was looked at because of a refused connection answers.
    StillThere,
    /// An instance is started again from files that have changed since its generation was started.
    FilesChanged {
        /// The instance, from 1.
        instance: u32,
    },
    /// An instance that was started again gets requests.
    InstanceBack {
        /// The instance, from 1.
        instance: u32,
    },
    /// No process is left.
    Exited {
        /// How the last one ended.
        reason: Reason,
        /// It was not because it had been told to.
        by_itself: bool,
    },
}

/// One process that runs, or one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number, from 1.
    pub number: u32,
    /// Its process; none of an address.
    pub pid: Option<u32>,
    /// Where it listens.
    pub address: String,
    /// Whether it gets requests.
    pub ready: bool,
}

/// The processes of one generation. Dropped, what is left of them is killed.
pub struct Instances {
    orders: mpsc::UnboundedSender<Order>,
    shown: Arc<Mutex<Shown>>,
}

/// What is asked of the generation.
#[derive(Clone, Copy, Debug)]
enum Order {
    Probe,
    Route { probation: bool },
    Proven,
    Look,
    Retire,
    Terminate,
    Kill,
}

/// What can be looked at.
#[derive(Debug, Default)]
struct Shown {
    members: Vec<Member>,
    output: Option<Arc<Output>>,
    /// The latest check of each instance.
    probes: BTreeMap<u32, Probe>,
    /// How many have exited since it was last routed.
    exits: u32,
    /// How many there are to be.
    count: u32,
}

impl Shown {
    /// Names the place where it is not plain which one is meant: of several, and where somebody else runs it.
    fn told(&self, instance: u32, probe: &str) -> String {
        let mut members = self.members.iter();
        match members.find(|member| member.number == instance) {
            Some(member) if self.count > 1 || member.pid.is_none() => {
                format!("{}: {probe}", member.address)
            }
            _ => probe.to_owned(),
        }
    }
}

impl Instances {
    /// Starts all of them. What they tell goes to `home`.
    pub fn start<T: From<Told> + Send + 'static>(plan: Plan, home: mpsc::Sender<T>) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        let shown = Arc::new(Mutex::default());
        tokio::spawn(shell::run(plan, home, received, Arc::clone(&shown)));
        Self { orders, shown }
    }

    /// Asks each until it is ready, and warms it up. To be called after `Spawned`.
    pub fn probe(&self) {
        self.order(Order::Probe);
    }

    /// It is live from now on: what is lost is started again, and on probation its readiness is asked every second.
    pub fn route(&self, probation: bool) {
        self.shown().exits = 0;
        self.order(Order::Route { probation });
    }

    /// Its probation is over.
    pub fn proven(&self) {
        self.order(Order::Proven);
    }

    /// Somebody was refused a connection: the addresses of somebody else are asked at once.
    pub fn look(&self) {
        self.order(Order::Look);
    }

    /// It is live no more: nothing is started again, and nothing asked.
    pub fn retire(&self) {
        self.order(Order::Retire);
    }

    /// Asks all of them to end.
    pub fn terminate(&self) {
        self.order(Order::Terminate);
    }

    /// Ends all of them.
    pub fn kill(&self) {
        self.order(Order::Kill);
    }

    /// What they write; none before the first was started.
    pub fn output(&self) -> Option<Arc<Output>> {
        self.shown().output.clone()
    }

    /// The processes that run.
    pub fn list(&self) -> Vec<Member> {
        self.shown().members.clone()
    }

    /// What the latest check of readiness saw, of one that has not passed where there is one.
    pub fn last_probe(&self) -> Option<String> {
        let shown = self.shown();
        let mut probes = shown.probes.iter();
        let not_passed = probes.find(|(_, probe)| !matches!(probe, Probe::Passed(..)));
        let (instance, probe) = not_passed.or_else(|| shown.probes.first_key_value())?;
        Some(shown.told(*instance, &probe.to_string()))
    }

    /// What a check of this instance saw, in words, while it is asked.
    pub fn told(&self, instance: u32, probe: &Probe) -> String {
        self.shown().told(instance, &probe.on_the_way())
    }

    /// How many have exited since it was last routed.
    pub fn exits(&self) -> u32 {
        self.shown().exits
    }

    /// How many there are to be.
    pub fn count(&self) -> u32 {
        self.shown().count
    }

    fn order(&self, order: Order) {
        // Refused only when all is over.
        let _ = self.orders.send(order);
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instances")
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}
