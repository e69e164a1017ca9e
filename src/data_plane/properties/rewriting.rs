//! A head of any fields, rewritten for the app and for the client.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, Version};
use http_body_util::Empty;

use crate::data_plane::Expect;
use crate::data_plane::headers::{
    Origin, Rules, clean_trailers, early_hints, keep_alive_timeout, toward_app, toward_client,
};
use crate::data_plane::trusted::{TrustedProxies, TrustedProxy};

/// Lines of `name:value`; what is no field is left out. The first byte says who sends them.
///
/// # Panics
///
/// When a rewritten head claims what it may not, or holds what concerns one connection only.
pub fn rewriting(bytes: &[u8]) {
    let Some((who, lines)) = bytes.split_first() else {
        return;
    };
    let fields = fields(lines);
    let proxies = if who % 2 == 0 {
        TrustedProxies::default()
    } else {
        TrustedProxies::new(vec![TrustedProxy::Unix])
    };
    request(
        &fields,
        &proxies,
        if who % 4 < 2 {
            Version::HTTP_11
        } else {
            Version::HTTP_10
        },
    );
    answer(&fields);
    let mut trailers = fields.clone();
    clean_trailers(&mut trailers);
    none_of(
        &trailers,
        &[
            "host",
            "content-length",
            "x-forwarded-for",
            "forwarded",
            "trailer",
        ],
    );
    is_for_one_connection(&trailers);
    hint(&fields);
    let _ = keep_alive_timeout(&fields);
}

fn request(fields: &HeaderMap, proxies: &TrustedProxies, version: Version) {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.headers_mut() = fields.clone();
    *request.version_mut() = version;
    let origin = Origin::new(None, Some(80), proxies);
    let rules = Rules {
        proxies,
        expect: Expect::Answer,
    };
    let Ok(found) = toward_app(&mut request, &origin, &rules) else {
        return;
    };
    let headers = request.headers();
    assert_eq!(headers.get_all("host").iter().count(), 1);
    assert_eq!(headers.get_all("x-request-id").iter().count(), 1);
    assert!((1..=128).contains(&found.request_id.len()));
    assert!(found.request_id.as_bytes().iter().all(u8::is_ascii_graphic));
    none_of(
        headers,
        &[
            "proxy",
            "keep-alive",
            "transfer-encoding",
            "http2-settings",
            "expect",
        ],
    );
    if !proxies.trust(None) {
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-port"], "80");
        assert_eq!(headers["x-forwarded-host"], headers["host"]);
        none_of(headers, &["x-forwarded-for", "forwarded", "x-real-ip"]);
    }
    for name in headers.keys().filter(|name| name.as_str().contains('_')) {
        let name = name.as_str().replace('_', "-");
        assert!(
            !name.starts_with("x-forwarded-") && name != "forwarded",
            "{name}"
        );
    }
    let again = headers.clone();
    toward_app(&mut request, &origin, &rules).expect("what was let through once is again");
    for name in again
        .keys()
        .filter(|name| !name.as_str().contains("forwarded"))
    {
        let is_new = name == "x-request-id";
        assert!(
            is_new || again.get_all(name) == request.headers().get_all(name),
            "{name}"
        );
    }
}

fn answer(fields: &HeaderMap) {
    let mut response = Response::new(());
    *response.headers_mut() = fields.clone();
    if toward_client(&mut response).is_ok() {
        is_for_one_connection(response.headers());
    }
}

/// A hint is one message, whatever stands in it.
fn hint(fields: &HeaderMap) {
    let message = early_hints(fields);
    let end = message.windows(4).position(|window| window == b"\r\n\r\n");
    assert_eq!(end, Some(message.len() - 4), "{message:?}");
}

fn is_for_one_connection(headers: &HeaderMap) {
    none_of(
        headers,
        &[
            "connection",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "upgrade",
            "te",
        ],
    );
}

#[track_caller]
fn none_of(headers: &HeaderMap, names: &[&str]) {
    for name in names {
        assert!(!headers.contains_key(*name), "{name} in {headers:?}");
    }
}

fn fields(lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines.split(|&byte| byte == b'\n').take(100) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}
