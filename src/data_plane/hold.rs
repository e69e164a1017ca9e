//! Requests that wait while nothing is live: one queue a worker, one count and two limits for the whole app.
//!
//! Only keeps the order and wakes; whoever waits acquires the lease by itself. Reads no body meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use tokio::time::{Instant, timeout_at};

use super::in_force::InForce;
use super::{App, AppConfig};
use crate::live::{Backend, Worker};
use crate::telemetry::traffic::{Counters, HoldOutcome};

/// How many requests an instance gets at a time until the queue is empty.
const AT_A_TIME: usize = 32;

/// One worker's queue for one app.
#[derive(Debug)]
pub(super) struct Queue {
    app: Arc<App>,
    index: usize,
    config: Rc<InForce<AppConfig>>,
    waiting: RefCell<BTreeMap<Place, Waiter>>,
    arrivals: Cell<u64>,
    publications: Cell<u64>,
    /// How many may be let go at a time; 0 while nothing is live.
    room: Cell<usize>,
    /// How many were let go and are not answered yet.
    going: Cell<usize>,
    /// Nobody will be let go any more.
    closed: Cell<bool>,
}

/// A request's place: the time of its first arrival, which it keeps when it must wait again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

/// Lets the next one go when it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Rc<Queue>);

/// How many publications a request has seen; it waits for a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen(Option<u64>);

/// Why a request waits no longer without a generation to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// There was no room to wait.
    Full,
    /// It waited as long as it may.
    TimedOut,
    /// The app is served no more: nothing will ever be live.
    Removed,
}

#[derive(Debug)]
struct Waiter {
    seen: Seen,
    called: bool,
    waker: Option<Waker>,
}

/// One request among those that wait; leaves the queue when dropped.
struct Stay<'a> {
    queue: &'a Rc<Queue>,
    place: Place,
    since: Instant,
    outcome: HoldOutcome,
    took_turn: bool,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(app: Arc<App>, index: usize, config: Rc<InForce<AppConfig>>) -> Self {
        Self {
            app,
            index,
            config,
            waiting: RefCell::default(),
            arrivals: Cell::new(0),
            publications: Cell::new(0),
            room: Cell::new(0),
            going: Cell::new(0),
            closed: Cell::new(false),
        }
    }

    /// The app is served no more: whoever waits has waited long enough, and so has whoever comes.
    pub(super) fn close(&self) {
        self.closed.set(true);
        let mut waiting = self.waiting.borrow_mut();
        let wakers = waiting
            .values_mut()
            .filter_map(|waiter| waiter.waker.take());
        wakers.for_each(Waker::wake);
    }

    /// Whether a new request has to wait behind others: those that could go now and have no turn yet. Those that wait for
    /// a later publication are in nobody's way.
    pub(super) fn has_others_to_go(&self) -> bool {
        let now = self.seen();
        let waiting = self.waiting.borrow();
        waiting
            .values()
            .any(|waiter| !waiter.called && waiter.seen < now)
    }

    /// What a request that acquires a lease now has seen.
    pub(super) fn seen(&self) -> Seen {
        Seen(Some(self.publications.get()))
    }

    /// A place behind all that are there.
    pub(super) fn place(&self) -> Place {
        let place = self.arrivals.get();
        self.arrivals.set(place + 1);
        Place(place)
    }

    /// Something was published: lets the oldest go if there is somebody to go to.
    pub(super) fn published(self: &Rc<Self>, live: &Worker<Backend>) {
        self.publications.set(self.publications.get() + 1);
        let lease = live.acquire();
        let instances = lease.map_or(0, |lease| lease.generation().payload.instances().len());
        self.room.set(instances * AT_A_TIME);
        self.call();
    }

    /// Waits for a turn: until something live was published that `seen` does not know, and all older ones have gone.
    /// What comes of it when `until` comes first is counted as `late`.
    ///
    /// # Errors
    ///
    /// When there is no room to wait, at `until`, or when the app is served no more.
    ///
    /// # Cancel safety
    ///
    /// Leaves the queue when dropped.
    pub(super) async fn wait(
        self: &Rc<Self>,
        place: Place,
        seen: Seen,
        until: Instant,
        late: HoldOutcome,
    ) -> Result<Turn, NoTurn> {
        let mut stay = self.enter(place, seen)?;
        self.call();
        let called = poll_fn(|cx| {
            let mut waiting = self.waiting.borrow_mut();
            let waiter = waiting.get_mut(&place).expect("only the stay removes it");
            if waiter.called {
                return Poll::Ready(Ok(()));
            }
            if self.closed.get() {
                return Poll::Ready(Err(NoTurn::Removed));
            }
            waiter.waker = Some(cx.waker().clone());
            Poll::Pending
        });
        let result = timeout_at(until, called).await;
        let result = result.unwrap_or(Err(NoTurn::TimedOut));
        stay.took_turn = result.is_ok();
        stay.outcome = match result {
            Ok(()) => HoldOutcome::Released,
            Err(NoTurn::TimedOut) => late,
            Err(NoTurn::Full | NoTurn::Removed) => HoldOutcome::Refused,
        };
        // Nothing may come between leaving the queue with a turn and owning that turn.
        let turn = result.map(|()| Turn(Rc::clone(self)));
        drop(stay);
        turn
    }

    fn enter(self: &Rc<Self>, place: Place, seen: Seen) -> Result<Stay<'_>, NoTurn> {
        let max = self.config.get().hold_requests;
        let fits = |held: usize| (held < max).then_some(held + 1);
        let held = &self.app.held;
        if held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_err()
        {
            self.counters().hold_refused();
            return Err(NoTurn::Full);
        }
        self.counters().hold_began();
        let waiter = Waiter {
            seen,
            called: false,
            waker: None,
        };
        self.waiting.borrow_mut().insert(place, waiter);
        Ok(Stay {
            queue: self,
            place,
            since: Instant::now(),
            outcome: HoldOutcome::Gone,
            took_turn: false,
        })
    }

    /// Lets the oldest go for as long as there is room.
    fn call(&self) {
        let now = self.seen();
        let mut waiting = self.waiting.borrow_mut();
        let mut free = self.room.get().saturating_sub(self.going.get());
        for waiter in waiting.values_mut() {
            if free == 0 {
                break;
            }
            if !waiter.called && waiter.seen < now {
                waiter.called = true;
                free -= 1;
                self.going.set(self.going.get() + 1);
                if let Some(waker) = waiter.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    fn counters(&self) -> &Counters {
        self.app.traffic.worker(self.index)
    }

    fn give_back(&self) {
        self.going.set(self.going.get() - 1);
        self.call();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        let waiter = self.queue.waiting.borrow_mut().remove(&self.place);
        self.queue.app.held.fetch_sub(1, Ordering::Relaxed);
        self.queue
            .counters()
            .hold_ended(self.outcome, self.since.elapsed());
        let called = waiter.is_some_and(|waiter| waiter.called);
        if called && !self.took_turn {
            // Called, but gone before it could go: its turn is the next one's.
            self.queue.give_back();
        }
    }
}

#[cfg(test)]
mod tests;
