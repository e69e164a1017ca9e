//! A connected socket of either family, and what acts as one, as one type.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub(in crate::data_plane) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// A stream of HTTP/2 that is a tunnel.
    Stream(Box<TokioIo<Upgraded>>),
}

// === impl Socket ===

impl Socket {
    /// Writes what fits at once, for a last word to a client that is about to be left.
    pub(in crate::data_plane) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Stream(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Has the kernel ask the other side now and then whether it is still there: one that has vanished without a word is
    /// gone some two minutes later, and not never.
    pub(in crate::data_plane) fn notice_death(&self) {
        if let Self::Tcp(stream) = self {
            let asking = TcpKeepalive::new()
                .with_time(Duration::from_secs(60))
                .with_interval(Duration::from_secs(10))
                .with_retries(6);
            // Refused: it is as it was.
            let _ = SockRef::from(stream).set_tcp_keepalive(&asking);
        }
    }

    /// Gives it up together with all that the other side has not taken. Closed in the usual way, the kernel would go on
    /// offering that for minutes.
    pub(in crate::data_plane) fn abort(self) {
        let socket = match &self {
            Self::Tcp(stream) => SockRef::from(stream),
            // What is sent over a unix socket lies with whoever receives it. A stream is reset when it is dropped.
            Self::Unix(_) | Self::Stream(_) => return,
        };
        // Refused: it is closed in the usual way.
        let _ = socket.set_linger(Some(Duration::ZERO));
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Stream(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Stream(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Stream(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Stream(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Stream(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }
}
