//! One HTTP/2 connection in the hands of hyper: what bounds it, and how it ends.
//!
//! ```text
//!   idle <--first stream, last stream--> busy --GOAWAY, no stream left--> leaving
//! ```

mod cutter;
mod frames;
mod streams;

pub(in crate::data_plane) use self::streams::Streams;
pub(super) use self::streams::Verdict;

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2::{Builder, Connection};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};

use self::frames::{Fault, Frames};
use self::streams::{OnThisThread, Paced};
use super::caught::Caught;
use super::{Client, Config};
use crate::data_plane::proxy;
use crate::data_plane::wire::{Pulse, Socket, Wire};
use crate::data_plane::worker::{Seat, Tenure};
use crate::telemetry::traffic::Closed;

/// How much of one request's body may be under way to an app that does not take it. More makes uploads from afar faster.
const STREAM_WINDOW: u32 = 256 << 10;

/// The same for all requests of a connection, so that one app that takes nothing does not hold up the others at once.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How much of an answer may wait in h2, beside the piece that was read last.
const SEND_BUFFER: usize = 64 << 10;

/// RFC 9113 section 6.5.2: no peer has to send larger ones.
const FRAME_MAX: u32 = 16 << 10;

/// How many streams may be reset by the client before they were looked at.
const PENDING_RESETS_MAX: usize = 20;

/// How many streams may be reset by us for faults of the client.
const FAULTS_MAX: usize = 256;

/// How often a client that sends nothing is asked whether it is still there, and how long it may take to answer.
const PING_PERIOD: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// An HTTP/2 connection that hyper serves.
pub(super) struct Multiplexed {
    /// None: hyper is done with it.
    connection: Option<Box<dyn Serve>>,
    streams: Rc<Streams>,
    pulse: Arc<Pulse>,
    is_idle: bool,
    /// It is looked at in the worker's sweep, and counted, for as long as this lives.
    _tenure: Tenure,
}

/// hyper's connection, whatever the type of its service.
trait Serve {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>>;

    /// Takes no further stream: GOAWAY twice (RFC 9113 section 6.8).
    fn end(&mut self);
}

// === impl Multiplexed ===

impl Multiplexed {
    /// Hands a socket to hyper, with what was read of it already: the preface at least.
    pub(super) fn new(socket: Socket, ahead: Bytes, client: Client) -> Self {
        let pulse = Arc::new(Pulse::default());
        let streams = Streams::new(Arc::clone(&pulse));
        let wire = Wire::resume(socket, Arc::clone(&pulse), ahead).into_inner();
        let io = TokioIo::new(Frames::new(wire, Rc::clone(&streams.seen)));
        let tenure = client.worker().hold(Rc::clone(&streams));
        let builder = builder(
            &client.worker().settings().client,
            OnThisThread(Rc::clone(&streams)),
        );
        let client = Rc::new(client);
        let service = {
            let streams = Rc::clone(&streams);
            service_fn(move |request: Request<Incoming>| {
                let pace = streams.begin();
                let busy = Arc::new(Pulse::of_stream(streams.are_many())).begin();
                let forward = || proxy::forward(request, Rc::clone(&client), busy);
                let answer = Caught::new(forward, client.strays());
                let streams = Rc::clone(&streams);
                async move {
                    let answer = answer.await;
                    answer.map(|answer| answer.map(|body| Paced::new(body, pace, &streams)))
                }
            })
        };
        Self {
            connection: Some(Box::new(builder.serve_connection(io, service))),
            streams,
            pulse,
            is_idle: false,
            _tenure: tenure,
        }
    }

    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.streams.wake_by(cx.waker());
        match &mut self.connection {
            Some(connection) => connection.poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Takes no further stream, and is over once those that there are have ended. Says no where that was said before.
    pub(super) fn end(&mut self) -> bool {
        let first = self.streams.end();
        if let Some(connection) = self.connection.as_mut().filter(|_| first) {
            connection.end();
        }
        first
    }

    /// Tells the roster whether anything is under way.
    pub(super) fn settle(&mut self, seat: &Seat) {
        let is_idle = self.streams.is_empty() && !self.pulse.is_stalled();
        if is_idle != self.is_idle {
            self.is_idle = is_idle;
            self.tell(seat);
        }
    }

    fn tell(&self, seat: &Seat) {
        if self.is_idle {
            seat.is_idle();
        } else {
            seat.is_active(&self.pulse);
        }
    }

    /// What the last look at it says, once.
    pub(super) fn verdict(&self, seat: &Seat) -> Option<Verdict> {
        let verdict = self.streams.verdict()?;
        if verdict == Verdict::Moved && self.is_idle {
            // Idle from now on.
            self.tell(seat);
        }
        Some(verdict)
    }

    /// How many requests were refused since this was last asked, before hitless heard of them.
    pub(super) fn take_refused(&self) -> i32 {
        self.streams.seen.take_refused()
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Whether a write waits for the client.
    pub(super) fn is_stalled(&self) -> bool {
        self.pulse.is_stalled()
    }

    /// Why it was left, where the client gave cause to.
    pub(super) fn fault(&self) -> Option<Closed> {
        let fault = self.streams.seen.fault()?;
        (fault == Fault::Flood).then_some(Closed::Flood)
    }

    /// Takes it from hyper, with all streams that are left. None: there is no socket any more.
    pub(super) fn into_socket(mut self) -> Option<Socket> {
        drop(self.connection.take());
        self.streams.seen.take_socket()
    }
}

fn builder(config: &Config, executor: OnThisThread) -> Builder<OnThisThread> {
    let mut builder = Builder::new(executor);
    let list_max = u32::try_from(config.head_bytes_max).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(config.http2_streams_max)
        .max_header_list_size(list_max)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(FAULTS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_MAX)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_PERIOD)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

impl<S> Serve for Connection<TokioIo<Frames>, S, OnThisThread>
where
    S: HttpService<Incoming, ResBody = Paced, Error = Infallible>,
    S::Future: 'static,
    Self: Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Future::poll(Pin::new(self), cx)
    }

    fn end(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}
