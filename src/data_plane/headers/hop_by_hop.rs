//! The fields that concern one connection only: RFC 9110 section 7.6.1.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

use super::{Present, forwarded};

/// What all the `Connection` lines of a head together say.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// `upgrade` is named.
    pub(super) upgrade: bool,
    /// The other fields that are named.
    named: Vec<HeaderName>,
}

/// Fields that go whether they are named or not.
static ALWAYS: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Reads every `Connection` line, where there is one.
pub(super) fn options(headers: &HeaderMap, present: Present) -> Options {
    let mut options = Options::default();
    if !present.has(Present::CONNECTION) {
        return options;
    }
    for token in headers.get_all(CONNECTION).iter().flat_map(tokens) {
        if token.eq_ignore_ascii_case(b"upgrade") {
            options.upgrade = true;
        } else if !token.eq_ignore_ascii_case(b"close")
            && !token.eq_ignore_ascii_case(b"keep-alive")
            && let Ok(name) = HeaderName::from_bytes(token)
            && !is_for_everybody(&name)
        {
            options.named.push(name);
        }
    }
    options
}

/// What no sender may have taken away by naming it: RFC 9110 section 7.6.1 forbids that for fields that are meant for
/// all on the way. Without these the app would not know for which host, how long, and from whom.
fn is_for_everybody(name: &HeaderName) -> bool {
    *name == HOST || *name == CONTENT_LENGTH || forwarded::is_claim(name)
}

/// Removes what concerns this connection only. `present` is what was there at the beginning.
pub(super) fn strip(headers: &mut HeaderMap, options: Options, present: Present) {
    for name in options.named {
        headers.remove(name);
    }
    if !present.has(Present::ONE_CONNECTION) {
        return;
    }
    for name in &ALWAYS {
        headers.remove(name);
    }
    headers.remove(TE);
}

/// All that may be removed without being named.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static HeaderName> {
    ALWAYS.iter().chain([&TE])
}

/// Whether the sender of this head takes trailers.
pub(super) fn accepts_trailers(headers: &HeaderMap) -> bool {
    lists_token(headers, &TE, "trailers")
}

/// Whether a field lists a token on any of its lines.
pub(super) fn lists_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut listed = headers.get_all(name).iter().flat_map(tokens);
    listed.any(|listed| listed.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether a field is this one token and nothing else.
pub(super) fn is_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut listed = headers.get_all(name).iter().flat_map(tokens);
    let first = listed.next();
    listed.next().is_none()
        && first.is_some_and(|first| first.eq_ignore_ascii_case(token.as_bytes()))
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let parts = value.as_bytes().split(|&byte| byte == b',');
    parts
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}
