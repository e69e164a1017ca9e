//! What an app that speaks HTTP/2 says of itself in its first frame: whether a WebSocket may be asked for (RFC 8441 section
//! 3). hyper knows it as well, but not since when, and before that nobody may ask.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::data_plane::wire::Wire;

/// RFC 9113 section 4.1 and 6.5.1.
const HEAD_LENGTH: usize = 9;
const SETTING_LENGTH: usize = 6;
const SETTINGS: u8 = 4;

/// RFC 8441 section 9.1.
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// What the app has said.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    said: Cell<Option<Said>>,
    told: Notify,
}

/// Whether the app takes extended CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It does.
    Takes,
    /// It does not.
    TakesNot,
    /// The connection is gone, and it has not said so.
    Nothing,
}

/// A wire whose first frame is listened to.
#[derive(Debug)]
pub(super) struct Heard {
    wire: Wire,
    /// None: it has been heard.
    ear: Option<Ear>,
    greeting: Rc<Greeting>,
}

/// Reads the first frame.
#[derive(Debug, Default)]
struct Ear {
    bytes: [u8; HEAD_LENGTH],
    have: usize,
    /// How much of the payload is to come, once that is known.
    left: Option<usize>,
    takes: bool,
}

// === impl Greeting ===

impl Greeting {
    /// Waits until the app has said it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn said(&self) -> Said {
        loop {
            if let Some(said) = self.said.get() {
                return said;
            }
            self.told.notified().await;
        }
    }

    /// Whether this is what it has said.
    pub(super) fn is(&self, said: Said) -> bool {
        self.said.get() == Some(said)
    }

    fn say(&self, said: Said) {
        if self.said.get().is_none() {
            self.said.set(Some(said));
            self.told.notify_waiters();
        }
    }
}

// === impl Heard ===

impl Heard {
    pub(super) fn new(wire: Wire) -> (Self, Rc<Greeting>) {
        let greeting = Rc::<Greeting>::default();
        let heard = Self {
            wire,
            ear: Some(Ear::default()),
            greeting: Rc::clone(&greeting),
        };
        (heard, greeting)
    }

    fn wire(self: Pin<&mut Self>) -> Pin<&mut Wire> {
        Pin::new(&mut self.get_mut().wire)
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.greeting.say(Said::Nothing);
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut me.wire).poll_read(cx, buf);
        if let Some(ear) = &mut me.ear
            && let Some(said) = ear.hear(&buf.filled()[before..])
        {
            me.ear = None;
            me.greeting.say(said);
        }
        polled
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wire().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire().poll_write_vectored(cx, slices)
    }
}

// === impl Ear ===

impl Ear {
    /// Takes the next bytes; says what they come to once the frame is whole.
    fn hear(&mut self, bytes: &[u8]) -> Option<Said> {
        bytes.iter().find_map(|byte| self.hear_one(*byte))
    }

    fn hear_one(&mut self, byte: u8) -> Option<Said> {
        self.bytes[self.have] = byte;
        self.have += 1;
        let left = match self.left {
            None if self.have == HEAD_LENGTH => {
                let [high, middle, low, kind, ..] = self.bytes;
                // With any other frame first h2 ends the connection, or goes on as if nothing had been said.
                if kind != SETTINGS {
                    return Some(Said::TakesNot);
                }
                let length = u32::from_be_bytes([0, high, middle, low]);
                usize::try_from(length).expect("24 bits fit")
            }
            Some(left) if self.have == SETTING_LENGTH => {
                let [first, second, value @ ..] = self.bytes;
                if u16::from_be_bytes([first, second]) == ENABLE_CONNECT_PROTOCOL {
                    self.takes = value[..4] == [0, 0, 0, 1];
                }
                left - SETTING_LENGTH
            }
            None | Some(_) => return None,
        };
        self.have = 0;
        self.left = Some(left);
        (left < SETTING_LENGTH).then_some(if self.takes {
            Said::Takes
        } else {
            Said::TakesNot
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(settings: &[(u8, u8)]) -> Vec<u8> {
        let length = u8::try_from(settings.len() * SETTING_LENGTH).unwrap();
        let mut frame = vec![0, 0, length, SETTINGS, 0, 0, 0, 0, 0];
        for (id, value) in settings {
            frame.extend([0, *id, 0, 0, 0, *value]);
        }
        frame
    }

    #[test]
    fn it_is_heard_wherever_the_bytes_are_split() {
        for (entries, said) in [
            (&[(3, 100), (8, 1), (4, 8)][..], Said::Takes),
            (&[(8, 1)], Said::Takes),
            (&[(8, 0)], Said::TakesNot),
            (&[(3, 1), (4, 1)], Said::TakesNot),
            (&[], Said::TakesNot),
        ] {
            // What follows is not looked at.
            let bytes = [settings(entries), settings(&[(8, 1)])].concat();
            for step in [1, 2, 5, 9, 10, bytes.len()] {
                let mut ear = Ear::default();
                let heard = bytes.chunks(step).find_map(|part| ear.hear(part));
                assert_eq!(heard, Some(said), "{entries:?} by {step}");
            }
        }
    }

    #[test]
    fn half_a_frame_says_nothing() {
        let bytes = settings(&[(8, 1)]);
        let mut ear = Ear::default();
        assert_eq!(ear.hear(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn another_frame_says_that_it_takes_none() {
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(Ear::default().hear(&ping), Some(Said::TakesNot));
    }
}
