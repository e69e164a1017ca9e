//! When to knock again at a door that is still closed. Never says for how long in all.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The shortest time between two attempts to connect while nothing listens.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// What it grows to.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// An attempt comes late by at most this part of the time that the start has taken, or by [`PAUSE_MIN`].
const PART: u32 = 8;

/// The pauses of one wait for an instance to listen. They grow with the time that it takes, so that an app that is up
/// in no time is found in no time, and one that takes its time is not disturbed.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    told: bool,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            told: false,
        }
    }

    /// Waits until it is time for the next attempt: the next pause has passed, or `ready` has come, upon which the
    /// pauses begin anew. It is heard once. Cancel safe where `ready` is.
    pub(super) async fn next(&mut self, ready: impl Future<Output = ()>) {
        let pause = sleep(pause_after(self.since.elapsed()));
        tokio::select! {
            biased;
            () = ready, if !self.told => {
                self.told = true;
                self.since = Instant::now();
            }
            () = pause => {}
        }
    }
}

fn pause_after(elapsed: Duration) -> Duration {
    (elapsed / PART).clamp(PAUSE_MIN, PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test(start_paused = true)]
    async fn whenever_the_door_opens_it_is_noticed_soon_and_with_few_knocks() {
        for (opens_after, late_at_most, knocks_at_most) in
            [(2, 1, 2), (8, 1, 8), (100, 13, 32), (5000, 20, 300)]
        {
            let began = Instant::now();
            let opens = began + Duration::from_millis(opens_after);
            let mut pace = Pace::new();
            let mut knocks = 0;
            while Instant::now() < opens {
                pace.next(pending()).await;
                knocks += 1;
            }
            let late = Instant::now() - opens;
            assert!(
                late <= Duration::from_millis(late_at_most),
                "{opens_after} ms: {late:?}"
            );
            assert!(knocks <= knocks_at_most, "{opens_after} ms: {knocks}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ready_ends_the_pause_at_once_and_only_once() {
        let mut pace = Pace::new();
        for _ in 0..60 {
            pace.next(pending()).await;
        }
        let said = Instant::now();
        let soon = Duration::from_millis(7);
        pace.next(sleep(soon)).await;
        assert_eq!(said.elapsed(), soon);
        // Said and not true yet: tried again in short pauses, and in pauses.
        let heard = Instant::now();
        pace.next(ready(())).await;
        assert_eq!(heard.elapsed(), PAUSE_MIN);
    }
}
