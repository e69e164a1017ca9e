//! What is counted about client connections, whichever app their requests are for.

use super::Count;
use super::labels::{AcceptWait, Closed};

/// The counts of all workers, a block for each.
#[derive(Debug)]
pub struct Clients {
    workers: Box<[ClientCounters]>,
}

/// What one worker counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ClientCounters {
    closed: [Count; Closed::COUNT],
    waits: [Count; AcceptWait::COUNT],
    parked: Count,
    http2: Count,
}

/// The sums over all workers at one moment. Every label is there, at 0 from the start.
#[derive(Clone, Debug, Default)]
pub struct ClientTotals {
    /// Connections that hitless closed.
    pub closed: Vec<(Closed, u64)>,
    /// How many times accepting had to wait.
    pub waits: Vec<(AcceptWait, u64)>,
    /// How many times a connection was taken from HTTP's hands because nothing was under way.
    pub parked: u64,
    /// Connections that speak HTTP/2.
    pub http2: u64,
}

// === impl Clients ===

impl Clients {
    /// Counters for `workers` workers, all at 0.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| ClientCounters::default()).collect(),
        }
    }

    /// The block of one worker.
    ///
    /// # Panics
    ///
    /// When `index` is not below the number of workers it was made for.
    pub fn worker(&self, index: usize) -> &ClientCounters {
        &self.workers[index]
    }

    /// Adds the blocks up.
    pub fn totals(&self) -> ClientTotals {
        let sum = |of: &dyn Fn(&ClientCounters) -> u64| self.workers.iter().map(of).sum::<u64>();
        ClientTotals {
            closed: Closed::ALL
                .map(|why| (why, sum(&|counters| counters.closed[why as usize].get())))
                .to_vec(),
            waits: AcceptWait::ALL
                .map(|why| (why, sum(&|counters| counters.waits[why as usize].get())))
                .to_vec(),
            parked: sum(&|counters| counters.parked.get()),
            http2: sum(&|counters| counters.http2.get()),
        }
    }
}

// === impl ClientCounters ===

impl ClientCounters {
    /// hitless closed a connection.
    pub fn closed(&self, why: Closed) {
        self.closed[why as usize].add(1);
    }

    /// A connection with nothing under way was taken from HTTP's hands.
    pub fn parked(&self) {
        self.parked.add(1);
    }

    /// A connection turned out to speak HTTP/2.
    pub fn http2_began(&self) {
        self.http2.add(1);
    }

    /// It is gone.
    pub fn http2_ended(&self) {
        self.http2.subtract(1);
    }

    /// Accepting had to wait.
    pub fn waited(&self, why: AcceptWait) {
        self.waits[why as usize].add(1);
    }
}
