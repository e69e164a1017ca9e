//! Where something already runs that hitless forwards to and neither starts nor stops: an address, or a name that stands
//! for addresses.
//!
//! Only says and looks up where; whether anybody answers there is asked elsewhere.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::generation::Address;

/// The longest path that a unix socket can have: `sun_path` less its NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// How long a look-up may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// How many addresses of one name are used.
const ADDRESSES_MAX: usize = 64;

/// One entry of `addresses`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Endpoint {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The absolute path of a unix socket.
    Unix(Arc<Path>),
    /// A name, looked up anew for each generation and while one lives.
    Name {
        /// The name.
        host: Arc<str>,
        /// The port behind it.
        port: u16,
    },
}

/// Why a text is no place to forward to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Neither a host with a port nor a path.
    #[error("write HOST:PORT, such as 127.0.0.1:3000 or app.internal:3000, or unix:/path")]
    Form,
    /// No port, or none that can be connected to.
    #[error("{0:?} is no port: a number from 1 to 65535")]
    Port(String),
    /// A port alone.
    #[error("write 127.0.0.1{0} for this machine")]
    NoHost(String),
    /// A URL.
    #[error("an address has no scheme and no path: write {0}")]
    Scheme(String),
    /// The path of a unix socket is relative, or longer than the system can connect to.
    #[error("the path of a unix socket is absolute, with at most {UNIX_PATH_BYTES_MAX} bytes")]
    Path,
    /// It stands there a second time.
    #[error("{0} stands there twice")]
    Twice(Endpoint),
}

// === impl Endpoint ===

impl Endpoint {
    /// Reads `A,B,C`; at least one, and each once.
    ///
    /// # Errors
    ///
    /// The first that is none.
    pub fn list(text: &str) -> Result<Vec<Self>, EndpointError> {
        let mut list = Vec::new();
        for one in text.split(',') {
            let endpoint = one.trim().parse()?;
            if list.contains(&endpoint) {
                return Err(EndpointError::Twice(endpoint));
            }
            list.push(endpoint);
        }
        Ok(list)
    }

    /// Whether it has to be looked up.
    pub fn is_name(&self) -> bool {
        matches!(self, Self::Name { .. })
    }

    /// The addresses that it stands for now; at least one.
    ///
    /// # Errors
    ///
    /// The resolver's, or that it knows of none.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a look-up that nobody waits for ends by itself.
    pub async fn resolve(&self) -> io::Result<Vec<Address>> {
        let (host, port) = match self {
            Self::Tcp(address) => return Ok(vec![Address::Tcp(*address)]),
            Self::Unix(path) => return Ok(vec![Address::Unix(Arc::clone(path))]),
            Self::Name { host, port } => (host, *port),
        };
        let found = timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((&**host, port))).await??;
        let mut found: Vec<_> = found.take(ADDRESSES_MAX).map(Address::Tcp).collect();
        found.sort_unstable_by_key(Address::to_string);
        found.dedup();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
        }
        Ok(found)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        if let Some((_, rest)) = text.split_once("://") {
            let authority = rest.split('/').next().unwrap_or(rest);
            return Err(EndpointError::Scheme(authority.to_owned()));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(EndpointError::Port("0".to_owned())),
                _ => Ok(Self::Tcp(address)),
            };
        }
        named(text)
    }
}

fn unix(path: &str) -> Result<Endpoint, EndpointError> {
    let fits = path.starts_with('/') && path.len() <= UNIX_PATH_BYTES_MAX;
    match fits && !path.contains(['\0', ',']) {
        true => Ok(Endpoint::Unix(Path::new(path).into())),
        false => Err(EndpointError::Path),
    }
}

fn named(text: &str) -> Result<Endpoint, EndpointError> {
    if text.parse::<Ipv6Addr>().is_ok() || text.starts_with('[') {
        return Err(EndpointError::Form);
    }
    let (host, port) = text.split_once(':').ok_or(EndpointError::Form)?;
    if host.is_empty() {
        return Err(EndpointError::NoHost(text.to_owned()));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if host.len() > 253 || !host.bytes().all(fits) {
        return Err(EndpointError::Form);
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port @ 1..) if digits => Ok(Endpoint::Name {
            host: host.to_ascii_lowercase().into(),
            port,
        }),
        _ => Err(EndpointError::Port(port.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_interface_names() {
        for text in [
            "127.0.0.1:3000",
            "[::1]:3000",
            "unix:/run/x.sock",
            "app.internal:3000",
            "localhost:1",
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
        }
        assert_eq!(Endpoint::list("127.0.0.1:1, a:2").unwrap().len(), 2);
    }

    #[test]
    fn says_what_to_write_instead() {
        for (text, part) in [
            ("", "HOST:PORT"),
            ("3000", "HOST:PORT"),
            (":3000", "127.0.0.1:3000"),
            ("127.0.0.1:0", "\"0\" is no port"),
            ("app:http", "\"http\" is no port"),
            ("app:+80", "is no port"),
            ("http://app:80/x", "write app:80"),
            ("unix:x.sock", "absolute"),
            ("::1", "HOST:PORT"),
            ("a b:80", "HOST:PORT"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        let twice = Endpoint::list("a:1,b:1,A:1").unwrap_err().to_string();
        assert_eq!(twice, "a:1 stands there twice");
    }

    #[tokio::test]
    async fn a_name_is_looked_up_and_an_address_is_itself() {
        let address: SocketAddr = "127.0.0.1:3000".parse().unwrap();
        let itself = Endpoint::Tcp(address).resolve().await.unwrap();
        assert_eq!(itself, [Address::Tcp(address)]);
        let name: Endpoint = "localhost:3000".parse().unwrap();
        let found = name.resolve().await.unwrap();
        assert!(found.contains(&Address::Tcp(address)) || !found.is_empty());
        let nobody: Endpoint = "nobody.invalid:1".parse().unwrap();
        nobody.resolve().await.unwrap_err();
    }
}
