//! What is wrong with a configuration, where, and what is allowed there; shown the way a compiler shows it.

use std::fmt::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file, in bytes; none for what only flags say, or what is missing altogether.
    pub span: Option<Range<usize>>,
    /// The full path of the key whose value could not be read; none for other problems.
    pub key: Option<String>,
    /// What is wrong, in one line.
    pub message: String,
    /// What was meant, or what is allowed.
    pub help: Option<String>,
    /// The file that it is in; none: the configuration itself.
    pub file: Option<Arc<Source>>,
    /// The command line is at fault, or a variable, and not the file.
    pub by_flag: bool,
}

/// A file beside the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// Everything that is wrong with one configuration, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The file; none where flags alone are the configuration.
    pub file: Option<PathBuf>,
    /// At least one problem.
    pub problems: Vec<Problem>,
    /// The text that the spans speak of.
    source: String,
}

/// A place in a text as people count: from 1, columns in characters.
struct Place<'s> {
    line: usize,
    column: usize,
    /// The whole line.
    text: &'s str,
    /// How many characters of it are meant, at least 1.
    width: usize,
}

// === impl Problem ===

impl Problem {
    pub(super) fn new(span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self {
            span,
            key: None,
            message: message.into(),
            help: None,
            file: None,
            by_flag: false,
        }
    }

    /// It is in this file, and its span is one of that text.
    pub(super) fn in_file(self, file: &Arc<Source>) -> Self {
        Self {
            file: Some(Arc::clone(file)),
            ..self
        }
    }

    /// A flag or a variable is at fault.
    pub(super) fn by_flag(self) -> Self {
        Self {
            by_flag: true,
            ..self
        }
    }

    /// The value of this key could not be read.
    pub(super) fn of(self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self
        }
    }

    fn file_path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}

// === impl Report ===

impl Report {
    pub(super) fn new(file: Option<PathBuf>, source: String, mut problems: Vec<Problem>) -> Self {
        // Stable; what has no place comes last, and other files after this one.
        let start = |problem: &Problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start);
        problems.sort_by(|one, other| {
            let files = one.file_path().cmp(&other.file_path());
            files.then_with(|| start(one).cmp(&start(other)))
        });
        Self {
            file,
            problems,
            source,
        }
    }

    /// Whether nothing is wrong but what flags and variables say.
    pub(super) fn is_usage(&self) -> bool {
        self.file.is_none() || self.problems.iter().all(|problem| problem.by_flag)
    }

    /// One line for each problem, without the quoted lines: for logs.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.problems.iter().map(|problem| {
            let mut line = self.headline(problem);
            if let Some(help) = &problem.help {
                let _ = write!(line, " ({help})");
            }
            line
        })
    }

    fn headline(&self, problem: &Problem) -> String {
        let mut line = String::new();
        if let Some(file) = problem.file_path().or(self.file.as_deref()) {
            let _ = write!(line, "{}:", file.display());
            if let Some(place) = self.place(problem) {
                let _ = write!(line, "{}:{}:", place.line, place.column);
            }
            line.push(' ');
        }
        line.push_str(&harmless(&problem.message));
        line
    }

    fn place<'p>(&'p self, problem: &'p Problem) -> Option<Place<'p>> {
        let file = problem.file.as_ref();
        let source = file.map_or(&self.source, |file| &file.text);
        problem.span.as_ref().map(|span| Place::new(source, span))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            f.write_str(&self.headline(problem))?;
            let place = self.place(problem);
            if let Some(place) = &place {
                write!(f, "\n{place}")?;
            }
            if let Some(help) = &problem.help {
                let margin = place.map_or(0, |place| place.margin());
                write!(f, "\n{:margin$} = {}", "", harmless(help))?;
            }
        }
        Ok(())
    }
}

// === impl Place ===

impl<'s> Place<'s> {
    fn new(source: &'s str, span: &Range<usize>) -> Self {
        let start = floor(source, span.start);
        let line_start = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = source[start..]
            .find('\n')
            .map_or(source.len(), |newline| start + newline);
        let end = floor(source, span.end).clamp(start, line_end);
        Self {
            line: source[..line_start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            text: source[line_start..line_end].trim_end_matches('\r'),
            width: source[start..end].trim_end().chars().count().max(1),
        }
    }

    fn margin(&self) -> usize {
        self.line.to_string().len()
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let margin = self.margin();
        // Tabs stay tabs, so that the marks stand below what they mean.
        let indent: String = self
            .text
            .chars()
            .take(self.column - 1)
            .map(|char| if char == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{} | {}", self.line, harmless(self.text))?;
        write!(f, "{:margin$} | {indent}{}", "", "^".repeat(self.width))
    }
}

/// Adds what is no TOML: the first error of each line, for most others of that line follow from it. What was read below
/// the first of them is guesswork, and problems of it are left out.
pub(super) fn add_syntax(problems: &mut Vec<Problem>, errors: &[toml::de::Error], source: &str) {
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    let line = |byte: usize| Place::new(source, &(byte..byte)).line;
    let mut errors: Vec<_> = errors.iter().collect();
    errors.sort_by_key(|error| start(error));
    errors.dedup_by_key(|error| line(start(error)));
    if let Some(place) = errors.iter().position(|error| is_unclosed(error, source)) {
        // All that follows is read as a part of the list.
        errors.truncate(place + 1);
    }
    // A key that stands twice is read like any other.
    if let Some(first) = errors.iter().find(|error| error.message() != DUPLICATE) {
        let first = line(start(first));
        let is_before = |span: &Range<usize>| line(span.start) < first;
        problems.retain(|problem| {
            problem.file.is_none() && problem.span.as_ref().is_some_and(is_before)
        });
    }
    problems.extend(errors.into_iter().map(|error| syntax(error, source)));
}

const DUPLICATE: &str = "duplicate key";

/// The parser's words, and better ones where people are known to stumble.
fn syntax(error: &toml::de::Error, source: &str) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let text = source.get(span.clone()).unwrap_or_default();
    let message = error.message();
    let problem = |message| Problem::new(Some(span.clone()), message);
    match message {
        _ if is_unclosed(error, source) => {
            let opening = opening(source.get(..span.start).unwrap_or_default());
            Problem::new(
                opening.map(|opening| opening..opening + 1),
                "the list that begins here has no end",
            )
            .help("write `]` behind its last entry")
        }
        DUPLICATE => problem(format!("the key `{text}` stands here a second time"))
            .help("leave one of the two"),
        _ if message.starts_with("string values must be quoted") && text.is_empty() => {
            problem("a value is missing".to_owned()).help("write it behind the `=`")
        }
        _ if message.starts_with("invalid basic string, expected") => {
            problem("the quote at the end of the string is missing".to_owned())
                .help("a string ends on its line with the quote that it begins with")
        }
        _ if is_about_escapes(message) => problem(format!("a bad escape: {message}")).help(
            r#"in "…" a backslash begins an escape: write '…', where it is one, or \ for each"#,
        ),
        _ if message.contains("unquoted key") || message.starts_with("key with no value") => {
            problem(message.to_owned())
                .help("TOML is written as `key = value`, below its [section]")
        }
        _ => problem(message.to_owned()),
    }
}

/// Whether what the parser has taken for another entry of a list begins a key or a section: the list was to end before.
fn is_unclosed(error: &toml::de::Error, source: &str) -> bool {
    let Some(span) = error.span() else {
        return false;
    };
    let line = source
        .get(span.start..)
        .and_then(|rest| rest.lines().next());
    let line = line.unwrap_or_default();
    let is_first = source
        .get(..span.start)
        .unwrap_or_default()
        .rsplit('\n')
        .next()
        .is_none_or(|before| before.trim().is_empty());
    let is_word = |char: char| char.is_ascii_alphanumeric() || "_-. ".contains(char);
    let is_key = line
        .split_once('=')
        .is_some_and(|(key, _)| !key.trim().is_empty() && key.chars().all(is_word));
    let is_section = line
        .trim_end()
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|name| !name.is_empty() && name.chars().all(is_word));
    error
        .message()
        .starts_with("missing comma between array elements")
        && is_first
        && (is_key || is_section)
}

/// The bracket that this text opens last and does not close.
fn opening(text: &str) -> Option<usize> {
    let mut open = 0_u32;
    text.char_indices().rev().find_map(|(at, char)| match char {
        ']' => {
            open += 1;
            None
        }
        '[' if open == 0 => Some(at),
        '[' => {
            open -= 1;
            None
        }
        _ => None,
    })
}

/// Whether the parser has stumbled over a backslash.
fn is_about_escapes(message: &str) -> bool {
    message.contains("escape") || message.contains("unicode value")
}

/// The start of the character that this byte belongs to; the end of the text for what is past it.
fn floor(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len()))
        .rev()
        .find(|byte| text.is_char_boundary(*byte))
        .unwrap_or(0)
}

/// Nothing in a file may move the cursor of the terminal on which it is quoted.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '\t' => char,
            _ if char.is_control() => char::REPLACEMENT_CHARACTER,
            _ => char,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str, span: Range<usize>) -> String {
        let problem = Problem::new(Some(span), "wrong").help("right");
        Report::new(Some("f".into()), source.to_owned(), vec![problem]).to_string()
    }

    #[test]
    fn marks_characters_and_not_bytes() {
        assert_eq!(
            shown("a\nä = \"ö\"\n", 7..11),
            "f:2:5: wrong\n  |\n2 | ä = \"ö\"\n  |     ^^^\n  = right"
        );
    }

    #[test]
    fn keeps_tabs_and_neutralises_what_moves_the_cursor() {
        assert_eq!(
            shown("\tkey\x1b[2J", 1..4),
            "f:1:2: wrong\n  |\n1 | \tkey\u{fffd}[2J\n  | \t^^^\n  = right"
        );
    }

    #[test]
    fn marks_the_first_line_of_many_and_the_end_of_the_text() {
        assert!(shown("a = [\n1\n]", 4..9).contains("1 | a = [\n  |     ^\n"));
        assert!(shown("a = ", 4..9).contains("f:1:5:"));
        assert!(shown("", 0..0).contains("f:1:1:"));
    }

    #[test]
    fn sorts_by_place() {
        let problem = |at: Option<usize>| Problem::new(at.map(|at| at..at + 1), format!("{at:?}"));
        let report = Report::new(
            None,
            "abc".to_owned(),
            vec![problem(None), problem(Some(2)), problem(Some(0))],
        );
        let lines: Vec<_> = report.lines().collect();
        assert_eq!(lines, ["Some(0)", "Some(2)", "None"]);
    }
}
