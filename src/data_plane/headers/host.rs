//! Which host a request is for: RFC 9112 sections 3.2 and 3.3.

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderValue, Request, Version};

use crate::telemetry::traffic::Reason;

/// Leaves a request with exactly one valid `Host` and a target in origin form (or `*`), its bytes untouched.
pub(super) fn settle<B>(request: &mut Request<B>) -> Result<(), Reason> {
    let lines = request.headers().get_all(HOST).iter().count();
    let lacking = lines == 0 && request.version() != Version::HTTP_10;
    if lacking || lines > 1 {
        return Err(Reason::BadRequest);
    }
    if let Some(authority) = request.uri().authority() {
        // In absolute form the authority wins over Host.
        let host = from_authority(authority)?;
        request.headers_mut().insert(HOST, host);
        to_origin_form(request.uri_mut());
    }
    match request.headers().get(HOST) {
        Some(host) if is_valid(host.as_bytes()) => Ok(()),
        Some(_) => Err(Reason::BadRequest),
        None => {
            // HTTP/1.0 may go without, but what is sent on is HTTP/1.1; hyper would put the app's own address there.
            let host = HeaderValue::from_static("localhost");
            request.headers_mut().insert(HOST, host);
            Ok(())
        }
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
    if authority.as_str().contains('@') {
        return Err(Reason::BadRequest);
    }
    HeaderValue::from_str(authority.as_str()).map_err(|_| Reason::BadRequest)
}

fn to_origin_form(uri: &mut Uri) {
    let path = uri.path_and_query().cloned();
    *uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
}

/// Whether it may be a host with a port: RFC 3986 section 3.2.2, less user information.
fn is_valid(host: &[u8]) -> bool {
    !host.is_empty() && host.iter().all(|&byte| is_host_byte(byte))
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&byte)
}
