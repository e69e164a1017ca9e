//! Where a request came from, as the app is told; what a stranger claims about it is removed first.

use std::net::IpAddr;

use http::header::{HOST, HeaderName};
use http::{HeaderMap, HeaderValue};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// CGI hands it to programs as `HTTP_PROXY`, which they take for their own proxy ("httpoxy").
const PROXY: HeaderName = HeaderName::from_static("proxy");

const REQUEST_ID_MAX: usize = 128;

/// What is the same for all requests of one connection, ready to be put into a head.
#[derive(Debug)]
pub(in crate::data_plane) struct Origin {
    address: Option<HeaderValue>,
    port: Option<HeaderValue>,
    trusted: bool,
}

// === impl Origin ===

impl Origin {
    /// A client at `address` that came in by `port`; unix sockets have neither. A `trusted` one may say itself on whose
    /// behalf it asks.
    pub(in crate::data_plane) fn new(
        address: Option<IpAddr>,
        port: Option<u16>,
        trusted: bool,
    ) -> Self {
        let address = address.map(|address| {
            HeaderValue::try_from(address.to_string()).expect("an IP address is visible ASCII")
        });
        Self {
            address,
            port: port.map(HeaderValue::from),
            trusted,
        }
    }
}

/// Tells the app where the request came from. Returns the request's id.
pub(super) fn tell(headers: &mut HeaderMap, origin: &Origin) -> HeaderValue {
    headers.remove(PROXY);
    if !origin.trusted {
        remove_claims(headers);
    }
    if let Some(address) = &origin.address {
        let line = appended(headers, address);
        headers.insert(FOR, line);
    }
    let host = headers.get(HOST).cloned();
    let claims = [
        (PROTO, Some(HeaderValue::from_static("http"))),
        (FORWARDED_HOST, host),
        (PORT, origin.port.clone()),
    ];
    for (name, value) in claims {
        if let Some(value) = value {
            // Claims that are still there are those of a trusted peer.
            headers.entry(name).or_insert(value);
        }
    }
    let id = kept_id(headers, origin).unwrap_or_else(new_id);
    headers.insert(REQUEST_ID, id.clone());
    id
}

/// Removes whatever claims to say where a message came from, also under a name that an app may take for one of these.
pub(super) fn remove_claims(headers: &mut HeaderMap) {
    let mut claims = Vec::new();
    for name in headers.keys() {
        if is_claim(name.as_str().as_bytes()) {
            claims.push(name.clone());
        }
    }
    for name in claims {
        headers.remove(name);
    }
}

/// CGI and WSGI cannot tell `_` from `-` in a name.
fn is_claim(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    match name.first() {
        Some(b'x') => {
            same(name, b"x-real-ip")
                || same(name, b"x-request-id")
                || name
                    .get(..PREFIX.len())
                    .is_some_and(|start| same(start, PREFIX))
        }
        Some(b'f') => same(name, b"forwarded"),
        _ => false,
    }
}

fn same(name: &[u8], known: &[u8]) -> bool {
    let alike = |(&byte, &known): (&u8, &u8)| byte == known || (byte == b'_' && known == b'-');
    name.len() == known.len() && name.iter().zip(known).all(alike)
}

fn appended(headers: &HeaderMap, address: &HeaderValue) -> HeaderValue {
    if !headers.contains_key(FOR) {
        return address.clone();
    }
    let mut line = Vec::new();
    for value in headers.get_all(FOR) {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(address.as_bytes());
    HeaderValue::try_from(line).expect("joined field values are a field value")
}

fn kept_id(headers: &HeaderMap, origin: &Origin) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID).filter(|_| origin.trusted)?;
    let bytes = id.as_bytes();
    let fits = (1..=REQUEST_ID_MAX).contains(&bytes.len());
    (fits && bytes.iter().all(u8::is_ascii_graphic)).then(|| id.clone())
}

/// 128 random bits in hexadecimal.
fn new_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bits = fastrand::u128(..).to_be_bytes();
    let mut id = [0; 32];
    for (pair, byte) in id.chunks_exact_mut(2).zip(bits) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
    HeaderValue::from_bytes(&id).expect("hexadecimal digits are visible ASCII")
}
