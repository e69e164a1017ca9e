//! One app on one worker, and where that worker counts.
//!
//! Everything in here stays on the worker's thread; what apps and workers share is in [`App`].

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::body::Buffers;
use super::hold::Queue;
use super::in_force::InForce;
use super::resend::Budget;
use super::upstream::Upstream;
use super::{App, AppConfig};
use crate::generation::GenerationId;
use crate::live::{self, Backend, Generation};
use crate::telemetry::traffic::{Counters, Traffic};

/// One app on one worker.
pub(super) struct Site {
    pub(super) app: Arc<App>,
    pub(super) live: live::Worker<Backend>,
    pub(super) hold: Rc<Queue>,
    pub(super) budget: Budget,
    pub(super) buffers: Buffers,
    ledger: Rc<Ledger>,
    index: usize,
    upstreams: RefCell<Vec<Rc<Upstream>>>,
    config: Rc<InForce<AppConfig>>,
    /// Nothing leads here any more.
    is_gone: Cell<bool>,
    listening: Cell<Option<AbortHandle>>,
}

/// Where one worker counts for one app, or for the requests that no app is found for.
#[derive(Debug)]
pub(super) struct Ledger {
    traffic: Arc<Traffic>,
    index: usize,
}

// === impl Site ===

impl Site {
    pub(super) fn new(app: Arc<App>, index: usize) -> Self {
        let config = Rc::new(InForce::new(app.config.clone()));
        Self {
            live: live::Worker::new(Arc::clone(&app.live), index),
            hold: Rc::new(Queue::new(Arc::clone(&app), index, Rc::clone(&config))),
            budget: Budget::new(app.config.resend_ratio),
            buffers: Buffers::new(app.traffic.workers()),
            ledger: Rc::new(Ledger::new(Arc::clone(&app.traffic), index)),
            app,
            index,
            upstreams: RefCell::default(),
            config,
            is_gone: Cell::new(false),
            listening: Cell::new(None),
        }
    }

    /// The times and limits of its requests at this moment.
    pub(super) fn config(&self) -> Rc<AppConfig> {
        self.config.get()
    }

    /// The same, for those that look again and again.
    pub(super) fn configured(&self) -> &Rc<InForce<AppConfig>> {
        &self.config
    }

    /// From now on these times and limits are in force.
    pub(super) fn configure(&self, config: &AppConfig) {
        if *self.config.get() != *config {
            self.budget.set_ratio(config.resend_ratio);
            self.config.set(config.clone());
        }
    }

    /// Has it attend to what is published, until it leaves.
    pub(super) fn attend(site: &Rc<Self>) {
        let listening = spawn_local(Rc::clone(site).listen_to_routing());
        site.listening.replace(Some(listening.abort_handle()));
    }

    /// Nothing leads here from now on: the app is not served any more.
    pub(super) fn leave(&self) {
        self.is_gone.set(true);
        self.live.forget();
        self.hold.close();
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
    }

    /// Whether the app is served here.
    pub(super) fn is_served(&self) -> bool {
        !self.is_gone.get()
    }

    /// Whether no generation of it is known here any more.
    pub(super) fn is_deserted(&self) -> bool {
        self.upstreams.borrow().is_empty()
    }

    /// The number of the worker, from 0.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Where this worker counts for the app.
    pub(super) fn ledger(&self) -> &Rc<Ledger> {
        &self.ledger
    }

    /// This worker's counters for the app.
    pub(super) fn counters(&self) -> &Counters {
        self.ledger.counters()
    }

    /// The connections to a generation, made when first asked for and kept until the generation is gone.
    pub(super) fn upstream(self: &Rc<Self>, generation: &Arc<Generation<Backend>>) -> Rc<Upstream> {
        let known = self.known(generation.id());
        known.unwrap_or_else(|| {
            let upstream = Rc::new(Upstream::new(self, generation));
            self.upstreams.borrow_mut().push(Rc::clone(&upstream));
            let orders = generation.payload.orders();
            spawn_local(obey(Rc::clone(self), generation.id(), orders));
            upstream
        })
    }

    fn known(&self, id: GenerationId) -> Option<Rc<Upstream>> {
        let upstreams = self.upstreams.borrow();
        // The newest is the one most asked for.
        let mut newest_first = upstreams.iter().rev();
        newest_first
            .find(|upstream| upstream.generation() == id)
            .cloned()
    }

    /// Looks at the deadlines of its exchanges.
    pub(super) fn sweep(&self, now: Instant) {
        let upstreams = self.upstreams.borrow().clone();
        for upstream in upstreams {
            upstream.sweep(now);
        }
    }

    /// Tells the queue of each publication and keeps no generation alive that is no longer live.
    async fn listen_to_routing(self: Rc<Self>) {
        let mut bell = self.app.live.listen();
        // What was published before this task ran is heard of here.
        bell.mark_changed();
        while bell.changed().await.is_ok() {
            self.live.forget();
            self.hold.published(&self.live);
        }
    }
}

/// Carries out the orders about one generation until nobody holds it any more.
async fn obey(site: Rc<Site>, id: GenerationId, mut orders: watch::Receiver<live::Orders>) {
    // What was ordered before this task ran is heard of here.
    orders.mark_changed();
    while orders.changed().await.is_ok() {
        if let Some(upstream) = site.known(id) {
            upstream.obey();
        }
    }
    let mut upstreams = site.upstreams.borrow_mut();
    upstreams.retain(|upstream| upstream.generation() != id);
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("app", &self.app.name)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

// === impl Ledger ===

impl Ledger {
    pub(super) fn new(traffic: Arc<Traffic>, index: usize) -> Self {
        Self { traffic, index }
    }

    pub(super) fn counters(&self) -> &Counters {
        self.traffic.worker(self.index)
    }
}
