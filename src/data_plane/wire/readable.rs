//! Whether a socket has anything to read, known without asking it.
//!
//! hyper tries to read several times for each message, and a socket that has nothing says so each time, at some price. It
//! wakes whoever asked last once it has something; until then the answer is known.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncRead, ReadBuf};

/// What the socket wakes in the place of the task that reads from it.
#[derive(Debug)]
pub(super) struct Readable {
    likely: AtomicBool,
    /// Who is to be woken in turn.
    task: Mutex<Option<Waker>>,
}

/// Reads from a socket, always the same one.
#[derive(Debug)]
pub(super) struct Reader {
    readable: Arc<Readable>,
    /// `readable`, as the socket knows it.
    waker: Waker,
    /// Who is woken in turn.
    task: Option<Waker>,
}

// === impl Readable ===

impl Readable {
    /// Whether an attempt to read may give something.
    pub(super) fn is_likely(&self) -> bool {
        self.likely.load(Ordering::Acquire)
    }

    fn wakes(&self, task: &Waker) {
        let mut waker = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        *waker = Some(task.clone());
    }
}

impl Default for Readable {
    fn default() -> Self {
        Self {
            likely: AtomicBool::new(true),
            task: Mutex::default(),
        }
    }
}

impl Wake for Readable {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.likely.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(readable: &Arc<Readable>) -> Self {
        // Nothing is known of this socket yet.
        readable.likely.store(true, Ordering::Release);
        Self {
            readable: Arc::clone(readable),
            waker: Waker::from(Arc::clone(readable)),
            task: None,
        }
    }

    /// Reads what there is, like `AsyncRead::poll_read`.
    pub(super) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let task = cx.waker();
        if !self
            .task
            .as_ref()
            .is_some_and(|known| known.will_wake(task))
        {
            self.readable.wakes(task);
            self.task = Some(task.clone());
        }
        if !self.readable.is_likely() {
            return Poll::Pending;
        }
        // Cleared first: the socket may wake while it is asked.
        self.readable.likely.store(false, Ordering::Release);
        let read = Pin::new(socket).poll_read(&mut Context::from_waker(&self.waker), buf);
        if read.is_ready() {
            self.readable.likely.store(true, Ordering::Release);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    #[derive(Debug, Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// Counts how often it is asked.
    struct Asked<S>(S, usize);

    impl<S: AsyncRead + Unpin> AsyncRead for Asked<S> {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let me = self.get_mut();
            me.1 += 1;
            Pin::new(&mut me.0).poll_read(cx, buf)
        }
    }

    struct World {
        reader: Reader,
        socket: Asked<DuplexStream>,
        far: DuplexStream,
    }

    impl World {
        fn new() -> Self {
            let (near, far) = duplex(100);
            Self {
                reader: Reader::new(&Arc::default()),
                socket: Asked(near, 0),
                far,
            }
        }

        /// What is read for a task, at most `max` bytes. None: nothing is there.
        fn read(&mut self, task: &Arc<Woken>, max: usize) -> Option<Vec<u8>> {
            let waker = Waker::from(Arc::clone(task));
            let mut bytes = vec![0; max];
            let mut buf = ReadBuf::new(&mut bytes);
            let read =
                self.reader
                    .poll_read(&mut self.socket, &Context::from_waker(&waker), &mut buf);
            match read {
                Poll::Ready(result) => {
                    result.unwrap();
                    Some(buf.filled().to_vec())
                }
                Poll::Pending => None,
            }
        }
    }

    #[tokio::test]
    async fn a_socket_that_has_nothing_is_asked_once() {
        let (mut world, task) = (World::new(), Arc::default());
        for _ in 0..5 {
            assert_eq!(world.read(&task, 10), None);
        }
        assert_eq!(world.socket.1, 1);
        world.far.write_all(b"hello").await.unwrap();
        assert_eq!(task.times(), 1);
        assert_eq!(world.read(&task, 3).unwrap(), b"hel");
        // There is more, and nobody says so again.
        assert_eq!(world.read(&task, 10).unwrap(), b"lo");
        assert_eq!(world.read(&task, 10), None);
        assert_eq!(world.read(&task, 10), None);
        assert_eq!((world.socket.1, task.times()), (4, 1));
    }

    #[tokio::test]
    async fn the_end_is_read_as_often_as_one_likes() {
        let (mut world, task) = (World::new(), Arc::default());
        assert_eq!(world.read(&task, 10), None);
        world.far.shutdown().await.unwrap();
        assert_eq!(task.times(), 1);
        for _ in 0..3 {
            assert_eq!(world.read(&task, 10).unwrap(), b"");
        }
    }

    #[tokio::test]
    async fn who_asked_last_is_woken_although_the_socket_was_not_asked_again() {
        let (mut world, first, last) = (World::new(), Arc::default(), Arc::default());
        assert_eq!(world.read(&first, 10), None);
        assert_eq!(world.read(&last, 10), None);
        assert_eq!(world.socket.1, 1);
        world.far.write_all(b"x").await.unwrap();
        assert_eq!((first.times(), last.times()), (0, 1));
        assert_eq!(world.read(&last, 10).unwrap(), b"x");
    }
}
