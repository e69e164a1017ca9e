//! Whether the live generation is bad, while it is on probation: by the share of its bad answers and by the connections
//! that it refused.
//!
//! Pure: is told the time and what was counted, and answers. Exits and the readiness check are judged where they are seen.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::generation::{Reason, ReasonKind};
use crate::live::Tally;

/// Over how long the share of bad answers is taken, where that is more than `min_requests` answers.
const WINDOW: Duration = Duration::from_secs(10);
/// Over how long the baseline is taken.
const BASELINE_WINDOW: Duration = Duration::from_secs(60);
/// How often what is counted is written down for the baseline.
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked at on probation.
pub(super) const JUDGE_INTERVAL: Duration = Duration::from_millis(50);
/// A bad generation must answer badly that many times as often as the one before it.
const BASELINE_FACTOR: f64 = 2.0;

/// What counts as bad: `[app.NAME.failover]` of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How long probation may last at most, where too few answers came to tell.
    pub probation_max: Duration,
    /// How many new connections in a row may be refused or reset before the generation is bad; at least 1.
    pub connect_failures: u32,
    /// How many answers it takes to judge by their share; at least 1.
    pub min_requests: u64,
    /// Which share of bad answers is too much, above 0 and up to 1.
    pub max_error_ratio: f64,
}

/// How many requests ended, and how many of them badly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    all: u64,
    bad: u64,
}

/// What a generation's requests came to in its last minute: the baseline for the one after it.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<(Instant, Share)>,
}

/// Judges one generation on probation.
#[derive(Debug)]
pub(super) struct Judge {
    baseline: Share,
    /// What was counted when the probation began.
    start: Share,
    samples: VecDeque<(Instant, Share)>,
    latest: Share,
    /// What keeps a share that is too large from being a verdict.
    excuse: Option<String>,
    /// Since when the standby's word is waited for.
    waiting: Option<Instant>,
}

/// What is counted at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    /// Of the generation on probation.
    pub(super) live: Tally,
    /// How many new connections to it in a row failed.
    pub(super) refused_in_a_row: u32,
    /// Of rescued requests, by the standby, since the probation began.
    pub(super) rescued: Share,
    /// Whether the standby is answering one at this moment.
    pub(super) rescuing: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probation_max: Duration::from_secs(600),
            connect_failures: 3,
            min_requests: 20,
            max_error_ratio: 0.5,
        }
    }
}

// === impl Share ===

impl Share {
    /// Of its own requests.
    pub(super) fn own(tally: Tally) -> Self {
        Self {
            all: tally.answers,
            bad: tally.bad,
        }
    }

    /// Of requests that had failed elsewhere.
    pub(super) fn rescued(tally: Tally) -> Self {
        Self {
            all: tally.rescued,
            bad: tally.rescued_bad,
        }
    }

    /// What came after `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            all: self.all.saturating_sub(earlier.all),
            bad: self.bad.saturating_sub(earlier.bad),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of counts of this size is exact enough"
    )]
    fn ratio(self) -> f64 {
        if self.all == 0 {
            0.0
        } else {
            self.bad as f64 / self.all as f64
        }
    }

    fn percent(self) -> String {
        format!("{:.0} %", self.ratio() * 100.0)
    }
}

// === impl History ===

impl History {
    /// Writes down what was counted.
    pub(super) fn sample(&mut self, now: Instant, tally: Tally) {
        self.samples.push_back((now, Share::own(tally)));
        trim(&mut self.samples, now, BASELINE_WINDOW, 0);
    }

    /// The share over the last minute.
    pub(super) fn share(&self, tally: Tally) -> Share {
        let start = self
            .samples
            .front()
            .map_or_else(Share::default, |(_, at)| *at);
        Share::own(tally).since(start)
    }
}

/// Drops what is older than the window, but for one that stands at its beginning and covers `least` answers.
fn trim(samples: &mut VecDeque<(Instant, Share)>, now: Instant, window: Duration, least: u64) {
    let Some(&(_, latest)) = samples.back() else {
        return;
    };
    while let Some(&(at, next)) = samples.get(1) {
        let covers = now.duration_since(at) >= window && latest.since(next).all >= least;
        if !covers {
            return;
        }
        samples.pop_front();
    }
}

// === impl Judge ===

impl Judge {
    /// Probation begins; `baseline` is the share of the generation before, and `live` what was counted so far.
    pub(super) fn new(now: Instant, baseline: Share, live: Tally) -> Self {
        let start = Share::own(live);
        Self {
            baseline,
            start,
            samples: VecDeque::from([(now, start)]),
            latest: start,
            excuse: None,
            waiting: None,
        }
    }

    /// Looks at what was counted. The reason, if that is bad.
    pub(super) fn look(
        &mut self,
        now: Instant,
        evidence: Evidence,
        config: &Config,
    ) -> Option<Reason> {
        self.latest = Share::own(evidence.live);
        if self.samples.back().map(|(_, share)| *share) != Some(self.latest) {
            self.samples.push_back((now, self.latest));
        }
        trim(&mut self.samples, now, WINDOW, config.min_requests);
        self.refused(evidence, config)
            .or_else(|| self.too_many_bad(now, evidence, config))
    }

    fn refused(&self, evidence: Evidence, config: &Config) -> Option<Reason> {
        let row = evidence.refused_in_a_row;
        (row >= config.connect_failures).then(|| {
            Reason::new(
                ReasonKind::ConnectFailures,
                format!("refused or reset {row} new connections in a row"),
            )
        })
    }

    fn too_many_bad(
        &mut self,
        now: Instant,
        evidence: Evidence,
        config: &Config,
    ) -> Option<Reason> {
        self.excuse = None;
        let start = self.samples.front().map_or(self.start, |(_, share)| *share);
        let window = self.latest.since(start);
        if window.all < config.min_requests || window.ratio() <= config.max_error_ratio {
            self.waiting = None;
            return None;
        }
        if evidence.rescued.all == 0 && evidence.rescuing {
            // The standby is about to say whether it fails in the same way.
            let since = *self.waiting.get_or_insert(now);
            if now.duration_since(since) < WINDOW {
                return None;
            }
        }
        let found = format!(
            "{} of its last {} answers were bad",
            window.percent(),
            window.all
        );
        let (baseline, whose) = if evidence.rescued.all > 0 {
            (
                evidence.rescued,
                "the version before it failed on requests that were sent there instead",
            )
        } else {
            (
                self.baseline,
                "the version before it failed in its last minute",
            )
        };
        if window.ratio() < BASELINE_FACTOR * baseline.ratio() {
            self.excuse = Some(format!(
                "{found}, but {whose} as well ({}): nothing is taken back",
                baseline.percent()
            ));
            return None;
        }
        Some(Reason::new(
            ReasonKind::ErrorRatio,
            format!("{found} (before: {})", baseline.percent()),
        ))
    }

    /// Whether a bad answer was seen, and too few answers to tell.
    pub(super) fn is_undecided(&self, config: &Config) -> bool {
        let seen = self.latest.since(self.start);
        seen.bad > 0 && seen.all < config.min_requests
    }

    /// Why nothing is taken back although something bad was seen.
    pub(super) fn remark(&self, config: &Config) -> Option<String> {
        if self.excuse.is_some() {
            return self.excuse.clone();
        }
        let seen = self.latest.since(self.start);
        self.is_undecided(config).then(|| {
            format!(
                "{} of {} answers bad so far, and it takes {} to tell: probation goes on until then",
                seen.bad, seen.all, config.min_requests
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(answers: u64, bad: u64) -> Tally {
        Tally {
            answers,
            bad,
            ..Tally::default()
        }
    }

    fn seen(answers: u64, bad: u64) -> Evidence {
        Evidence {
            live: tally(answers, bad),
            ..Evidence::default()
        }
    }

    fn judge(baseline: Share) -> (Judge, Instant, Config) {
        let now = Instant::now();
        (
            Judge::new(now, baseline, tally(0, 0)),
            now,
            Config::default(),
        )
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test]
    async fn twenty_bad_answers_are_enough_and_nineteen_are_not() {
        let (mut judge, now, config) = judge(Share::default());
        assert_eq!(judge.look(now + ms(90), seen(19, 19), &config), None);
        assert!(judge.is_undecided(&config));
        let reason = judge.look(now + ms(100), seen(20, 20), &config).unwrap();
        assert_eq!(reason.kind, ReasonKind::ErrorRatio);
        assert_eq!(
            &*reason.message,
            "100 % of its last 20 answers were bad (before: 0 %)"
        );
    }

    #[tokio::test]
    async fn half_of_the_answers_may_be_bad() {
        let (mut judge, now, config) = judge(Share::default());
        assert_eq!(judge.look(now + ms(100), seen(40, 20), &config), None);
        assert!(judge.look(now + ms(200), seen(42, 22), &config).is_some());
    }

    #[tokio::test]
    async fn what_was_good_ten_seconds_ago_excuses_nothing_but_twenty_answers_are_looked_at() {
        let (mut judge, now, config) = judge(Share::default());
        assert_eq!(judge.look(now + ms(1000), seen(1000, 0), &config), None);
        assert_eq!(judge.look(now + ms(9000), seen(1010, 10), &config), None);
        // One more every second: the last twenty are looked at, and with them ten good ones at most.
        let mut verdict = None;
        for second in 10..=30 {
            let bad = second;
            verdict = judge.look(now + ms(second * 1000), seen(1001 + second, bad), &config);
            if verdict.is_some() {
                break;
            }
        }
        assert!(verdict.is_some(), "{judge:?}");
    }

    #[tokio::test]
    async fn a_fault_that_the_version_before_has_as_well_takes_nothing_back_and_is_said() {
        let (mut judge, now, config) = judge(Share::default());
        let evidence = Evidence {
            live: tally(100, 100),
            rescued: Share { all: 80, bad: 80 },
            ..Evidence::default()
        };
        assert_eq!(judge.look(now + ms(500), evidence, &config), None);
        let remark = judge.remark(&config).unwrap();
        assert!(remark.contains("nothing is taken back"), "{remark}");
    }

    #[tokio::test]
    async fn rescued_requests_count_more_than_the_minute_before() {
        let (mut judge, now, config) = judge(Share { all: 100, bad: 60 });
        let excused = judge.look(now + ms(500), seen(100, 100), &config);
        assert_eq!(excused, None);
        let evidence = Evidence {
            live: tally(110, 110),
            rescued: Share { all: 8, bad: 0 },
            ..Evidence::default()
        };
        assert!(judge.look(now + ms(600), evidence, &config).is_some());
    }

    #[tokio::test]
    async fn while_the_standby_is_about_to_answer_its_word_is_waited_for() {
        let (mut judge, now, config) = judge(Share::default());
        let pending = Evidence {
            rescuing: true,
            ..seen(20, 20)
        };
        assert_eq!(judge.look(now + ms(2000), pending, &config), None);
        let excused = Evidence {
            rescued: Share { all: 1, bad: 1 },
            ..pending
        };
        assert_eq!(judge.look(now + ms(4000), excused, &config), None);
        let condemned = Evidence {
            rescued: Share { all: 1, bad: 0 },
            ..pending
        };
        assert!(judge.look(now + ms(4100), condemned, &config).is_some());
    }

    #[tokio::test]
    async fn the_word_of_a_standby_that_hangs_is_not_waited_for_for_ever() {
        let (mut judge, now, config) = judge(Share::default());
        let pending = Evidence {
            rescuing: true,
            ..seen(20, 20)
        };
        assert_eq!(judge.look(now + ms(50), pending, &config), None);
        assert_eq!(judge.look(now + ms(9000), pending, &config), None);
        assert!(judge.look(now + ms(10_100), pending, &config).is_some());
    }

    #[tokio::test]
    async fn three_refused_connections_in_a_row_are_bad() {
        let (mut judge, now, config) = judge(Share::default());
        let refused = |row| Evidence {
            refused_in_a_row: row,
            ..Evidence::default()
        };
        assert_eq!(judge.look(now, refused(2), &config), None);
        let reason = judge.look(now, refused(3), &config).unwrap();
        assert_eq!(reason.kind, ReasonKind::ConnectFailures);
    }

    #[tokio::test]
    async fn no_answers_are_no_verdict() {
        let (mut judge, now, config) = judge(Share::default());
        assert_eq!(judge.look(now + ms(30_000), seen(0, 0), &config), None);
        assert!(!judge.is_undecided(&config));
        assert_eq!(judge.remark(&config), None);
    }

    #[tokio::test]
    async fn the_baseline_is_that_of_the_last_minute() {
        let now = Instant::now();
        let mut history = History::default();
        for second in 0..=120 {
            // Bad in the first minute alone.
            let bad = second.min(60);
            history.sample(now + ms(second * 1000), tally(second, bad));
        }
        let share = history.share(tally(120, 60));
        assert_eq!((share.all, share.bad), (60, 0), "{history:?}");
        assert!(history.samples.len() <= 62);
    }
}
