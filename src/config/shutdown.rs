//! How hitless itself ends.

use std::time::Duration;

/// The times of a graceful stop: `[shutdown]` of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownConfig {
    /// How long `/readyz` says 503 while everything else goes on, so that a load balancer can look away first.
    pub delay: Duration,
    /// How long after `delay` an idle client connection is closed.
    pub idle: Duration,
    /// When, counted from the signal, everything has ended; the apps get the last 5 s of it.
    pub timeout: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            idle: Duration::from_secs(1),
            timeout: Duration::from_secs(25),
        }
    }
}
