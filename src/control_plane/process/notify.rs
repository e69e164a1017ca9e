//! The private notify socket of an instance, as systemd's protocol has it: datagrams of `KEY=value` lines, of which
//! hitless hears `READY=1`. The others are read and forgotten, so that no app ever waits in a full queue.

use std::io;
use std::path::Path;

use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How much of one datagram is looked at, in bytes.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// Hears until it is dropped.
#[derive(Debug)]
pub(super) struct Notify {
    ready: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

// === impl Notify ===

impl Notify {
    /// Binds the socket and listens to it, on the runtime it is called in. It belongs to that user and group where
    /// they are given.
    pub(super) fn bind(path: &Path, user: Option<u32>, group: Option<u32>) -> io::Result<Self> {
        let socket = UnixDatagram::bind(path)?;
        if user.is_some() || group.is_some() {
            std::os::unix::fs::chown(path, user, group)?;
        }
        let (said, ready) = watch::channel(false);
        let task = tokio::spawn(hear(socket, said));
        Ok(Self { ready, task })
    }

    /// Waits for `READY=1`; at once if it was said before. For ever, when it is never said. Cancel safe.
    pub(super) async fn ready(&self) {
        let mut ready = self.ready.clone();
        if ready.wait_for(|ready| *ready).await.is_err() {
            // The socket broke: nobody can say it any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn hear(socket: UnixDatagram, said: watch::Sender<bool>) {
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    while let Ok(length) = socket.recv(&mut datagram).await {
        if says_ready(&datagram[..length]) {
            said.send_replace(true);
        }
    }
}

fn says_ready(datagram: &[u8]) -> bool {
    datagram
        .split(|byte| *byte == b'\n')
        .any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_is_heard_among_other_words_and_only_as_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let notify = Notify::bind(&path, None, None).unwrap();
        let app = std::os::unix::net::UnixDatagram::unbound().unwrap();
        app.send_to(b"STATUS=NOT READY=1\nREADY=10", &path).unwrap();
        // More than the kernel's queue holds: they are read, or this would block.
        for _ in 0..3 {
            app.send_to(b"WATCHDOG=1", &path).unwrap();
            tokio::task::yield_now().await;
        }
        assert!(!*notify.ready.borrow());
        app.send_to(b"STATUS=up\nREADY=1\n", &path).unwrap();
        notify.ready().await;
        notify.ready().await;
    }
}
