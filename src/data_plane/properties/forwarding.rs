//! What proxies and strangers write into `X-Forwarded-For` and `Forwarded`.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Empty;

use crate::data_plane::Expect;
use crate::data_plane::headers::{Origin, Rules, toward_app};
use crate::data_plane::trusted::{TrustedProxies, TrustedProxy};

const STRANGER: &str = "203.0.113.9";

/// The first line is tried as an entry of `trusted_proxies`, the rest as what a proxy in front passes on.
///
/// # Panics
///
/// When a stranger can make the app or the log believe that somebody else asks.
pub fn forwarding(bytes: &[u8]) {
    let (entry, line) = match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (&[][..], bytes),
    };
    let entry = std::str::from_utf8(entry)
        .ok()
        .and_then(|text| text.parse::<TrustedProxy>().ok());
    if let Some(entry) = entry {
        assert_eq!(entry.to_string().parse(), Ok(entry), "it says what it is");
    }
    for name in ["x-forwarded-for", "forwarded"] {
        let Ok(value) = HeaderValue::from_bytes(line) else {
            continue;
        };
        let peer: IpAddr = [192, 0, 2, 7].into();
        let only = TrustedProxies::new(vec![TrustedProxy::Net(peer.into())]);
        let (client, said) = asked(&only, peer, name, &value);
        assert!(client.is_some(), "somebody with an address asks");
        let own: &[u8] = if name == "forwarded" {
            b"for=192.0.2.7"
        } else {
            b"192.0.2.7"
        };
        assert!(said.as_bytes().ends_with(own), "{said:?}");
        assert!(said.as_bytes().starts_with(value.as_bytes()), "{said:?}");
        let own = if name == "forwarded" {
            format!("for={STRANGER}")
        } else {
            STRANGER.to_owned()
        };
        // Whatever a stranger wrote itself stands left of what our proxy has added about it.
        let written = [line, b", ", own.as_bytes()].concat();
        let value = HeaderValue::try_from(written).expect("two values and a comma are a value");
        let (client, _) = asked(&only, peer, name, &value);
        assert_eq!(client, STRANGER.parse().ok(), "{value:?}");
        // Nor does a stranger who is no proxy get anywhere with it.
        let stranger: IpAddr = [198, 51, 100, 1].into();
        let (client, said) = asked(&only, stranger, "x-forwarded-for", &value);
        assert_eq!(
            (client, said.as_bytes()),
            (Some(stranger), &b"198.51.100.1"[..])
        );
    }
}

/// Who is believed to have asked, and what the app is told.
fn asked(
    proxies: &TrustedProxies,
    peer: IpAddr,
    name: &'static str,
    value: &HeaderValue,
) -> (Option<IpAddr>, HeaderValue) {
    let mut request = Request::new(Empty::<Bytes>::new());
    let headers = request.headers_mut();
    headers.insert("host", HeaderValue::from_static("a"));
    headers.insert(name, value.clone());
    let rules = Rules {
        proxies,
        expect: Expect::Answer,
    };
    let origin = Origin::new(Some(peer), None, proxies);
    let found = toward_app(&mut request, &origin, &rules).expect("nothing else is wrong with it");
    let said = request.headers().get_all(name).iter();
    let said: Vec<_> = said.collect();
    let [said] = said[..] else {
        panic!("one line of {name}: {said:?}");
    };
    (found.client, said.clone())
}
