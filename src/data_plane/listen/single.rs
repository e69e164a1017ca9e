//! Listening sockets that the control plane accepts from: one each, not shared among workers.

use std::fs;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{BindError, ListenAddress, OwnedPath, remove_stale, tcp_socket};

/// Enough for scrapers and balancers.
const BACKLOG: i32 = 128;

/// A bound socket outside the data plane, such as that of the admin address.
#[derive(Debug)]
pub struct SingleListener {
    address: ListenAddress,
    socket: Socket<StdTcpListener, StdUnixListener>,
    path: Option<OwnedPath>,
}

/// The same, in a runtime.
#[derive(Debug)]
pub struct Accepting {
    socket: Socket<TcpListener, UnixListener>,
    /// Removed when nobody listens any more.
    _path: Option<OwnedPath>,
}

#[derive(Debug)]
enum Socket<T, U> {
    Tcp(T),
    Unix(U),
}

/// A connection, of either family.
#[derive(Debug)]
pub enum Accepted {
    /// From a TCP socket.
    Tcp(TcpStream),
    /// From a unix socket.
    Unix(UnixStream),
}

/// Makes the control socket: nobody but its owner (and root) can connect.
///
/// # Errors
///
/// The system's, when the path cannot be bound. A stale socket is replaced.
pub fn bind_private(path: &Path) -> Result<StdUnixListener, BindError> {
    let bind = || {
        remove_stale(path)?;
        let listener = StdUnixListener::bind(path)?;
        // Its folder keeps others out in the moment before this.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| BindError {
        address: ListenAddress::Unix(path.to_owned()),
        source,
    })
}

// === impl SingleListener ===

impl SingleListener {
    /// Binds it; connections queue from now on.
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub fn bind(address: &ListenAddress) -> Result<Self, BindError> {
        let bind = || match address {
            ListenAddress::Tcp(address) => {
                let socket = tcp_socket(*address)?;
                socket.bind(&(*address).into())?;
                socket.listen(BACKLOG)?;
                let listener = StdTcpListener::from(socket);
                let address = ListenAddress::Tcp(listener.local_addr()?);
                Ok(Self {
                    address,
                    socket: Socket::Tcp(listener),
                    path: None,
                })
            }
            ListenAddress::Unix(path) => {
                remove_stale(path)?;
                let listener = StdUnixListener::bind(path)?;
                listener.set_nonblocking(true)?;
                let path = Some(OwnedPath(path.clone()));
                Ok(Self {
                    address: address.clone(),
                    socket: Socket::Unix(listener),
                    path,
                })
            }
        };
        bind().map_err(|source| BindError {
            address: address.clone(),
            source,
        })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Registers it with the runtime that is to accept from it.
    ///
    /// # Errors
    ///
    /// The runtime cannot take another descriptor.
    pub fn accepting(self) -> io::Result<Accepting> {
        let socket = match self.socket {
            Socket::Tcp(listener) => Socket::Tcp(TcpListener::from_std(listener)?),
            Socket::Unix(listener) => Socket::Unix(UnixListener::from_std(listener)?),
        };
        Ok(Accepting {
            socket,
            _path: self.path,
        })
    }
}

// === impl Accepting ===

impl Accepting {
    /// The next connection.
    ///
    /// # Errors
    ///
    /// The system's; the socket still listens.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost when it is dropped.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Accepted::Tcp(stream)),
            Socket::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}
