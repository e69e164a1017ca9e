//! The last moment of a connection: says that nothing more comes and reads what the client still sends.
//!
//! Closing a socket with unread bytes is a reset, which takes what was sent but not yet read with it (RFC 9112 section
//! 9.6).

use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::data_plane::wire::Socket;

/// How long is enough for what is on its way.
pub(in crate::data_plane) const MOMENT: Duration = Duration::from_secs(1);

/// How long a client may send nothing before nothing more is expected of it.
pub(in crate::data_plane) const IDLE_MAX: Duration = Duration::from_secs(5);

/// A connection that is being closed.
pub(super) struct Linger {
    socket: Socket,
    is_shut: bool,
    until: Instant,
    sleep: Pin<Box<Sleep>>,
}

// === impl Linger ===

impl Linger {
    /// Listens to the client for as long as `limit`, but not while it is silent.
    pub(super) fn new(socket: Socket, limit: Duration) -> Self {
        let now = Instant::now();
        let until = now + limit;
        Self {
            socket,
            is_shut: false,
            until,
            sleep: Box::pin(sleep_until(until.min(now + IDLE_MAX))),
        }
    }

    /// There is no more than a moment.
    pub(super) fn hurry(&mut self) {
        let until = Instant::now() + MOMENT;
        if until < self.until {
            self.until = until;
            self.sleep.as_mut().reset(until);
        }
    }

    /// Until the client has ended its side as well, or had its time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_shut {
            self.is_shut = true;
            // A socket has nothing to wait for here.
            if !matches!(
                Pin::new(&mut self.socket).poll_shutdown(cx),
                Poll::Ready(Ok(()))
            ) {
                return Poll::Ready(());
            }
        }
        let mut space = [MaybeUninit::uninit(); 2048];
        loop {
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let silent = Instant::now() + IDLE_MAX;
                    self.sleep.as_mut().reset(silent.min(self.until));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        // Past the limit there is nothing left to do but to close.
        self.sleep.as_mut().poll(cx)
    }
}
