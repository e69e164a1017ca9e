//! The data plane: forwards requests. Only reads which generation is live; never imports the control plane.

use std::time::Duration;

/// The times and limits towards clients: `[client]` of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// How long a request head may take.
    pub head_timeout: Duration,
    /// How many bytes a request head may have.
    pub head_bytes_max: usize,
    /// How many fields a request head may have.
    pub head_fields_max: usize,
    /// How long a kept-alive connection may be silent between two requests.
    pub idle_timeout: Duration,
    /// How long a request body may make no progress.
    pub body_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(15),
            head_bytes_max: 64 * 1024,
            head_fields_max: 100,
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
        }
    }
}

/// The times and limits of one app's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppConfig {
    /// How long a connection to an instance may take.
    pub connect_timeout: Duration,
    /// How long the head of the answer may take, from the head of the request or, where later, the last byte of its
    /// body passed on; re-sends included. Zero: no limit.
    pub answer_timeout: Duration,
    /// How long the body of an answer may make no progress. Zero: no limit.
    pub body_timeout: Duration,
    /// How many idle connections to an instance each worker keeps.
    pub pool_max: usize,
    /// How long each is kept.
    pub pool_idle_timeout: Duration,
    /// Whether answers carry `X-Hitless-Generation`.
    pub expose_generation: bool,
    /// How many times a request may be sent again.
    pub resends: u32,
    /// How many requests may wait while nothing is live, over all workers.
    pub hold_requests: usize,
    /// How long each of them may wait.
    pub hold_timeout: Duration,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            answer_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(300),
            pool_max: 128,
            pool_idle_timeout: Duration::from_millis(1500),
            expose_generation: false,
            resends: 2,
            hold_requests: 1000,
            hold_timeout: Duration::from_secs(30),
        }
    }
}
