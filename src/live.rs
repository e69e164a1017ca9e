//! Where the two planes meet: which generation is live, and who still uses which.
//!
//! The control plane [publishes](Live::publish) a [`Routing`]; a worker of the data plane [acquires](Worker::acquire) a
//! [`Lease`] on the live generation once per request and keeps it to the last byte of the answer. A generation is
//! drained when no lease on it is left.
//!
//! No lock, and no cache line that two workers write: each worker counts its own leases. What makes that safe is an
//! order that both sides keep. The worker counts first and then looks whether the generation still is the published
//! one; the control plane publishes first and then adds the counts up. Whichever comes first, either the worker sees
//! that it came too late, or the control plane sees the lease. `tests/loom` checks every interleaving.
//!
//! Performs no I/O and knows no clock.

mod backend;
mod outcomes;

pub use self::backend::{Backend, Instance, Orders};
pub use self::outcomes::{Origin, Outcomes, Tally, Trust};

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::generation::GenerationId;
use crate::sync::{Arc, AtomicBool, AtomicU32, Bell, Ordering, Slot, fence};

/// Which generation of an app gets new requests. One per app, shared by both planes.
#[derive(Debug)]
pub struct Live<P> {
    routing: Slot<Routing<P>>,
    bell: Bell,
}

/// What the control plane publishes.
#[derive(Debug)]
pub struct Routing<P> {
    /// Gets new requests; none: they are held.
    pub live: Option<Arc<Generation<P>>>,
    /// May get a request that failed on the live one: the standby, else the youngest usable retiring generation.
    pub fallback: Option<Arc<Generation<P>>>,
}

/// One generation as both planes know it.
pub struct Generation<P> {
    id: GenerationId,
    /// What the planes tell each other about it beside who uses it.
    pub payload: P,
    counts: Box<[Counts]>,
    retired: AtomicBool,
    nudge: Box<dyn Fn(GenerationId) + Send + Sync>,
}

/// How many leases one worker holds. Written by that worker alone, on a cache line of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Counts {
    requests: AtomicU32,
    streams: AtomicU32,
}

/// One worker's way to an app's live generation. Stays on its thread.
pub struct Worker<P> {
    live: Arc<Live<P>>,
    index: usize,
    /// The generation acquired last, so that a lease costs no shared reference count.
    seat: RefCell<Option<Rc<Seat<P>>>>,
}

/// One generation as one worker holds it.
struct Seat<P> {
    generation: Arc<Generation<P>>,
    worker: usize,
}

/// The right to use a generation. Dropped exactly once, whichever way the exchange ends: with its last byte, a
/// cancelled future or a panic.
pub struct Lease<P> {
    seat: Rc<Seat<P>>,
    kind: Kind,
}

/// What a lease counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    Stream,
}

// === impl Live ===

impl<P> Live<P> {
    /// Nothing is live yet.
    pub fn new() -> Self {
        Self {
            routing: Slot::new(Routing::default()),
            bell: Bell::new(),
        }
    }

    /// Moves new requests, in one atomic step: a request that is acquired after this returns gets what is published
    /// here. Wakes whoever listens. Takes back the retirement of what it makes live.
    pub fn publish(&self, routing: Routing<P>) {
        if let Some(live) = &routing.live {
            live.retired.store(false, Ordering::SeqCst);
        }
        self.routing.store(routing);
        fence(Ordering::SeqCst);
        self.bell.ring();
    }

    /// Tells of each publication.
    #[cfg(not(loom))]
    pub fn listen(&self) -> tokio::sync::watch::Receiver<()> {
        self.bell.listen()
    }

    /// What gets new requests at this moment; for looking, not for using.
    pub fn live(&self) -> Option<GenerationId> {
        self.routing
            .load()
            .live
            .as_ref()
            .map(|generation| generation.id)
    }

    /// What may take over a failed request at this moment; for looking, not for using.
    pub fn fallback(&self) -> Option<GenerationId> {
        self.routing
            .load()
            .fallback
            .as_ref()
            .map(|generation| generation.id)
    }
}

impl<P> Default for Live<P> {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Routing ===

impl<P> Default for Routing<P> {
    fn default() -> Self {
        Self {
            live: None,
            fallback: None,
        }
    }
}

// === impl Generation ===

impl<P> Generation<P> {
    /// A generation that `workers` workers may use. `nudge` is called on a worker's thread each time that worker's
    /// count of requests or streams falls to 0 while the generation is retired; it must neither block nor use `live`.
    pub fn new(
        id: GenerationId,
        payload: P,
        workers: usize,
        nudge: impl Fn(GenerationId) + Send + Sync + 'static,
    ) -> Self {
        let counts = (0..workers)
            .map(|_| Counts {
                requests: AtomicU32::new(0),
                streams: AtomicU32::new(0),
            })
            .collect();
        Self {
            id,
            payload,
            counts,
            retired: AtomicBool::new(false),
            nudge: Box::new(nudge),
        }
    }

    /// Its number.
    pub fn id(&self) -> GenerationId {
        self.id
    }

    /// From now on a worker whose count falls to 0 says so. Call it after publishing another generation, and read the
    /// counts after it: what is gone by then nudges nobody.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// How many ordinary requests use it. Exact once it is no longer published; before, a glance.
    pub fn requests(&self) -> u32 {
        self.counts
            .iter()
            .map(|counts| counts.requests.load(Ordering::SeqCst))
            .sum()
    }

    /// How many streams use it. Exact once no ordinary request is left, for an answer may still become a stream.
    pub fn streams(&self) -> u32 {
        self.counts
            .iter()
            .map(|counts| counts.streams.load(Ordering::SeqCst))
            .sum()
    }
}

impl<P: fmt::Debug> fmt::Debug for Generation<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("id", &self.id)
            .field("payload", &self.payload)
            .field("requests", &self.requests())
            .field("streams", &self.streams())
            .finish_non_exhaustive()
    }
}

// === impl Counts ===

impl Counts {
    fn of(&self, kind: Kind) -> &AtomicU32 {
        match kind {
            Kind::Request => &self.requests,
            Kind::Stream => &self.streams,
        }
    }

    /// One writer: a load and a store, no locked instruction but the fence that follows.
    fn add(&self, kind: Kind) {
        let count = self.of(kind);
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::SeqCst);
    }

    /// The count that is left.
    fn subtract(&self, kind: Kind) -> u32 {
        let count = self.of(kind);
        let left = count.load(Ordering::Relaxed) - 1;
        count.store(left, Ordering::SeqCst);
        left
    }
}

// === impl Worker ===

impl<P> Worker<P> {
    /// The way of worker `index` (from 0, below the number of workers that generations are made for).
    pub fn new(live: Arc<Live<P>>, index: usize) -> Self {
        Self {
            live,
            index,
            seat: RefCell::new(None),
        }
    }

    /// A lease on the generation that is live now; none while nothing is.
    pub fn acquire(&self) -> Option<Lease<P>> {
        self.acquire_by(|routing| routing.live.as_ref())
    }

    /// A lease on the generation that may take over a request which failed on the live one.
    pub fn acquire_fallback(&self) -> Option<Lease<P>> {
        self.acquire_by(|routing| routing.fallback.as_ref())
    }

    fn acquire_by(
        &self,
        select: impl Fn(&Routing<P>) -> Option<&Arc<Generation<P>>>,
    ) -> Option<Lease<P>> {
        loop {
            let seat = self.seat(select(&self.live.routing.load())?);
            let lease = Lease::new(seat);
            fence(Ordering::SeqCst);
            // The second load: published means that whoever retires it from now on sees this lease.
            if select(&self.live.routing.load())
                .is_some_and(|now| Arc::ptr_eq(now, &lease.seat.generation))
            {
                return Some(lease);
            }
        }
    }

    fn seat(&self, generation: &Arc<Generation<P>>) -> Rc<Seat<P>> {
        let mut kept = self.seat.borrow_mut();
        match kept.as_ref() {
            Some(seat) if Arc::ptr_eq(&seat.generation, generation) => Rc::clone(seat),
            _ => Rc::clone(kept.insert(Rc::new(Seat {
                generation: Arc::clone(generation),
                worker: self.index,
            }))),
        }
    }

    /// Lets go of the generation acquired last, so that an idle worker keeps nothing alive.
    pub fn forget(&self) {
        *self.seat.borrow_mut() = None;
    }
}

impl<P> fmt::Debug for Worker<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

// === impl Seat ===

impl<P> Seat<P> {
    fn counts(&self) -> &Counts {
        &self.generation.counts[self.worker]
    }

    fn release(&self, kind: Kind) {
        let left = self.counts().subtract(kind);
        fence(Ordering::SeqCst);
        if left == 0 && self.generation.retired.load(Ordering::SeqCst) {
            (self.generation.nudge)(self.generation.id);
        }
    }
}

// === impl Lease ===

impl<P> Lease<P> {
    fn new(seat: Rc<Seat<P>>) -> Self {
        seat.counts().add(Kind::Request);
        Self {
            seat,
            kind: Kind::Request,
        }
    }

    /// The generation it is for.
    pub fn generation(&self) -> &Arc<Generation<P>> {
        &self.seat.generation
    }

    /// From now on it counts as a stream: ordinary draining no longer waits for it. Twice is once.
    pub fn become_stream(&mut self) {
        if self.kind == Kind::Request {
            // Counted as both for a moment rather than as neither.
            self.seat.counts().add(Kind::Stream);
            self.kind = Kind::Stream;
            self.seat.release(Kind::Request);
        }
    }

    /// Whether it counts as a stream.
    pub fn is_stream(&self) -> bool {
        self.kind == Kind::Stream
    }
}

impl<P> Drop for Lease<P> {
    fn drop(&mut self) {
        self.seat.release(self.kind);
    }
}

impl<P> fmt::Debug for Lease<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("generation", &self.seat.generation.id)
            .field("kind", &self.kind)
            .finish()
    }
}
