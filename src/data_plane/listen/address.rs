//! Where clients come in: the addresses that hitless listens on.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The longest path that a unix socket can have: `sun_path` less its NUL.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address. Port 0: the system picks one. `[::]` takes IPv4 connections as well.
    Tcp(SocketAddr),
    /// The absolute path of a unix socket.
    Unix(PathBuf),
}

/// Why a text is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing was written.
    #[error(
        "an address is HOST:PORT, such as 127.0.0.1:8080, :8080 for all addresses, or unix:/path"
    )]
    Empty,
    /// A number alone.
    #[error("write 127.0.0.1:{0} for this machine only, or :{0} for all addresses")]
    PortAlone(u16),
    /// An IP address alone.
    #[error("a port is missing, as in {0}:8080")]
    NoPort(String),
    /// The part behind the last colon is no port.
    #[error("{0:?} is no port: a number from 0 to 65535, where 0 lets the system pick one")]
    Port(String),
    /// A name instead of an IP address.
    #[error(
        "{host:?} is no IP address: write 127.0.0.1:{port} or [::1]:{port} for this machine only, or :{port} for all addresses"
    )]
    Host {
        /// What was written for the host.
        host: String,
        /// The port that was written.
        port: u16,
    },
    /// A URL.
    #[error("an address has no scheme: write {0}")]
    Scheme(String),
    /// The path of a unix socket does not start with a slash.
    #[error("the path of a unix socket is absolute, as in unix:/run/app.sock")]
    RelativePath,
    /// The path of a unix socket is longer than the system can bind.
    #[error(
        "the path of a unix socket has at most {UNIX_PATH_BYTES_MAX} bytes, and this one has {0}"
    )]
    LongPath(usize),
    /// An inherited socket by its name.
    #[error("inherited sockets are not accepted yet: write HOST:PORT or unix:/path")]
    Inherited,
}

// === impl ListenAddress ===

impl ListenAddress {
    /// Whether both can not be bound at once: the same path or port, and hosts that overlap.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(two)) => {
                one.port() != 0
                    && one.port() == two.port()
                    && (one.ip() == two.ip() || covers(one, two) || covers(two, one))
            }
            (Self::Unix(one), Self::Unix(two)) => one == two,
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

/// `[::]` listens on both families, `0.0.0.0` on its own.
fn covers(all: &SocketAddr, one: &SocketAddr) -> bool {
    all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4())
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        if text.starts_with("systemd:") {
            return Err(AddressError::Inherited);
        }
        if let Some((_, rest)) = text.split_once("://") {
            return Err(AddressError::Scheme(rest.trim_end_matches('/').to_owned()));
        }
        tcp(text)
    }
}

fn unix(path: &str) -> Result<ListenAddress, AddressError> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(AddressError::RelativePath);
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(AddressError::LongPath(path.len()));
    }
    Ok(ListenAddress::Unix(path.into()))
}

fn tcp(text: &str) -> Result<ListenAddress, AddressError> {
    if let Ok(address) = text.parse() {
        return Ok(ListenAddress::Tcp(address));
    }
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if let Ok(port) = text.parse() {
        return Err(AddressError::PortAlone(port));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(AddressError::NoPort(format!("[{text}]")));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(AddressError::NoPort(text.to_owned()));
    };
    if host.starts_with('[') && !host.ends_with(']') {
        return Err(AddressError::NoPort(text.to_owned()));
    }
    let port = match port.parse() {
        Ok(port) if !port_is_signed(text) => port,
        _ => return Err(AddressError::Port(port.to_owned())),
    };
    if host.is_empty() {
        return Ok(ListenAddress::Tcp((Ipv6Addr::UNSPECIFIED, port).into()));
    }
    let host = host.to_owned();
    Err(AddressError::Host { host, port })
}

/// `u16` reads `+80`, which is no port.
fn port_is_signed(text: &str) -> bool {
    text.contains(":+")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ListenAddress {
        text.parse().unwrap()
    }

    fn complaint(text: &str) -> String {
        text.parse::<ListenAddress>().unwrap_err().to_string()
    }

    #[test]
    fn reads_what_the_interface_names() {
        for (text, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (":8080", "[::]:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
        ] {
            assert_eq!(address(text).to_string(), shown);
            assert_eq!(address(shown), address(text));
        }
    }

    #[test]
    fn says_what_to_write_instead() {
        for (text, part) in [
            ("", "HOST:PORT"),
            ("8080", "write 127.0.0.1:8080"),
            ("127.0.0.1", "127.0.0.1:8080"),
            ("::1", "[::1]:8080"),
            ("[::1]", "[::1]:8080"),
            ("127.0.0.1:http", "\"http\" is no port"),
            (":99999", "\"99999\" is no port"),
            (":+80", "is no port"),
            ("localhost:80", "\"localhost\" is no IP address"),
            ("http://127.0.0.1:80/", "write 127.0.0.1:80"),
            ("unix:app.sock", "absolute"),
            ("systemd:web", "not accepted yet"),
        ] {
            assert!(
                complaint(text).contains(part),
                "{text:?}: {}",
                complaint(text)
            );
        }
        assert!(complaint(&format!("unix:/{}", "a".repeat(107))).contains("at most 107 bytes"));
    }

    #[test]
    fn knows_which_addresses_cannot_both_be_bound() {
        let overlap = |one: &str, two: &str| {
            assert_eq!(
                address(one).overlaps(&address(two)),
                address(two).overlaps(&address(one))
            );
            address(one).overlaps(&address(two))
        };
        assert!(overlap(":80", "127.0.0.1:80"));
        assert!(overlap(":80", "0.0.0.0:80"));
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80"));
        assert!(overlap("unix:/a", "unix:/a"));
        assert!(!overlap("0.0.0.0:80", "[::1]:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!overlap(":80", ":81"));
        assert!(!overlap(":0", ":0"));
        assert!(!overlap("unix:/a", ":80"));
    }
}
