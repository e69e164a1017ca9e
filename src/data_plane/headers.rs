//! What happens to a head on its way through: checked, stripped of what concerns one connection only, and told where it
//! came from. Edited in place, for hyper recycles the map.
//!
//! Decides nothing about where a request goes and performs no I/O.

mod forwarded;
mod handshake;
mod hop_by_hop;
mod host;
mod http2;
mod present;

pub(super) use self::forwarded::Origin;
pub(super) use self::handshake::{Handshake, Proof, without_upgrade};
pub(super) use self::host::host_of;
pub(super) use self::http2::{from_http2, to_http2};
pub(super) use self::present::Present;

use std::net::IpAddr;

use http::header::{
    self, CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body::Body;

use super::Expect;
use super::trusted::TrustedProxies;
use crate::telemetry::traffic::Reason;

/// What is the same for all requests to one app.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) proxies: &'a TrustedProxies,
    pub(super) expect: Expect,
}

/// What was found in the head of a request while it was rewritten.
#[derive(Debug)]
pub(super) struct Found {
    /// The client waits for `100 Continue` before it sends its body.
    pub(super) expects_continue: bool,
    /// The client asks for a WebSocket, and so does the rewritten head.
    pub(super) websocket: bool,
    /// What the request is called in logs and error answers.
    pub(super) request_id: HeaderValue,
    /// Who asked, as far as anybody can be believed.
    pub(super) client: Option<IpAddr>,
}

/// Checks the head of a request and rewrites it for the app.
///
/// # Errors
///
/// Why hitless must answer by itself.
pub(super) fn toward_app<B: Body>(
    request: &mut Request<B>,
    origin: &Origin,
    rules: &Rules<'_>,
) -> Result<Found, Reason> {
    if request.method() == Method::CONNECT {
        return Err(Reason::NotImplemented);
    }
    let present = Present::of(request.headers());
    if present.has(Present::TRANSFER_ENCODING) {
        check_transfer_encoding(request.headers())?;
    }
    let has_body = !request.body().is_end_stream();
    // RFC 9110 section 10.1.1: ignored where there is nothing to go on with, and from who cannot read the answer.
    let expects_continue = present.has(Present::EXPECT)
        && take_expectation(request.headers_mut())?
        && has_body
        && request.version() != Version::HTTP_10;
    host::settle(request)?;

    let may_upgrade = request.method() == Method::GET && request.version() == Version::HTTP_11;
    let headers = request.headers_mut();
    let trailers = present.has(Present::TE) && hop_by_hop::accepts_trailers(headers);
    let options = hop_by_hop::options(headers, present);
    let websocket = options.upgrade
        && may_upgrade
        && !has_body
        && hop_by_hop::lists_token(headers, &UPGRADE, "websocket");
    // All that is added comes after what is removed, or a client could have it removed again by naming it.
    hop_by_hop::strip(headers, options, present);
    let told = forwarded::tell(headers, origin, rules.proxies, present);
    ask_hop_by_hop(headers, websocket, trailers);
    if expects_continue && rules.expect == Expect::Forward {
        headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
    }
    if has_body && !present.has(Present::CONTENT_LENGTH) {
        // hyper sends no body with a GET that names no framing, and the body would be lost silently.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    *request.version_mut() = Version::HTTP_11;
    Ok(Found {
        expects_continue,
        websocket,
        request_id: told.request_id,
        client: told.client,
    })
}

/// Checks the head of an ordinary answer and rewrites it for the client.
///
/// # Errors
///
/// When it cannot be passed on.
pub(super) fn toward_client<B>(response: &mut Response<B>) -> Result<(), Reason> {
    // RFC 9112 section 7: a coding other than `chunked` would have to be undone, or the client takes it for the content.
    let present = Present::of(response.headers());
    if present.has(Present::TRANSFER_ENCODING) {
        check_transfer_encoding(response.headers()).map_err(|_| Reason::BadAnswer)?;
    }
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    if present.has(Present::TRANSFER_ENCODING) {
        // RFC 9112 section 6.3: the coding rules, and a length beside it would cut the body.
        headers.remove(CONTENT_LENGTH);
    }
    let options = hop_by_hop::options(headers, present);
    hop_by_hop::strip(headers, options, present);
    Ok(())
}

/// A whole 103 with these fields, less those that concern the app's connection only or speak of a final answer.
pub(super) fn early_hints(fields: &HeaderMap) -> Vec<u8> {
    let mut fields = fields.clone();
    let present = Present::of(&fields);
    let options = hop_by_hop::options(&fields, present);
    hop_by_hop::strip(&mut fields, options, present);
    fields.remove(CONTENT_LENGTH);
    let mut message = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
    for (name, value) in &fields {
        message.extend_from_slice(name.as_str().as_bytes());
        message.extend_from_slice(b": ");
        message.extend_from_slice(value.as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"\r\n");
    message
}

/// Rewrites the head of a 101 for the client, who asked for a WebSocket. Says no when the app switched to anything else.
pub(super) fn switch_protocols<B>(response: &mut Response<B>) -> bool {
    let present = Present::of(response.headers());
    let options = hop_by_hop::options(response.headers(), present);
    let agreed = options.upgrade && hop_by_hop::is_token(response.headers(), &UPGRADE, "websocket");
    *response.version_mut() = Version::HTTP_11;
    hop_by_hop::strip(response.headers_mut(), options, present);
    ask_hop_by_hop(response.headers_mut(), agreed, false);
    agreed
}

/// Takes out of trailers what the other side might take for a field of the head: RFC 9110 section 6.5.1 names what frames,
/// routes, modifies, authenticates or describes a message.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    let present = Present::of(trailers);
    let options = hop_by_hop::options(trailers, present);
    hop_by_hop::strip(trailers, options, present);
    forwarded::remove_claims(trailers);
    for name in &NOT_IN_TRAILERS {
        trailers.remove(name);
    }
}

const NOT_IN_TRAILERS: [HeaderName; 25] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    EXPECT,
    header::EXPIRES,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::RANGE,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::TRAILER,
    header::VARY,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("proxy"),
];

/// Whether the app will close the connection after this answer.
pub(super) fn says_close(headers: &HeaderMap) -> bool {
    hop_by_hop::lists_token(headers, &CONNECTION, "close")
}

/// How many seconds the app keeps an idle connection: the `timeout` of its `Keep-Alive`.
pub(super) fn keep_alive_timeout(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get("keep-alive")?.to_str().ok()?;
    let mut parameters = value
        .split(',')
        .filter_map(|parameter| parameter.split_once('='));
    let (_, seconds) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    seconds.trim().trim_matches('"').parse().ok()
}

/// RFC 9112 section 6.1 lets a server answer 501 to a coding it does not know.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Reason> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(()),
        (Some(value), None)
            if value
                .as_bytes()
                .trim_ascii()
                .eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(())
        }
        _ => Err(Reason::NotImplemented),
    }
}

/// RFC 9110 section 10.1.1: `100-continue` is the only expectation there is. hitless meets it itself. For a head that has
/// one.
fn take_expectation(headers: &mut HeaderMap) -> Result<bool, Reason> {
    let mut values = headers.get_all(EXPECT).iter();
    let known = values.all(|value| {
        let value = value.as_bytes().trim_ascii();
        value.eq_ignore_ascii_case(b"100-continue")
    });
    headers.remove(EXPECT);
    if known {
        Ok(true)
    } else {
        Err(Reason::ExpectationFailed)
    }
}

/// Asks the next hop for what hitless itself takes part in.
fn ask_hop_by_hop(headers: &mut HeaderMap, websocket: bool, trailers: bool) {
    if websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    } else if trailers {
        // RFC 9110 section 10.1.4: whoever sends TE names it in Connection.
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

#[cfg(test)]
mod tests;
