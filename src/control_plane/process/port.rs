//! Where an instance is told to listen: a port of its own that is kept free for it, a private folder for sockets, and
//! the placeholders that tell the command about them.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};

/// How long the path of a unix socket may be, in bytes, without the NUL at its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A port on 127.0.0.1 that nobody else was using.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    /// Bound and never listening: while it is there, the kernel gives the port to no outgoing connection, and an app
    /// that sets SO_REUSEADDR can bind it all the same.
    pub(super) reservation: Option<Socket>,
}

/// A folder that only its owner may enter, removed with this.
#[derive(Debug)]
pub(super) struct PrivateFolder {
    path: PathBuf,
}

/// What stands for the placeholders of a command.
#[derive(Debug)]
pub(super) struct Filler<'a> {
    pub(super) port: u16,
    pub(super) socket: Option<&'a Path>,
    pub(super) generation: u64,
    pub(super) instance: u32,
}

// === impl Port ===

impl Port {
    /// Picks a port; `reserve` keeps it bound.
    pub(super) fn pick(reserve: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket();
        let number = address
            .ok_or_else(|| io::Error::other("a TCP socket without an address"))?
            .port();
        Ok(Self {
            number,
            reservation: reserve.then_some(socket),
        })
    }
}

// === impl PrivateFolder ===

impl PrivateFolder {
    /// Makes one below the first place that there is: the service's own runtime folder, the user's, the temporary one.
    /// It belongs to that user and group where they are given.
    pub(super) fn make(user: Option<u32>, group: Option<u32>) -> io::Result<Self> {
        let base = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"]
            .iter()
            .filter_map(std::env::var_os)
            .filter_map(|paths| std::env::split_paths(&paths).next())
            .find(|path| path.is_dir())
            .unwrap_or_else(std::env::temp_dir);
        loop {
            let path = base.join(format!("hitless-{:012x}", fastrand::u64(..1 << 48)));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    // Made first, so that it is removed when giving it away fails.
                    let folder = Self { path };
                    if user.is_some() || group.is_some() {
                        std::os::unix::fs::chown(&folder.path, user, group)?;
                    }
                    return Ok(folder);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The path of a socket in it.
    ///
    /// # Errors
    ///
    /// When no socket can be bound there because its path is too long.
    pub(super) fn socket(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(io::Error::other(format!(
                "{} is too long for the path of a socket",
                path.display()
            )));
        }
        Ok(path)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // A folder of the system's temporary ones that cannot be removed harms nobody.
        let _ = fs::remove_dir_all(&self.path);
    }
}

// === impl Filler ===

impl Filler<'_> {
    /// Whether `{socket}` stands in it.
    pub(super) fn mentions_socket(part: &str) -> bool {
        part.contains("{socket}")
    }

    /// The part with its placeholders filled in; other braces stay. What is filled in is not looked at again.
    pub(super) fn fill(&self, part: &str) -> String {
        let mut filled = String::new();
        let mut rest = part;
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let known = rest
                .split_inclusive('}')
                .next()
                .and_then(|name| Some((name, self.value(name)?)));
            match known {
                Some((name, value)) => {
                    filled.push_str(&value);
                    rest = &rest[name.len()..];
                }
                None => {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled + rest
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "{port}" => Some(self.port.to_string()),
            "{socket}" => self.socket.map(|path| path.display().to_string()),
            "{generation}" => Some(self.generation.to_string()),
            "{instance}" => Some(self.instance.to_string()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        let filler = Filler {
            port: 8081,
            socket: Some(Path::new("/run/a b/s")),
            generation: 3,
            instance: 2,
        };
        let check = |part: &str, filled: &str| assert_eq!(filler.fill(part), filled);
        check("--port={port}", "--port=8081");
        check("{generation}.{instance}{port}", "3.28081");
        check("unix:{socket}", "unix:/run/a b/s");
        check("{}{{port}}{other}{port", "{}{8081}{other}{port");
        check("ü{", "ü{");
        check("plain", "plain");
    }

    #[test]
    fn an_app_that_reuses_addresses_can_bind_the_reserved_port() {
        let port = Port::pick(true).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
        // std's listener sets SO_REUSEADDR, as nearly all do.
        let app = std::net::TcpListener::bind(address).unwrap();
        drop(std::net::TcpStream::connect(app.local_addr().unwrap()).unwrap());
    }

    #[test]
    fn a_reserved_port_is_refused_to_clients_and_to_those_who_do_not_reuse() {
        let port = Port::pick(true).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
        let error = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let strict = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert!(strict.bind(&address.into()).is_err());
        drop(port);
        strict.bind(&address.into()).unwrap();
    }

    #[test]
    fn the_private_folder_is_private_and_goes_with_its_owner() {
        let folder = PrivateFolder::make(None, None).unwrap();
        let socket = folder.socket("app.sock").unwrap();
        let path = socket.parent().unwrap().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
