//! What hitless tells about itself: metrics and logs. The only place that names a metric.

pub mod log;

pub mod access;

pub mod outlet;

pub mod spool;

pub mod metrics;

pub mod traffic;

pub use self::log::LogConfig;
