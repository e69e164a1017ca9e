//! How many requests a worker may send again: so few that they do not finish an app off that has trouble already.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

/// How many seconds count as recent.
const WINDOW: usize = 10;
/// How many requests a second may be sent again in any case.
const ALWAYS: f64 = 3.0;

/// One worker's budget for one app.
#[derive(Debug)]
pub(in crate::data_plane) struct Budget {
    ratio: Cell<f64>,
    since: Instant,
    /// The second that is being counted, from 0.
    second: Cell<u64>,
    seconds: RefCell<[Second; WINDOW]>,
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    requests: u32,
    resends: u32,
}

// === impl Budget ===

impl Budget {
    /// `ratio` of the recent requests may be sent again.
    pub(in crate::data_plane) fn new(ratio: f64) -> Self {
        Self {
            ratio: Cell::new(ratio),
            since: Instant::now(),
            second: Cell::new(0),
            seconds: RefCell::default(),
        }
    }

    /// From now on it is this share.
    pub(in crate::data_plane) fn set_ratio(&self, ratio: f64) {
        self.ratio.set(ratio);
    }

    /// A request came.
    pub(in crate::data_plane) fn request_came(&self, now: Instant) {
        let place = self.turn_to(now);
        self.seconds.borrow_mut()[place].requests += 1;
    }

    /// Takes one re-send out of the budget. Says no when it is used up.
    pub(super) fn take(&self, now: Instant) -> bool {
        let place = self.turn_to(now);
        let mut seconds = self.seconds.borrow_mut();
        let sum = |of: fn(&Second) -> u32| seconds.iter().map(of).map(f64::from).sum::<f64>();
        let always = ALWAYS * Duration::from_secs(WINDOW as u64).as_secs_f64();
        let most = (self.ratio.get() * sum(|second| second.requests)).max(always);
        let fits = sum(|second| second.resends) + 1.0 <= most;
        seconds[place].resends += u32::from(fits);
        fits
    }

    /// Forgets what is no longer recent, and returns the place of this second.
    fn turn_to(&self, now: Instant) -> usize {
        let second = now.saturating_duration_since(self.since).as_secs();
        let before = self.second.get();
        if second > before {
            self.second.set(second);
            let mut seconds = self.seconds.borrow_mut();
            for passed in (before + 1..=second).take(WINDOW) {
                seconds[place(passed)] = Second::default();
            }
        }
        place(second.max(before))
    }
}

fn place(second: u64) -> usize {
    (second % WINDOW as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Budget, now: Instant) -> usize {
        (0..10_000).take_while(|_| budget.take(now)).count()
    }

    #[test]
    fn three_a_second_may_always_be_sent_again() {
        let budget = Budget::new(0.2);
        let now = Instant::now();
        assert_eq!(taken(&budget, now), 30);
        assert!(!budget.take(now + Duration::from_secs(9)));
        assert_eq!(taken(&budget, now + Duration::from_secs(11)), 30);
    }

    #[test]
    fn of_many_requests_a_share_may_be_sent_again() {
        let budget = Budget::new(0.2);
        let now = Instant::now();
        for second in 0..10 {
            for _ in 0..100 {
                budget.request_came(now + Duration::from_secs(second));
            }
        }
        let last = now + Duration::from_secs(9);
        assert_eq!(taken(&budget, last), 200);
        // The requests of the first five seconds are no longer recent; their re-sends were made in the last one.
        assert!(!budget.take(now + Duration::from_secs(15)));
        assert_eq!(taken(&budget, now + Duration::from_secs(1000)), 30);
    }
}
