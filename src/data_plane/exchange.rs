//! The exchanges of one generation that are under way on one worker: what orders and deadlines reach them by.
//!
//! An exchange looks here each time it is polled anyway; nobody subscribes to anything for a request, and no other core
//! is involved.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::App;
use super::upstream::InFlight;
use crate::generation::GenerationId;
use crate::live::{Backend, Generation, Lease, Origin, Outcomes};
use crate::telemetry::traffic::{Counters, StreamKind};

/// How far apart two looks are at which streams are due to close. However many there are, they cost little.
const CLOSE_STEP: Duration = Duration::from_millis(20);

/// What a gRPC call gets whose answer begins when it ought to have ended: most are a single message, and come to their end.
const CALL_GRACE: Duration = Duration::from_secs(1);

/// All exchanges of one generation on one worker.
#[derive(Debug)]
pub(super) struct Register {
    app: Arc<App>,
    index: usize,
    entries: RefCell<Slab<Entry>>,
    /// When somebody looks next at which streams are due to close.
    closing: Cell<Option<Instant>>,
}

/// One exchange, from the choice of its generation to the last byte. Gives everything back when dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    register: Rc<Register>,
    key: usize,
    seat: InFlight,
}

/// What an exchange is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Its deadline may have passed: look.
    Look,
    /// End in your own manner.
    Close,
    /// Go to the live generation instead.
    Recall,
    /// Break off.
    Break,
}

/// Whether a request may be sent to another generation although it has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recall {
    /// It is safe, and it can be sent once more.
    May,
    /// It stays where it is.
    Never,
}

#[derive(Debug)]
struct Entry {
    lease: Lease<Backend>,
    recall: Recall,
    /// The head of the answer is there.
    answered: bool,
    stream: Option<StreamKind>,
    /// When it is to end in its own manner, if it is a stream by then; else as soon as it becomes one.
    close_at: Option<Instant>,
    order: Option<Order>,
    deadline: Option<Instant>,
    waker: Option<Waker>,
}

// === impl Register ===

impl Register {
    pub(super) fn new(app: Arc<App>, index: usize) -> Self {
        Self {
            app,
            index,
            entries: RefCell::default(),
            closing: Cell::new(None),
        }
    }

    /// An exchange begins.
    pub(super) fn begin(
        self: &Rc<Self>,
        lease: Lease<Backend>,
        seat: InFlight,
        recall: Recall,
    ) -> Exchange {
        let key = self.entries.borrow_mut().insert(Entry {
            lease,
            recall,
            answered: false,
            stream: None,
            close_at: None,
            order: None,
            deadline: None,
            waker: None,
        });
        Exchange {
            register: Rc::clone(self),
            key,
            seat,
        }
    }

    /// A request without an answer head is broken off; an answer under way becomes a stream.
    pub(super) fn cut(&self) {
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if entry.answered {
                self.become_stream(entry, StreamKind::Answer);
            } else {
                entry.tell(Order::Break);
            }
        }
    }

    /// A request without an answer head goes to the live generation where it may.
    pub(super) fn recall(&self) {
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if !entry.answered && entry.recall == Recall::May {
                entry.tell(Order::Recall);
            }
        }
    }

    /// Streams end in their own manner, each at a moment of its own within `spread`. So does what becomes a stream later.
    pub(super) fn close(self: &Rc<Self>, spread: Duration) {
        let now = Instant::now();
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            let at = now + spread.mul_f64(fastrand::f64());
            // Told twice, the earlier moment stands.
            entry.close_at = Some(entry.close_at.map_or(at, |before| before.min(at)));
        }
        if let Some(next) = self.close_due(now) {
            self.close_later(next);
        }
    }

    fn close_later(self: &Rc<Self>, first: Instant) {
        if self.closing.get().is_none_or(|at| first < at) {
            self.closing.set(Some(first));
            spawn_local(Rc::clone(self).close_in_time(first));
        }
    }

    async fn close_in_time(self: Rc<Self>, mut at: Instant) {
        loop {
            sleep_until(at.max(Instant::now() + CLOSE_STEP)).await;
            if self.closing.get() != Some(at) {
                // An earlier moment came, and what waits for that goes on.
                return;
            }
            let next = self.close_due(Instant::now());
            self.closing.set(next);
            match next {
                Some(next) => at = next,
                None => return,
            }
        }
    }

    /// Tells the streams whose moment has come; the next moment, if there is one.
    fn close_due(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            entry.close_if_due(now);
            let later = entry.close_at.filter(|at| *at > now);
            next = later
                .map(|at| next.map_or(at, |next| next.min(at)))
                .or(next);
        }
        next
    }

    /// Everything is broken off.
    pub(super) fn break_off(&self) {
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            entry.tell(Order::Break);
        }
    }

    /// Tells those whose deadline has passed to look.
    pub(super) fn sweep(&self, now: Instant) {
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if entry.deadline.is_some_and(|deadline| deadline <= now) {
                entry.deadline = None;
                entry.tell(Order::Look);
            }
        }
    }

    fn counters(&self) -> &Counters {
        self.app.traffic.worker(self.index)
    }

    fn become_stream(&self, entry: &mut Entry, kind: StreamKind) {
        if entry.stream.is_none() {
            entry.stream = Some(kind);
            entry.lease.become_stream();
            self.counters().stream_began(kind);
            entry.close_if_due(Instant::now());
        }
    }
}

// === impl Entry ===

impl Entry {
    fn close_if_due(&mut self, now: Instant) {
        if self.stream.is_some() && self.close_at.take_if(|at| *at <= now).is_some() {
            self.tell(Order::Close);
        }
    }

    fn tell(&mut self, order: Order) {
        // The stronger one stands.
        self.order = self.order.max(Some(order));
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

// === impl Exchange ===

impl Exchange {
    /// What it has been told since it last asked. A break stands; the others are told once.
    pub(super) fn order(&self) -> Option<Order> {
        let mut entries = self.register.entries.borrow_mut();
        let entry = &mut entries[self.key];
        match entry.order {
            Some(Order::Break) => Some(Order::Break),
            _ => entry.order.take(),
        }
    }

    /// It has nothing to do until its task is woken, by an order or past `deadline` among others.
    pub(super) fn park(&self, cx: &Context<'_>, deadline: Option<Instant>) {
        let mut entries = self.register.entries.borrow_mut();
        let entry = &mut entries[self.key];
        entry.deadline = deadline;
        if !entry
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            entry.waker = Some(cx.waker().clone());
        }
    }

    /// It has something to do: no deadline runs.
    pub(super) fn progress(&self) {
        self.register.entries.borrow_mut()[self.key].deadline = None;
    }

    /// The head of the answer is there.
    pub(super) fn answered(&self) {
        let mut entries = self.register.entries.borrow_mut();
        let entry = &mut entries[self.key];
        entry.answered = true;
        entry.deadline = None;
        // The answer was faster.
        let _ = entry.order.take_if(|order| *order == Order::Recall);
    }

    /// It ended at its generation, well or badly. To be said once.
    pub(super) fn ended(&self, origin: Origin, bad: bool) {
        let worker = self.register.index;
        self.outcomes(|outcomes| outcomes.ended(worker, origin, bad));
    }

    /// Tells something about its generation.
    pub(super) fn outcomes(&self, tell: impl FnOnce(&Outcomes)) {
        let entries = self.register.entries.borrow();
        tell(&entries[self.key].lease.generation().payload.outcomes);
    }

    /// Tells something about the instance that it is with.
    pub(super) fn instance_did(&self, tell: impl FnOnce(&Outcomes, u32)) {
        let number = self.seat.pool().number();
        self.outcomes(|outcomes| tell(outcomes, number));
    }

    /// From now on it is a stream: ordinary draining does not wait for it.
    pub(super) fn become_stream(&self, kind: StreamKind) {
        let mut entries = self.register.entries.borrow_mut();
        let entry = &mut entries[self.key];
        if kind == StreamKind::Grpc && entry.close_at.is_some() {
            let grace = Instant::now() + CALL_GRACE;
            entry.close_at = entry.close_at.max(Some(grace));
            self.register.close_later(grace);
        }
        self.register.become_stream(entry, kind);
    }

    /// It ends in its own manner as soon as it can.
    pub(super) fn end_soon(&self) {
        self.register.entries.borrow_mut()[self.key].tell(Order::Close);
    }

    /// Where its worker counts for its app.
    pub(super) fn counters(&self) -> &Counters {
        self.register.counters()
    }

    /// The instance that it is with.
    pub(super) fn seat(&self) -> &InFlight {
        &self.seat
    }

    /// The number of the generation that it is with.
    pub(super) fn generation_id(&self) -> GenerationId {
        self.register.entries.borrow()[self.key]
            .lease
            .generation()
            .id()
    }

    /// The generation that it is with.
    pub(super) fn generation(&self) -> Arc<Generation<Backend>> {
        Arc::clone(self.register.entries.borrow()[self.key].lease.generation())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // The lease is dropped after the borrow: its nudge is code of others.
        let entry = self.register.entries.borrow_mut().remove(self.key);
        if let Some(kind) = entry.stream {
            self.register.counters().stream_ended(kind);
        }
    }
}
