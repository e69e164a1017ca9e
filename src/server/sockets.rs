//! The sockets that hitless owns, bound before anything runs; what cannot be bound says who is in the way.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::control_plane::api::socket::{self, Presence};
use crate::control_plane::process::listeners::{self, Holder};
use crate::data_plane::listen::{self, BindError, Bound, ListenAddress, SingleListener};

/// The first port that anybody may listen on, unless the system was told otherwise.
const UNPRIVILEGED_PORT: u16 = 1024;

/// The sockets of one hitless.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) clients: Bound,
    pub(super) admin: Option<SingleListener>,
    pub(super) control: UnixListener,
    pub(super) control_path: PathBuf,
}

/// What to do about somebody who listens there already.
const ELSEWHERE: &str = "stop it, or choose another address";

/// Which of the addresses it is, for who has not written any.
const ADMIN: &str = "the address for operators (--admin ADDRESS, or --admin \"\" for none)";

/// Binds all of them. What was bound before an error is closed again.
pub(super) fn bind(config: &Config, workers: usize) -> anyhow::Result<Sockets> {
    // Its words have the cause in them.
    let control_path = socket::control_path(&config.name, config.control.as_deref())
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    if let Presence::Live(pid) = socket::presence(&control_path)? {
        let who = pid.map_or_else(String::new, |pid| {
            format!(" (process {})", pid.as_raw_nonzero())
        });
        anyhow::bail!(
            "another hitless{who} is at {}: give this one a name of its own with --name",
            control_path.display()
        );
    }
    let clients = listen::bind(&config.listen, workers).map_err(explained)?;
    let admin = config.admin.as_ref().map(SingleListener::bind);
    let admin = admin
        .transpose()
        .map_err(|error| explained(error).context(ADMIN))?;
    let control = listen::bind_private(&control_path).map_err(explained)?;
    Ok(Sockets {
        clients,
        admin,
        control,
        control_path,
    })
}

/// The error with what whoever reads it should know.
pub(super) fn explained(error: BindError) -> anyhow::Error {
    let why = match &error.address {
        ListenAddress::Tcp(address) => why_tcp(*address, &error.source),
        ListenAddress::Unix(path) => why_unix(path, &error.source),
    };
    match why {
        Some(why) => anyhow::anyhow!("{error}: {why}"),
        None => error.into(),
    }
}

fn why_tcp(address: SocketAddr, error: &io::Error) -> Option<String> {
    match error.kind() {
        io::ErrorKind::AddrInUse => Some(match listeners::occupant(address) {
            Some(Holder::Stranger { pid, command }) => {
                format!("process {pid} ({command}) listens there; {ELSEWHERE}")
            }
            _ => "it is in use, and the process that holds it is not shown to this user: \
                  `ss -ltnp` as root shows it"
                .to_owned(),
        }),
        io::ErrorKind::PermissionDenied if address.port() < UNPRIVILEGED_PORT => Some(format!(
            "{error}: ports below {UNPRIVILEGED_PORT} need the capability CAP_NET_BIND_SERVICE; \
             with systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE"
        )),
        io::ErrorKind::AddrNotAvailable => {
            Some(format!("{error}: this machine has no such address"))
        }
        _ => None,
    }
}

fn why_unix(path: &Path, error: &io::Error) -> Option<String> {
    let parent = path.parent().unwrap_or(path);
    let folder = parent.display();
    match error.kind() {
        io::ErrorKind::AddrInUse => {}
        // An owner that is not there is told in the same way.
        io::ErrorKind::NotFound if !parent.exists() => {
            return Some(format!("there is no folder {folder}: make it first"));
        }
        io::ErrorKind::PermissionDenied => {
            return Some(format!("this user may not make a file in {folder}"));
        }
        _ => return None,
    }
    Some(match socket::presence(path) {
        Ok(Presence::Live(Some(pid))) => {
            let pid = pid.as_raw_nonzero().get().unsigned_abs();
            let command = match listeners::described(pid) {
                Holder::Stranger { command, .. } => format!(" ({command})"),
                Holder::Instance | Holder::Unknown => String::new(),
            };
            format!("process {pid}{command} listens there; {ELSEWHERE}")
        }
        Ok(Presence::Foreign) => "there is a file that is no socket".to_owned(),
        _ => "something else listens there".to_owned(),
    })
}
