//! How many apps may be starting at once, so that a machine that boots is not asked to start all of them in one moment.
//!
//! First come, first served. A start has its turn until it is ready or has failed, but not for ever: an app that hangs
//! while it starts must not keep the others down.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

/// How long a start may keep others waiting. One that takes longer mostly waits itself, and goes on beside the next.
const TURN_MAX: Duration = Duration::from_secs(10);

/// The turns of all apps.
#[derive(Clone, Debug)]
pub struct Starts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    turns: Arc<Semaphore>,
    max: Mutex<usize>,
}

/// A turn. It ends when dropped, or after 10 s.
#[derive(Debug)]
pub(crate) struct Turn {
    _held: oneshot::Sender<()>,
}

// === impl Starts ===

impl Starts {
    /// So many at once; at least 1.
    pub fn new(max: usize) -> Self {
        let max = bounded(max);
        Self(Arc::new(Inner {
            turns: Arc::new(Semaphore::new(max)),
            max: Mutex::new(max),
        }))
    }

    /// From now on so many at once; at least 1. Those that are starting keep their turn. To be called on a runtime.
    pub fn change(&self, max: usize) {
        let max = bounded(max);
        let before = {
            let mut current = self.0.max.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, max)
        };
        let turns = &self.0.turns;
        turns.add_permits(max.saturating_sub(before));
        let surplus = before.saturating_sub(max);
        let left = surplus - turns.forget_permits(surplus);
        for _ in 0..left {
            // One that is in use goes when it is given back, behind those that wait already.
            let turns = Arc::clone(turns);
            tokio::spawn(async move {
                if let Ok(permit) = turns.acquire_owned().await {
                    permit.forget();
                }
            });
        }
    }

    /// Waits for a turn.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it has left the queue.
    pub(crate) async fn turn(&self) -> Turn {
        let permit = Arc::clone(&self.0.turns).acquire_owned().await;
        Turn::new(permit.expect("nobody closes it"))
    }
}

fn bounded(max: usize) -> usize {
    max.clamp(1, Semaphore::MAX_PERMITS)
}

impl Turn {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        let (held, ended) = oneshot::channel();
        tokio::spawn(async move {
            // Either end of it gives the turn to the next.
            let _ = timeout(TURN_MAX, ended).await;
            drop(permit);
        });
        Self { _held: held }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_next_begins_when_one_has_ended() {
        let starts = Starts::new(2);
        let (first, _second) = (starts.turn().await, starts.turn().await);
        let since = Instant::now();
        let third = tokio::spawn({
            let starts = starts.clone();
            async move { starts.turn().await }
        });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        drop(first);
        let _third = third.await.unwrap();
        assert!(since.elapsed() < TURN_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_does_not_keep_the_others_down() {
        let starts = Starts::new(1);
        let _hangs = starts.turn().await;
        let since = Instant::now();
        let _next = starts.turn().await;
        assert!(since.elapsed() >= TURN_MAX);
    }
}
