//! The log of hitless itself, on stderr: what happens to generations, for people or for programs.
//!
//! Not the access log, and not what the apps write. Whoever has a line to say does not wait for whoever reads it, from
//! [`detach`] on.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::access::Destination;
use super::outlet::Outlet;
use super::spool::Spool;

/// The thread that writes the log, once there is one.
static SPOOL: OnceLock<Spool> = OnceLock::new();

/// `[log]` of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important lines that are written.
    pub level: Level,
    /// The shape of a line.
    pub format: Format,
    /// Where the line of each request goes.
    pub access: Destination,
    /// The shape of what the apps write; none: tagged on a terminal, raw elsewhere.
    pub app: Option<AppFormat>,
}

/// The shape of a line that an app wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppFormat {
    /// Behind the app and the instance, as in `web.1 | listening`.
    Tagged,
    /// As it was written.
    Raw,
    /// One JSON object a line.
    Json,
}

/// A line on its way to stderr.
#[derive(Debug)]
struct Lines;

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

/// What is below the lines: which of them there are at all.
type Filtered = Layered<reload::Layer<Targets, Registry>, Registry>;
type Shape = Box<dyn Layer<Filtered> + Send + Sync>;

/// How what was set up can be changed.
struct Setup {
    filter: reload::Handle<Targets, Registry>,
    shape: reload::Handle<Shape, Filtered>,
}

/// The log of this process, once it is set up.
static SETUP: OnceLock<Setup> = OnceLock::new();

/// Sends the log to stderr from now on. A second call in the same process changes nothing.
pub fn init(config: &LogConfig) {
    let (filter, filter_handle) = reload::Layer::new(targets(config.level));
    let (shape, shape_handle) = reload::Layer::new(shape(config.format));
    let log = tracing_subscriber::registry().with(filter).with(shape);
    // An error says only that somebody else has set up a log, as tests of one process do.
    if log.try_init().is_ok() {
        let _ = SETUP.set(Setup {
            filter: filter_handle,
            shape: shape_handle,
        });
    }
}

/// From now on lines have this level and this shape.
pub fn change(config: &LogConfig) {
    if let Some(setup) = SETUP.get() {
        // Refused only where the log is gone, and with it whoever would read it.
        let _ = setup.filter.reload(targets(config.level));
        let _ = setup.shape.reload(shape(config.format));
    }
}

fn shape(format: Format) -> Shape {
    let lines = fmt::layer().with_writer(|| Lines).with_target(false);
    match format {
        Format::Text => lines.with_ansi(colour()).boxed(),
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    }
}

/// Writes the log on a thread of its own from now on, so that nobody waits for a reader that is slow; what does not fit is
/// dropped and counted. A second call changes nothing.
///
/// # Errors
///
/// When no thread can be started.
pub fn detach() -> io::Result<()> {
    if SPOOL.get().is_none() {
        // Lost only to another call at the same time, whose thread is as good.
        let _ = SPOOL.set(Spool::start("log", Outlet::stderr())?);
    }
    Ok(())
}

/// How many lines were dropped.
pub fn dropped() -> u64 {
    SPOOL.get().map_or(0, Spool::dropped)
}

/// Waits, at most that long, until all that was said has been written. Blocks the thread; for the end of the process.
pub fn flush(patience: Duration) {
    if let Some(spool) = SPOOL.get() {
        spool.flush(patience);
    }
}

/// Lines of libraries only from `warn` on, for at `debug` hyper would drown the transitions. Those of notify not even
/// then: it warns of each folder that is taken away.
fn targets(level: Level) -> Targets {
    let own = level.filter();
    let libraries = match level {
        Level::Trace => own,
        Level::Error | Level::Warn | Level::Info | Level::Debug => own.min(LevelFilter::WARN),
    };
    let quiet = match level {
        Level::Trace => own,
        Level::Error | Level::Warn | Level::Info | Level::Debug => LevelFilter::ERROR,
    };
    Targets::new()
        .with_default(libraries)
        .with_target("notify", quiet)
        .with_target(env!("CARGO_CRATE_NAME"), own)
}

/// See <https://no-color.org>: set and not empty means no colour.
fn colour() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

// === impl AppFormat ===

impl AppFormat {
    /// What a reader expects where nothing is said: a person wants to know whose a line is, a program wants the line.
    pub fn usual(is_terminal: bool) -> Self {
        if is_terminal { Self::Tagged } else { Self::Raw }
    }
}

// === impl Lines ===

impl Write for Lines {
    /// A whole line each time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match SPOOL.get() {
            Some(spool) => {
                spool.push(line);
                Ok(line.len())
            }
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
        assert!(!enabled(
            Level::Info,
            "notify::inotify",
            tracing::Level::WARN
        ));
    }
}
