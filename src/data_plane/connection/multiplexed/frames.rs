//! The frames of one HTTP/2 connection on their way between hyper and the wire: counted by kind, never changed.
//!
//! hyper and h2 bound what each frame may keep in memory, but not how many may come that ask for nothing. Here a client
//! that sends more of those than its requests explain is told to calm down (RFC 9113 section 10.5) and left. So is one
//! whose first frame is another than h2 takes for granted.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::cutter::{Cutter, HEAD_LENGTH, Head, kind};
use crate::data_plane::connection::preface::PREFACE;
use crate::data_plane::wire::{Socket, Wire};

/// How many frames that ask for nothing a client may send beyond what its requests explain.
const CREDIT: u32 = 1_000;

/// After this time it may send as many again.
const CREDIT_PERIOD: Duration = Duration::from_secs(60);

/// What one frame explains, or costs. A request that is reset at once costs 2 in all: 500 of them a minute.
mod price {
    pub(super) const HEAD: u32 = 8;
    pub(super) const BODY: u32 = 2;
    /// One for the stream and one for the connection answer each frame that was sent.
    pub(super) const SENT: u32 = 3;
    pub(super) const RESET: u32 = 10;
    pub(super) const OTHER: u32 = 1;
}

const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// Why a client is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It sent too many frames that ask for nothing.
    Flood,
    /// It did not begin with its settings: RFC 9113 section 3.4.
    NoSettings,
}

/// A wire whose frames are watched.
#[derive(Debug)]
pub(super) struct Frames {
    /// There until it is dropped.
    wire: Option<Wire>,
    read: Cutter,
    written: Cutter,
    seen: Rc<Seen>,
}

/// What was seen of the frames, for whoever looks after the connection.
#[derive(Debug)]
pub(super) struct Seen {
    credit: Cell<u32>,
    since: Cell<Instant>,
    begun: Cell<bool>,
    fault: Cell<Option<Fault>>,
    /// Odd while a header block is open.
    head: Cell<u32>,
    /// The last stream that the client opened.
    last_stream: Cell<u32>,
    /// How many frames of messages have been written.
    sent: Cell<u32>,
    /// How many heads, trailers among them, have been written beyond those that hyper was given: h2's own. Below nought while
    /// some are on their way, and for good by those that their clients did not wait for.
    own_heads: Cell<i32>,
    /// The socket, once hyper is done with it.
    left: RefCell<Option<Socket>>,
}

// === impl Frames ===

impl Frames {
    /// A wire on which nothing has been read yet, the preface included.
    pub(super) fn new(wire: Wire, seen: Rc<Seen>) -> Self {
        Self {
            wire: Some(wire),
            read: Cutter::after(PREFACE.len()),
            written: Cutter::after(0),
            seen,
        }
    }

    fn wire(&mut self) -> Pin<&mut Wire> {
        Pin::new(self.wire.as_mut().expect("taken by drop only"))
    }

    fn wrote<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>, mut length: usize) {
        for slice in slices {
            let part = slice.len().min(length);
            length -= part;
            let seen = &self.seen;
            self.written.cut(&slice[..part], |head| seen.wrote(head));
        }
    }

    /// Says why it leaves, unless that would come amid a frame.
    fn leave(&mut self, fault: Fault) -> io::Error {
        if self.written.is_between() {
            let message = go_away(self.seen.last_stream.get(), fault.code());
            // What does not fit now would not be read either.
            let _ = self.wire().socket().try_write(&message);
        }
        io::Error::other(fault.reason())
    }
}

fn go_away(last_stream: u32, code: u32) -> [u8; HEAD_LENGTH + 8] {
    let mut message = [0; HEAD_LENGTH + 8];
    message[2] = 8;
    message[3] = kind::GOAWAY;
    message[9..13].copy_from_slice(&last_stream.to_be_bytes());
    message[13..].copy_from_slice(&code.to_be_bytes());
    message
}

impl AsyncRead for Frames {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buf.filled().len();
        let result = me.wire().poll_read(cx, buf);
        let seen = &me.seen;
        me.read.cut(&buf.filled()[before..], |head| seen.read(head));
        if let Some(fault) = seen.fault.get() {
            return Poll::Ready(Err(me.leave(fault)));
        }
        result
    }
}

impl AsyncWrite for Frames {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let result = me.wire().poll_write(cx, bytes);
        if let Poll::Ready(Ok(length)) = result {
            me.wrote([bytes].into_iter(), length);
        }
        result
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().wire().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().wire().poll_shutdown(cx)
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
        let result = me.wire().poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(length)) = result {
            me.wrote(slices.iter().map(|slice| &**slice), length);
        }
        result
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // hyper does not hand it back.
        let socket = self.wire.take().map(Wire::into_socket);
        self.seen.left.replace(socket);
    }
}

// === impl Seen ===

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            credit: Cell::new(CREDIT),
            since: Cell::new(Instant::now()),
            begun: Cell::new(false),
            fault: Cell::default(),
            head: Cell::new(0),
            last_stream: Cell::new(0),
            sent: Cell::new(0),
            own_heads: Cell::new(0),
            left: RefCell::default(),
        }
    }

    /// Why the client was left, where its frames gave cause to.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// Odd while a header block is open; each change counts.
    pub(super) fn heads(&self) -> u32 {
        self.head.get()
    }

    /// How many frames of messages have been written; past the largest number it begins anew.
    pub(super) fn sent(&self) -> u32 {
        self.sent.get()
    }

    /// hyper is given a head or trailers, to be written.
    pub(super) fn gives_head(&self) {
        self.own_heads.set(self.own_heads.get().saturating_sub(1));
    }

    /// How many requests h2 has answered by itself since this was last asked: with 431, for there is nothing else that it
    /// answers. Rather too few than too many.
    pub(super) fn take_refused(&self) -> i32 {
        let refused = self.own_heads.get().max(0);
        self.own_heads.set(self.own_heads.get() - refused);
        refused
    }

    /// The socket, once hyper is done with it.
    pub(super) fn take_socket(&self) -> Option<Socket> {
        self.left.take()
    }

    fn read(&self, head: Head) {
        let is_settings = head.kind == kind::SETTINGS && head.flags & ACK == 0;
        if !self.begun.replace(true) && !is_settings {
            self.fault.set(Some(Fault::NoSettings));
        }
        let opens = head.kind == kind::HEADERS;
        let is_block = opens || head.kind == kind::CONTINUATION;
        let ends = is_block && head.flags & END_HEADERS != 0;
        let is_open = self.head.get() % 2 == 1;
        if (opens && !ends && !is_open) || (ends && is_open) {
            self.head.set(self.head.get().wrapping_add(1));
        }
        match head.kind {
            kind::HEADERS => {
                self.last_stream
                    .set(self.last_stream.get().max(head.stream));
                self.earn(price::HEAD);
            }
            kind::DATA if head.length > 0 => self.earn(price::BODY),
            // h2 counts these.
            kind::CONTINUATION if head.length > 0 => {}
            kind::RST_STREAM => self.spend(price::RESET),
            _ => self.spend(price::OTHER),
        }
    }

    fn wrote(&self, head: Head) {
        if head.kind == kind::HEADERS {
            self.own_heads.set(self.own_heads.get().saturating_add(1));
        }
        if matches!(head.kind, kind::DATA | kind::HEADERS) {
            self.sent.set(self.sent.get().wrapping_add(1));
            self.earn(price::SENT);
        }
    }

    fn earn(&self, credit: u32) {
        self.credit.set((self.credit.get() + credit).min(CREDIT));
    }

    fn spend(&self, credit: u32) {
        match self.credit.get().checked_sub(credit) {
            Some(rest) => self.credit.set(rest),
            None if self.since.get().elapsed() >= CREDIT_PERIOD => {
                self.since.set(Instant::now());
                self.credit.set(CREDIT - credit);
            }
            None => self.fault.set(Some(Fault::Flood)),
        }
    }
}

// === impl Fault ===

impl Fault {
    /// The code of GOAWAY: RFC 9113 section 7.
    fn code(self) -> u32 {
        match self {
            Self::Flood => 0xb,
            Self::NoSettings => 1,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Flood => "the client sends frames that ask for nothing",
            Self::NoSettings => "the client does not begin with its settings",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(length: usize, kind: u8, flags: u8) -> Head {
        Head {
            length,
            kind,
            flags,
            stream: 1,
        }
    }

    fn begun() -> Seen {
        let seen = Seen::new();
        seen.read(head(0, kind::SETTINGS, 0));
        seen.credit.set(CREDIT);
        seen
    }

    #[test]
    fn whoever_does_not_begin_with_settings_is_left() {
        for (kind, flags) in [(kind::SETTINGS, ACK), (kind::HEADERS, END_HEADERS)] {
            let seen = Seen::new();
            seen.read(head(0, kind, flags));
            assert_eq!(seen.fault(), Some(Fault::NoSettings));
        }
    }

    #[test]
    fn an_open_header_block_is_odd() {
        let seen = begun();
        seen.read(head(5, kind::HEADERS, END_HEADERS));
        assert_eq!(seen.heads(), 0);
        seen.read(head(5, kind::HEADERS, 0));
        assert_eq!(seen.heads(), 1);
        seen.read(head(5, kind::CONTINUATION, 0));
        assert_eq!(seen.heads(), 1);
        seen.read(head(5, kind::CONTINUATION, END_HEADERS));
        assert_eq!(seen.heads(), 2);
    }

    #[test]
    fn heads_that_nobody_gave_are_those_of_h2() {
        let seen = begun();
        let wrote = |kind| seen.wrote(head(20, kind, END_HEADERS));
        // An answer with trailers, and another one whose client does not wait for it.
        for _ in 0..3 {
            seen.gives_head();
        }
        for kind in [kind::HEADERS, kind::DATA, kind::HEADERS] {
            wrote(kind);
            assert_eq!(seen.take_refused(), 0);
        }
        wrote(kind::HEADERS);
        assert_eq!(seen.take_refused(), 0, "as if it were that one");
        for _ in 0..2 {
            wrote(kind::HEADERS);
            assert_eq!(seen.take_refused(), 1);
            assert_eq!(seen.take_refused(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_frames_a_minute_may_ask_for_nothing() {
        let seen = begun();
        for minute in 0..3 {
            for ping in 0..CREDIT {
                seen.read(head(8, 6, 0));
                assert!(seen.fault().is_none(), "{minute} {ping}");
            }
            tokio::time::advance(CREDIT_PERIOD).await;
        }
        for _ in 0..=CREDIT + 1 {
            seen.read(head(8, 6, 0));
        }
        assert_eq!(seen.fault(), Some(Fault::Flood));
    }

    #[tokio::test(start_paused = true)]
    async fn what_requests_explain_is_no_flood() {
        let seen = begun();
        for _ in 0..100_000 {
            seen.read(head(20, kind::HEADERS, END_HEADERS));
            seen.wrote(head(20, kind::HEADERS, END_HEADERS));
            seen.read(head(4, kind::RST_STREAM, 0));
            seen.wrote(head(100, kind::DATA, 0));
            seen.read(head(4, 8, 0));
            seen.read(head(4, 8, 0));
        }
        assert!(seen.fault().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_are_reset_at_once_are_a_flood() {
        let seen = begun();
        let mut asked = 0;
        while seen.fault().is_none() {
            asked += 1;
            seen.read(head(20, kind::HEADERS, END_HEADERS));
            seen.read(head(4, kind::RST_STREAM, 0));
        }
        assert!((400..600).contains(&asked), "{asked}");
    }
}
