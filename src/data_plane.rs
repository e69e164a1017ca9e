//! The data plane: forwards requests. Only reads which generation is live; never imports the control plane.
//!
//! One thread and one single-threaded runtime per worker. Nothing is shared between workers on the path of a request
//! but the pointer to the live generation. A request goes down one column:
//!
//! ```text
//! listen -> connection -> route -> proxy -> headers -> hold | resend -> upstream -> body | tunnel | answer
//! ```

pub mod listen;

mod worker;

mod in_force;

mod site;

mod crowd;

mod roster;

mod connection;

mod wire;

pub mod route;

mod record;

mod proxy;

mod headers;

mod trusted;

mod body;

mod hold;

mod resend;

mod upstream;

mod exchange;

mod tunnel;

mod answer;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod properties;

#[cfg(test)]
mod tests;

pub use self::answer::pages;
pub use self::connection::Config as ClientConfig;
pub use self::trusted::{TrustedProxies, TrustedProxy, TrustedProxyError};

use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use self::crowd::Crowd;
use self::listen::Bound;
use self::pages::CurrentPages;
use self::route::Routes;
use self::worker::{Gauges, Order};
use crate::generation::{AppName, AppProtocol};
use crate::live::{Backend, Live};
use crate::telemetry::access::AccessLog;
use crate::telemetry::traffic::{Clients, Traffic};

/// One app as the data plane knows it.
#[derive(Debug)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// The times and limits of its requests, from when a worker is told of it.
    config: AppConfig,
    /// Which of its generations is live.
    pub live: Arc<Live<Backend>>,
    /// What is counted about it, with a block for each worker.
    pub traffic: Arc<Traffic>,
    /// How many requests wait for a live generation, over all workers: holding is not the fast path.
    held: Arc<AtomicUsize>,
}

/// The times and limits of one app's requests.
#[derive(Clone, Debug, PartialEq)]
pub struct AppConfig {
    /// What its instances speak.
    pub protocol: AppProtocol,
    /// How long a connection to an instance may take.
    pub connect_timeout: Duration,
    /// How long the head of the answer may take, from the head of the request or, where later, the last byte of its
    /// body passed on; re-sends included. Zero: no limit.
    pub answer_timeout: Duration,
    /// How long the body of an answer may make no progress. Zero: no limit.
    pub body_timeout: Duration,
    /// How many idle connections to an instance each worker keeps.
    pub pool_max: usize,
    /// How long each is kept.
    pub pool_idle_timeout: Duration,
    /// Whether answers carry `X-Hitless-Generation`.
    pub expose_generation: bool,
    /// How many times a request may be sent again.
    pub resends: u32,
    /// Which share of a worker's recent requests may be sent again once they were written, 0 to 1; three a second always
    /// may.
    pub resend_ratio: f64,
    /// How much of a request's body is kept while it is passed on, so that it can be sent again.
    pub resend_body_max: usize,
    /// Whether a request with `Idempotency-Key` may be sent again like an idempotent one.
    pub resend_idempotency_key: bool,
    /// Whether a safe request that got a 500, 502, 503 or 504 from a generation on probation, or from one that was
    /// failed over, is sent to the other one.
    pub rescue_5xx: bool,
    /// How large the body of a request may be. Zero: no limit.
    pub body_bytes_max: usize,
    /// Who decides whether a client that asks gets `100 Continue`.
    pub expect: Expect,
    /// Whether the app's 103 are passed on.
    pub early_hints: bool,
    /// Up to which size a request's body is received whole before the app sees it. Zero: never.
    pub buffer_requests: usize,
    /// How many requests may wait while nothing is live, over all workers.
    pub hold_requests: usize,
    /// How long each of them may wait.
    pub hold_timeout: Duration,
}

/// All apps that the data plane forwards to.
#[derive(Debug)]
pub struct Apps {
    /// Each of them; routes name them by their place here.
    pub apps: Vec<Arc<App>>,
    /// What leads to them, for each listening address.
    pub routes: Vec<Arc<Routes>>,
    /// What is counted of requests that no app is found for.
    pub strays: Arc<Traffic>,
}

/// One listening address, for as long as it is served; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GateId(pub u64);

/// All that is to be served from now on; see [`Workers::change`].
#[derive(Debug)]
pub struct Change {
    /// Every app. One that is [the same](App::with) keeps its connections, and those who wait.
    pub apps: Vec<Arc<App>>,
    /// What leads to them, for each listening address. One that is not named is served no more.
    pub gates: Vec<(GateId, Arc<Routes>)>,
    /// The addresses that are new, bound for as many workers as there are, and what each is called.
    pub opened: (Bound, Vec<GateId>),
    /// What the data plane is told beside its apps.
    pub settings: Settings,
    /// How long after an address is served no more the idle connections are closed that came in by it.
    pub idle: Duration,
}

/// Who decides whether a client that asks first may send its body (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// hitless says `100 Continue` when the app is there to take the body, and the app is not asked.
    Answer,
    /// The app is asked, and its 100 or its final answer reaches the client. It has a second: one that says nothing gets
    /// the body then.
    Forward,
}

/// What the data plane is told beside its apps.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where the line of each request goes; none: there are no lines.
    pub access: Option<AccessLog>,
    /// The times and limits towards clients.
    pub client: ClientConfig,
    /// Who may say on whose behalf they ask.
    pub trusted_proxies: TrustedProxies,
    /// The operator's pages for what hitless answers by itself.
    pub pages: Arc<CurrentPages>,
}

/// How far the stopping of the server is, in the order of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted.
    Serving,
    /// What was queued has been accepted and the listeners are closed; every answer says `Connection: close`.
    Closing,
    /// A connection without a request is closed as well.
    ClosingIdle,
    /// What is left is broken off.
    BreakingOff,
}

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    gauges: Arc<Gauges>,
    crowd: Arc<Crowd>,
    orders: Vec<mpsc::UnboundedSender<Order>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Starts one thread for each worker that `bound` was made for; they run until `phase` says otherwise (or its sender
/// is gone). The addresses are called 0, 1, 2 … in their order.
///
/// # Errors
///
/// When a thread cannot be started. Those that were started end once `phase` is dropped.
///
/// # Panics
///
/// When there is not a table of routes for each listening address, or one names an app that is not there; or when what is
/// counted was made for fewer workers.
pub fn start(
    bound: Bound,
    apps: Apps,
    settings: &Settings,
    phase: &watch::Receiver<Phase>,
) -> io::Result<Workers> {
    let names: Vec<_> = (0..).map(GateId).take(apps.routes.len()).collect();
    let (orders, _) = split(Change {
        apps: apps.apps,
        gates: names.iter().copied().zip(apps.routes).collect(),
        opened: (bound, names),
        settings: settings.clone(),
        idle: Duration::ZERO,
    });
    let gauges = Arc::new(Gauges::new(orders.len()));
    let crowd = Arc::new(Crowd::new(&settings.client));
    let mut senders = Vec::new();
    let threads = orders.into_iter().enumerate().map(|(index, order)| {
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(order).expect("the receiver is here");
        senders.push(sender);
        let start = worker::Start {
            index,
            strays: Arc::clone(&apps.strays),
            settings: settings.clone(),
            phase: phase.clone(),
            gauges: Arc::clone(&gauges),
            crowd: Arc::clone(&crowd),
            orders: receiver,
        };
        thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || worker::run(start))
    });
    let threads = threads.collect::<io::Result<_>>()?;
    Ok(Workers {
        gauges,
        crowd,
        orders: senders,
        threads: Mutex::new(threads),
    })
}

/// What each worker is to be told, and where it says that it is in force.
fn split(change: Change) -> (Vec<Order>, Vec<oneshot::Receiver<()>>) {
    let (bound, names) = change.opened;
    let apps: Arc<[_]> = change.apps.into();
    let gates: Arc<[_]> = change.gates.into();
    let orders = bound.into_shares().into_iter().map(|share| {
        assert_eq!(share.len(), names.len(), "a name for each address");
        let (done, in_force) = oneshot::channel();
        let order = Order {
            apps: Arc::clone(&apps),
            gates: Arc::clone(&gates),
            opened: names.iter().copied().zip(share).collect(),
            settings: change.settings.clone(),
            idle: change.idle,
            done,
        };
        (order, in_force)
    });
    orders.unzip()
}

// === impl App ===

impl App {
    /// An app that nothing has been asked of yet.
    pub fn new(
        name: AppName,
        config: AppConfig,
        live: Arc<Live<Backend>>,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            name,
            config,
            live,
            traffic,
            held: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// The same app with other times and limits.
    #[must_use]
    pub fn with(&self, config: AppConfig) -> Self {
        Self {
            name: self.name.clone(),
            config,
            live: Arc::clone(&self.live),
            traffic: Arc::clone(&self.traffic),
            held: Arc::clone(&self.held),
        }
    }

    /// Whether both are the same app, whatever its times and limits.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.live, &other.live)
    }
}

// === impl AppConfig ===

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            protocol: AppProtocol::Http1,
            connect_timeout: Duration::from_secs(3),
            answer_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(300),
            pool_max: 128,
            pool_idle_timeout: Duration::from_millis(1500),
            expose_generation: false,
            resends: 2,
            resend_ratio: 0.2,
            resend_body_max: 64 << 10,
            resend_idempotency_key: true,
            rescue_5xx: true,
            body_bytes_max: 0,
            expect: Expect::Answer,
            early_hints: false,
            buffer_requests: 0,
            hold_requests: 1000,
            hold_timeout: Duration::from_secs(30),
        }
    }
}

// === impl Workers ===

impl Workers {
    /// Serves something else from now on. Each worker puts all of it in force in one step. Returns when all have: no request
    /// goes to an app any more that is not named, but for those that were there before.
    ///
    /// # Panics
    ///
    /// When the addresses were bound for another number of workers, or routes name an app that is not there.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it is in force all the same.
    pub async fn change(&self, change: Change) {
        self.crowd.configure(&change.settings.client);
        let (orders, in_force) = split(change);
        assert_eq!(orders.len(), self.orders.len(), "bound for these workers");
        for (worker, order) in self.orders.iter().zip(orders) {
            // One that has ended serves nothing any more.
            let _ = worker.send(order);
        }
        for done in in_force {
            let _ = done.await;
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.orders.len()
    }

    /// Waits until no worker accepts any more and no client connection, tunnels included, is left.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn idle(&self) {
        self.gauges.idle().await;
    }

    /// How many client connections are open, tunnels included.
    pub fn connections(&self) -> usize {
        self.gauges.connections()
    }

    /// The same number, for a scrape that outlives the borrow.
    pub fn counter(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let gauges = Arc::clone(&self.gauges);
        move || gauges.connections() as u64
    }

    /// What is counted about client connections.
    pub fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.gauges.clients)
    }

    /// How many were open when they were broken off.
    pub fn broken_off(&self) -> usize {
        self.gauges.broken_off()
    }

    /// Waits, blocking, until every worker has ended: after [`Phase::BreakingOff`], or once all connections are gone
    /// after [`Phase::Closing`].
    pub fn join(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A worker that panicked has said so by itself, and its connections are gone.
            let _ = thread.join();
        }
    }
}
