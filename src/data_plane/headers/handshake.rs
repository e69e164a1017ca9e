//! The opening handshake of a WebSocket, as HTTP/1.1 has it (RFC 6455 section 4) and as HTTP/2 does (RFC 8441), which knows
//! neither key nor proof: hitless makes the one for a client of HTTP/2, and the other for an app of it.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::ext::Protocol;
use sha1::{Digest, Sha1};

use crate::telemetry::traffic::Reason;

/// RFC 6455 section 1.3.
const PROOF: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What the client may not say of a handshake that is not its own.
const OURS: [HeaderName; 2] = [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_ACCEPT];

/// The proof that is made for an app of HTTP/2.
#[derive(Clone, Debug)]
pub(in crate::data_plane) struct Proof(HeaderValue);

/// A handshake that hitless has begun with the app.
#[derive(Debug)]
pub(in crate::data_plane) struct Handshake {
    accept: String,
}

// === impl Handshake ===

impl Handshake {
    /// Turns a CONNECT that asks for a WebSocket into the GET that asks an app of HTTP/1.1 for one. None: it asks for
    /// something else.
    pub(in crate::data_plane) fn begin<B>(request: &mut Request<B>) -> Option<Self> {
        let extended = request.extensions_mut().remove::<Protocol>()?;
        if extended.as_str() != "websocket" || request.method() != Method::CONNECT {
            return None;
        }
        *request.method_mut() = Method::GET;
        *request.version_mut() = Version::HTTP_11;
        let key = base64(&fastrand::u128(..).to_be_bytes());
        let headers = request.headers_mut();
        for name in OURS {
            headers.remove(name);
        }
        let value = HeaderValue::from_str(&key).expect("base64 is visible ASCII");
        headers.insert(SEC_WEBSOCKET_KEY, value);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if !headers.contains_key(SEC_WEBSOCKET_VERSION) {
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        Some(Self {
            accept: proof_of(&key),
        })
    }

    /// Whether this answer is the app's proof that it has understood; it is made one for a client of HTTP/2 then.
    pub(in crate::data_plane) fn is_answered_by<B>(&self, response: &mut Response<B>) -> bool {
        let mut proofs = response.headers().get_all(SEC_WEBSOCKET_ACCEPT).iter();
        let proof = proofs.next().map(HeaderValue::as_bytes);
        if proofs.next().is_some() || proof != Some(self.accept.as_bytes()) {
            return false;
        }
        // RFC 8441 section 5: 200 stands for 101.
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        true
    }
}

// === impl Proof ===

impl Proof {
    /// Turns the GET that asks for a WebSocket into a CONNECT that does, but for its target, and makes the proof. Any other
    /// request stays as it is.
    ///
    /// # Errors
    ///
    /// It has no key that RFC 6455 section 4.1 knows, or several.
    pub(super) fn prepare<B>(request: &mut Request<B>) -> Result<(), Reason> {
        let headers = request.headers_mut();
        if !headers.contains_key(UPGRADE) {
            return Ok(());
        }
        let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return Err(Reason::BadRequest);
        };
        let key = key.to_str().ok().map(str::trim);
        let key = key.filter(|key| is_key(key)).ok_or(Reason::BadRequest)?;
        let proof = HeaderValue::from_str(&proof_of(key)).expect("base64 is visible ASCII");
        for name in OURS {
            headers.remove(name);
        }
        *request.method_mut() = Method::CONNECT;
        let extensions = request.extensions_mut();
        extensions.insert(Protocol::from_static("websocket"));
        extensions.insert(Self(proof));
        Ok(())
    }

    /// What was made for this request. None: it asks for no WebSocket.
    pub(in crate::data_plane) fn of<B>(request: &Request<B>) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// Turns the app's answer into that of HTTP/1.1. Says no when there is a tunnel that hyper knows nothing of.
    pub(in crate::data_plane) fn put<B>(&self, response: &mut Response<B>) -> bool {
        if response.status() == StatusCode::OK {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.remove(CONTENT_LENGTH);
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, self.0.clone());
            return true;
        }
        !response.status().is_success()
    }
}

/// Takes from the head of a tunnel over HTTP/2 what only HTTP/1.1 has.
pub(in crate::data_plane) fn without_upgrade(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(UPGRADE);
}

fn proof_of(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(PROOF);
    base64(&hash.finalize())
}

/// Whether these are 16 bytes in base64.
fn is_key(key: &str) -> bool {
    let digits = key.strip_suffix("==").unwrap_or_default().as_bytes();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    digits.len() == 22 && digits.iter().all(is_digit)
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 0x3f;
            text.push(if digit <= three.len() {
                char::from(DIGITS[index as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_that_of_the_rfc() {
        assert_eq!(
            proof_of("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    fn connect(protocol: &'static str) -> Request<()> {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri("http://example.org/chat")
            .header("sec-websocket-protocol", "chat")
            .header("sec-websocket-key", "mine")
            .body(())
            .unwrap();
        request
            .extensions_mut()
            .insert(Protocol::from_static(protocol));
        request
    }

    #[test]
    fn a_connect_becomes_a_get_with_a_key_of_ours() {
        let mut request = connect("websocket");
        let handshake = Handshake::begin(&mut request).unwrap();
        assert_eq!(request.method(), Method::GET);
        let headers = request.headers();
        let keys: Vec<_> = headers.get_all("sec-websocket-key").iter().collect();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].len(), 24);
        assert_eq!(headers["sec-websocket-version"], "13");
        assert_eq!(headers["sec-websocket-protocol"], "chat");
        let proof = proof_of(keys[0].to_str().unwrap());
        let mut wrong = Response::builder().status(101).body(()).unwrap();
        assert!(!handshake.is_answered_by(&mut wrong));
        let right = Response::builder()
            .status(101)
            .header("sec-websocket-accept", proof);
        let mut right = right.body(()).unwrap();
        assert!(handshake.is_answered_by(&mut right));
        assert_eq!(right.status(), 200);
    }

    fn upgrade(keys: &[&str]) -> Request<()> {
        let mut request = Request::builder()
            .uri("/chat?a=b")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13");
        for key in keys {
            request = request.header("sec-websocket-key", *key);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn a_get_becomes_a_connect_and_the_proof_is_made_here() {
        let mut request = upgrade(&["dGhlIHNhbXBsZSBub25jZQ=="]);
        Proof::prepare(&mut request).unwrap();
        let proof = Proof::of(&request).unwrap();
        assert_eq!(request.method(), Method::CONNECT);
        let protocol = request.extensions().get::<Protocol>().unwrap();
        assert_eq!(protocol.as_str(), "websocket");
        assert!(!request.headers().contains_key("sec-websocket-key"));
        assert_eq!(request.headers()["sec-websocket-version"], "13");
        let response = Response::builder().header("content-length", 0);
        let response = response.header("sec-websocket-protocol", "chat");
        let mut response = response.body(()).unwrap();
        assert!(proof.put(&mut response));
        assert_eq!(response.status(), 101);
        let headers = response.headers();
        assert_eq!(
            headers["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(headers["upgrade"], "websocket");
        assert_eq!(headers["sec-websocket-protocol"], "chat");
        assert!(!headers.contains_key("content-length"));
    }

    #[test]
    fn another_answer_stays_one_unless_it_is_a_tunnel_that_nobody_holds() {
        for (status, passable) in [(403, true), (302, true), (503, true), (204, false)] {
            let mut request = upgrade(&["dGhlIHNhbXBsZSBub25jZQ=="]);
            Proof::prepare(&mut request).unwrap();
            let proof = Proof::of(&request).unwrap();
            let mut response = Response::builder().status(status).body(()).unwrap();
            assert_eq!(proof.put(&mut response), passable, "{status}");
            assert_eq!(response.status(), status);
        }
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        let good = "dGhlIHNhbXBsZSBub25jZQ==";
        for keys in [
            &[][..],
            &[""],
            &["dGhlIHNhbXBsZSBub25jZQ"],
            &["dGhlIHNhbXBsZSBub25jZS4u"],
            &["dGhl-HNhbXBsZSBub25jZQ=="],
            &[good, good],
        ] {
            let mut request = upgrade(keys);
            let refused = Proof::prepare(&mut request);
            assert_eq!(refused.unwrap_err(), Reason::BadRequest, "{keys:?}");
        }
        let mut plain = Request::new(());
        Proof::prepare(&mut plain).unwrap();
        assert!(Proof::of(&plain).is_none());
        assert_eq!(plain.method(), Method::GET);
    }

    #[test]
    fn another_protocol_is_left_as_it_is() {
        let mut request = connect("what");
        assert!(Handshake::begin(&mut request).is_none());
        assert_eq!(request.method(), Method::CONNECT);
    }
}
