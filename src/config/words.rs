//! The grammars of the small words in a configuration: names, hosts, paths, statuses. The same in the file, in
//! variables and in flags.

use std::ops::RangeInclusive;
use std::str::FromStr;

use http::uri::PathAndQuery;

use crate::data_plane::listen::{AddressError, ListenAddress, Owner};
use crate::data_plane::route::HostPattern;
use crate::telemetry::access::Destination;

/// How an instance shows that it is ready, as `--ready` says it in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyCheck {
    /// `/PATH` or `http:/PATH`: by answering it.
    Http(String),
    /// `tcp`: by accepting a connection.
    Tcp,
    /// `notify`: by sending `READY=1`.
    Notify,
}

/// Why a text is not the word that is asked for: what that word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// No name.
    #[error(
        "a name is 1 to 64 letters, digits, `-`, `_` or `.`, and starts with a letter or digit"
    )]
    Name,
    /// No host name.
    #[error("a host is a name or address without scheme and port, such as \"app.example.com\"")]
    Host,
    /// No path of a URL.
    #[error("a path starts with `/` and has neither spaces nor `#`, such as \"/healthz\"")]
    Path,
    /// Nowhere that lines can go.
    #[error("write off, stdout, stderr or a file, such as \"./access.log\"")]
    AccessLog,
    /// No status or range of them.
    #[error(
        "a status is a number from 100 to 599 or a range of them, such as \"204\" or \"200-499\""
    )]
    Status,
    /// No host and nothing below one.
    #[error(
        "a host is a name or address without scheme and port, or `*.` and a name, such as \"*.example.com\""
    )]
    HostPattern,
    /// No start of a path.
    #[error("a path starts with `/` and has neither `?`, `#` nor spaces, such as \"/api\"")]
    Prefix,
    /// No permissions of a file.
    #[error("permissions are 3 or 4 octal digits, such as \"0660\"")]
    FileMode,
    /// No user or group.
    #[error("a user or group is a name or a number, such as \"www-data\" or 33")]
    Account,
    /// No way to be ready.
    #[error("write /PATH or http:/PATH for an HTTP check, tcp, or notify")]
    Ready,
}

/// Reads a name: of hitless, which is a file name, or of an app, which is a label and a part of a path.
///
/// # Errors
///
/// What a name is.
pub fn name(text: &str) -> Result<String, WordError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match text.as_bytes() {
        [first, rest @ ..]
            if first.is_ascii_alphanumeric()
                && rest.len() < 64
                && rest.iter().all(|byte| fits(*byte)) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(WordError::Name),
    }
}

/// Reads a host without a port, in lower case.
///
/// # Errors
///
/// What a host is.
pub fn host(text: &str) -> Result<String, WordError> {
    let name = !text.is_empty()
        && text.len() <= 253
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let address = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    match name || address {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(WordError::Host),
    }
}

/// Reads a host, or `*.` and the name that hosts are below, in lower case.
///
/// # Errors
///
/// What it is.
pub fn host_pattern(text: &str) -> Result<HostPattern, WordError> {
    let read = match text.strip_prefix("*.") {
        // An address has nothing below it.
        Some(below) if !below.starts_with('[') => host(below).map(HostPattern::Below),
        Some(_) => Err(WordError::HostPattern),
        None => host(text).map(HostPattern::Exact),
    };
    match read {
        Ok(HostPattern::Exact(name)) => Ok(HostPattern::Exact(without_root(name))),
        Ok(HostPattern::Below(name)) => Ok(HostPattern::Below(without_root(name))),
        _ => Err(WordError::HostPattern),
    }
}

/// A request for `example.org.` is for `example.org`.
fn without_root(mut name: String) -> String {
    if name.len() > 1 && name.ends_with('.') {
        name.pop();
    }
    name
}

/// Reads the start of a path as whole segments: without a slash at its end.
///
/// # Errors
///
/// What it is.
pub fn path_prefix(text: &str) -> Result<String, WordError> {
    match url_path(text) {
        Ok(path) if !path.contains('?') => Ok(path.trim_end_matches('/').to_owned()),
        _ => Err(WordError::Prefix),
    }
}

/// Reads the permissions of a file.
///
/// # Errors
///
/// What they are.
pub fn file_mode(text: &str) -> Result<u32, WordError> {
    let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    match u32::from_str_radix(text, 8) {
        // Set-user-id and the like mean nothing for a socket.
        Ok(mode @ 0..=0o777) if octal && (3..=4).contains(&text.len()) => Ok(mode),
        _ => Err(WordError::FileMode),
    }
}

/// Reads a user or group: a name or a number.
///
/// # Errors
///
/// What it is.
pub fn account(text: &str) -> Result<Owner, WordError> {
    if let Ok(id) = text.parse() {
        return Ok(Owner::Id(id));
    }
    let fits = |byte: u8| byte.is_ascii_graphic() && !b":/,".contains(&byte);
    match !text.is_empty() && text.len() <= 256 && text.bytes().all(fits) {
        true => Ok(Owner::Name(text.to_owned())),
        false => Err(WordError::Account),
    }
}

/// Reads the path, with a query or without, that is asked for in an HTTP check.
///
/// # Errors
///
/// What a path is.
pub fn url_path(text: &str) -> Result<String, WordError> {
    match text.starts_with('/') && !text.contains('#') && PathAndQuery::from_str(text).is_ok() {
        true => Ok(text.to_owned()),
        false => Err(WordError::Path),
    }
}

/// Reads where the access log goes: off, stdout, stderr or a file. The name of a file has a `/` or a `.`, so that a word
/// that is misspelt is none.
///
/// # Errors
///
/// What it may be.
pub fn access_log(text: &str) -> Result<Destination, WordError> {
    let destination = Destination::from_text(text);
    let is_path = text.contains(['/', '.']) && !text.contains('\0');
    match matches!(destination, Destination::File(_)) && !is_path {
        true => Err(WordError::AccessLog),
        false => Ok(destination),
    }
}

/// Reads where operators are answered; none for nowhere, which is `""` and no word.
///
/// # Errors
///
/// What it may be.
pub fn admin(text: &str) -> Result<Option<ListenAddress>, String> {
    match text {
        "" => Ok(None),
        "off" | "none" | "no" | "false" => Err(r#"write "" for none"#.to_owned()),
        _ => text
            .parse()
            .map(Some)
            .map_err(|error: AddressError| error.to_string()),
    }
}

/// Reads a status or a range of them.
///
/// # Errors
///
/// What a status is.
pub fn statuses(text: &str) -> Result<RangeInclusive<u16>, WordError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(WordError::Status),
    }
}

fn status(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let status = text.parse().ok()?;
    (digits && (100..=599).contains(&status)).then_some(status)
}

// === impl ReadyCheck ===

impl FromStr for ReadyCheck {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "notify" => Ok(Self::Notify),
            _ => {
                let path = text.strip_prefix("http:").unwrap_or(text);
                match path.starts_with('/') && !path.starts_with("//") {
                    true => url_path(path).map(Self::Http),
                    false => Err(WordError::Ready),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_name_and_a_label() {
        for text in ["a", "hitless", "web-1.blue_2", "9"] {
            assert_eq!(name(text).as_deref(), Ok(text));
        }
        let long = "a".repeat(65);
        for text in ["", ".", "..", ".hidden", "a/b", "a b", "ä", "-a", &long] {
            assert_eq!(name(text), Err(WordError::Name), "{text}");
        }
    }

    #[test]
    fn a_host_has_no_port() {
        assert_eq!(host("App.Example.com").as_deref(), Ok("app.example.com"));
        assert_eq!(host("[::1]").as_deref(), Ok("[::1]"));
        for text in ["", "a:80", "http://a", "a/b", "::1", "a b"] {
            assert_eq!(host(text), Err(WordError::Host), "{text}");
        }
    }

    #[test]
    fn the_access_log_goes_to_a_word_or_a_file() {
        assert_eq!(access_log("off"), Ok(Destination::Off));
        assert_eq!(access_log("stderr"), Ok(Destination::Stderr));
        for file in ["access.log", "/var/log/x", "./off"] {
            assert_eq!(access_log(file), Ok(Destination::File(file.into())));
        }
        for text in ["", "Off", "std-out", "none", "a\0.log"] {
            assert_eq!(access_log(text), Err(WordError::AccessLog), "{text}");
        }
    }

    #[test]
    fn a_host_pattern_is_a_host_or_all_below_a_name() {
        let exact = HostPattern::Exact("a.example.org".to_owned());
        let below = HostPattern::Below("example.org".to_owned());
        assert_eq!(host_pattern("A.Example.org"), Ok(exact.clone()));
        assert_eq!(host_pattern("a.example.org."), Ok(exact));
        assert_eq!(host_pattern("*.Example.org"), Ok(below));
        for text in ["", "*", "*.", "a.*.org", "*a.org", "*.[::1]", "a:80"] {
            assert_eq!(host_pattern(text), Err(WordError::HostPattern), "{text}");
        }
    }

    #[test]
    fn a_prefix_is_whole_segments() {
        assert_eq!(path_prefix("/api").as_deref(), Ok("/api"));
        assert_eq!(path_prefix("/api/").as_deref(), Ok("/api"));
        assert_eq!(path_prefix("/").as_deref(), Ok(""));
        for text in ["", "api", "/a?b", "/a#b", "/a b"] {
            assert_eq!(path_prefix(text), Err(WordError::Prefix), "{text}");
        }
    }

    #[test]
    fn permissions_and_accounts() {
        assert_eq!(file_mode("0660"), Ok(0o660));
        assert_eq!(file_mode("600"), Ok(0o600));
        for text in ["", "66", "0o660", "888", "4755", "+660", "00660"] {
            assert_eq!(file_mode(text), Err(WordError::FileMode), "{text}");
        }
        assert_eq!(account("33"), Ok(Owner::Id(33)));
        assert_eq!(account("www-data"), Ok(Owner::Name("www-data".to_owned())));
        for text in ["", "a b", "a:b"] {
            assert_eq!(account(text), Err(WordError::Account), "{text}");
        }
    }

    #[test]
    fn statuses_are_one_or_a_range() {
        assert_eq!(statuses("204"), Ok(204..=204));
        assert_eq!(statuses("200-499"), Ok(200..=499));
        for text in [
            "",
            "99",
            "600",
            "+200",
            "499-200",
            "200-",
            "2xx",
            "200 - 299",
        ] {
            assert_eq!(statuses(text), Err(WordError::Status), "{text}");
        }
    }

    #[test]
    fn one_word_says_how_an_instance_is_ready() {
        assert_eq!("/up".parse(), Ok(ReadyCheck::Http("/up".to_owned())));
        assert_eq!(
            "http:/up?a=b".parse(),
            Ok(ReadyCheck::Http("/up?a=b".to_owned()))
        );
        assert_eq!("tcp".parse(), Ok(ReadyCheck::Tcp));
        assert_eq!("notify".parse(), Ok(ReadyCheck::Notify));
        for text in ["", "up", "http://127.0.0.1/up", "TCP"] {
            assert_eq!(text.parse::<ReadyCheck>(), Err(WordError::Ready), "{text}");
        }
        assert_eq!("/a b".parse::<ReadyCheck>(), Err(WordError::Path));
    }
}
