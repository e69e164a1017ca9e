//! The socket of sd_notify(3): who is at its other end, and how a datagram gets there.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::timeout;
use tracing::warn;

/// How long a manager may leave its queue full.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who started hitless and wants to be told how it is.
#[derive(Debug)]
pub struct Manager {
    address: SocketAddr,
    watchdog: Option<Duration>,
}

// === impl Manager ===

impl Manager {
    /// That of `NOTIFY_SOCKET`, if there is one. An address that cannot be one is told, and nobody is there then.
    pub fn of_process() -> Option<Self> {
        let name = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        let address = address(&name)
            .inspect_err(|error| warn!(%error, ?name, "NOTIFY_SOCKET is not an address"))
            .ok()?;
        let variable = |name| env::var(name).ok();
        let ours = std::process::id();
        Some(Self {
            address,
            watchdog: watchdog(
                variable("WATCHDOG_USEC").as_deref(),
                variable("WATCHDOG_PID").as_deref(),
                ours,
            ),
        })
    }

    /// Within which time it wants a sign of life, again and again.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends one datagram: lines of `KEY=value`.
    ///
    /// A socket each time, as sd_notify(3) does it: the manager may have been replaced since the last.
    ///
    /// # Errors
    ///
    /// Nobody is there, or its queue stays full.
    pub(super) async fn say(&self, lines: &str) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&self.address)?;
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UnixDatagram::from_std(socket)?;
        let sent = timeout(PATIENCE, socket.send(lines.as_bytes())).await;
        sent.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(())
    }
}

/// A path, or after `@` a name of the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it begins neither with / nor with @",
        )),
    }
}

/// The time of `WATCHDOG_USEC`, unless `WATCHDOG_PID` says that another process is meant.
fn watchdog(usec: Option<&str>, pid: Option<&str>, ours: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(ours));
    let usec = usec?.parse().ok().filter(|usec| *usec > 0 && is_ours)?;
    Some(Duration::from_micros(usec))
}

/// The clock that systemd compares with the moment at which it asked for a reload.
pub(super) fn monotonic_usec() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_or_an_abstract_name() {
        let path = address(OsStr::new("/run/notify")).unwrap();
        assert_eq!(path.as_pathname().unwrap().to_str(), Some("/run/notify"));
        let name = address(OsStr::new("@notify")).unwrap();
        assert_eq!(name.as_abstract_name(), Some(&b"notify"[..]));
        assert!(address(OsStr::new("notify")).is_err());
        assert!(address(OsStr::new("vsock:2:1")).is_err());
        assert!(address(OsStr::new(&format!("/{}", "x".repeat(200)))).is_err());
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some("1000000"), None, 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("7"), 7), second);
        for (usec, pid) in [
            (Some("1000000"), Some("8")),
            (Some("1000000"), Some("x")),
            (Some("0"), None),
            (Some("-1"), None),
            (None, None),
        ] {
            assert_eq!(watchdog(usec, pid, 7), None, "{usec:?} {pid:?}");
        }
    }
}
