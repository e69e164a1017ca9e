//! The bytes of one connection, client's or app's, on their way between hyper and the socket.
//!
//! Gathers small writes into one send and tells whoever asks whether anything was read and whether all is flushed.
//! Never shuts a socket down: whoever ends the connection decides how. Never looks at a clock: the sweep over all
//! connections does, and compares what is told here.

mod hints;
mod readable;
mod socket;

pub(super) use self::hints::Hints;
use self::readable::{Readable, Reader};
pub(super) use self::socket::Socket;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Vectored writes up to this size are copied into one send; measured, larger ones are cheaper as they are.
const GATHER_MAX: usize = 4096;

/// How much is read at once of an answer of which little may wait. hyper has some three pieces of that size in hand.
const READ_LITTLE: usize = 32 * 1024;

/// A socket as hyper sees it.
pub(super) type Io = TokioIo<Wire>;

/// A socket whose pulse is taken.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    pulse: Arc<Pulse>,
    reader: Reader,
    /// What was read from the socket before it came here.
    ahead: Bytes,
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
    /// The client had its time to send the rest of a message.
    waited: AtomicBool,
    /// Odd while a write waits for the other side; each change counts.
    stalled: AtomicU32,
    /// The answer under way ends where the connection does.
    unframed: AtomicBool,
    /// Somebody has something to tell the connection.
    called: AtomicBool,
    /// No message is under way on it, and whoever begins one says so.
    at_rest: AtomicBool,
    /// Whether the socket may have anything to read, where it has one of its own.
    readable: OnceLock<Arc<Readable>>,
    /// What goes to the client besides hyper's messages, once anything has.
    hints: OnceLock<Arc<Hints>>,
    /// What is read waits for a client that has others waiting as well.
    reads_little: AtomicBool,
    /// It is that of one message among others on the same connection.
    of_stream: bool,
    of_many: bool,
}

/// What a connection is doing, as far as the bytes tell. As long as it is equal to what was seen before, nothing has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It is between two messages, and this is how many there were.
    Resting(u32),
    /// Bytes came after that many messages, and they are not a whole head yet.
    InHead(u32),
    /// A message is under way.
    InMessage,
    /// No message is under way, and hyper has not yet said that all is with the kernel.
    Unflushed,
    /// A message was not read to its end, and hyper is to end the connection.
    CutShort,
    /// The other side takes nothing of what is written to it, for the how-manieth time.
    Stalled(u32),
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
        Self::resume(socket, pulse, Bytes::new())
    }

    /// A socket that something was read from already.
    pub(super) fn resume(socket: Socket, pulse: Arc<Pulse>, ahead: Bytes) -> Io {
        TokioIo::new(Self {
            socket,
            reader: Reader::new(pulse.readable.get_or_init(Arc::default)),
            pulse,
            ahead,
        })
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The socket, and what was read ahead and nobody has asked for.
    pub(super) fn into_parts(self) -> (Socket, Bytes) {
        (self.socket, self.ahead)
    }

    /// Reads no more than [`READ_LITTLE`].
    #[cold]
    fn poll_read_little(
        &mut self,
        cx: &Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = buf.remaining().min(READ_LITTLE);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(length));
        let result = self.reader.poll_read(&mut self.socket, cx, &mut part);
        let read = part.filled().len();
        buf.advance(read);
        result
    }

    fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.written(&result);
        result
    }

    /// Before hyper writes, what was to go out first does.
    fn hyper_writes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(hints) = self.pulse.hints.get() {
            hints.hyper_writes();
        }
        self.poll_hints(cx)
    }

    /// Ready when no hint waits; one that does not fit is a stalled write like any other.
    fn poll_hints(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(hints) = self.pulse.hints.get() else {
            return Poll::Ready(Ok(()));
        };
        let result = hints.poll_write(cx, &mut self.socket);
        self.pulse.written(&result);
        result
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if !me.ahead.is_empty() {
            let length = me.ahead.len().min(buf.remaining());
            buf.put_slice(&me.ahead[..length]);
            me.ahead.advance(length);
            me.pulse.heard.store(true, Relaxed);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = if me.pulse.reads_little.load(Relaxed) {
            me.poll_read_little(cx, buf)
        } else {
            me.reader.poll_read(&mut me.socket, cx, buf)
        };
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
        let me = self.get_mut();
        ready!(me.hyper_writes(cx))?;
        let result = Pin::new(&mut me.socket).poll_write(cx, bytes);
        me.written(result)
    }

    /// hyper calls it with an empty write buffer only, so everything handed over before is with the kernel.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        ready!(me.poll_hints(cx))?;
        if let Some(hints) = me.pulse.hints.get() {
            hints.hyper_flushed(cx);
        }
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
        let me = self.get_mut();
        ready!(me.hyper_writes(cx))?;
        let socket = Pin::new(&mut me.socket);
        let result = if let [slice] = slices {
            socket.poll_write(cx, slice)
        } else if slices.iter().map(|slice| slice.len()).sum::<usize>() > GATHER_MAX {
            socket.poll_write_vectored(cx, slices)
        } else {
            GATHERED.with_borrow_mut(|gathered| {
                gathered.clear();
                for slice in slices {
                    gathered.extend_from_slice(slice);
                }
                socket.poll_write(cx, gathered)
            })
        };
        me.written(result)
    }
}

// === impl Pulse ===

impl Pulse {
    /// That of one message of HTTP/2: what is left unread of it concerns no other. Whether it is one of many on its
    /// connection.
    pub(super) fn of_stream(of_many: bool) -> Self {
        Self {
            of_stream: true,
            of_many,
            ..Self::default()
        }
    }

    /// Whether it is that of one message among others.
    pub(super) fn is_of_stream(&self) -> bool {
        self.of_stream
    }

    /// Whether it is that of one message among many.
    pub(super) fn is_of_many(&self) -> bool {
        self.of_many
    }

    /// A message begins.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.store(self.busy.load(Relaxed) + 1, Relaxed);
        Busy(Arc::clone(self))
    }

    /// Whether little of what comes next is to be read at once.
    pub(super) fn read_little(&self, little: bool) {
        self.reads_little.store(little, Relaxed);
    }

    /// From here on only bytes that are read later count as heard.
    pub(super) fn forget_heard(&self) {
        self.heard.store(false, Relaxed);
    }

    /// Bytes were read by somebody else.
    pub(super) fn hear(&self) {
        self.heard.store(true, Relaxed);
    }

    /// Whether a write waits for the other side.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Relaxed) % 2 == 1
    }

    /// Whether bytes were read since.
    pub(super) fn has_heard(&self) -> bool {
        self.heard.load(Relaxed)
    }

    /// Where hints are put to be written by it.
    pub(super) fn hints(&self) -> &Arc<Hints> {
        self.hints.get_or_init(Arc::default)
    }

    /// The answer that is about to be written ends where the connection does: it is the last one.
    pub(super) fn ends_with_connection(&self) {
        self.unframed.store(true, Relaxed);
    }

    /// Whether the other side takes the end of the connection for that of an answer.
    pub(super) fn is_unframed(&self) -> bool {
        self.unframed.load(Relaxed)
    }

    /// A message will not be read to its end: what follows on the connection is no head, unless hyper finds one.
    pub(super) fn cut_short(&self) {
        self.cut_short.store(true, Relaxed);
    }

    /// The same, and the client had its time.
    pub(super) fn give_up(&self) {
        self.waited.store(true, Relaxed);
        self.cut_short();
    }

    /// Whether the client had its time to send what it still has to.
    pub(super) fn has_waited(&self) -> bool {
        self.waited.load(Relaxed)
    }

    /// hyper has found the next head.
    pub(super) fn found_head(&self) {
        self.forget_heard();
        if self.was_cut_short() {
            self.cut_short.store(false, Relaxed);
            self.waited.store(false, Relaxed);
        }
    }

    /// Whether a message was not read to its end.
    pub(super) fn was_cut_short(&self) -> bool {
        self.cut_short.load(Relaxed)
    }

    /// What the connection is doing.
    pub(super) fn doing(&self) -> Doing {
        let stalled = self.stalled.load(Relaxed);
        let ended = self.ended.load(Relaxed);
        if stalled % 2 == 1 {
            Doing::Stalled(stalled)
        } else if self.busy.load(Relaxed) > 0 {
            Doing::InMessage
        } else if !self.is_flushed() {
            Doing::Unflushed
        } else if self.was_cut_short() {
            Doing::CutShort
        } else if self.has_heard() {
            Doing::InHead(ended)
        } else {
            Doing::Resting(ended)
        }
    }

    /// Whether the connection is between two messages: none alive, all read to their end and flushed, nothing read since.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.doing(), Doing::Resting(_))
    }

    /// Whether its task has nothing to do, whatever woke it: no message is under way, and nothing has come to be read.
    pub(super) fn is_at_rest(&self) -> bool {
        let is_dry = |readable: &Arc<Readable>| !readable.is_likely();
        self.at_rest.load(Relaxed) && self.readable.get().is_some_and(is_dry)
    }

    /// No message is under way on it from now on, or one begins.
    pub(super) fn rest(&self, at_rest: bool) {
        self.at_rest.store(at_rest, Relaxed);
    }

    /// Has the connection look for what it is told, once it is woken.
    pub(super) fn call(&self) {
        self.called.store(true, Relaxed);
    }

    /// Whether it was called since it last looked.
    pub(super) fn was_called(&self) -> bool {
        let called = self.called.load(Relaxed);
        if called {
            self.called.store(false, Relaxed);
        }
        called
    }

    /// Some of a message went to the kernel, or could not.
    fn written<T>(&self, result: &Poll<io::Result<T>>) {
        // Until the next flush it is not all with the kernel.
        let unflushed = self.ended.load(Relaxed).wrapping_sub(1);
        self.flushed.store(unflushed, Relaxed);
        let stalled = self.stalled.load(Relaxed);
        if result.is_pending() == stalled.is_multiple_of(2) {
            self.stalled.store(stalled.wrapping_add(1), Relaxed);
        }
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
