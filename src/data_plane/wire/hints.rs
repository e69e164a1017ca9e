//! Interim answers (103 Early Hints, RFC 8297) on their way to a client, which hyper has no way to send.
//!
//! They go out between the bytes of hyper's own messages, never within one: a hint is taken only while all that hyper has
//! written is with the kernel, and what hyper writes later waits until the hint is out.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::AsyncWrite;

/// How many bytes of hints may wait to be written. Past it they are dropped: a hint is never needed.
const BYTES_MAX: usize = 16 * 1024;

/// The hints of one connection. Everything happens on one thread; the lock is there because hyper asks that both ends be
/// `Send`, and nobody ever waits for it.
#[derive(Debug, Default)]
pub(in crate::data_plane) struct Hints(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    written: usize,
    /// Whether hyper has nothing left to write.
    flushed: bool,
    waker: Option<Waker>,
}

// === impl Hints ===

impl Hints {
    /// Has a whole interim answer written, or drops it where it would come amid another message.
    pub(in crate::data_plane) fn push(&self, message: &[u8]) {
        let mut queue = self.lock();
        if !queue.flushed || queue.bytes.len() + message.len() > BYTES_MAX {
            return;
        }
        queue.bytes.extend_from_slice(message);
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }

    /// Ready when no hint waits. To be called before anything else is written.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        socket: &mut W,
    ) -> Poll<io::Result<()>> {
        let mut queue = self.lock();
        while queue.written < queue.bytes.len() {
            let rest = &queue.bytes[queue.written..];
            match ready!(Pin::new(&mut *socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => queue.written += written,
            }
        }
        queue.bytes.clear();
        queue.written = 0;
        Poll::Ready(Ok(()))
    }

    /// hyper writes: until it has flushed, nothing may come in between.
    pub(super) fn hyper_writes(&self) {
        self.lock().flushed = false;
    }

    /// All that hyper has written is with the kernel. The task of the connection is woken by the next hint.
    pub(super) fn hyper_flushed(&self, cx: &Context<'_>) {
        let mut queue = self.lock();
        queue.flushed = true;
        if !queue
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            queue.waker = Some(cx.waker().clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    /// A socket that takes so many bytes before it is full.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let me = self.get_mut();
            let length = bytes.len().min(me.room);
            if length == 0 {
                return Poll::Pending;
            }
            me.room -= length;
            me.taken.extend_from_slice(&bytes[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn narrow(room: usize) -> Narrow {
        Narrow {
            taken: Vec::new(),
            room,
        }
    }

    #[test]
    fn a_hint_amid_another_message_is_dropped() {
        let (hints, mut socket) = (Hints::default(), narrow(100));
        // Not before the first flush either: nobody knows what was written.
        hints.push(b"early");
        hints.hyper_flushed(&context());
        hints.hyper_writes();
        hints.push(b"amid");
        assert!(hints.poll_write(&mut context(), &mut socket).is_ready());
        assert!(socket.taken.is_empty());
    }

    #[test]
    fn a_hint_that_does_not_fit_keeps_everybody_waiting_until_it_is_out() {
        let (hints, mut socket) = (Hints::default(), narrow(3));
        hints.hyper_flushed(&context());
        hints.push(b"hello");
        assert!(hints.poll_write(&mut context(), &mut socket).is_pending());
        socket.room = 100;
        assert!(hints.poll_write(&mut context(), &mut socket).is_ready());
        assert_eq!(socket.taken, b"hello");
        assert!(hints.poll_write(&mut context(), &mut socket).is_ready());
        assert_eq!(socket.taken, b"hello", "written twice");
    }

    #[test]
    fn hints_of_an_app_that_sends_too_many_are_dropped() {
        let (hints, mut socket) = (Hints::default(), narrow(1 << 20));
        hints.hyper_flushed(&context());
        for _ in 0..100 {
            hints.push(&[b'x'; 1000]);
        }
        assert!(hints.poll_write(&mut context(), &mut socket).is_ready());
        assert_eq!(socket.taken.len(), 16_000);
    }
}
