//! How long a generation may take over each phase of its life, and how many may be in one at once.

use std::time::Duration;

use super::judging;
use crate::control_plane::supervisor::{Overlap, Rules};

/// The durations and bounds of an app's generations: `[app.NAME.drain]` of the file and `ready.start_timeout`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How long a candidate may take until it is ready. Past it, it has failed.
    pub start_timeout: Duration,
    /// How long the ordinary requests of a retired generation may take. Past it, they are cut.
    pub drain_timeout: Duration,
    /// How streams end that a retired generation still has.
    pub streams: StreamPolicy,
    /// How long [`StreamPolicy::Wait`] waits.
    pub stream_timeout: Duration,
    /// Over how long the closing of streams is spread, so that their clients do not come back all at once.
    /// Zero: all at once.
    pub close_spread: Duration,
    /// How many retired generations may have open streams. Past it, the oldest one's streams are closed.
    pub retiring_max: usize,
    /// How long after SIGTERM follows SIGKILL.
    pub stop_timeout: Duration,
    /// How long the signal to stop waits for requests that were sent again to the generation: the `answer_timeout` of
    /// its app.
    pub lease_timeout: Duration,
    /// How many generations may be stopping when another one is started, at least 1. Past it, the start waits.
    pub stopping_max: usize,
    /// Whether an old and a new generation may run at the same time.
    pub overlap: Overlap,
    /// What is done when there is too little memory for a candidate beside what runs.
    pub overlap_memory: MemoryPolicy,
    /// How long a new live generation can still be sent back. Zero: never, and no standby is kept.
    pub probation: Duration,
    /// What counts as bad meanwhile.
    pub judging: judging::Config,
}

/// What is done when a candidate may not fit into memory beside what runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryPolicy {
    /// It is started all the same, and the log says so.
    #[default]
    Warn,
    /// The standby is stopped first.
    StopStandby,
    /// It is not started: the reload has failed.
    Refuse,
}

/// How streams end when their generation is retired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamPolicy {
    /// They may go on for `stream_timeout` and are then closed.
    #[default]
    Wait,
    /// They are closed at once, evenly over `close_spread`.
    Close,
    /// They may go on until the app itself ends them or exits.
    Keep,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            start_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(60),
            streams: StreamPolicy::default(),
            stream_timeout: Duration::from_secs(300),
            close_spread: Duration::from_secs(10),
            retiring_max: 3,
            stop_timeout: Duration::from_secs(10),
            lease_timeout: Duration::from_secs(60),
            stopping_max: 4,
            overlap: Overlap::Full,
            overlap_memory: MemoryPolicy::default(),
            probation: Duration::from_secs(30),
            judging: judging::Config::default(),
        }
    }
}

impl Config {
    /// What of it the core needs to know.
    pub(super) fn rules(&self) -> Rules {
        Rules {
            overlap: self.overlap,
            probation: !self.probation.is_zero(),
            retiring_max: self.retiring_max,
            stopping_max: self.stopping_max,
        }
    }
}
