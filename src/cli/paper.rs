//! What is written on: a terminal that is so wide and may have colours, or anything else, which is given whole lines.

use std::io::{self, IsTerminal};

/// Fewer columns than these are not written to: what is wrapped still more cannot be read.
const COLUMNS_MIN: usize = 40;

/// Standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paper {
    /// How wide it is; none: lines are not wrapped.
    pub(super) columns: Option<usize>,
    /// Whether it may have colours.
    pub(super) colours: bool,
}

/// How urgent a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Somebody has to do something.
    Alarm,
    /// Somebody should know.
    Notice,
    /// Nothing is wrong.
    Plain,
}

// === impl Paper ===

impl Paper {
    /// Standard output as it is. `NO_COLOR` is honoured: <https://no-color.org>.
    pub(super) fn of_stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
        let columns = size.map(|size| usize::from(size.ws_col));
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_dumb = set("TERM").is_some_and(|term| term == "dumb");
        Self {
            columns: columns.filter(|columns| is_terminal && *columns >= COLUMNS_MIN),
            colours: is_terminal && !is_dumb && set("NO_COLOR").is_none(),
        }
    }

    /// The line, in several lines where it is too long: each but the first is indented so far.
    pub(super) fn wrapped(self, line: &str, indent: usize) -> Vec<String> {
        let Some(columns) = self.columns else {
            return vec![line.to_owned()];
        };
        let mut lines = vec![String::new()];
        let mut length = 0;
        // Several spaces are columns of a table, and stay where they do not end a line.
        for word in line.split_inclusive(' ') {
            let wide = word.trim_end().chars().count();
            if length + wide > columns && length > indent {
                lines.push(" ".repeat(indent));
                length = indent;
            }
            if let Some(last) = lines.last_mut() {
                last.push_str(word);
            }
            length += word.chars().count();
        }
        lines
            .iter()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// The words in this ink, where there are colours.
    pub(super) fn inked(self, words: &str, ink: Ink) -> String {
        let code = match ink {
            Ink::Alarm if self.colours => "1;31",
            Ink::Notice if self.colours => "33",
            _ => return words.to_owned(),
        };
        format!("\x1b[{code}m{words}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_go_on_below_where_they_began() {
        let paper = Paper {
            columns: Some(20),
            colours: false,
        };
        assert_eq!(
            paper.wrapped("  wrong  it exited with status 1", 9),
            ["  wrong  it exited", "         with status", "         1"]
        );
        assert_eq!(paper.wrapped("  short  word", 9), ["  short  word"]);
        let word = "x".repeat(40);
        assert_eq!(paper.wrapped(&word, 4), [word.as_str()]);
        let pipe = Paper {
            columns: None,
            ..paper
        };
        assert_eq!(pipe.wrapped("a b ".repeat(20).trim(), 4).len(), 1);
    }
}
