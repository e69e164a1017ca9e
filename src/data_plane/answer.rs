//! The answers that hitless makes by itself: the only place that turns a reason into a response.

pub mod pages;

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use self::pages::{CurrentPages, Format, Values};
use crate::telemetry::traffic::Reason;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// How the type of gRPC begins.
const GRPC: &[u8] = b"application/grpc";

/// What must be known about a request to answer it in a form that its client reads.
#[derive(Debug, Default)]
pub(super) struct Asker {
    accept: Option<HeaderValue>,
    grpc: bool,
    /// Who asks, as far as anybody can be believed.
    pub(super) client: Option<IpAddr>,
    /// What the request is called, once it has a name.
    pub(super) request_id: Option<HeaderValue>,
}

/// The form of an answer.
enum Form {
    Grpc,
    Html,
    Json,
    Text,
}

/// Makes the answer to a request that failed for `reason`, of the operator's page if there is one for it.
pub(super) fn make(reason: Reason, asker: &Asker, pages: &CurrentPages) -> Response<Bytes> {
    let form = asker.form();
    let id = asker.request_id.as_ref().and_then(|id| id.to_str().ok());
    let values = Values {
        status: status(reason).as_u16(),
        reason: reason.as_str(),
        request_id: id.unwrap_or(""),
    };
    let own = form.format().and_then(|format| pages.fill(format, &values));
    let built_in = || Bytes::from(page(&form, reason, &values));
    let mut response = Response::new(own.unwrap_or_else(built_in));
    if matches!(form, Form::Grpc) {
        put_grpc_status(response.headers_mut(), reason);
    } else {
        *response.status_mut() = status(reason);
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let error = format!("hitless; error={}", proxy_error(reason));
    let error = HeaderValue::try_from(error).expect("a token of ours is visible ASCII");
    headers.insert(PROXY_STATUS, error);
    if status(reason) == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if ends_connection(reason) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The same for a client whose head could not be read, as it goes over the wire.
pub(super) fn make_bare(reason: Reason) -> Vec<u8> {
    // Nothing is known of what the client accepts, so it is plain text, for which there are no pages.
    let response = make(reason, &Asker::default(), &CurrentPages::default());
    let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let length = response.body().len();
    bytes.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
    bytes.extend_from_slice(response.body());
    bytes
}

/// After these nobody knows where the next request begins, or nobody should be believed about it.
fn ends_connection(reason: Reason) -> bool {
    matches!(reason, Reason::HeadTimeout | Reason::BodyTimeout)
        || matches!(
            status(reason),
            StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED
        )
}

/// The status that a reason is answered with.
pub(super) fn status(reason: Reason) -> StatusCode {
    match reason {
        // Who has only closed its side can still read it.
        Reason::BadRequest | Reason::ClientGone => StatusCode::BAD_REQUEST,
        Reason::HeadTimeout | Reason::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::UriTooLong => StatusCode::URI_TOO_LONG,
        Reason::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
        Reason::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Reason::NoRoute => StatusCode::NOT_FOUND,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Reason::ConnectionRefused
        | Reason::ConnectionTimeout
        | Reason::ConnectionFailed
        | Reason::ConnectionLost
        | Reason::BadAnswer
        | Reason::AnswerTooLarge
        | Reason::BadUpgrade
        | Reason::NoWebsockets => StatusCode::BAD_GATEWAY,
        Reason::HoldFull | Reason::HoldTimeout | Reason::Removed => StatusCode::SERVICE_UNAVAILABLE,
        Reason::AnswerTimeout | Reason::Cut => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// The error type of `Proxy-Status`: RFC 9209 section 2.3.
fn proxy_error(reason: Reason) -> &'static str {
    match reason {
        Reason::BadRequest
        | Reason::ClientGone
        | Reason::HeadTimeout
        | Reason::BodyTimeout
        | Reason::BodyTooLarge
        | Reason::UriTooLong
        | Reason::ExpectationFailed
        | Reason::HeadTooLarge
        | Reason::NotImplemented => "http_request_error",
        Reason::NoRoute => "destination_not_found",
        Reason::Internal => "proxy_internal_error",
        Reason::ConnectionRefused => "connection_refused",
        Reason::ConnectionTimeout => "connection_timeout",
        Reason::ConnectionFailed | Reason::HoldFull | Reason::HoldTimeout | Reason::Removed => {
            "destination_unavailable"
        }
        Reason::ConnectionLost => "connection_terminated",
        Reason::BadAnswer => "http_protocol_error",
        Reason::AnswerTooLarge => "http_response_header_section_size",
        Reason::BadUpgrade | Reason::NoWebsockets => "http_upgrade_failed",
        Reason::AnswerTimeout | Reason::Cut => "http_response_timeout",
    }
}

/// One sentence for people.
fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::BadRequest => "The request breaks a rule of HTTP.",
        Reason::HeadTimeout => "The request did not come in time.",
        Reason::BodyTimeout => "The body of the request did not come in time.",
        Reason::ClientGone => "The body of the request did not come to its end.",
        Reason::BodyTooLarge => "The body of the request is too large.",
        Reason::UriTooLong => "The address of the request is too long.",
        Reason::ExpectationFailed => "The request expects what cannot be met.",
        Reason::HeadTooLarge => "The head of the request is too large.",
        Reason::NoRoute => "There is nothing at this address.",
        Reason::Internal => "Something went wrong here.",
        Reason::NotImplemented => "The request asks for what is not supported.",
        Reason::ConnectionRefused
        | Reason::ConnectionTimeout
        | Reason::ConnectionFailed
        | Reason::ConnectionLost => "The application cannot be reached.",
        Reason::BadAnswer | Reason::AnswerTooLarge | Reason::BadUpgrade => {
            "The application gave an answer that cannot be passed on."
        }
        Reason::NoWebsockets => "The application takes no WebSockets over HTTP/2.",
        Reason::HoldFull | Reason::HoldTimeout | Reason::Removed => {
            "The application is not available just now."
        }
        Reason::AnswerTimeout | Reason::Cut => "The application did not answer in time.",
    }
}

fn page(form: &Form, reason: Reason, values: &Values<'_>) -> String {
    let (number, word, id) = (values.status, values.reason, values.request_id);
    let sentence = sentence(reason);
    let title = status(reason).canonical_reason().unwrap_or("Error");
    match form {
        Form::Grpc => String::new(),
        Form::Html => format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{number} {title}</title>\n\
             <h1>{title}</h1>\n<p>{sentence}</p>\n<p><small>{number} {word} {}</small></p>\n</html>\n",
            Format::Html.escaped(id)
        ),
        Form::Json => {
            let body = serde_json::json!({"status": number, "reason": word, "request_id": id});
            format!("{body}\n")
        }
        Form::Text => format!("{number} {title}\n{sentence}\nreason: {word}\nrequest: {id}\n"),
    }
}

/// A gRPC client reads the status from the head when no message follows ("trailers only").
fn put_grpc_status(headers: &mut HeaderMap, reason: Reason) {
    let code = match status(reason) {
        StatusCode::GATEWAY_TIMEOUT => "4",
        StatusCode::PAYLOAD_TOO_LARGE => "8",
        StatusCode::NOT_FOUND => "12",
        _ => "14",
    };
    headers.insert(GRPC_STATUS, HeaderValue::from_static(code));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(sentence(reason)));
}

/// The end of a gRPC call whose answer had begun when it was told to end.
pub(super) fn closed_call() -> HeaderMap {
    const CLOSED: &str = "The copy of the application that answered is leaving.";
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("14"));
    trailers.insert(GRPC_MESSAGE, HeaderValue::from_static(CLOSED));
    trailers
}

// === impl Asker ===

impl Asker {
    /// Whoever sent this head, which must be the one that the client sent.
    pub(super) fn new(headers: &HeaderMap) -> Self {
        Self {
            accept: headers.get(ACCEPT).cloned(),
            grpc: headers.get(CONTENT_TYPE).is_some_and(is_grpc),
            client: None,
            request_id: None,
        }
    }

    fn form(&self) -> Form {
        if self.grpc {
            return Form::Grpc;
        }
        let accept = self.accept.as_ref().and_then(|accept| accept.to_str().ok());
        let ranges = accept.unwrap_or("").split(',');
        let types = ranges.map(|range| range.split(';').next().unwrap_or(range).trim());
        let types: Vec<_> = types.map(str::to_ascii_lowercase).collect();
        if types.iter().any(|name| name == "text/html") {
            Form::Html
        } else if types
            .iter()
            .any(|name| name.ends_with("/json") || name.ends_with("+json"))
        {
            Form::Json
        } else {
            Form::Text
        }
    }
}

/// Whether a content type is that of a gRPC exchange.
pub(super) fn is_grpc(content_type: &HeaderValue) -> bool {
    let start = content_type.as_bytes().get(..GRPC.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}

/// Whether its body is the messages of gRPC as they are, and its status stands in trailers. That is so with `+proto` and the
/// like, but not with gRPC-Web, whose trailers are a message of their own.
pub(super) fn is_plain_grpc(content_type: &HeaderValue) -> bool {
    let rest = content_type.as_bytes().get(GRPC.len()..);
    is_grpc(content_type)
        && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

// === impl Form ===

impl Form {
    /// What an operator's page for it is written in; none: there are no such pages.
    fn format(&self) -> Option<Format> {
        match self {
            Self::Html => Some(Format::Html),
            Self::Json => Some(Format::Json),
            Self::Grpc | Self::Text => None,
        }
    }

    fn content_type(&self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(reason: Reason, fields: &[(HeaderName, &'static str)]) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut asker = Asker::new(&headers);
        asker.request_id = Some(HeaderValue::from_static("<id>"));
        make(reason, &asker, &CurrentPages::default())
    }

    #[track_caller]
    fn check_type(accept: &'static str, expected: &str) -> String {
        let response = answer(Reason::AnswerTimeout, &[(ACCEPT, accept)]);
        let content_type = response.headers()[CONTENT_TYPE].to_str().unwrap();
        assert!(
            content_type.starts_with(expected),
            "{accept}: {content_type}"
        );
        String::from_utf8(response.into_body().to_vec()).unwrap()
    }

    #[test]
    fn the_client_gets_the_form_that_it_names() {
        check_type("*/*", "text/plain");
        check_type("image/png, text/HTML;q=0.9", "text/html");
        check_type("application/json", "application/json");
        check_type("application/problem+json;q=1", "application/json");
    }

    #[test]
    fn json_has_status_reason_and_request_id() {
        let body = check_type("application/json", "application/json");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let expected =
            serde_json::json!({"status": 504, "reason": "answer_timeout", "request_id": "<id>"});
        assert_eq!(body, expected);
    }

    #[test]
    fn nothing_that_a_client_sent_is_markup() {
        let body = check_type("text/html", "text/html");
        assert!(body.contains("&lt;id&gt;") && !body.contains("<id>"));
    }

    #[test]
    fn the_reason_stands_in_proxy_status() {
        let response = answer(Reason::ConnectionRefused, &[]);
        assert_eq!(response.status(), 502);
        assert_eq!(
            response.headers()[PROXY_STATUS],
            "hitless; error=connection_refused"
        );
    }

    #[test]
    fn a_client_that_found_nothing_live_is_told_to_come_again() {
        let response = answer(Reason::HoldFull, &[]);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn grpc_gets_its_status_in_the_head() {
        let grpc = [(CONTENT_TYPE, "application/grpc+proto")];
        for (reason, code) in [
            (Reason::HoldFull, "14"),
            (Reason::Cut, "4"),
            (Reason::BodyTooLarge, "8"),
        ] {
            let response = answer(reason, &grpc);
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()[GRPC_STATUS], code);
            assert!(response.body().is_empty());
        }
    }

    #[test]
    fn trailers_end_plain_grpc_only() {
        let plain = [
            "application/grpc",
            "Application/gRPC+proto",
            "application/grpc; a=b",
        ];
        let other = [
            "application/grpc-web",
            "application/grpc-web-text+proto",
            "application/json",
        ];
        for (types, is_plain) in [(plain, true), (other, false)] {
            for name in types {
                let name = HeaderValue::from_static(name);
                assert_eq!(is_plain_grpc(&name), is_plain, "{name:?}");
            }
        }
    }

    #[test]
    fn every_reason_is_an_error_status() {
        for reason in Reason::ALL {
            assert!(status(reason).is_client_error() || status(reason).is_server_error());
        }
    }
}
