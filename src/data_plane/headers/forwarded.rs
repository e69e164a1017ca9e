//! Where a request came from, as the app is told; what a stranger claims about it is removed first.

use std::net::IpAddr;

use http::header::{FORWARDED, HOST, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::Present;
use crate::data_plane::trusted::{TrustedProxies, read_address};

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
    peer: Option<IpAddr>,
    /// The peer as `X-Forwarded-For` names it.
    address: Option<HeaderValue>,
    /// The peer as an element of `Forwarded`.
    element: HeaderValue,
    port: Option<HeaderValue>,
    trust: Trust,
}

/// Whether a peer may say itself on whose behalf it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data_plane) enum Trust {
    /// Whatever it claims is removed.
    Stranger,
    /// What it claims is kept and added to.
    Proxy,
}

/// What a request is called, and who asked.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) request_id: HeaderValue,
    /// The last one on the way that is no trusted proxy; none where nobody has an address.
    pub(super) client: Option<IpAddr>,
}

// === impl Origin ===

impl Origin {
    /// A peer at `peer` that came in by `port`; unix sockets have neither.
    pub(in crate::data_plane) fn new(
        peer: Option<IpAddr>,
        port: Option<u16>,
        proxies: &TrustedProxies,
    ) -> Self {
        let address = peer.map(|address| value(&address.to_string()));
        let trust = if proxies.trust(peer) {
            Trust::Proxy
        } else {
            Trust::Stranger
        };
        Self {
            peer,
            address,
            element: value(&element(peer)),
            port: port.map(HeaderValue::from),
            trust,
        }
    }

    /// The address of whoever is at the other end of the connection.
    pub(in crate::data_plane) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("an IP address is visible ASCII")
}

/// RFC 7239 section 6: an IPv6 address stands in brackets, and so in quotes; who has no address is unknown.
fn element(peer: Option<IpAddr>) -> String {
    match peer {
        Some(IpAddr::V4(address)) => format!("for={address}"),
        Some(IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        None => "for=unknown".to_owned(),
    }
}

/// Tells the app where the request came from. `present` is what was there at the beginning.
pub(super) fn tell(
    headers: &mut HeaderMap,
    origin: &Origin,
    proxies: &TrustedProxies,
    present: Present,
) -> Told {
    if present.has(Present::PROXY) {
        headers.remove(PROXY);
    }
    let client = match origin.trust {
        Trust::Stranger => {
            if present.has(Present::CLAIM) {
                remove_claims(headers);
            }
            origin.peer
        }
        Trust::Proxy => {
            remove_lookalikes(headers);
            let client = client(headers, origin.peer, proxies);
            if headers.contains_key(FORWARDED) {
                append(headers, &FORWARDED, &origin.element);
            }
            client
        }
    };
    match (&origin.address, origin.trust) {
        (Some(address), Trust::Proxy) => append(headers, &FOR, address),
        // What a stranger said is gone.
        (Some(address), Trust::Stranger) => drop(headers.insert(FOR, address.clone())),
        (None, _) => {}
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
    let request_id = kept_id(headers, origin).unwrap_or_else(new_id);
    headers.insert(REQUEST_ID, request_id.clone());
    Told { request_id, client }
}

/// Who asked, as a trusted peer says: read from the right, for each proxy adds at the end whom it got the request from,
/// and what stands left of the first stranger is that stranger's own word.
fn client(headers: &HeaderMap, peer: Option<IpAddr>, proxies: &TrustedProxies) -> Option<IpAddr> {
    let mut client = peer;
    let lines: Vec<_> = if headers.contains_key(FOR) {
        headers.get_all(FOR).iter().collect()
    } else {
        headers.get_all(FORWARDED).iter().collect()
    };
    for line in lines.into_iter().rev() {
        for element in line.as_bytes().rsplit(|&byte| byte == b',') {
            let Some(address) = std::str::from_utf8(element).ok().and_then(read_element) else {
                // Hidden, or not an address: nobody further left can be believed.
                return client;
            };
            client = Some(address);
            if !proxies.contain(address) {
                return client;
            }
        }
    }
    client
}

/// An address of `X-Forwarded-For`, or the `for` of an element of `Forwarded` (RFC 7239 section 4). A comma within
/// quotes has cut the element, which is then none.
fn read_element(element: &str) -> Option<IpAddr> {
    if !element.contains('=') {
        return read_address(element);
    }
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let is_for =
        |(name, _): &(&str, &str)| name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for");
    let (_, node) = pairs.find(is_for)?;
    let node = node.trim_matches([' ', '\t']);
    match node.strip_prefix('"') {
        Some(rest) => read_address(rest.strip_suffix('"')?),
        None => read_address(node),
    }
}

/// Removes whatever claims to say where a message came from, also under a name that an app may take for one of these.
pub(super) fn remove_claims(headers: &mut HeaderMap) {
    remove(headers, |name| is_claim(name) || is_disguised(name));
}

/// Removes names that an app may take for one of these, also those of a trusted peer: it may have passed on what a
/// stranger called so.
fn remove_lookalikes(headers: &mut HeaderMap) {
    remove(headers, |name| {
        is_disguised(name) || (name.as_str().contains('_') && is_claim(name))
    });
}

fn remove(headers: &mut HeaderMap, is_meant: impl Fn(&HeaderName) -> bool) {
    let mut meant = Vec::new();
    for name in headers.keys() {
        if is_meant(name) {
            meant.push(name.clone());
        }
    }
    for name in meant {
        headers.remove(name);
    }
}

/// CGI and WSGI cannot tell `_` from `-` in a name.
pub(super) fn is_claim(name: &HeaderName) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    let name = name.as_str().as_bytes();
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

/// A name that CGI and WSGI take for one that frames the message.
pub(super) fn is_disguised(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    match name.first() {
        Some(b'c') => same(name, b"content-length") && name.contains(&b'_'),
        Some(b't') => same(name, b"transfer-encoding") && name.contains(&b'_'),
        _ => false,
    }
}

fn same(name: &[u8], known: &[u8]) -> bool {
    let alike = |(&byte, &known): (&u8, &u8)| byte == known || (byte == b'_' && known == b'-');
    name.len() == known.len() && name.iter().zip(known).all(alike)
}

/// Adds to the end of a list that may stand on several lines, and leaves one.
fn append(headers: &mut HeaderMap, name: &HeaderName, last: &HeaderValue) {
    if !headers.contains_key(name) {
        headers.insert(name, last.clone());
        return;
    }
    let mut line = Vec::new();
    for value in headers.get_all(name) {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(last.as_bytes());
    let line = HeaderValue::try_from(line).expect("joined field values are a field value");
    headers.insert(name, line);
}

fn kept_id(headers: &HeaderMap, origin: &Origin) -> Option<HeaderValue> {
    if origin.trust == Trust::Stranger {
        return None;
    }
    let mut lines = headers.get_all(REQUEST_ID).iter();
    let id = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
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
