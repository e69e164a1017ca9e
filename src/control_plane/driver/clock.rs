//! The core names timers; this owns when they are due. A timer is looked up when it is due and never queued, so that
//! one which was disarmed cannot fire.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::config::{Config, StreamPolicy};
use crate::control_plane::supervisor::Timer;
use crate::generation::GenerationId;

/// The first pause before an app that died is started again.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// Each pause is that much longer than the one before it.
const BACKOFF_FACTOR: f64 = 1.5;
/// No pause is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// After that time of service the pauses begin anew.
pub(super) const GOOD_SERVICE: Duration = Duration::from_secs(60);
/// Longer than any app lives, and no overflow.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// What SIGKILL does not end within this time is abandoned.
const REAP_TIMEOUT: Duration = Duration::from_secs(10);
/// What a shutdown keeps of its time for the apps to stop.
pub const STOP_RESERVE: Duration = Duration::from_secs(5);

/// What may be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// A timer of the core.
    Core(Timer),
    /// The leases that hold a generation's SIGTERM back have had their time.
    Signal(GenerationId),
}

/// The deadlines of one app.
#[derive(Debug, Default)]
pub(super) struct Clock {
    due: BTreeMap<Deadline, Instant>,
    /// How many pauses there were since the last good service.
    pauses: i32,
    /// The end of a shutdown.
    limit: Option<Instant>,
}

impl Clock {
    /// Arms a timer of the core, as long as the configuration says.
    pub(super) fn arm(&mut self, timer: Timer, config: &Config) {
        let now = Instant::now();
        let after = match timer {
            Timer::Backoff => self.pause(),
            Timer::Probation(_) => Duration::ZERO,
            Timer::Start(_) => config.start_timeout,
            Timer::Drain(_) => config.drain_timeout,
            Timer::Stream(_) => match config.streams {
                StreamPolicy::Wait => config.stream_timeout,
                StreamPolicy::Close => Duration::ZERO,
                StreamPolicy::Keep => FOR_EVER,
            },
            Timer::Close(_) => config.close_spread,
            Timer::Stop(_) => config.stop_timeout,
            Timer::Reap(_) => REAP_TIMEOUT,
        };
        self.due
            .insert(Deadline::Core(timer), self.limited(timer, now + after));
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

    /// The app has served well: the next pause is the first again.
    pub(super) fn reset_backoff(&mut self) {
        self.pauses = 0;
    }

    fn pause(&mut self) -> Duration {
        let pause = BACKOFF_FIRST
            .mul_f64(BACKOFF_FACTOR.powi(self.pauses))
            .min(BACKOFF_MAX);
        // Beyond the longest pause there is nothing to count.
        if pause < BACKOFF_MAX {
            self.pauses += 1;
        }
        pause
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
    async fn pauses_grow_by_half_up_to_thirty_seconds_and_begin_anew_after_good_service() {
        let mut clock = Clock::default();
        let pauses: Vec<_> = (0..14).map(|_| clock.pause().as_millis()).collect();
        assert_eq!(pauses[..4], [200, 300, 450, 675]);
        assert_eq!(pauses[13], 30_000);
        clock.reset_backoff();
        assert_eq!(clock.pause().as_millis(), 200);
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
