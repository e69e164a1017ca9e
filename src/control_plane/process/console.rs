//! The default sink: app output goes on to hitless's own standard output and standard error, each line in the shape that is
//! wanted.
//!
//! Never waits: a thread for each of the two does, so that a reader who has stopped costs lines and never the app's time.

use std::io::{self, IsTerminal};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;

use super::output::{Line, OutputSink, Stream};
use crate::telemetry::log::AppFormat;
use crate::telemetry::outlet::Outlet;
use crate::telemetry::spool::Spool;

/// Both outputs.
#[derive(Debug)]
pub struct Console {
    stdout: Output,
    stderr: Output,
}

#[derive(Debug)]
struct Output {
    spool: Spool,
    is_terminal: bool,
    format: RwLock<AppFormat>,
}

/// One line as JSON.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    time: String,
    app: &'a str,
    generation: u64,
    instance: u32,
    stream: Stream,
    text: &'a str,
}

// === impl Console ===

impl Console {
    /// Starts the threads. Without a format, lines are tagged on a terminal and raw elsewhere.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn start(format: Option<AppFormat>) -> io::Result<Self> {
        let (stdout, stderr) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Ok(Self {
            stdout: Output::new("app-stdout", Outlet::stdout(), stdout, format)?,
            stderr: Output::new("app-stderr", Outlet::stderr(), stderr, format)?,
        })
    }
}

impl Output {
    fn new(
        name: &'static str,
        outlet: Outlet,
        is_terminal: bool,
        format: Option<AppFormat>,
    ) -> io::Result<Self> {
        let format = format.unwrap_or_else(|| AppFormat::usual(is_terminal));
        Ok(Self {
            spool: Spool::start(name, outlet)?,
            is_terminal,
            format: RwLock::new(format),
        })
    }

    fn reshape(&self, format: Option<AppFormat>) {
        let format = format.unwrap_or_else(|| AppFormat::usual(self.is_terminal));
        *self.format.write().unwrap_or_else(PoisonError::into_inner) = format;
    }

    fn format(&self) -> AppFormat {
        *self.format.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputSink for Console {
    fn take(&self, line: &Line) {
        let output = match line.stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        output.spool.push(shaped(line, output.format()));
    }

    fn reshape(&self, format: Option<AppFormat>) {
        self.stdout.reshape(format);
        self.stderr.reshape(format);
    }

    fn dropped(&self) -> u64 {
        self.stdout.spool.dropped() + self.stderr.spool.dropped()
    }

    fn flush(&self, patience: Duration) {
        self.stdout.spool.flush(patience);
        self.stderr.spool.flush(patience);
    }
}

fn shaped(line: &Line, format: AppFormat) -> Vec<u8> {
    let mut shaped = match format {
        AppFormat::Tagged => format!("{}.{} | {}", line.app, line.instance, line.text).into_bytes(),
        AppFormat::Raw => line.bytes().to_vec(),
        AppFormat::Json => {
            let shown = Shown {
                time: humantime::format_rfc3339_millis(line.time).to_string(),
                app: line.app.as_str(),
                generation: line.generation.get(),
                instance: line.instance,
                stream: line.stream,
                text: &line.text,
            };
            serde_json::to_vec(&shown).expect("every key of a line is a string")
        }
    };
    shaped.push(b'\n');
    shaped
}

/// Takes every line and keeps none.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Nowhere;

#[cfg(test)]
impl OutputSink for Nowhere {
    fn take(&self, _: &Line) {}

    fn dropped(&self) -> u64 {
        0
    }

    fn flush(&self, _: Duration) {}
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::generation::{AppName, GenerationId};

    fn line(bytes: &[u8]) -> Line {
        let text = String::from_utf8_lossy(bytes);
        Line {
            app: AppName::new("shop"),
            generation: GenerationId::FIRST,
            instance: 2,
            stream: Stream::Stderr,
            number: 1,
            time: UNIX_EPOCH,
            raw: (text.as_bytes() != bytes).then(|| bytes.into()),
            text: text.into(),
        }
    }

    #[test]
    fn each_line_has_the_shape_that_is_wanted() {
        let odd = line(b"a\xff\"");
        assert_eq!(shaped(&odd, AppFormat::Raw), b"a\xff\"\n");
        let tagged = String::from_utf8(shaped(&odd, AppFormat::Tagged)).unwrap();
        assert_eq!(tagged, "shop.2 | a\u{fffd}\"\n");
        let json = String::from_utf8(shaped(&odd, AppFormat::Json)).unwrap();
        assert_eq!(
            json,
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"app\":\"shop\",\"generation\":1,\
             \"instance\":2,\"stream\":\"stderr\",\"text\":\"a\u{fffd}\\\"\"}\n"
        );
    }

    #[test]
    fn lines_are_tagged_on_a_terminal_and_raw_elsewhere() {
        assert_eq!(AppFormat::usual(true), AppFormat::Tagged);
        assert_eq!(AppFormat::usual(false), AppFormat::Raw);
    }
}
