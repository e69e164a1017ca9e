//! One direction of a tunnel: passes bytes on as they come, and knows where their frames end. Keeps nothing while nothing
//! is on its way, for there may be very many tunnels that do nothing.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;

const BUFFER: usize = 16 * 1024;

thread_local! {
    /// Every direction of every tunnel reads into it, and has passed on or kept what it read before the next one does.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

/// One direction.
#[derive(Debug, Default)]
pub(in crate::data_plane) struct Way {
    frames: Frames,
    /// Was read, and the receiver has not taken it yet.
    held: Bytes,
    written: u64,
}

/// How far bytes are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data_plane) enum Until {
    /// To the end of the direction.
    End,
    /// To the end of the frame that has begun; what is read beyond it is dropped.
    Frame,
    /// To the end of a Close frame; what is read beyond it is dropped.
    Close,
}

/// Why nothing more is passed on. All that was read before has been written, unless the receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data_plane) enum Passed {
    /// As far as was asked.
    AsAsked,
    /// The sender has ended its side.
    Ended,
    /// The sender is gone.
    SenderGone,
    /// The receiver is gone.
    ReceiverGone,
}

impl Way {
    /// A direction of which something was read already.
    pub(in crate::data_plane) fn new(ahead: Bytes) -> Self {
        let mut way = Self::default();
        way.take(&ahead, Until::End);
        way.held = ahead;
        way
    }

    /// How many bytes are on their way.
    pub(in crate::data_plane) fn held(&self) -> usize {
        self.held.len()
    }

    /// How many bytes have been written so far.
    pub(in crate::data_plane) fn written(&self) -> u64 {
        self.written
    }

    pub(in crate::data_plane) fn at_boundary(&self) -> bool {
        self.frames.at_boundary()
    }

    pub(in crate::data_plane) fn has_closed(&self) -> bool {
        self.frames.has_closed()
    }

    /// Adds a frame of hitless's own. To be called at a boundary, with nothing held.
    pub(in crate::data_plane) fn add(&mut self, frame: Bytes) {
        self.take(&frame, Until::End);
        self.held = frame;
    }

    /// Passes bytes on, and counts what it reads.
    pub(in crate::data_plane) fn poll_pass<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut R, &mut W),
        until: Until,
        count: impl Fn(u64),
    ) -> Poll<Passed>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if ready!(self.poll_flush(cx, to)).is_err() {
                return Poll::Ready(Passed::ReceiverGone);
            }
            if self.is_at(until) {
                return Poll::Ready(Passed::AsAsked);
            }
            let read = READ.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                let read = ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer));
                let bytes = buffer.filled();
                Poll::Ready(read.map(|()| {
                    count(bytes.len() as u64);
                    let taken = self.take(bytes, until);
                    self.write_now(cx, to, &bytes[..taken]);
                    bytes.len()
                }))
            });
            match ready!(read) {
                Ok(0) => return Poll::Ready(Passed::Ended),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Passed::SenderGone),
            }
        }
    }

    /// Writes what is held.
    pub(in crate::data_plane) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<std::io::Result<()>> {
        while self.held.has_remaining() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
            self.written += written as u64;
        }
        self.held = Bytes::new();
        Pin::new(to).poll_flush(cx)
    }

    /// Writes what fits at once, without a copy, and holds the rest.
    fn write_now<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W, bytes: &[u8]) {
        let written = match Pin::new(to).poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) => written,
            // Said again when the rest is written.
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.written += written as u64;
        if let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            self.held = Bytes::copy_from_slice(rest);
        }
    }

    /// Follows the frames of what is passed on; says how much of it that is.
    fn take(&mut self, bytes: &[u8], until: Until) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            taken += self.frames.step(&bytes[taken..]);
            if self.is_at(until) {
                break;
            }
        }
        taken
    }

    fn is_at(&self, until: Until) -> bool {
        match until {
            Until::End => false,
            Until::Frame => self.frames.at_boundary(),
            Until::Close => self.frames.at_boundary() && self.frames.has_closed(),
        }
    }
}
