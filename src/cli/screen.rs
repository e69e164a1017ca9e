//! What those see who wait at a terminal: below the lines that stay, one that shows what is going on and for how long.
//! Elsewhere there are only lines.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;

/// How often the line is written anew.
pub(super) const EVERY: Duration = Duration::from_millis(200);

/// Where the cursor was, with nothing behind it.
const CLEAR: &str = "\r\x1b[K";

/// Fewer columns show nothing that could be read.
const COLUMNS_MIN: usize = 20;

/// Standard error, as a terminal or not.
#[derive(Debug)]
pub(super) struct Screen {
    /// How wide it is; none: no terminal, or none that could be written over.
    columns: Option<usize>,
    /// What is going on, and since when.
    current: Option<(String, Instant)>,
}

// === impl Screen ===

impl Screen {
    pub(super) fn new() -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_terminal = io::stderr().is_terminal() && !is_dumb;
        let columns = is_terminal.then(columns).flatten();
        Self {
            columns: columns.filter(|columns| *columns >= COLUMNS_MIN),
            current: None,
        }
    }

    /// Whether what goes on can be shown as it goes on.
    pub(super) fn is_live(&self) -> bool {
        self.columns.is_some()
    }

    /// A line that stays.
    pub(super) fn say(&mut self, line: &str) {
        self.clear();
        super::say(line);
    }

    /// What is going on from now on; a line like any other where nothing can be written over.
    pub(super) fn now(&mut self, line: &str) {
        if self.columns.is_none() {
            return super::say(line);
        }
        let since = self
            .current
            .take()
            .map_or_else(Instant::now, |(_, since)| since);
        self.current = Some((line.to_owned(), since));
        self.tick();
    }

    /// Writes what is going on, and for how long.
    pub(super) fn tick(&self) {
        let (Some(columns), Some((line, since))) = (self.columns, &self.current) else {
            return;
        };
        let text = fitting(line, since.elapsed(), columns);
        let _ = write!(io::stderr(), "{CLEAR}{text}");
    }

    fn clear(&mut self) {
        if self.current.take().is_some() {
            let _ = write!(io::stderr(), "{CLEAR}");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).ok()?;
    Some(usize::from(size.ws_col))
}

/// The line with its time, cut so that it never wraps: what wraps cannot be written over.
fn fitting(line: &str, elapsed: Duration, columns: usize) -> String {
    let time = format!(" ({:.1} s)", elapsed.as_secs_f64());
    let room = columns.saturating_sub(time.len() + 1);
    let line = line.lines().next().unwrap_or_default();
    let plain = line
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char });
    let length = line.chars().count();
    let shown: String = match length > room {
        true => plain.take(room.saturating_sub(1)).chain(['…']).collect(),
        false => plain.collect(),
    };
    format!("{shown}{time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_never_wider_than_the_terminal() {
        let short = Duration::from_millis(1234);
        assert_eq!(fitting("web: starting", short, 60), "web: starting (1.2 s)");
        let long = fitting(&"ä".repeat(100), short, 60);
        assert_eq!(long.chars().count(), 59);
        assert!(long.ends_with("… (1.2 s)"), "{long}");
        assert_eq!(fitting("a\x1b[2Jb\nc", short, 60), "a [2Jb (1.2 s)");
    }
}
