//! How the requests of one generation end: what the data plane counts and the control plane judges by.
//!
//! Each worker counts in a block that it alone writes. Only failures touch what all share, for only they are rare.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the workers tell about one generation's answers.
pub struct Outcomes {
    workers: Box<[Counts]>,
    /// For each instance that refused the newest connection, how many in a row it refused.
    refused: Mutex<BTreeMap<u32, u32>>,
    /// Whether there is any.
    any_refused: AtomicBool,
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
    rescuing: AtomicU64,
}

// === impl Outcomes ===

impl Outcomes {
    /// Nothing has ended yet. `alarm` is called on a worker's thread at each refused connection, and on probation at each bad
    /// answer; it must neither block nor be slow.
    pub(super) fn new(workers: usize, alarm: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            workers: (0..workers).map(|_| Counts::default()).collect(),
            refused: Mutex::default(),
            any_refused: AtomicBool::new(false),
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
            self.raise_alarm();
        }
    }

    /// A request that another generation answered badly is being answered here. To be called by `worker` alone, and to be
    /// followed by [`rescue_over`](Self::rescue_over).
    pub fn rescue_begins(&self, worker: usize) {
        add_one(&self.workers[worker].rescuing);
    }

    /// It is answered, or nobody waits for the answer any more. To be called by `worker` alone.
    pub fn rescue_over(&self, worker: usize) {
        let rescuing = &self.workers[worker].rescuing;
        rescuing.store(rescuing.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    /// How many such requests there are at this moment.
    pub fn rescuing(&self) -> u64 {
        let workers = self.workers.iter();
        workers
            .map(|counts| counts.rescuing.load(Ordering::Relaxed))
            .sum()
    }

    /// An instance refused a new connection, or reset it before anything was written: neither a time-out nor an idle
    /// connection that had gone stale.
    pub fn refused(&self, instance: u32) {
        let mut refused = self.lock_refused();
        let row = refused.entry(instance).or_default();
        *row = row.saturating_add(1);
        self.any_refused.store(true, Ordering::SeqCst);
        drop(refused);
        // Also without probation: what somebody else serves is looked at then. Whoever does not care is not woken.
        (self.alarm)();
    }

    /// Whether an instance has refused a new connection, and taken none since.
    pub fn any_refused(&self) -> bool {
        self.any_refused.load(Ordering::SeqCst)
    }

    /// An instance took a new connection, and a request on it.
    pub fn connected(&self, instance: u32) {
        // Looked at first, so that the usual case writes nothing that others read.
        if self.any_refused.load(Ordering::Relaxed) {
            let mut refused = self.lock_refused();
            refused.remove(&instance);
            self.any_refused
                .store(!refused.is_empty(), Ordering::SeqCst);
        }
    }

    /// How many new connections in a row each of these instances refused or reset, over all workers: the least of them. 0
    /// for no instance.
    pub fn refused_in_a_row(&self, instances: impl IntoIterator<Item = u32>) -> u32 {
        let refused = self.lock_refused();
        let rows = instances.into_iter().map(|instance| refused.get(&instance));
        rows.map(|row| row.copied().unwrap_or(0)).min().unwrap_or(0)
    }

    /// Only a generation on probation is judged by it.
    fn raise_alarm(&self) {
        if self.trust() == Trust::Probation {
            (self.alarm)();
        }
    }

    fn lock_refused(&self) -> MutexGuard<'_, BTreeMap<u32, u32>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
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
            .field("refused", &*self.lock_refused())
            .field("trust", &self.trust())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
        outcomes.refused(1);
        outcomes.refused(1);
        assert_eq!(outcomes.refused_in_a_row([1]), 2);
        outcomes.connected(1);
        assert_eq!(outcomes.refused_in_a_row([1]), 0);
    }

    #[test]
    fn one_instance_that_refuses_says_nothing_about_the_others() {
        let outcomes = Outcomes::new(1, || {});
        outcomes.refused(1);
        outcomes.refused(1);
        assert_eq!(outcomes.refused_in_a_row([1, 2]), 0);
        outcomes.refused(2);
        assert_eq!(outcomes.refused_in_a_row([1, 2]), 1);
        outcomes.connected(2);
        assert_eq!(outcomes.refused_in_a_row([1]), 2);
        assert_eq!(outcomes.refused_in_a_row([]), 0);
    }

    #[test]
    fn nobody_is_alarmed_about_bad_answers_of_a_generation_that_is_not_judged() {
        let alarms = Arc::new(AtomicU64::new(0));
        let heard = Arc::clone(&alarms);
        let outcomes = Outcomes::new(1, move || {
            heard.fetch_add(1, Ordering::Relaxed);
        });
        outcomes.ended(0, Origin::Own, true);
        assert_eq!(alarms.load(Ordering::Relaxed), 0);
        outcomes.refused(1);
        assert_eq!(alarms.load(Ordering::Relaxed), 1);
        outcomes.set_trust(Trust::Probation);
        outcomes.ended(0, Origin::Own, true);
        outcomes.refused(1);
        assert_eq!(alarms.load(Ordering::Relaxed), 3);
    }
}
