//! Where the show is seen: a part of a terminal that is drawn again and again, or lines one after the other.
//!
//! It knows nothing of what it shows. Whoever reads it may go away at any time.

use std::env;
use std::io::{self, IsTerminal, Write};

use rustix::termios::tcgetwinsize;

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    /// How many lines are drawn; none: lines are only ever added.
    drawn: Option<usize>,
    colour: bool,
}

impl Screen {
    /// A terminal that can be drawn on, if it has so many columns and more rows than that; else plain lines.
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        let stdout = io::stdout();
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        let fits = tcgetwinsize(&stdout).is_ok_and(|size| {
            usize::from(size.ws_col) >= columns && usize::from(size.ws_row) > rows
        });
        let draws = stdout.is_terminal() && !dumb && fits;
        Self {
            drawn: draws.then_some(0),
            colour: draws && set("NO_COLOR").is_none(),
        }
    }

    /// Whether it is drawn again and again.
    pub(super) fn is_drawn(&self) -> bool {
        self.drawn.is_some()
    }

    pub(super) fn has_colour(&self) -> bool {
        self.colour
    }

    /// Draws these lines in the place of those that were drawn before. Nothing where lines are only added.
    pub(super) fn draw(&mut self, lines: &[String]) {
        let Some(drawn) = &mut self.drawn else {
            return;
        };
        let mut text = String::new();
        if *drawn > 0 {
            text.push_str(&format!("\x1b[{drawn}A"));
        }
        for line in lines {
            // Cleared as it is written, and not before, so that nothing flickers.
            text.push_str(&format!("\r{line}\x1b[K\n"));
        }
        text.push_str("\x1b[J");
        *drawn = lines.len();
        write(&text);
    }

    /// Adds lines, below what was drawn.
    pub(super) fn add(&mut self, lines: &[String]) {
        if let Some(drawn) = &mut self.drawn {
            *drawn = 0;
        }
        write(
            &lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>(),
        );
    }
}

/// In one write, so that nobody sees half of it.
fn write(text: &str) {
    let mut stdout = io::stdout().lock();
    // A reader that has gone away is no error.
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}
