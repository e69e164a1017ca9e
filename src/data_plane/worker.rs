//! One worker: a thread with its own runtime, listening sockets, upstream pools, counters and timers.
//!
//! Shares nothing with the other workers but what each app's `Live` publishes and a gauge that only it writes.

mod gate;

mod orders;

mod seat;

pub(super) use self::gate::Gate;
pub(super) use self::orders::Order;
pub(super) use self::seat::{Seat, Tenure};

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use slab::Slab;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet, spawn_local};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::body::Discard;
use super::connection::Streams;
use super::crowd::Crowd;
use super::in_force::InForce;
use super::roster::Roster;
use super::site::{Ledger, Site};
use super::{GateId, Phase, Settings};
use crate::telemetry::access::{AccessLog, Pen};
use crate::telemetry::traffic::{Clients, Traffic};

/// What a worker is started with.
pub(super) struct Start {
    pub(super) index: usize,
    /// What is counted of requests that no app is found for.
    pub(super) strays: Arc<Traffic>,
    pub(super) settings: Settings,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) crowd: Arc<Crowd>,
    /// What is to be served; the first one waits already.
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
}

/// What all tasks of one worker share.
pub(super) struct Worker {
    index: usize,
    sites: RefCell<Rc<[Rc<Site>]>>,
    /// Those of apps that are served no more, until the last of their requests is done.
    leaving: RefCell<Vec<Rc<Site>>>,
    gates: RefCell<Vec<(GateId, Rc<Gate>)>>,
    strays: Rc<Ledger>,
    settings: InForce<Settings>,
    phase: Cell<Phase>,
    gauges: Arc<Gauges>,
    roster: Roster,
    /// The streams of each client connection that speaks HTTP/2.
    multiplexed: RefCell<Slab<Rc<Streams>>>,
    crowd: Arc<Crowd>,
    said_full: Cell<Option<Instant>>,
    /// How many since memory was last handed back.
    tunnels_ended: Cell<usize>,
    empty: Notify,
    discards: mpsc::UnboundedSender<Discard>,
    /// What lines of the access log are written with; none: it is off.
    pen: RefCell<Option<Desk>>,
}

/// The pen of this worker, and the task that sees to it that no line lies too long.
struct Desk {
    log: AccessLog,
    pen: Rc<Pen>,
    timely: AbortHandle,
}

/// What the workers tell about themselves. Each writes its own.
#[derive(Debug)]
pub(super) struct Gauges {
    workers: Box<[Gauge]>,
    changed: Notify,
    pub(super) clients: Arc<Clients>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Gauge {
    accepting: AtomicBool,
    open: AtomicUsize,
    broken_off: AtomicUsize,
}

/// Runs one worker to its end, on this thread.
pub(super) fn run(start: Start) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime needs an epoll and an eventfd, which a starting process has");
    // Dropping the runtime drops the tasks, and with them whatever connection is left.
    runtime.block_on(async {
        let (discards, queue) = mpsc::unbounded_channel();
        let phase = start.phase.clone();
        let (worker, orders) = Worker::new(start, discards);
        let worker = Rc::new(worker);
        spawn_local(sweep(Rc::clone(&worker)));
        spawn_local(discard(queue, Rc::clone(&worker)));
        worker.until_stopped(phase, orders).await;
    });
}

/// Looks at the deadlines of all exchanges and connections from time to time, instead of a timer for each.
async fn sweep(worker: Rc<Worker>) {
    let mut period = worker.sweep_period();
    let mut ticks = ticks_of(period);
    loop {
        let now = ticks.tick().await;
        for site in worker.sites().iter() {
            site.sweep(now);
        }
        worker.sweep_leaving(now);
        worker.sweep_clients(now);
        worker.tell_clients(now).await;
        if worker.sweep_period() != period {
            period = worker.sweep_period();
            ticks = ticks_of(period);
        }
    }
}

fn ticks_of(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Reads what clients still send after they got an answer.
async fn discard(mut queue: mpsc::UnboundedReceiver<Discard>, worker: Rc<Worker>) {
    while let Some(discard) = queue.recv().await {
        let limit = worker.settings().client.linger_timeout;
        spawn_local(discard.run(limit));
    }
}

// === impl Worker ===

impl Worker {
    fn new(
        start: Start,
        discards: mpsc::UnboundedSender<Discard>,
    ) -> (Self, mpsc::UnboundedReceiver<Order>) {
        let worker = Self {
            index: start.index,
            sites: RefCell::new(Rc::new([])),
            leaving: RefCell::default(),
            gates: RefCell::default(),
            strays: Rc::new(Ledger::new(start.strays, start.index)),
            settings: InForce::new(start.settings),
            phase: Cell::new(Phase::Serving),
            gauges: start.gauges,
            roster: Roster::default(),
            multiplexed: RefCell::default(),
            crowd: start.crowd,
            said_full: Cell::new(None),
            tunnels_ended: Cell::new(0),
            empty: Notify::new(),
            discards,
            pen: RefCell::new(None),
        };
        (worker, start.orders)
    }

    /// What it is told beside its apps, as of this moment.
    pub(super) fn settings(&self) -> Rc<Settings> {
        self.settings.get()
    }

    /// What lines of the access log are written with; none: it is off.
    pub(super) fn pen(&self) -> Option<Rc<Pen>> {
        let desk = self.pen.borrow();
        desk.as_ref().map(|desk| Rc::clone(&desk.pen))
    }

    /// The apps that it serves.
    fn sites(&self) -> Rc<[Rc<Site>]> {
        Rc::clone(&self.sites.borrow())
    }

    /// Where requests are counted that no app is found for.
    pub(super) fn strays(&self) -> &Rc<Ledger> {
        &self.strays
    }

    /// How far the stopping is.
    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Reads the rest of a request body off the path of its request.
    pub(super) fn discard(&self, discard: Discard) {
        // The receiver is gone only while the runtime is being dropped, and the connection with it.
        let _ = self.discards.send(discard);
    }

    async fn until_stopped(
        self: &Rc<Self>,
        mut phase: watch::Receiver<Phase>,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        let mut accepting = JoinSet::new();
        loop {
            // Whatever is ordered is in force before anything else is looked at.
            while let Ok(order) = orders.try_recv() {
                self.obey(order, &mut accepting, &phase);
            }
            let now = *phase.borrow_and_update();
            self.enter(now);
            if now == Phase::BreakingOff {
                break;
            }
            if now != Phase::Serving && accepting.is_empty() && self.roster.len() == 0 {
                break;
            }
            tokio::select! {
                Some(order) = orders.recv() => self.obey(order, &mut accepting, &phase),
                changed = phase.changed() => if changed.is_err() { break },
                Some(_) = accepting.join_next() => {}
                () = self.empty.notified(), if accepting.is_empty() => {}
            }
        }
        let gauge = &self.gauges.workers[self.index];
        let left = self.roster.len();
        gauge.broken_off.store(left, Ordering::SeqCst);
        gauge.accepting.store(false, Ordering::SeqCst);
        self.gauges.changed.notify_waiters();
    }

    fn enter(&self, phase: Phase) {
        if self.phase.replace(phase) != phase {
            self.roster.wake_all();
        }
    }

    /// A quarter of the shortest limit, but neither a burden nor coarser than a second.
    fn sweep_period(&self) -> Duration {
        let sites = self.sites();
        let apps = sites.iter().map(|site| site.config());
        let limits = apps.flat_map(|app| [app.answer_timeout, app.body_timeout]);
        let settings = self.settings();
        let client = &settings.client;
        let limits = limits.chain([
            client.body_timeout,
            client.head_timeout,
            client.idle_timeout,
            client.write_timeout,
        ]);
        let shortest = limits.filter(|limit| !limit.is_zero()).min();
        let period = shortest.unwrap_or(Duration::MAX) / 4;
        period.clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("index", &self.index)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

// === impl Gauges ===

impl Gauges {
    pub(super) fn new(workers: usize) -> Self {
        let gauges = (0..workers).map(|_| Gauge {
            accepting: AtomicBool::new(true),
            open: AtomicUsize::new(0),
            broken_off: AtomicUsize::new(0),
        });
        Self {
            workers: gauges.collect(),
            changed: Notify::new(),
            clients: Arc::new(Clients::new(workers)),
        }
    }

    pub(super) async fn idle(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Listening begins before looking, so that nothing is missed in between.
            changed.as_mut().enable();
            let busy = |gauge: &Gauge| {
                gauge.accepting.load(Ordering::SeqCst) || gauge.open.load(Ordering::SeqCst) > 0
            };
            if !self.workers.iter().any(busy) {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn connections(&self) -> usize {
        let open = self
            .workers
            .iter()
            .map(|gauge| gauge.open.load(Ordering::SeqCst));
        open.sum()
    }

    pub(super) fn broken_off(&self) -> usize {
        let left = self
            .workers
            .iter()
            .map(|gauge| gauge.broken_off.load(Ordering::SeqCst));
        left.sum()
    }
}
