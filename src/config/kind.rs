//! What the value of a single key may be, as kinds that the mirror of the file is made of.

mod listener;
mod logs;
mod numbers;
mod routes;
mod variables;
mod warm_up;

pub(super) use self::listener::{Entry, Listener};
pub(super) use self::logs::AccessLog;
pub(super) use self::numbers::{Ratio, SizeOrNone};
pub(super) use self::routes::RouteList;
pub(super) use self::variables::Variables;
pub(super) use self::warm_up::WarmUps;

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::problem::Problem;
use super::read::{self, Kind, Node};
use super::{units, words};
use crate::control_plane::driver::{MemoryPolicy, StreamPolicy};
use crate::control_plane::endpoint::Endpoint;
use crate::control_plane::supervisor::Overlap;
use crate::control_plane::trigger::files;
use crate::data_plane::listen::{ListenAddress, UNIX_PATH_BYTES_MAX};
use crate::data_plane::{Expect, TrustedProxy};
use crate::generation::AppProtocol;

/// `true` or `false`.
#[derive(Debug)]
pub(super) struct Flag;

/// A whole number of a range.
#[derive(Debug)]
pub(super) struct Number<T, const MIN: u64, const MAX: u64>(PhantomData<T>);

/// A size of a range, in bytes.
#[derive(Debug)]
pub(super) struct Size<const MIN: u64, const MAX: u64>;

/// A duration; 0 has a meaning.
#[derive(Debug)]
pub(super) struct Time;

/// A duration; 0 has none.
#[derive(Debug)]
pub(super) struct Positive;

/// One of a closed list of words.
#[derive(Debug)]
pub(super) struct Word<T>(PhantomData<T>);

/// The name of hitless or of an app.
#[derive(Debug)]
pub(super) struct Name;

/// A host without a port.
#[derive(Debug)]
pub(super) struct Host;

/// A path of a URL.
#[derive(Debug)]
pub(super) struct UrlPath;

/// A status or a range of them.
#[derive(Debug)]
pub(super) struct Statuses;

/// A path of a file or folder.
#[derive(Debug)]
pub(super) struct Path;

/// A line of a `.gitignore`.
#[derive(Debug)]
pub(super) struct Pattern;

/// A path that a unix socket can have.
#[derive(Debug)]
pub(super) struct SocketPath;

/// An address to listen on.
#[derive(Debug)]
pub(super) struct ListenOn;

/// An address to forward to.
#[derive(Debug)]
pub(super) struct Address;

/// An address to listen on, or `""` for none.
#[derive(Debug)]
pub(super) struct OptionalAddress;

/// An address or network of proxies.
#[derive(Debug)]
pub(super) struct Proxy;

/// A program and its arguments.
#[derive(Debug)]
pub(super) struct Command;

/// A closed list of words and what they stand for.
pub(super) trait Choice: Copy + 'static {
    /// Each word.
    const WORDS: &'static [(&'static str, Self)];
}

impl Choice for StreamPolicy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("wait", Self::Wait),
        ("close", Self::Close),
        ("keep", Self::Keep),
    ];
}

impl Choice for AppProtocol {
    const WORDS: &'static [(&'static str, Self)] = &[("http1", Self::Http1), ("h2c", Self::H2c)];
}

impl Choice for Expect {
    const WORDS: &'static [(&'static str, Self)] =
        &[("answer", Self::Answer), ("forward", Self::Forward)];
}

impl Choice for Overlap {
    const WORDS: &'static [(&'static str, Self)] = &[("full", Self::Full), ("none", Self::None)];
}

impl Choice for MemoryPolicy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("warn", Self::Warn),
        ("stop_standby", Self::StopStandby),
        ("refuse", Self::Refuse),
    ];
}

// === impl Kind ===

impl Kind for Flag {
    type Value = bool;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<bool> {
        let flag = node.get_ref().as_bool();
        if flag.is_none() {
            let problem = read::mismatch(node, at, "true or false");
            problems.push(problem.help("write true or false, without quotes"));
        }
        flag
    }
}

impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> Kind for Number<T, MIN, MAX> {
    type Value = T;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<T> {
        let range = format!("a whole number from {MIN} to {MAX}");
        let Some(integer) = node.get_ref().as_integer() else {
            let problem = read::mismatch(node, at, &range);
            let quoted = node.get_ref().as_str().map(str::trim);
            let quoted = quoted.filter(|text| text.parse::<u64>().is_ok());
            problems.push(match quoted {
                Some(number) => problem.help(format!("write {number}, without quotes")),
                None => problem,
            });
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            problems.push(read::cannot_be(node, at, &integer.to_string(), range));
        }
        number
    }
}

impl<const MIN: u64, const MAX: u64> Kind for Size<MIN, MAX> {
    type Value = usize;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<usize> {
        let (min, max) = (units::show_size(MIN), units::show_size(MAX));
        let range = format!("a size from \"{min}\" to \"{max}\"");
        let bytes = read::text(node, at, problems, &range, units::size)?;
        let size = usize::try_from(bytes)
            .ok()
            .filter(|_| (MIN..=MAX).contains(&bytes));
        if size.is_none() {
            problems.push(read::cannot_be(node, at, &read::shown(node), range));
        }
        size
    }
}

impl Kind for Time {
    type Value = Duration;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Duration> {
        match node.get_ref() {
            DeValue::Integer(zero) if zero.as_str() == "0" => Some(Duration::ZERO),
            _ => read::text(
                node,
                at,
                problems,
                r#"a duration such as "30s""#,
                units::duration,
            ),
        }
    }
}

impl Kind for Positive {
    type Value = Duration;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Duration> {
        let duration = Time::read(node, at, problems)?;
        if duration.is_zero() {
            problems.push(read::cannot_be(
                node,
                at,
                &read::shown(node),
                "a duration of at least 1ms",
            ));
            return None;
        }
        Some(duration)
    }
}

impl<T: Choice> Kind for Word<T> {
    type Value = T;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<T> {
        let words: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let allowed = format!("one of \"{}\"", words.join("\", \""));
        read::text(node, at, problems, &allowed, |text| {
            let found = T::WORDS.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value).ok_or_else(|| {
                match read::nearest(&text.to_lowercase(), words.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"? It is {allowed}"),
                    None => allowed.clone(),
                }
            })
        })
    }
}

impl Kind for Name {
    type Value = String;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<String> {
        read::text(
            node,
            at,
            problems,
            r#"a name such as "hitless""#,
            words::name,
        )
    }
}

impl Kind for Host {
    type Value = String;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<String> {
        read::text(
            node,
            at,
            problems,
            r#"a host such as "app.example.com""#,
            words::host,
        )
    }
}

impl Kind for UrlPath {
    type Value = String;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<String> {
        read::text(
            node,
            at,
            problems,
            r#"a path such as "/healthz""#,
            words::url_path,
        )
    }
}

impl Kind for Statuses {
    type Value = RangeInclusive<u16>;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Self::Value> {
        if let DeValue::Integer(number) = node.get_ref()
            && let Ok(status) = words::statuses(number.as_str())
        {
            return Some(status);
        }
        read::text(
            node,
            at,
            problems,
            r#"statuses such as "200-499""#,
            words::statuses,
        )
    }
}

impl Kind for Path {
    type Value = PathBuf;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<PathBuf> {
        read::text(node, at, problems, "a path", |text| match text {
            "" => Err("leave the key out for none"),
            _ => no_nul(text).map(PathBuf::from),
        })
    }
}

impl Kind for Pattern {
    type Value = String;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<String> {
        let what = r#"a pattern such as "*.md""#;
        read::text(node, at, problems, what, files::pattern)
    }
}

impl Kind for SocketPath {
    type Value = PathBuf;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<PathBuf> {
        let path = Path::read(node, at, problems)?;
        if path.as_os_str().len() > UNIX_PATH_BYTES_MAX {
            let bytes = format!("the path of a socket has at most {UNIX_PATH_BYTES_MAX} bytes");
            problems.push(read::cannot_be(node, at, "as long as this", bytes));
            return None;
        }
        Some(path)
    }
}

impl Kind for ListenOn {
    type Value = ListenAddress;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<ListenAddress> {
        read::text(node, at, problems, ADDRESS, str::parse)
    }
}

impl Kind for Address {
    type Value = Endpoint;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Endpoint> {
        let what =
            r#"an address such as "127.0.0.1:3000", "app.internal:3000" or "unix:/run/app.sock""#;
        read::text(node, at, problems, what, str::parse)
    }
}

impl Kind for OptionalAddress {
    type Value = Option<ListenAddress>;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Self::Value> {
        read::text(node, at, problems, ADDRESS, words::admin)
    }
}

impl Kind for Proxy {
    type Value = TrustedProxy;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<TrustedProxy> {
        let what = r#"an address or network such as "10.0.0.0/8""#;
        read::text(node, at, problems, what, str::parse)
    }
}

impl Kind for Command {
    type Value = Vec<String>;

    /// Never none: a command that is bad is not also one that is missing.
    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
        let Some(array) = node.get_ref().as_array() else {
            problems.push(read::mismatch(node, at, COMMAND).help(COMMAND_HELP));
            return Some(Vec::new());
        };
        if array
            .first()
            .is_none_or(|program| program.get_ref().as_str() == Some(""))
        {
            problems.push(
                Problem::new(Some(node.span()), format!("`{at}` names no program"))
                    .help(COMMAND_HELP),
            );
        }
        let word = |entry| read::text(entry, at, problems, "strings in quotes", no_nul);
        Some(array.iter().filter_map(word).collect())
    }
}

const ADDRESS: &str = r#"an address such as "127.0.0.1:8080""#;
const COMMAND: &str = "a list of a program and its arguments";
const COMMAND_HELP: &str =
    r#"write ["python3", "app.py"], or ["sh", "-c", "exec …"] where a shell is needed"#;

fn no_nul(text: &str) -> Result<String, &'static str> {
    match text.contains('\0') {
        true => Err("the system takes no NUL here"),
        false => Ok(text.to_owned()),
    }
}
