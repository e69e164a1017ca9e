//! Which host a request is for: RFC 9112 sections 3.2 and 3.3.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Method, Request, Version};

use crate::telemetry::traffic::Reason;

/// Leaves a request with exactly one valid `Host` and a target in origin form (or `*`), its bytes untouched.
pub(super) fn settle<B>(request: &mut Request<B>) -> Result<(), Reason> {
    let mut lines = request.headers().get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (Some(host), None) if is_valid(host.as_bytes()) => {}
        (None, None) if request.version() == Version::HTTP_10 => {
            // HTTP/1.0 may go without, but what is sent on is HTTP/1.1; hyper would put the app's own address there.
            let host = HeaderValue::from_static("localhost");
            request.headers_mut().insert(HOST, host);
        }
        _ => return Err(Reason::BadRequest),
    }
    let target = request.uri();
    match (target.scheme(), target.authority()) {
        (Some(scheme), Some(authority)) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => {
            // In absolute form the authority wins over Host.
            let host = from_authority(authority)?;
            request.headers_mut().insert(HOST, host);
            to_origin_form(request.uri_mut());
            Ok(())
        }
        // `*` asks about the server as a whole, which only OPTIONS does.
        (None, None) if target.path() == "*" && request.method() != Method::OPTIONS => {
            Err(Reason::BadRequest)
        }
        (None, None) => Ok(()),
        // An authority alone is for CONNECT, and other schemes are served elsewhere.
        _ => Err(Reason::BadRequest),
    }
}

/// The host that a request names, as it stands there; of several the first, for such a request is refused anyway.
pub(in crate::data_plane) fn host_of<B>(request: &Request<B>) -> Option<&[u8]> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => request.headers().get(HOST).map(HeaderValue::as_bytes),
    }
}

fn from_authority(authority: &Authority) -> Result<HeaderValue, Reason> {
    if !is_valid(authority.as_str().as_bytes()) {
        return Err(Reason::BadRequest);
    }
    HeaderValue::from_str(authority.as_str()).map_err(|_| Reason::BadRequest)
}

fn to_origin_form(uri: &mut Uri) {
    let path = uri.path_and_query().cloned();
    // A path can be there and empty, as in `http://host#fragment`, and would leave a request line without a target.
    let path = path.filter(|path| path.as_str() != "/");
    *uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
}

/// Whether it is a host with a port or without: RFC 3986 sections 3.2.2 and 3.2.3, less user information.
fn is_valid(host: &[u8]) -> bool {
    let name_end = if host.first() == Some(&b'[') {
        host.iter()
            .position(|&byte| byte == b']')
            .map(|end| end + 1)
    } else {
        host.iter().position(|&byte| byte == b':')
    };
    let (name, port) = host.split_at(name_end.unwrap_or(host.len()));
    let named = match name {
        [b'[', address @ .., b']'] => is_address(address),
        _ => is_name(name),
    };
    let port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    named && port
}

fn is_address(text: &[u8]) -> bool {
    let text = std::str::from_utf8(text);
    text.is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_name(mut name: &[u8]) -> bool {
    if name.is_empty() {
        return false;
    }
    while let [byte, rest @ ..] = name {
        name = match rest {
            [high, low, rest @ ..] if *byte == b'%' => {
                if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
                    return false;
                }
                rest
            }
            _ if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
    }
    true
}
