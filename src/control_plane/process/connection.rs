//! The socket to one keeper: a frame is sent with its descriptors, replies are read. Never waits by itself.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Child;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::protocol::{Inbox, Reply};

/// A keeper that was just started.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) socket: StdUnixStream,
    pub(super) child: Child,
}

/// One keeper, as long as it lives.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    pub(super) child: Child,
    pub(super) since: Instant,
    inbox: Inbox,
    pub(super) outbox: Outbox,
}

/// The frame that is being sent; the descriptors go with its first byte.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(running: Running) -> io::Result<Self> {
        running.socket.set_nonblocking(true)?;
        Ok(Self {
            stream: UnixStream::from_std(running.socket)?,
            child: running.child,
            since: Instant::now(),
            inbox: Inbox::default(),
            outbox: Outbox::default(),
        })
    }

    /// As much of the frame as fits.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let Self { stream, outbox, .. } = self;
        while !outbox.is_empty() {
            let sent = stream.try_io(Interest::WRITABLE, || outbox.send(stream.as_fd()));
            match sent {
                Ok(sent) => outbox.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What the keeper has said. An error is its end, or words that nobody understands.
    pub(super) fn read(&mut self) -> io::Result<Vec<Reply>> {
        let mut bytes = [0; 4096];
        match self.stream.try_read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.inbox.fill(&bytes[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let mut replies = Vec::new();
        while let Some(reply) = self.inbox.next().map_err(io::Error::other)? {
            replies.push(reply);
        }
        Ok(replies)
    }
}

// === impl Outbox ===

impl Outbox {
    pub(super) fn new(bytes: Vec<u8>, descriptors: Vec<OwnedFd>) -> Self {
        Self {
            bytes,
            sent: 0,
            descriptors,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    fn send(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let descriptors: Vec<BorrowedFd<'_>> = self.descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let rest = [IoSlice::new(&self.bytes[self.sent..])];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(sendmsg(socket, &rest, &mut control, flags)?)
    }

    /// The descriptors have gone with the first byte and are closed here: only the app's own copies keep its pipes.
    fn advance(&mut self, sent: usize) {
        self.sent += sent;
        self.descriptors.clear();
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
