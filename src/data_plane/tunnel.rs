//! Tunnels: what follows a 101 is passed on in both directions until both have ended, and the end of one that hitless
//! brings about.

mod closing;
mod relay;

pub(super) mod frames;
pub(super) mod way;

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;

use self::closing::CloseCode;
use self::relay::{Counted, Relay, Turn};
use super::Phase;
use super::body::Source;
use super::exchange::{Exchange, Order};
use super::headers;
use super::record::{Line, Record};
use super::upstream::{Carrier, Stream};
use super::wire::{Io, Socket};
use super::worker::{Seat, Worker};
use crate::telemetry::traffic::{Closed, Reason, StreamKind};

/// A tunnel whose ends are not there yet.
struct Tunnel {
    exchange: Exchange,
    /// Its part of a connection of HTTP/2 to the app.
    _stream: Option<Box<Stream>>,
    worker: Rc<Worker>,
    /// A tunnel is a client connection, whatever task it lives in. None: it is a part of one that has a seat.
    _seat: Option<Seat>,
    /// Written when it ends.
    line: RefCell<Option<Line>>,
}

/// Makes the 101 of the app that of the client, and starts the tunnel.
///
/// # Errors
///
/// When nobody asked for a tunnel, or the app switched to another protocol than was asked for.
pub(super) fn open(
    mut response: Response<Incoming>,
    carrier: Carrier,
    asked: Option<OnUpgrade>,
    exchange: Exchange,
    (worker, seat): (&Rc<Worker>, Option<Seat>),
    record: &mut Record,
) -> Result<Response<Source>, Reason> {
    let client = asked.ok_or(Reason::BadUpgrade)?;
    if !headers::switch_protocols(&mut response) {
        return Err(Reason::BadUpgrade);
    }
    let app = hyper::upgrade::on(&mut response);
    exchange.become_stream(StreamKind::Websocket);
    let tunnel = Tunnel {
        exchange,
        _stream: carrier.detach(),
        worker: Rc::clone(worker),
        _seat: seat,
        line: RefCell::new(record.take_line(response.status())),
    };
    spawn_local(tunnel.run(client, app));
    Ok(response.map(|_| Source::Whole(Bytes::new())))
}

// === impl Tunnel ===

impl Tunnel {
    async fn run(self, client: OnUpgrade, app: OnUpgrade) {
        // An error means that one of the two went away before the tunnel was there.
        if let Ok((client, app)) = tokio::try_join!(client, app) {
            let ((client, ahead), (app, behind)) = (taken(client), taken(app));
            client.notice_death();
            app.notice_death();
            let relay = Relay::new((client, ahead), (app, behind), &self);
            self.relay(relay).await;
        }
    }

    /// Relays until both directions have ended, one has failed, or it is told otherwise.
    async fn relay(&self, mut relay: Relay<'_, Socket, Socket, Self>) {
        let write_timeout = self.worker.settings().client.write_timeout;
        let turn = tokio::select! {
            turn = relay.pass(write_timeout) => turn,
            () = self.told(Order::Close) => Turn::Close,
        };
        match turn {
            Turn::Close => {
                let code = self.close_code();
                relay.close(code, self.told(Order::Break)).await;
            }
            Turn::ClientGone => {}
            Turn::ClientStalled => {
                self.worker.clients().closed(Closed::WriteTimeout);
                relay.into_client().abort();
            }
        }
    }

    fn close_code(&self) -> CloseCode {
        match self.worker.phase() {
            Phase::Serving => CloseCode::ServiceRestart,
            Phase::Closing | Phase::ClosingIdle | Phase::BreakingOff => CloseCode::GoingAway,
        }
    }

    /// Waits for an order to end that is at least as strong as this one. Who comes while all is ending has it already.
    async fn told(&self, least: Order) {
        if least == Order::Close && self.worker.phase() != Phase::Serving {
            return;
        }
        poll_fn(|cx: &mut Context<'_>| match self.exchange.order() {
            Some(order @ (Order::Close | Order::Break)) if order >= least => Poll::Ready(()),
            _ => {
                self.exchange.park(cx, None);
                Poll::Pending
            }
        })
        .await;
    }

    fn note(&self, note: impl FnOnce(&mut Line)) {
        if let Some(line) = self.line.borrow_mut().as_mut() {
            note(line);
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.worker.tunnel_ended();
    }
}

impl Counted for Tunnel {
    fn client_sent(&self, bytes: u64) {
        self.exchange.counters().bytes_in(bytes);
        self.note(|line| line.bytes_in(bytes));
    }

    fn app_sent(&self, bytes: u64) {
        self.exchange.counters().bytes_out(bytes);
        self.note(|line| line.bytes_out(bytes));
    }
}

/// One end of a tunnel, and what hyper had read of it beyond the head.
fn taken(upgraded: Upgraded) -> (Socket, Bytes) {
    let Parts { io, read_buf, .. } = match upgraded.downcast::<Io>() {
        Ok(parts) => parts,
        // A stream of HTTP/2.
        Err(upgraded) => {
            let stream = Box::new(TokioIo::new(upgraded));
            return (Socket::Stream(stream), Bytes::new());
        }
    };
    let (socket, ahead) = io.into_inner().into_parts();
    // What the wire still has came after what hyper has.
    let read = match (read_buf.is_empty(), ahead.is_empty()) {
        (_, true) => read_buf,
        (true, false) => ahead,
        (false, false) => [read_buf, ahead].concat().into(),
    };
    (socket, read)
}
