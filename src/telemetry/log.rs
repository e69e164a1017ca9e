//! The log of hitless itself, on stderr: what happens to generations, for people or for programs.
//!
//! Not the access log, and not what the apps write.

use std::env;
use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// `[log]` of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important lines that are written.
    pub level: Level,
    /// The shape of a line.
    pub format: Format,
}

/// How important a line is, in falling order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Somebody has to act.
    Error,
    /// Something is not as it should be, and goes on.
    Warn,
    /// One line for each transition.
    #[default]
    Info,
    /// What led to it.
    Debug,
    /// Everything, that of the libraries included.
    Trace,
}

/// The shape of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Time, level, message, fields; coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends the log to stderr from now on. A second call in the same process changes nothing.
pub fn init(config: &LogConfig) {
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = match config.format {
        Format::Text => lines.with_ansi(colour()).boxed(),
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    // An error says only that somebody else has set up a log, as tests of one process do.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(targets(config.level)))
        .try_init();
}

/// Lines of libraries only from `warn` on, for at `debug` hyper would drown the transitions.
fn targets(level: Level) -> Targets {
    let own = level.filter();
    let libraries = match level {
        Level::Trace => own,
        Level::Error | Level::Warn | Level::Info | Level::Debug => own.min(LevelFilter::WARN),
    };
    Targets::new()
        .with_default(libraries)
        .with_target(env!("CARGO_CRATE_NAME"), own)
}

/// See <https://no-color.org>: set and not empty means no colour.
fn colour() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

// === impl Level ===

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quieter_than_hitless() {
        let enabled = |level, target, line| targets(level).would_enable(target, &line);
        assert!(enabled(
            Level::Debug,
            "hitless::live",
            tracing::Level::DEBUG
        ));
        assert!(!enabled(Level::Debug, "hyper::proto", tracing::Level::INFO));
        assert!(!enabled(Level::Error, "hyper::proto", tracing::Level::WARN));
        assert!(enabled(Level::Trace, "hyper::proto", tracing::Level::TRACE));
    }
}
