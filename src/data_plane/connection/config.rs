//! The limits of client connections, as they are set.

use std::time::Duration;

/// The times and limits towards clients: `[client]` of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a request head may take, from its first byte.
    pub head_timeout: Duration,
    /// How many bytes a request head may have.
    pub head_bytes_max: usize,
    /// How many fields a request head may have.
    pub head_fields_max: usize,
    /// How long a connection may be silent before its first request and between two.
    pub idle_timeout: Duration,
    /// How long a request body may make no progress.
    pub body_timeout: Duration,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// How long what a client still sends is read after it got an early answer.
    pub linger_timeout: Duration,
    /// How many connections there may be, over all workers. Zero: no limit.
    pub connections_max: usize,
    /// How many of them one address may have. Zero: no limit.
    pub connections_per_address_max: usize,
    /// Whether clients may speak HTTP/2.
    pub http2: bool,
    /// How many requests of a client may be under way at once on one connection of HTTP/2.
    pub http2_streams_max: u32,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(15),
            head_bytes_max: 64 * 1024,
            head_fields_max: 100,
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            linger_timeout: Duration::from_secs(30),
            connections_max: 10_000,
            connections_per_address_max: 0,
            http2: true,
            http2_streams_max: 100,
        }
    }
}
