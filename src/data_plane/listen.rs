//! Listening sockets: binding them, and accepting from them. Only this module makes one.
//!
//! Each worker has a TCP socket of its own in a SO_REUSEPORT group. A unix socket is one; the workers accept from it in
//! turn. No socket is ever closed and bound again, for closing one drops its queue.

mod accept;
mod access;
mod address;
mod single;

pub(super) use self::accept::accept;
pub use self::access::{Access, Owner};
pub use self::address::{AddressError, ListenAddress, UNIX_PATH_BYTES_MAX};
pub use self::single::{Accepted, Accepting, SingleListener, bind_private};

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::sync::Notify;

use crate::generation::AppName;

/// How many connections may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// Where clients come in, who may, and which apps they meet there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: ListenAddress,
    /// Who may connect, where it is a unix socket.
    pub access: Access,
    /// The apps that it serves; empty: all.
    pub apps: Vec<AppName>,
}

/// Sockets that listen and are not accepted from yet.
#[derive(Debug)]
pub struct Bound {
    addresses: Vec<ListenAddress>,
    shares: Vec<Vec<Listener>>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address.
    pub address: ListenAddress,
    /// What the system says.
    pub source: io::Error,
}

/// One worker's part of one listening address.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, Turn),
}

/// Whose turn it is to accept from a socket that all workers share.
#[derive(Debug)]
pub(super) struct Turn {
    ring: Arc<[Notify]>,
    index: usize,
    /// Removes the path when the last worker lets go.
    _path: Arc<OwnedPath>,
}

#[derive(Debug)]
struct OwnedPath(PathBuf);

/// Binds every address for `workers` workers and listens.
///
/// # Errors
///
/// The first address that cannot be listened on; what was bound before it is closed again.
pub fn bind(listen: &[Listen], workers: usize) -> Result<Bound, BindError> {
    bind_beside(listen, workers, &[])
}

/// The same, where sockets of this process still listen at other addresses and are about to be closed: one that overlaps
/// with those is no obstacle.
///
/// # Errors
///
/// The first address that cannot be listened on; what was bound before it is closed again.
pub fn bind_beside(
    listen: &[Listen],
    workers: usize,
    leaving: &[ListenAddress],
) -> Result<Bound, BindError> {
    let mut bound = Bound {
        addresses: Vec::new(),
        shares: (0..workers).map(|_| Vec::new()).collect(),
    };
    for one in listen {
        let result = match &one.address {
            ListenAddress::Tcp(address) => {
                let beside = leaving.iter().any(|other| other.overlaps(&one.address));
                bound.bind_tcp(*address, beside)
            }
            ListenAddress::Unix(path) => bound.bind_unix(path, &one.access),
        };
        result.map_err(|source| BindError {
            address: one.address.clone(),
            source,
        })?;
    }
    Ok(bound)
}

// === impl Listen ===

impl Listen {
    /// Whether requests that come in there may be for this app.
    pub fn serves(&self, app: &AppName) -> bool {
        self.apps.is_empty() || self.apps.contains(app)
    }
}

impl From<ListenAddress> for Listen {
    /// For whoever can reach it, and for all apps.
    fn from(address: ListenAddress) -> Self {
        Self {
            address,
            access: Access::default(),
            apps: Vec::new(),
        }
    }
}

// === impl Bound ===

impl Bound {
    /// The addresses with their real ports, in the order in which they were asked for.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.addresses.clone()
    }

    pub(super) fn into_shares(self) -> Vec<Vec<Listener>> {
        self.shares
    }

    fn bind_tcp(&mut self, address: SocketAddr, beside_own: bool) -> io::Result<()> {
        let mut address = address;
        for (index, share) in self.shares.iter_mut().enumerate() {
            let socket = tcp_socket(address)?;
            if index == 0 && !beside_own {
                // Without the option an address in use is an error, and never shared with a second hitless.
                socket.bind(&address.into())?;
                socket.set_reuse_port(true)?;
            } else {
                socket.set_reuse_port(true)?;
                socket.bind(&address.into())?;
            }
            socket.listen(BACKLOG)?;
            let listener = TcpListener::from(socket);
            address = listener.local_addr()?;
            share.push(Listener::Tcp(listener));
        }
        self.addresses.push(ListenAddress::Tcp(address));
        Ok(())
    }

    fn bind_unix(&mut self, path: &Path, access: &Access) -> io::Result<()> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let owned = Arc::new(OwnedPath(path.to_owned()));
        // Nobody can connect before it listens.
        access.apply(path)?;
        socket.listen(BACKLOG)?;
        let listener = UnixListener::from(std::os::fd::OwnedFd::from(socket));
        let ring: Arc<[Notify]> = self.shares.iter().map(|_| Notify::new()).collect();
        if let Some(first) = ring.first() {
            first.notify_one();
        }
        for (index, share) in self.shares.iter_mut().enumerate() {
            let turn = Turn {
                ring: Arc::clone(&ring),
                index,
                _path: Arc::clone(&owned),
            };
            share.push(Listener::Unix(listener.try_clone()?, turn));
        }
        self.addresses.push(ListenAddress::Unix(path.to_owned()));
        Ok(())
    }
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Removes a socket that nobody listens on; a live one, or a file of another kind, stays and makes binding fail.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if metadata.file_type().is_socket() && UnixStream::connect(path).is_err_and(refused) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

// === impl Turn ===

impl Turn {
    async fn come(&self) {
        self.ring[self.index].notified().await;
    }

    fn pass_on(&self) {
        self.ring[(self.index + 1) % self.ring.len()].notify_one();
    }
}

// === impl OwnedPath ===

impl Drop for OwnedPath {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> Listen {
        ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()).into()
    }

    #[test]
    fn all_workers_share_the_port_that_the_system_picked() {
        let bound = bind(&[loopback()], 3).unwrap();
        let [ListenAddress::Tcp(address)] = bound.addresses()[..] else {
            panic!("one TCP address was asked for");
        };
        assert_ne!(address.port(), 0);
        for share in bound.into_shares() {
            let [Listener::Tcp(listener)] = &share[..] else {
                panic!("each worker has one listener");
            };
            assert_eq!(listener.local_addr().unwrap(), address);
        }
    }

    #[test]
    fn an_address_in_use_is_an_error_that_names_it() {
        let first = bind(&[loopback()], 2).unwrap();
        let addresses = first.addresses();
        let error = bind(&[addresses[0].clone().into()], 2).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&addresses[0].to_string()));
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        drop(UnixListener::bind(&path).unwrap());
        let addresses = [ListenAddress::Unix(path.clone()).into()];
        let bound = bind(&addresses, 2).unwrap();
        let error = bind(&addresses, 2).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_unix_socket_has_the_permissions_that_are_asked_for() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let mut listen = Listen::from(ListenAddress::Unix(path.clone()));
        listen.access.mode = Some(0o620);
        listen.access.group = Some(Owner::Id(rustix::process::getgid().as_raw()));
        let bound = bind(&[listen], 1).unwrap();
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o777, 0o620);
        assert_eq!(found.gid(), rustix::process::getgid().as_raw());
        drop(bound);
    }
}
