//! The environment of an app: hitless's own without what is meant for hitless, the lines of `env_file`, and `env`.
//!
//! Nothing is ever expanded: what a line says is what the app gets.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How long an `env_file` may be, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// An environment, in the order of its names.
pub type Environment = BTreeMap<OsString, OsString>;

/// What is wrong with an `env_file`.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot read the env_file {path}: {error}")]
    Unreadable { path: String, error: io::Error },
    #[error("env_file {path}: longer than {FILE_BYTES_MAX} bytes")]
    TooLong { path: String },
    #[error("{path}:{line}: {problem}")]
    BadLine {
        path: String,
        line: usize,
        problem: Problem,
    },
}

/// What is wrong with one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("not KEY=value: there is no =")]
    NoEquals,
    #[error("a name is letters, digits, _ . and -, and does not start with a digit")]
    BadName,
    #[error("the closing quote is missing")]
    OpenQuote,
    #[error("something stands after the closing quote")]
    AfterQuote,
    #[error("not UTF-8")]
    NotUtf8,
    #[error("a value cannot hold a NUL byte")]
    Nul,
}

/// What an app may see of hitless's own environment.
pub(super) fn inherited(own: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    own.into_iter()
        .filter(|(name, _)| !is_hitless_own(name))
        .collect()
}

fn is_hitless_own(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name == b"NOTIFY_SOCKET"
        || [&b"HITLESS_"[..], b"LISTEN_", b"WATCHDOG_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// The variables of a file, a later line over an earlier one.
pub(super) fn read_file(path: &Path) -> Result<Vec<(String, String)>, FileError> {
    let name = || path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| FileError::Unreadable {
            path: crate::paths::whole(path).display().to_string(),
            error,
        })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLong { path: name() });
    }
    parse(&bytes).map_err(|(line, problem)| FileError::BadLine {
        path: name(),
        line,
        problem,
    })
}

/// The variables, or the first bad line, counted from 1.
fn parse(bytes: &[u8]) -> Result<Vec<(String, String)>, (usize, Problem)> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    lines
        .filter_map(|(line, number)| {
            let parsed = str::from_utf8(line)
                .map_err(|_| Problem::NotUtf8)
                .and_then(parse_line);
            parsed.map_err(|problem| (number, problem)).transpose()
        })
        .collect()
}

fn parse_line(line: &str) -> Result<Option<(String, String)>, Problem> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = line.split_once('=').ok_or(Problem::NoEquals)?;
    let name = name.trim_end();
    if !is_name(name) {
        return Err(Problem::BadName);
    }
    let value = parse_value(value.trim_start())?;
    if value.contains('\0') {
        return Err(Problem::Nul);
    }
    Ok(Some((name.to_owned(), value)))
}

fn is_name(name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.chars().all(part) && name.starts_with(|c: char| !c.is_ascii_digit())
}

fn parse_value(value: &str) -> Result<String, Problem> {
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => parse_quoted(&value[1..], quote),
        // A # within a word belongs to it, as in a URL.
        _ if value.starts_with('#') => Ok(String::new()),
        _ => {
            let end = value
                .char_indices()
                .zip(value.chars().skip(1))
                .find(|((_, c), next)| c.is_whitespace() && *next == '#')
                .map_or(value.len(), |((at, _), _)| at);
            Ok(value[..end].trim_end().to_owned())
        }
    }
}

/// In double quotes `\"` and `\\` stand for themselves; in single quotes everything does.
fn parse_quoted(value: &str, quote: char) -> Result<String, Problem> {
    let mut parsed = String::new();
    let mut rest = value.chars();
    loop {
        match rest.next().ok_or(Problem::OpenQuote)? {
            c if c == quote => break,
            '\\' if quote == '"' && rest.as_str().starts_with(['"', '\\']) => {
                parsed.extend(rest.next());
            }
            c => parsed.push(c),
        }
    }
    let rest = rest.as_str();
    if rest.is_empty()
        || rest.trim_start().starts_with('#') && rest.starts_with(char::is_whitespace)
    {
        Ok(parsed)
    } else {
        Err(Problem::AfterQuote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, expected: &[(&str, &str)]) {
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(parse(file.as_bytes()), Ok(expected));
    }

    #[test]
    fn lines_comments_and_blank_lines_are_read() {
        check(
            "# head\n\nA=1\r\n  B = two words  \nC=\nD=#\n",
            &[("A", "1"), ("B", "two words"), ("C", ""), ("D", "")],
        );
    }

    #[test]
    fn a_hash_is_a_comment_only_after_a_blank() {
        check(
            "URL=http://x/#top\nA=1 # one\nB='a # b' # c\n",
            &[("URL", "http://x/#top"), ("A", "1"), ("B", "a # b")],
        );
    }

    #[test]
    fn quotes_keep_blanks_and_nothing_is_expanded() {
        check(
            r#"A=" $HOME \"x\" \\ \n "
B=' \"$HOME '
C=${A}`id`
D=it's"#,
            &[
                ("A", r#" $HOME "x" \ \n "#),
                ("B", r#" \"$HOME "#),
                ("C", "${A}`id`"),
                ("D", "it's"),
            ],
        );
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let check = |file: &[u8], line: usize, problem: Problem| {
            assert_eq!(parse(file), Err((line, problem)));
        };
        check(b"A=1\nB\n", 2, Problem::NoEquals);
        check(b"1A=1", 1, Problem::BadName);
        check(b"export A=1", 1, Problem::BadName);
        check(b"=1", 1, Problem::BadName);
        check(b"\n\nA=\"x", 3, Problem::OpenQuote);
        check(b"A='x'y", 1, Problem::AfterQuote);
        check(b"A=\xff", 1, Problem::NotUtf8);
        check(b"A=a\0b", 1, Problem::Nul);
    }

    #[test]
    fn what_is_meant_for_hitless_stays_with_hitless() {
        let own = [
            "HITLESS_LISTEN",
            "LISTEN_FDS",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "PATH",
            "LISTENER",
        ];
        let kept = inherited(own.map(|name| (name.into(), "x".into())));
        let kept: Vec<&OsStr> = kept.keys().map(OsString::as_os_str).collect();
        assert_eq!(kept, ["LISTENER", "PATH"]);
    }
}
