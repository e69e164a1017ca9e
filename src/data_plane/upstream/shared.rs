//! Connections of HTTP/2 to one instance, each shared by many requests (`protocol = "h2c"`).
//!
//! One is made when there is no room on those that there are; whoever comes meanwhile waits for it instead of making one
//! more. It is closed when it has been idle for too long, by GOAWAY, and lives until its last stream has ended.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep};

use super::Failure;
use super::greeting::{Greeting, Heard, Said};
use crate::data_plane::body::{Cut, RequestBody};
use crate::data_plane::wire::Io;

/// How many requests share a connection at most, whatever the app allows.
const STREAMS_MAX: usize = 100;

/// How much of one answer may be under way from the app to a client that does not take it.
const STREAM_WINDOW: u32 = 128 << 10;

/// Enough for all streams: no client may hold up another one.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_MAX as u32;

/// How much of a request's body may wait in h2.
const SEND_BUFFER: usize = 64 << 10;

/// The same limit as for the head of an answer over HTTP/1.1.
const HEAD_BYTES_MAX: u32 = 64 << 10;

/// How long a connection that nobody needs any more may take to say so.
const FAREWELL: Duration = Duration::from_secs(1);

/// The connections to one instance.
#[derive(Debug, Default)]
pub(super) struct Shares {
    open: RefCell<Vec<Rc<Shared>>>,
    dial: RefCell<Option<Rc<Dial>>>,
}

/// One connection.
pub(super) struct Shared {
    sender: RefCell<SendRequest<RequestBody>>,
    streams: Cell<usize>,
    /// How many the app allows at once, as far as it has said.
    allowed: Rc<Cell<usize>>,
    idle_since: Cell<Instant>,
    greeting: Rc<Greeting>,
    /// Told when neither the pool nor a stream needs it any more.
    gone: Rc<Notify>,
}

/// One exchange on a shared connection. What is left of its request's body is given up when this is dropped.
#[derive(Debug)]
pub(in crate::data_plane) struct Stream {
    shared: Rc<Shared>,
    cut: Option<Rc<Cut>>,
    /// Nothing else was under way, and the connection had been used before.
    pub(super) was_idle: bool,
}

/// A connection that is being made.
#[derive(Debug, Default)]
struct Dial {
    result: Cell<Option<Result<(), Failure>>>,
    over: Notify,
}

/// The right to make a connection. Whoever waits for it is told when this is dropped.
#[derive(Debug)]
pub(super) struct Dialing<'a> {
    shares: &'a Shares,
    dial: Rc<Dial>,
}

/// Runs hyper's part of a connection on the worker's thread, and knows the task that reads and writes.
#[derive(Clone, Default)]
struct OnThisThread(Rc<RefCell<Option<AbortHandle>>>);

/// Speaks HTTP/2 over a socket, from a task of its own.
pub(super) async fn handshake(io: Io) -> Result<Shared, Failure> {
    let executor = OnThisThread::default();
    let mut builder = Builder::new(executor.clone());
    builder
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_max_send_streams(STREAMS_MAX);
    let (heard, greeting) = Heard::new(io.into_inner());
    let handshake = builder.handshake::<_, RequestBody>(TokioIo::new(heard));
    let handshake = handshake.await;
    let (sender, connection) = handshake.map_err(|_| Failure::ConnectFailed)?;
    let allowed = Rc::new(Cell::new(STREAMS_MAX));
    let gone = Rc::<Notify>::default();
    let (told, last) = (Rc::clone(&allowed), Rc::clone(&gone));
    spawn_local(async move {
        // What was handed over and not taken comes back when it is dropped.
        let mut connection = Box::pin(connection);
        // Whoever waits for an answer on it is told of the error as well.
        let _ = poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            told.set(connection.current_max_send_streams());
            polled
        })
        .await;
        drop(connection);
        // It takes no more. After its last stream there is only GOAWAY left to say, to an app that may read nothing.
        last.notified().await;
        sleep(FAREWELL).await;
        if let Some(task) = executor.0.take() {
            task.abort();
        }
    });
    Ok(Shared {
        sender: RefCell::new(sender),
        streams: Cell::new(0),
        allowed,
        idle_since: Cell::new(Instant::now()),
        greeting,
        gone,
    })
}

// === impl Shares ===

impl Shares {
    /// Room on a connection that there is, unless none has any.
    pub(super) fn stream(&self) -> Option<Stream> {
        let mut open = self.open.borrow_mut();
        open.retain(|shared| !shared.is_closed());
        let shared = open.iter().rev().find(|shared| shared.has_room())?;
        Some(Shared::stream(shared, shared.streams.get() == 0))
    }

    /// Keeps a connection for others, and gives its first stream.
    pub(super) fn keep(&self, shared: &Rc<Shared>, retired: bool) -> Stream {
        if !retired {
            self.open.borrow_mut().push(Rc::clone(shared));
        }
        Shared::stream(shared, false)
    }

    /// Whether the app has said on one of them that it takes no WebSockets.
    pub(super) fn take_no_websockets(&self) -> bool {
        let open = self.open.borrow();
        open.iter().any(|shared| shared.greeting.is(Said::TakesNot))
    }

    /// The connection of this stream takes no more.
    pub(super) fn forget(&self, stream: &Stream) {
        let mut open = self.open.borrow_mut();
        open.retain(|shared| !Rc::ptr_eq(shared, &stream.shared));
    }

    /// Closes what is idle; the rest closes with its last stream.
    pub(super) fn clear(&self) {
        let open = self.open.take();
        drop(open);
    }

    /// Closes what was idle for longer than `limit`.
    pub(super) fn expire(&self, now: Instant, limit: Duration) {
        self.open.borrow_mut().retain(|shared| {
            let recently = now - shared.idle_since.get() < limit;
            !shared.is_closed() && (shared.streams.get() > 0 || recently)
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// What came of the connection that is being made. None: none is.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) fn dialed(
        &self,
    ) -> Option<impl Future<Output = Option<Result<(), Failure>>> + use<>> {
        let dial = Rc::clone(self.dial.borrow().as_ref()?);
        Some(async move {
            dial.over.notified().await;
            dial.result.get()
        })
    }

    /// Makes one more connection: others wait for it.
    pub(super) fn dial(&self) -> Dialing<'_> {
        let dial = Rc::<Dial>::default();
        self.dial.replace(Some(Rc::clone(&dial)));
        Dialing { shares: self, dial }
    }
}

impl Dialing<'_> {
    pub(super) fn ended(self, result: Result<(), Failure>) {
        self.dial.result.set(Some(result));
    }
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        self.shares.dial.take();
        self.dial.over.notify_waiters();
    }
}

// === impl Shared ===

impl Shared {
    /// One more stream on it.
    pub(super) fn stream(shared: &Rc<Self>, was_idle: bool) -> Stream {
        shared.streams.set(shared.streams.get() + 1);
        Stream {
            shared: Rc::clone(shared),
            cut: None,
            was_idle,
        }
    }

    /// Waits until it is known whether the app takes WebSockets.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn websockets(&self) -> Said {
        self.greeting.said().await
    }

    fn is_closed(&self) -> bool {
        self.sender.borrow().is_closed()
    }

    fn has_room(&self) -> bool {
        self.streams.get() < self.allowed.get().min(STREAMS_MAX)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.gone.notify_one();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("streams", &self.streams)
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

// === impl Stream ===

impl Stream {
    pub(super) fn send(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<>
    {
        self.cut = request.body_mut().can_be_cut();
        self.shared.sender.borrow_mut().try_send_request(request)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(cut) = &self.cut {
            cut.cut();
        }
        let streams = self.shared.streams.get() - 1;
        self.shared.streams.set(streams);
        if streams == 0 {
            self.shared.idle_since.set(Instant::now());
        }
    }
}

// === impl OnThisThread ===

impl<F> Executor<F> for OnThisThread
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        let task = spawn_local(async move {
            future.await;
        });
        // The first is the connection itself.
        self.0.borrow_mut().get_or_insert(task.abort_handle());
    }
}
