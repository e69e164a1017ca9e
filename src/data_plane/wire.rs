//! The bytes of one connection, client's or app's, on their way between hyper and the socket.
//!
//! Gathers small writes into one send and tells whoever asks whether anything was read and whether all is flushed.
//! Never shuts a socket down: whoever ends the connection decides how.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Vectored writes up to this size are copied into one send; measured, larger ones are cheaper as they are.
const GATHER_MAX: usize = 4096;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket as hyper sees it.
pub(super) type Io = TokioIo<Wire>;

/// A socket whose pulse is taken.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    pulse: Arc<Pulse>,
}

/// What is known about a connection from the bytes that passed and the messages that are alive.
///
/// Everything happens on one thread. The atomics are there because hyper asks that an upgradeable connection be `Send`.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Bytes were read since this was last cleared.
    heard: AtomicBool,
    /// How many messages are alive.
    busy: AtomicU32,
    /// Counts the ends of messages.
    ended: AtomicU32,
    /// What `ended` was when everything was last flushed.
    flushed: AtomicU32,
    /// A message was left unread.
    cut_short: AtomicBool,
}

/// One message that is alive.
#[derive(Debug)]
pub(super) struct Busy(Arc<Pulse>);

thread_local! {
    static GATHERED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(GATHER_MAX));
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(socket: Socket, pulse: Arc<Pulse>) -> Io {
        TokioIo::new(Self { socket, pulse })
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut me.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            me.pulse.heard.store(true, Relaxed);
        }
        result
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    /// hyper calls it with an empty write buffer only, so everything handed over before is with the kernel.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        me.pulse
            .flushed
            .store(me.pulse.ended.load(Relaxed), Relaxed);
        Pin::new(&mut me.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = Pin::new(&mut self.get_mut().socket);
        if let [slice] = slices {
            return socket.poll_write(cx, slice);
        }
        if slices.iter().map(|slice| slice.len()).sum::<usize>() > GATHER_MAX {
            return socket.poll_write_vectored(cx, slices);
        }
        GATHERED.with_borrow_mut(|gathered| {
            gathered.clear();
            for slice in slices {
                gathered.extend_from_slice(slice);
            }
            socket.poll_write(cx, gathered)
        })
    }
}

// === impl Pulse ===

impl Pulse {
    /// A message begins.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.store(self.busy.load(Relaxed) + 1, Relaxed);
        Busy(Arc::clone(self))
    }

    /// From here on only bytes that are read later count as heard.
    pub(super) fn forget_heard(&self) {
        self.heard.store(false, Relaxed);
    }

    /// Whether bytes were read since.
    pub(super) fn has_heard(&self) -> bool {
        self.heard.load(Relaxed)
    }

    /// A message will not be read to its end.
    pub(super) fn cut_short(&self) {
        self.cut_short.store(true, Relaxed);
    }

    /// Whether a message was not read to its end.
    pub(super) fn was_cut_short(&self) -> bool {
        self.cut_short.load(Relaxed)
    }

    /// Whether the connection is between two messages: none alive, all flushed, nothing read since.
    pub(super) fn is_idle(&self) -> bool {
        self.is_flushed() && !self.has_heard()
    }

    /// Whether no message is alive, and all that were are flushed.
    pub(super) fn is_flushed(&self) -> bool {
        self.busy.load(Relaxed) == 0 && self.ended.load(Relaxed) == self.flushed.load(Relaxed)
    }
}

// === impl Busy ===

impl Busy {
    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let pulse = &self.0;
        pulse.busy.store(pulse.busy.load(Relaxed) - 1, Relaxed);
        pulse
            .ended
            .store(pulse.ended.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

// === impl Socket ===

impl Socket {
    /// Writes what fits at once, for a last word to a client that is about to be left.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
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
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
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
        }
    }
}
