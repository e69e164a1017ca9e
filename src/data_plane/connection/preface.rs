//! The first bytes of a client: whether it speaks HTTP/2 by prior knowledge (RFC 9113 section 3.3).
//!
//! They may come one by one, and until they differ from the preface nobody knows which protocol they belong to.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use crate::data_plane::wire::{Pulse, Socket};

/// RFC 9113 section 3.4.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// They are no preface.
    Http1,
    /// They begin with the preface.
    Http2,
    /// They are the beginning of the preface, and nothing else yet.
    Undecided,
}

/// A connection whose first bytes are the beginning of the preface.
#[derive(Debug)]
pub(super) struct Opening {
    socket: Socket,
    ahead: Vec<u8>,
    pulse: Arc<Pulse>,
}

/// What the first bytes say of the protocol.
pub(super) fn listen(bytes: &[u8]) -> Speaks {
    let length = bytes.len().min(PREFACE.len());
    if bytes[..length] != PREFACE[..length] {
        Speaks::Http1
    } else if length == PREFACE.len() {
        Speaks::Http2
    } else {
        Speaks::Undecided
    }
}

// === impl Opening ===

impl Opening {
    pub(super) fn new(socket: Socket, ahead: &[u8]) -> Self {
        let pulse = Arc::new(Pulse::default());
        // To the sweep it is in a head, whatever the protocol.
        pulse.hear();
        Self {
            socket,
            ahead: ahead.to_vec(),
            pulse,
        }
    }

    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Reads on until it is known what the client speaks. None: it has left.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Speaks>> {
        loop {
            let mut space = [MaybeUninit::uninit(); PREFACE.len()];
            let mut buffer = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    self.ahead.extend_from_slice(buffer.filled());
                }
                _ => return Poll::Ready(None),
            }
            match listen(&self.ahead) {
                Speaks::Undecided => {}
                known => return Poll::Ready(Some(known)),
            }
        }
    }

    /// The socket, and what was read of it.
    pub(super) fn into_parts(self) -> (Socket, Bytes) {
        (self.socket, self.ahead.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_told_from_a_request_by_its_first_different_byte() {
        assert_eq!(listen(PREFACE), Speaks::Http2);
        assert_eq!(listen(&[PREFACE, b"\0\0\0"].concat()), Speaks::Http2);
        for length in 1..PREFACE.len() {
            assert_eq!(listen(&PREFACE[..length]), Speaks::Undecided);
            let mut other = PREFACE[..length].to_vec();
            other[length - 1] ^= 1;
            assert_eq!(listen(&other), Speaks::Http1);
        }
        for request in ["PUT / HTTP/1.1", "PRI / HTTP/1.1", "PRI * HTTP/1.1", "GET"] {
            assert_eq!(listen(request.as_bytes()), Speaks::Http1, "{request}");
        }
    }
}
