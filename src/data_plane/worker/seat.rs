//! The places of client connections on a worker: who gets one, and who makes room for whom.

use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Worker;
use crate::data_plane::Phase;
use crate::data_plane::connection::{LINGER_IDLE_MAX, MOMENT, Streams};
use crate::data_plane::crowd::Admission;
use crate::data_plane::roster::Call;
use crate::data_plane::wire::Pulse;
use crate::memory;
use crate::telemetry::traffic::{AcceptWait, ClientCounters, Closed};

/// How long a listener that waits for room waits before it looks by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The time between telling some and telling more.
const TELL_PAUSE: Duration = Duration::from_millis(2);

/// After so many in one sweep, together with the tunnels that have ended since the last time, it is worth a millisecond or
/// two to hand their memory back.
const TOLD_TO_TRIM: usize = 256;

/// The time between two log lines about waiting.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// A client connection's place among those of its worker; for as long as it exists the connection counts as open.
pub(in crate::data_plane) struct Seat {
    worker: Rc<Worker>,
    key: usize,
    address: Option<IpAddr>,
    /// Among those of its address.
    is_counted: bool,
}

/// Makes a connection count as one of HTTP/2, and has its streams looked at, until it is dropped.
pub(in crate::data_plane) struct Tenure {
    worker: Rc<Worker>,
    key: usize,
}

// === impl Worker ===

impl Worker {
    /// A connection speaks HTTP/2, and these are its streams.
    pub(in crate::data_plane) fn hold(self: &Rc<Self>, streams: Rc<Streams>) -> Tenure {
        self.clients().http2_began();
        Tenure {
            worker: Rc::clone(self),
            key: self.multiplexed.borrow_mut().insert(streams),
        }
    }

    /// A place for a new client connection, unless its address has as many as it may have. Where there are many, it is the
    /// longest idle one that leaves.
    pub(in crate::data_plane) fn admit(self: &Rc<Self>, address: Option<IpAddr>) -> Option<Seat> {
        let admission = address.map_or(Admission::Uncounted, |address| self.crowd.admit(address));
        if admission == Admission::Refused {
            self.clients().closed(Closed::AddressCrowded);
            tracing::debug!(peer = ?address, "closed: connections_per_address_max");
            return None;
        }
        if self.excess(1) > 0 {
            self.roster.close_longest_idle(Closed::Crowded);
        }
        Some(self.take_place(address, admission == Admission::Counted))
    }

    /// A place for what a client connection becomes.
    pub(in crate::data_plane) fn successor(self: &Rc<Self>, address: Option<IpAddr>) -> Seat {
        let is_counted = address.is_some_and(|address| self.crowd.succeed(address));
        self.take_place(address, is_counted)
    }

    fn take_place(self: &Rc<Self>, address: Option<IpAddr>, is_counted: bool) -> Seat {
        let key = self.roster.insert();
        self.count_open();
        Seat {
            worker: Rc::clone(self),
            key,
            address,
            is_counted,
        }
    }

    /// Waits until there may be one more client connection.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(in crate::data_plane) async fn room(&self) {
        if !self.crowd.is_full(self.gauges.connections()) {
            return;
        }
        let waiting = self.crowd.wait();
        let mut counted = false;
        loop {
            let mut freed = pin!(waiting.freed());
            // Listening begins before looking, so that nothing is missed in between.
            freed.as_mut().enable();
            if !self.crowd.is_full(self.gauges.connections()) {
                return;
            }
            if !counted {
                counted = true;
                self.clients().waited(AcceptWait::Room);
            }
            // One that is about to leave is enough.
            let staying = self
                .gauges
                .connections()
                .saturating_sub(self.roster.leaving());
            if self.crowd.is_full(staying) && !self.roster.close_longest_idle(Closed::Crowded) {
                self.say_full();
            }
            // Those of other workers are closed by their own sweeps.
            let _ = timeout(LOOK_AGAIN, freed).await;
        }
    }

    /// The system has no descriptor or memory for one more: the longest idle one leaves, if there is one.
    pub(in crate::data_plane) fn give_way(&self) {
        self.clients().waited(AcceptWait::System);
        self.roster.close_longest_idle(Closed::Crowded);
    }

    /// How many connections are too many once so many have come, beside those that are about to leave.
    fn excess(&self, coming: usize) -> usize {
        let excess = self.crowd.excess(self.gauges.connections() + coming);
        excess.saturating_sub(self.roster.leaving())
    }

    fn say_full(&self) {
        let due = self
            .said_full
            .get()
            .is_none_or(|at| at.elapsed() >= SAY_AGAIN);
        if due {
            self.said_full.set(Some(Instant::now()));
            tracing::warn!(
                connections = self.gauges.connections(),
                "client connections wait to be accepted: there are connections_max, and none of them is idle"
            );
        }
    }

    /// Looks at all client connections, and closes the longest idle ones where there are many.
    pub(super) fn sweep_clients(&self, now: Instant) {
        let settings = self.settings();
        self.roster.sweep(now, &settings.client);
        let patience = if self.phase() >= Phase::ClosingIdle {
            MOMENT
        } else {
            LINGER_IDLE_MAX
        };
        for (_, streams) in self.multiplexed.borrow().iter() {
            streams.look(now, &settings.client, patience);
        }
        if !self.crowd.is_full(self.gauges.connections()) {
            return;
        }
        // Whoever waits may be another worker, and each does its part.
        for _ in 0..self.excess(0).div_ceil(self.gauges.workers.len()) {
            if !self.roster.close_longest_idle(Closed::Crowded) {
                break;
            }
        }
    }

    /// Tells those that the sweep found to park or to end, little by little.
    pub(super) async fn tell_clients(&self, now: Instant) {
        let mut told = 0;
        while let Some(some) = self.roster.tell_some(now, &self.settings().client) {
            told += some;
            // Others have their turn.
            sleep(TELL_PAUSE).await;
        }
        if told + self.tunnels_ended.get() >= TOLD_TO_TRIM {
            self.tunnels_ended.set(0);
            memory::give_back();
        }
    }

    /// What it kept is free from now on.
    pub(in crate::data_plane) fn tunnel_ended(&self) {
        self.tunnels_ended.update(|ended| ended + 1);
    }

    /// This worker's counts of client connections.
    pub(in crate::data_plane) fn clients(&self) -> &ClientCounters {
        self.gauges.clients.worker(self.index)
    }

    fn count_open(&self) {
        let open = self.roster.len();
        let gauge = &self.gauges.workers[self.index];
        gauge.open.store(open, Ordering::SeqCst);
        if open == 0 && self.phase() != Phase::Serving {
            self.empty.notify_one();
            self.gauges.changed.notify_waiters();
        }
    }
}

// === impl Seat ===

impl Seat {
    /// Has the connection's task woken when the phase changes or it is called.
    pub(in crate::data_plane) fn wake_by(&self, waker: &Waker) {
        self.worker.roster.wake_by(self.key, waker);
    }

    /// What the connection has been told since it last asked.
    pub(in crate::data_plane) fn call(&self) -> Option<Call> {
        self.worker.roster.call(self.key)
    }

    /// Nothing is under way on the connection, and hyper knows nothing of it.
    pub(in crate::data_plane) fn is_idle(&self) {
        self.worker.roster.is_idle(self.key);
    }

    /// hyper has the connection.
    pub(in crate::data_plane) fn is_active(&self, pulse: &Arc<Pulse>) {
        self.worker.roster.is_active(self.key, Arc::clone(pulse));
    }

    /// The connection is ending by itself.
    pub(in crate::data_plane) fn is_leaving(&self) {
        self.worker.roster.is_leaving(self.key);
    }

    /// Its worker.
    pub(in crate::data_plane) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Where the client is.
    pub(in crate::data_plane) fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        self.worker.multiplexed.borrow_mut().remove(self.key);
        self.worker.clients().http2_ended();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.worker.roster.remove(self.key);
        self.worker.count_open();
        if let Some(address) = self.address.filter(|_| self.is_counted) {
            self.worker.crowd.dismiss(address);
        }
        self.worker.crowd.left();
    }
}
