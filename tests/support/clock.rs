//! How long something takes, told by its median: one slow try of a busy machine says nothing.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::world::{Hitless, SOON};

/// What the built program promises. The tests of an unoptimised one only show that nothing waits for a timer.
pub const BOUND: Duration = if cfg!(debug_assertions) {
    Duration::from_millis(100)
} else {
    Duration::from_millis(10)
};

/// Prints the times, and fails if their median is above the [`BOUND`].
#[track_caller]
pub fn expect_quick(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!(
        "{what}: median of {} is {median:.3?}: {times:.3?}",
        times.len()
    );
    assert!(median < BOUND, "{what}: median {median:?} of {times:?}");
}

/// Asks back to back, on a new connection each time, until this version answers; when its answer was there.
pub async fn first_answer_of(version: u64, hitless: &Hitless) -> Instant {
    let answered = timeout(SOON, async {
        loop {
            let answer = hitless.get("/").await;
            if answer.version() == Some(version) && answer.status == 200 {
                return answer.head_at;
            }
        }
    });
    let within = answered.await;
    within.unwrap_or_else(|_| panic!("version {version} has not answered within {SOON:?}"))
}
