//! What a head of HTTP/2 needs before it is rewritten like any other, and after: RFC 9113 section 8.

use http::header::{CONNECTION, COOKIE, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Request};

use super::handshake::Proof;
use crate::telemetry::traffic::Reason;

/// Leaves a request in the form in which HTTP/1.1 would have brought it: its host in `Host`, its cookies on one line.
///
/// # Errors
///
/// There are more fields than `fields_max`, or the host is named twice and differently.
pub(in crate::data_plane) fn from_http2<B>(
    request: &mut Request<B>,
    fields_max: usize,
) -> Result<(), Reason> {
    // Each crumb counts: compressed, thousands of fields are a few bytes.
    if request.headers().len() > fields_max {
        return Err(Reason::HeadTooLarge);
    }
    name_host(request)?;
    join_crumbs(request.headers_mut());
    Ok(())
}

/// Turns a request that was rewritten for an app into one of HTTP/2, and one that asks for a WebSocket into a CONNECT with
/// its [`Proof`]. One that is one already stays as it is.
///
/// # Errors
///
/// The host cannot be an authority, or a WebSocket is not asked for as it must be.
pub(in crate::data_plane) fn to_http2<B>(request: &mut Request<B>) -> Result<(), Reason> {
    Proof::prepare(request)?;
    let headers = request.headers_mut();
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    let Some(host) = headers.remove(HOST) else {
        return Ok(());
    };
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| Reason::BadRequest)?;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    let path = parts.path_and_query;
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Reason::BadRequest)?;
    *request.version_mut() = http::Version::HTTP_2;
    Ok(())
}

/// RFC 9113 section 8.3.1: `:authority` stands for `Host`, and one that says something else makes the request malformed.
fn name_host<B>(request: &mut Request<B>) -> Result<(), Reason> {
    let Some(authority) = request.uri().authority() else {
        return Ok(());
    };
    let name = authority.as_str();
    let differs = |host: &HeaderValue| !host.as_bytes().eq_ignore_ascii_case(name.as_bytes());
    if request.headers().get_all(HOST).iter().any(differs) {
        return Err(Reason::BadRequest);
    }
    let host = HeaderValue::from_str(name).map_err(|_| Reason::BadRequest)?;
    request.headers_mut().insert(HOST, host);
    Ok(())
}

/// RFC 9113 section 8.2.3: a client may cut its `Cookie` into one field for each pair.
fn join_crumbs(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(_)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut line = first.as_bytes().to_vec();
    for crumb in headers.get_all(COOKIE).iter().skip(1) {
        line.extend_from_slice(b"; ");
        line.extend_from_slice(crumb.as_bytes());
    }
    let line = HeaderValue::try_from(line).expect("joined field values are a field value");
    headers.insert(COOKIE, line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, fields: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn the_authority_is_the_host() {
        let mut asked = request("http://example.org:81/path", &[]);
        from_http2(&mut asked, 100).unwrap();
        assert_eq!(asked.headers()["host"], "example.org:81");
        let mut asked = request("http://example.org/", &[("host", "Example.ORG")]);
        from_http2(&mut asked, 100).unwrap();
        assert_eq!(asked.headers()["host"], "example.org");
    }

    #[test]
    fn a_host_that_is_another_one_is_refused() {
        let mut asked = request("http://example.org/", &[("host", "evil.example")]);
        assert_eq!(from_http2(&mut asked, 100), Err(Reason::BadRequest));
    }

    #[test]
    fn a_request_for_an_app_of_http2_has_no_fields_of_a_connection() {
        let fields = [("host", "a:81"), ("te", "trailers"), ("connection", "te")];
        let mut asked = request("/path?query", &fields);
        to_http2(&mut asked).unwrap();
        to_http2(&mut asked).unwrap();
        assert_eq!(asked.uri(), "http://a:81/path?query");
        let left: Vec<_> = asked.headers().keys().collect();
        assert_eq!(left, ["te"]);
        let mut asked = request("*", &fields);
        to_http2(&mut asked).unwrap();
        assert_eq!(asked.uri().path(), "*");
    }

    #[test]
    fn crumbs_are_one_cookie_again() {
        let crumbs = [
            ("cookie", "a=1"),
            ("accept", "*/*"),
            ("cookie", "b=2"),
            ("cookie", "c=3"),
        ];
        let mut asked = request("http://a/", &crumbs);
        from_http2(&mut asked, 100).unwrap();
        let cookies: Vec<_> = asked.headers().get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn each_crumb_counts_as_a_field() {
        let mut asked = request("http://a/", &[("cookie", "a=1"); 11]);
        assert_eq!(from_http2(&mut asked, 10), Err(Reason::HeadTooLarge));
    }
}
