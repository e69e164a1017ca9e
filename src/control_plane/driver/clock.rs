//! The core names timers; this owns when they are due. A timer is looked up when it is due and never queued, so that
//! one which was disarmed cannot fire.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::config::{Config, StreamPolicy};
use crate::control_plane::backoff::Backoff;
use crate::control_plane::supervisor::Timer;
use crate::generation::GenerationId;

/// Longer than any app lives, and no overflow.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// What SIGKILL does not end within this time is abandoned.
const REAP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last stream that is told to close may take for that: to come to the end of what it is in the middle of, and
/// to part from its client. Past it, it is broken off.
pub(super) const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// What a shutdown keeps of its time for the apps to stop.
pub const STOP_RESERVE: Duration = Duration::from_secs(5);

/// What may be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// A timer of the core.
    Core(Timer),
    /// The leases that hold a generation's SIGTERM back have had their time.
    Signal(GenerationId),
    /// What is counted is to be looked at.
    Look,
    /// A pause that was asked for is over.
    PauseEnd,
    /// The exit that may explain a failover has had its time.
    Explanation,
}

/// The deadlines of one app.
#[derive(Debug, Default)]
pub(super) struct Clock {
    due: BTreeMap<Deadline, Instant>,
    backoff: Backoff,
    /// The end of a shutdown.
    limit: Option<Instant>,
}

impl Clock {
    /// Arms a timer of the core, as long as the configuration says.
    pub(super) fn arm(&mut self, timer: Timer, config: &Config) {
        let after = match timer {
            Timer::Backoff => self.backoff.pause(),
            Timer::Probation(_) => config.probation,
            Timer::Start(_) => config.start_timeout,
            Timer::Drain(_) => config.drain_timeout,
            Timer::Stream(_) => match config.streams {
                StreamPolicy::Wait => config.stream_timeout,
                StreamPolicy::Close => Duration::ZERO,
                StreamPolicy::Keep => FOR_EVER,
            },
            Timer::Close(_) => config.close_spread + CLOSE_GRACE,
            Timer::Stop(_) => config.stop_timeout,
            Timer::Reap(_) => REAP_TIMEOUT,
        };
        self.arm_for(timer, after);
    }

    /// Arms a timer of the core for so long.
    pub(super) fn arm_for(&mut self, timer: Timer, after: Duration) {
        let at = self.limited(timer, Instant::now() + after);
        self.due.insert(Deadline::Core(timer), at);
    }

    /// Arms one of the driver's own.
    pub(super) fn set(&mut self, deadline: Deadline, after: Duration) {
        self.due.insert(deadline, Instant::now() + after);
    }

    /// Arms one of the driver's own unless it is armed.
    pub(super) fn set_once(&mut self, deadline: Deadline, after: Duration) {
        self.due
            .entry(deadline)
            .or_insert_with(|| Instant::now() + after);
    }

    pub(super) fn clear(&mut self, deadline: Deadline) {
        self.due.remove(&deadline);
    }

    /// How long it is until then.
    pub(super) fn left(&self, deadline: Deadline) -> Option<Duration> {
        let at = self.due.get(&deadline)?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Holds the signal to a generation back, at most until then.
    pub(super) fn hold_signal(&mut self, id: GenerationId, until: Instant) {
        self.due.insert(Deadline::Signal(id), until);
    }

    /// Whether the signal to a generation is held back.
    pub(super) fn holds_signal(&self, id: GenerationId) -> bool {
        self.due.contains_key(&Deadline::Signal(id))
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        self.due.remove(&Deadline::Core(timer));
    }

    pub(super) fn release_signal(&mut self, id: GenerationId) {
        self.due.remove(&Deadline::Signal(id));
    }

    /// From now on everything ends by then; requests and streams a little earlier, so that the apps can stop.
    pub(super) fn limit(&mut self, end: Instant) {
        self.limit = Some(end);
        let limited: Vec<_> = self
            .due
            .iter()
            .map(|(deadline, at)| match *deadline {
                Deadline::Core(timer) => (*deadline, self.limited(timer, *at)),
                Deadline::Signal(_) => (*deadline, (*at).min(before_stop(end))),
                Deadline::Look | Deadline::PauseEnd | Deadline::Explanation => (*deadline, *at),
            })
            .collect();
        self.due.extend(limited);
    }

    fn limited(&self, timer: Timer, at: Instant) -> Instant {
        match (self.limit, timer) {
            (None, _)
            | (_, Timer::Backoff | Timer::Probation(_) | Timer::Start(_) | Timer::Reap(_)) => at,
            (Some(end), Timer::Drain(_) | Timer::Stream(_) | Timer::Close(_)) => {
                at.min(before_stop(end))
            }
            (Some(end), Timer::Stop(_)) => at.min(end),
        }
    }

    /// When the next deadline is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// Takes out what is due, the earliest first.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Deadline> {
        let mut due: Vec<_> = self
            .due
            .extract_if(.., |_, at| *at <= now)
            .map(|(deadline, at)| (at, deadline))
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, deadline)| deadline).collect()
    }

    /// How often the app has died, or failed to start, without good service in between.
    pub(super) fn crashes(&self) -> u32 {
        self.backoff.pauses()
    }

    /// The app has served well: the next pause is the first again.
    pub(super) fn reset_backoff(&mut self) {
        self.backoff.reset();
    }
}

fn before_stop(end: Instant) -> Instant {
    end.checked_sub(STOP_RESERVE).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> GenerationId {
        GenerationId::from(number)
    }

    #[tokio::test(start_paused = true)]
    async fn a_disarmed_timer_is_not_due() {
        let mut clock = Clock::default();
        let config = Config::default();
        clock.arm(Timer::Stop(id(1)), &config);
        clock.arm(Timer::Drain(id(2)), &config);
        clock.disarm(Timer::Stop(id(1)));
        tokio::time::advance(config.drain_timeout).await;
        assert_eq!(
            clock.due(Instant::now()),
            [Deadline::Core(Timer::Drain(id(2)))]
        );
        assert_eq!(clock.next(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_shortens_what_is_armed_and_leaves_time_to_stop() {
        let mut clock = Clock::default();
        let config = Config::default();
        clock.arm(Timer::Drain(id(1)), &config);
        let end = Instant::now() + Duration::from_secs(25);
        clock.limit(end);
        assert_eq!(clock.next(), Some(end - STOP_RESERVE));
        clock.disarm(Timer::Drain(id(1)));
        tokio::time::advance(Duration::from_secs(20)).await;
        clock.arm(Timer::Stop(id(1)), &config);
        assert_eq!(clock.next(), Some(end));
    }
}
