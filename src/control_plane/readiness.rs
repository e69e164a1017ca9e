//! Asks one instance until it answers as it should.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How an instance shows that it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The path of an HTTP check that must be answered with a status of `status`; `None`: no HTTP check.
    pub http: Option<String>,
    /// The `Host` of the HTTP check.
    pub host: String,
    /// The statuses that count as ready.
    pub status: Vec<RangeInclusive<u16>>,
    /// Whether an accepted connection is asked for (an HTTP check implies it).
    pub tcp: bool,
    /// Whether `READY=1` on the private notify socket is asked for.
    pub notify: bool,
    /// Whether the port must be held by this instance or a descendant of it.
    pub owner: bool,
    /// The time between two checks at first; it backs off to 250 ms.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// How many successes in a row make it ready; at least 1.
    pub successes: u32,
    /// How long all of it may take; the driver's clock, not this module's.
    pub start_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: Some("/".to_owned()),
            host: "localhost".to_owned(),
            status: vec![200..=499],
            tcp: false,
            notify: false,
            owner: true,
            interval: Duration::from_millis(50),
            timeout: Duration::from_secs(5),
            successes: 2,
            start_timeout: Duration::from_secs(60),
        }
    }
}
