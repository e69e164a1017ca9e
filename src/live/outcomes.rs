//! How the requests of one generation end: what the data plane counts and the control plane judges by.
//!
//! Each worker counts in a block that it alone writes. Only failures touch what all share, for only they are rare.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// What the workers tell about one generation's answers.
pub struct Outcomes {
    workers: Box<[Counts]>,
    refused_in_a_row: AtomicU32,
    trust: AtomicU8,
    alarm: Box<dyn Fn() + Send + Sync>,
}

/// How far the control plane trusts a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Trust {
    /// Its answers are passed on as they are.
    Full = 0,
    /// It is on probation: bad answers to safe requests are replaced by those of the fallback.
    Probation = 1,
    /// It was failed over: bad answers to safe requests are replaced by those of the live one.
    Fallen = 2,
}

/// Whose request it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It came to the generation first.
    Own,
    /// It failed at another generation before.
    Rescued,
}

/// Sums over all workers since the generation was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many requests of its own have ended, well or badly.
    pub answers: u64,
    /// How many of them badly: a 5xx of the app, or no answer because of the app.
    pub bad: u64,
    /// How many rescued requests have ended.
    pub rescued: u64,
    /// How many of them badly.
    pub rescued_bad: u64,
}

/// One worker's counts, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    answers: AtomicU64,
    bad: AtomicU64,
    rescued: AtomicU64,
    rescued_bad: AtomicU64,
}

// === impl Outcomes ===

impl Outcomes {
    /// Nothing has ended yet. `alarm` is called on a worker's thread at each bad answer and each refused connection;
    /// it must neither block nor be slow.
    pub(super) fn new(workers: usize, alarm: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            workers: (0..workers).map(|_| Counts::default()).collect(),
            refused_in_a_row: AtomicU32::new(0),
            trust: AtomicU8::new(Trust::Full as u8),
            alarm: Box::new(alarm),
        }
    }

    /// A request ended at this generation. To be called by `worker` alone, once for each request that was sent or that
    /// could not be sent because of the app; not for one whose client went away.
    pub fn ended(&self, worker: usize, origin: Origin, bad: bool) {
        let counts = &self.workers[worker];
        let (all, badly) = match origin {
            Origin::Own => (&counts.answers, &counts.bad),
            Origin::Rescued => (&counts.rescued, &counts.rescued_bad),
        };
        add_one(all);
        if bad {
            add_one(badly);
            (self.alarm)();
        }
    }

    /// A new connection was refused or reset: neither a time-out nor an idle connection that had gone stale.
    pub fn refused(&self) {
        self.refused_in_a_row.fetch_add(1, Ordering::SeqCst);
        (self.alarm)();
    }

    /// A new connection was made.
    pub fn connected(&self) {
        // Looked at first, so that the usual case writes nothing that others read.
        if self.refused_in_a_row.load(Ordering::Relaxed) != 0 {
            self.refused_in_a_row.store(0, Ordering::SeqCst);
        }
    }

    /// How many new connections in a row were refused or reset, over all workers.
    pub fn refused_in_a_row(&self) -> u32 {
        self.refused_in_a_row.load(Ordering::SeqCst)
    }

    /// The sums at this moment.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for counts in &self.workers {
            tally.answers += counts.answers.load(Ordering::Relaxed);
            tally.bad += counts.bad.load(Ordering::Relaxed);
            tally.rescued += counts.rescued.load(Ordering::Relaxed);
            tally.rescued_bad += counts.rescued_bad.load(Ordering::Relaxed);
        }
        tally
    }

    /// How far it is trusted.
    pub fn trust(&self) -> Trust {
        match self.trust.load(Ordering::SeqCst) {
            1 => Trust::Probation,
            2 => Trust::Fallen,
            _ => Trust::Full,
        }
    }

    /// Says how far it is trusted from now on.
    pub fn set_trust(&self, trust: Trust) {
        self.trust.store(trust as u8, Ordering::SeqCst);
    }
}

/// One writer: no locked instruction.
fn add_one(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes")
            .field("tally", &self.tally())
            .field("refused_in_a_row", &self.refused_in_a_row())
            .field("trust", &self.trust())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up_and_rescued_requests_are_apart() {
        let outcomes = Outcomes::new(2, || {});
        outcomes.ended(0, Origin::Own, false);
        outcomes.ended(1, Origin::Own, true);
        outcomes.ended(1, Origin::Rescued, true);
        let tally = Tally {
            answers: 2,
            bad: 1,
            rescued: 1,
            rescued_bad: 1,
        };
        assert_eq!(outcomes.tally(), tally);
    }

    #[test]
    fn a_connection_ends_the_row_of_refusals() {
        let outcomes = Outcomes::new(1, || {});
        outcomes.refused();
        outcomes.refused();
        assert_eq!(outcomes.refused_in_a_row(), 2);
        outcomes.connected();
        assert_eq!(outcomes.refused_in_a_row(), 0);
    }
}
