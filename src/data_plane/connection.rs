//! One client connection: HTTP/1, its times and limits, its end.
//!
//! Never calls hyper's graceful shutdown, which closes a connection that a request is on its way on.

mod caught;
mod linger;

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::task::spawn_local;

use self::caught::Caught;
use super::Phase;
use super::headers::Origin;
use super::proxy;
use super::route::Target;
use super::wire::{Pulse, Socket, Wire};
use super::worker::{Gate, Seat, Worker};
use crate::telemetry::traffic::Reason;

/// The times and limits towards clients: `[client]` of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a request head may take.
    pub head_timeout: Duration,
    /// How many bytes a request head may have.
    pub head_bytes_max: usize,
    /// How many fields a request head may have.
    pub head_fields_max: usize,
    /// How long a kept-alive connection may be silent between two requests.
    pub idle_timeout: Duration,
    /// How long a request body may make no progress.
    pub body_timeout: Duration,
}

/// Where a client connection comes from; a unix socket tells neither.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// The client's address.
    pub(super) address: Option<IpAddr>,
    /// The port that it came in by.
    pub(super) port: Option<u16>,
}

/// A client as its requests see it.
pub(super) struct Client {
    seat: Seat,
    gate: Rc<Gate>,
    origin: Origin,
}

/// How serving a connection ended.
#[derive(Debug)]
enum End {
    /// The server is stopping, and no request is under way.
    Idle,
    /// hyper is done with it.
    Done(hyper::Result<()>),
}

/// Serves one client connection in a task of its own.
pub(super) fn spawn(socket: Socket, peer: Peer, gate: &Rc<Gate>, worker: &Rc<Worker>) {
    let client = Rc::new(Client {
        seat: worker.seat(),
        gate: Rc::clone(gate),
        origin: Origin::new(peer.address, peer.port, false),
    });
    spawn_local(serve(socket, client));
}

async fn serve(socket: Socket, client: Rc<Client>) {
    let pulse = Arc::new(Pulse::default());
    let service = {
        let (client, pulse) = (Rc::clone(&client), Arc::clone(&pulse));
        service_fn(move |request| {
            pulse.forget_heard();
            let strays = Rc::clone(&client.gate.strays);
            let forward = proxy::forward(request, Rc::clone(&client), pulse.begin());
            let answer = Caught::new(forward, strays);
            async move { Ok::<_, Infallible>(answer.await) }
        })
    };
    let config = &client.worker().settings.client;
    let io = Wire::new(socket, Arc::clone(&pulse));
    let mut connection = builder(config)
        .serve_connection(io, service)
        .with_upgrades();
    let mut woken_on_phase = false;
    let end = poll_fn(|cx| {
        if !woken_on_phase {
            client.seat.wake_on_phase(cx.waker());
            woken_on_phase = true;
        }
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(End::Done(result));
        }
        // hyper has just tried to read, so a request whose bytes are here already has begun.
        if client.worker().phase() >= Phase::ClosingIdle && pulse.is_idle() {
            return Poll::Ready(End::Idle);
        }
        Poll::Pending
    })
    .await;
    let Some(parts) = connection.into_parts() else {
        // It is a tunnel now, with a seat of its own.
        return;
    };
    let socket = parts.io.into_inner().into_socket();
    close(socket, &end, !parts.read_buf.is_empty(), &pulse, &client).await;
}

fn builder(config: &Config) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        // hyper's timer runs while the connection is idle as well.
        .header_read_timeout(config.head_timeout.max(config.idle_timeout))
        .half_close(false)
        .writev(true)
        .max_headers(config.head_fields_max)
        .max_buf_size(config.head_bytes_max.max(MIN_BUFFER))
        .max_header_size(config.head_bytes_max);
    builder
}

/// hyper panics below it.
const MIN_BUFFER: usize = 8 * 1024;

/// Closes a connection without letting unread bytes destroy what the client has not read yet.
async fn close(socket: Socket, end: &End, head_begun: bool, pulse: &Pulse, client: &Client) {
    if let End::Done(Err(error)) = end {
        let reason = explain(error, head_begun);
        if let Some(reason) = reason {
            client.gate.strays.counters().answered(reason);
        }
        if reason == Some(Reason::HeadTimeout) {
            // hyper closes without a word. What does not fit now would not be read either.
            let _ = socket.try_write(LATE);
        } else if reason.is_none() {
            // The client is gone, or an answer was cut short: it must not look like an end.
            return;
        }
    } else if matches!(end, End::Done(_))
        && client.worker().phase() == Phase::Serving
        && !pulse.was_cut_short()
    {
        return;
    }
    linger::close(socket).await;
}

const LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What hyper has answered by itself, or left unanswered, before any request was there.
fn explain(error: &hyper::Error, head_begun: bool) -> Option<Reason> {
    if error.is_parse_too_large() {
        Some(Reason::HeadTooLarge)
    } else if error.is_parse() {
        Some(Reason::BadRequest)
    } else {
        (error.is_timeout() && head_begun).then_some(Reason::HeadTimeout)
    }
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(15),
            head_bytes_max: 64 * 1024,
            head_fields_max: 100,
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
        }
    }
}

// === impl Client ===

impl Client {
    /// The worker that serves it.
    pub(super) fn worker(&self) -> &Rc<Worker> {
        self.seat.worker()
    }

    /// Where a request of it goes that is for this host and path.
    pub(super) fn route(&self, host: Option<&[u8]>, path: &str) -> Option<Target> {
        self.gate.routes.find(host, path)
    }

    /// What its requests tell the app about it.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
