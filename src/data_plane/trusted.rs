//! Which peers may say on whose behalf they ask: `trusted_proxies` of the file.
//!
//! Reads no head; `headers` asks here whether an address is one of them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// The peers whose `X-Forwarded-*`, `Forwarded`, `X-Real-IP` and `X-Request-Id` are believed. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    proxies: Vec<TrustedProxy>,
}

/// One entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Peers with an address of this network. One of IPv4 within IPv6 (`::ffff:0:0/96`) is one of IPv4.
    Net(IpNet),
    /// Peers that come in by a unix socket, which have no address. They are strangers otherwise, as to nginx and Caddy.
    Unix,
}

/// Why a text is no entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustedProxyError {
    /// Neither an address nor a network.
    #[error(
        "a trusted proxy is an address or a network, such as \"10.0.0.7\", \"10.0.0.0/8\" or \"fd00::/8\"; \
         or \"unix:\" for peers of unix sockets"
    )]
    Unreadable,
    /// An address within a network rather than the network.
    #[error(
        "an address with a prefix must be the first of its network: \"{0}\", or without the prefix for this address alone"
    )]
    NotFirst(IpNet),
}

// === impl TrustedProxies ===

impl TrustedProxies {
    /// These.
    pub fn new(proxies: Vec<TrustedProxy>) -> Self {
        Self { proxies }
    }

    /// Whether a peer is one of them; none: it came in by a unix socket.
    pub(super) fn trust(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(address) => self.contain(address),
            None => self.proxies.contains(&TrustedProxy::Unix),
        }
    }

    /// Whether an address is one of theirs.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|proxy| match proxy {
            TrustedProxy::Net(net) => net.contains(&address),
            TrustedProxy::Unix => false,
        })
    }
}

// === impl TrustedProxy ===

impl FromStr for TrustedProxy {
    type Err = TrustedProxyError;

    fn from_str(text: &str) -> Result<Self, TrustedProxyError> {
        if text == "unix:" {
            return Ok(Self::Unix);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Net(IpNet::from(address.to_canonical())));
        }
        let net: IpNet = text.parse().map_err(|_| TrustedProxyError::Unreadable)?;
        if net.addr() != net.network() {
            return Err(TrustedProxyError::NotFirst(net.trunc()));
        }
        Ok(Self::Net(folded(net)))
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Unix => f.write_str("unix:"),
        }
    }
}

/// A network of IPv4 addresses written as IPv6 is what peers are compared with: one of IPv4.
fn folded(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else {
        return net;
    };
    let length = v6.prefix_len().checked_sub(96);
    let address = v6.addr().to_ipv4_mapped();
    match (address, length) {
        (Some(address), Some(length)) => Ipv4Net::new(address, length).map_or(net, IpNet::V4),
        _ => net,
    }
}

/// An address as it stands in `X-Forwarded-For`: with a port or without, in brackets or without.
pub(super) fn read_address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            let address: Ipv6Addr = host.parse().ok()?;
            (IpAddr::V6(address), port.strip_prefix(':'))
        }
        None => {
            let (host, port) = text.split_once(':')?;
            (IpAddr::V4(host.parse().ok()?), Some(port))
        }
    };
    let is_port = |port: &str| {
        (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let bare = text.ends_with(']');
    (bare || port.is_some_and(is_port)).then(|| host.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(texts: &[&str]) -> TrustedProxies {
        TrustedProxies::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[track_caller]
    fn check(texts: &[&str], trusted: &[&str], strange: &[&str]) {
        let proxies = proxies(texts);
        for address in trusted {
            assert!(proxies.trust(Some(address.parse().unwrap())), "{address}");
        }
        for address in strange {
            assert!(!proxies.trust(Some(address.parse().unwrap())), "{address}");
        }
    }

    #[test]
    fn an_address_is_a_network_of_one() {
        check(
            &["10.0.0.7"],
            &["10.0.0.7", "::ffff:10.0.0.7"],
            &["10.0.0.8"],
        );
        check(&["::1"], &["::1"], &["::2", "127.0.0.1"]);
    }

    #[test]
    fn ipv4_within_ipv6_is_ipv4() {
        check(
            &["::ffff:10.0.0.0/104"],
            &["10.1.2.3", "::ffff:10.1.2.3"],
            &["11.0.0.1"],
        );
        check(&["::ffff:10.0.0.7"], &["10.0.0.7"], &["10.0.0.8"]);
        check(&["10.0.0.0/8"], &["::ffff:10.255.0.1"], &["::10.0.0.1"]);
    }

    #[test]
    fn a_peer_of_a_unix_socket_is_a_stranger_unless_it_is_said() {
        assert!(!proxies(&["0.0.0.0/0", "::/0"]).trust(None));
        assert!(proxies(&["unix:"]).trust(None));
        assert!(!proxies(&["unix:"]).trust(Some("127.0.0.1".parse().unwrap())));
    }

    #[test]
    fn what_is_no_network_is_told_what_one_is() {
        for text in [
            "",
            "localhost",
            "10.0.0",
            "10.0.0.0/33",
            "10.0.0.0/",
            "unix",
            "10.0.0.0/8 ",
        ] {
            let read = text.parse::<TrustedProxy>();
            assert_eq!(read, Err(TrustedProxyError::Unreadable), "{text}");
        }
        let error = "10.1.2.3/8".parse::<TrustedProxy>().unwrap_err();
        assert!(error.to_string().contains("\"10.0.0.0/8\""), "{error}");
    }

    #[test]
    fn addresses_are_read_in_every_form_that_proxies_write() {
        let cases = [
            ("192.0.2.7", Some("192.0.2.7")),
            (" 192.0.2.7\t", Some("192.0.2.7")),
            ("192.0.2.7:8080", Some("192.0.2.7")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("[::ffff:192.0.2.7]:1", Some("192.0.2.7")),
            ("", None),
            ("unknown", None),
            ("_hidden", None),
            ("192.0.2.7:", None),
            ("192.0.2.7:x", None),
            ("192.0.2.7:123456", None),
            ("[2001:db8::1]443", None),
            ("[2001:db8::1", None),
            ("[192.0.2.7]", None),
            ("192.0.2.256", None),
        ];
        for (text, address) in cases {
            let address: Option<IpAddr> = address.map(|address| address.parse().unwrap());
            assert_eq!(read_address(text), address, "{text:?}");
        }
    }
}
