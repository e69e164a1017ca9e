//! One client connection: HTTP/1 or HTTP/2, its times and limits, its end.
//!
//! ```text
//!   parked --first bytes--> active --quiet for a sweep--> parked
//!    |  \-------------------> leaving <--------------------/
//!    \--preface--> multiplexed --^
//! ```
//!
//! A connection on which nothing is under way is parked: a socket and nothing else, for hyper's part of it is large. Never
//! calls hyper's graceful shutdown, which closes a connection that a request is on its way on.

mod active;
mod caught;
mod config;
mod http2;
mod linger;
mod multiplexed;
mod preface;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::spawn_local;

use self::active::Active;
pub use self::config::Config;
use self::linger::Linger;
pub(super) use self::linger::{IDLE_MAX as LINGER_IDLE_MAX, MOMENT};
use self::multiplexed::Multiplexed;
pub(super) use self::multiplexed::Streams;
use self::preface::{Opening, Speaks};
use super::Phase;
use super::answer;
use super::headers::Origin;
use super::record::Line;
use super::roster::Call;
use super::site::{Ledger, Site};
use super::wire::{Doing, Socket};
use super::worker::{Gate, Seat, Worker};
use crate::telemetry::traffic::{Closed, Reason};

/// How much is read before there is a buffer of hyper's.
const FIRST_READ: usize = 4096;

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
    worker: Rc<Worker>,
    gate: Rc<Gate>,
    address: Option<IpAddr>,
    origin: Origin,
}

/// Serves one client connection in a task of its own, if there may be one more.
pub(super) fn spawn(socket: Socket, peer: Peer, gate: &Rc<Gate>, worker: &Rc<Worker>) {
    if let Some(seat) = worker.admit(peer.address) {
        let gate = Rc::clone(gate);
        spawn_local(Connection::new(socket, peer.port, gate, seat));
    }
}

/// A connection from its first moment to its last. Small, for there may be very many that do nothing.
struct Connection {
    state: State,
    seat: Seat,
    gate: Rc<Gate>,
    port: Option<u16>,
    is_known: bool,
    /// Nothing has been read of it.
    is_new: Cell<bool>,
}

enum State {
    Parked(Socket),
    Opening(Box<Opening>),
    Active(Active),
    Multiplexed(Box<Multiplexed>),
    Leaving(Linger),
    Gone,
}

/// What came of looking at it.
enum Step {
    /// There is nothing to do until it is woken.
    Stay(State),
    /// It is now this, and has to be looked at.
    Go(State),
}

/// How long the client is listened to before the connection is closed.
enum Farewell {
    /// Not at all.
    None,
    /// For a moment, so that what is on its way does not turn into a reset.
    Moment,
    /// As long as a client may take that still sends although it has its answer.
    Patient,
}

// === impl Connection ===

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = self.get_mut();
        if !me.is_known {
            // A task has one waker for all of its life.
            me.seat.wake_by(cx.waker());
            me.is_known = true;
        }
        loop {
            let step = match std::mem::replace(&mut me.state, State::Gone) {
                State::Parked(socket) => me.wait(socket, cx),
                State::Opening(opening) => me.open(opening, cx),
                State::Active(active) => me.serve(active, cx),
                State::Multiplexed(all) => me.serve_all(all, cx),
                State::Leaving(linger) => me.linger(linger, cx),
                State::Gone => return Poll::Ready(()),
            };
            match step {
                Step::Go(state) => me.state = state,
                Step::Stay(state) => {
                    me.state = state;
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Connection {
    fn new(socket: Socket, port: Option<u16>, gate: Rc<Gate>, seat: Seat) -> Self {
        seat.is_idle();
        Self {
            state: State::Parked(socket),
            seat,
            gate,
            port,
            is_known: false,
            is_new: Cell::new(true),
        }
    }

    /// Waits for the first bytes of a request.
    fn wait(&self, mut socket: Socket, cx: &mut Context<'_>) -> Step {
        let mut space = [MaybeUninit::uninit(); FIRST_READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        match Pin::new(&mut socket).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                let ahead = Bytes::copy_from_slice(buffer.filled());
                return Step::Go(self.begin(socket, ahead));
            }
            // The client has left.
            Poll::Ready(_) => return Step::Go(State::Gone),
            Poll::Pending => {}
        }
        // Nothing is on its way as far as can be seen, so that closing loses nothing.
        if self.phase() >= Phase::ClosingIdle {
            return Step::Go(self.leave(socket, &Farewell::Moment));
        }
        match self.seat.call() {
            Some(Call::Close(why)) => {
                self.tell_closed(why);
                Step::Go(self.leave(socket, &Farewell::Moment))
            }
            Some(Call::Park | Call::HeadLate | Call::Abort) | None => {
                Step::Stay(State::Parked(socket))
            }
        }
    }

    /// What came first says which protocol it is, for as long as the connection lives.
    fn begin(&self, socket: Socket, ahead: Bytes) -> State {
        let is_new = self.is_new.replace(false);
        if !is_new || !self.worker().settings().client.http2 {
            return self.activate(socket, ahead);
        }
        match preface::listen(&ahead) {
            Speaks::Http1 => self.activate(socket, ahead),
            Speaks::Http2 => self.multiplex(socket, ahead),
            Speaks::Undecided => {
                let opening = Opening::new(socket, &ahead);
                self.seat.is_active(opening.pulse());
                State::Opening(Box::new(opening))
            }
        }
    }

    fn client(&self) -> Client {
        Client {
            worker: Rc::clone(self.worker()),
            gate: Rc::clone(&self.gate),
            address: self.seat.address(),
            origin: Origin::new(
                self.seat.address(),
                self.port,
                &self.worker().settings().trusted_proxies,
            ),
        }
    }

    /// Hands it to hyper, with what was read already.
    fn activate(&self, socket: Socket, ahead: Bytes) -> State {
        let active = Active::new(socket, ahead, self.client());
        self.seat.is_active(active.pulse());
        State::Active(active)
    }

    fn serve(&self, mut active: Active, cx: &mut Context<'_>) -> Step {
        if let Poll::Ready(result) = active.poll(cx) {
            return Step::Go(self.ended(active, result));
        }
        // hyper has just tried to read, so a request whose bytes are here already has begun.
        if self.phase() >= Phase::ClosingIdle && active.pulse().is_idle() {
            return Step::Go(match active.into_parts() {
                Some((socket, _)) => self.leave(socket, &Farewell::Moment),
                None => State::Gone,
            });
        }
        if !active.pulse().was_called() {
            return Step::Stay(State::Active(active));
        }
        // What was called out may not be true any more.
        match (self.seat.call(), active.pulse().doing()) {
            (Some(Call::Park), Doing::Resting(_)) => Step::Go(self.park(active)),
            (Some(Call::HeadLate), Doing::InHead(_)) => Step::Go(self.head_late(active)),
            (Some(Call::Abort), Doing::Stalled(_) | Doing::CutShort) => {
                Step::Go(self.abort(active))
            }
            _ => Step::Stay(State::Active(active)),
        }
    }

    /// Takes it from hyper. What hyper has read of a head is not lost: it gets that back, and the head its time.
    fn park(&self, active: Active) -> State {
        match active.into_parts() {
            None => State::Gone,
            Some((socket, rest)) if rest.is_empty() => {
                self.worker().clients().parked();
                self.seat.is_idle();
                State::Parked(socket)
            }
            Some((socket, rest)) => self.activate(socket, rest),
        }
    }

    fn head_late(&self, active: Active) -> State {
        match active.into_parts() {
            None => State::Gone,
            // What was heard belonged to the request before.
            Some((socket, rest)) if rest.is_empty() => {
                self.seat.is_idle();
                State::Parked(socket)
            }
            Some((socket, _)) => self.tell_late(socket),
        }
    }

    /// The client has not sent a whole head in time.
    fn tell_late(&self, socket: Socket) -> State {
        self.count_refused(Reason::HeadTimeout);
        self.tell_closed(Closed::HeadTimeout);
        // What does not fit now would not be read either.
        let _ = socket.try_write(&answer::make_bare(Reason::HeadTimeout));
        self.leave(socket, &Farewell::Moment)
    }

    fn abort(&self, active: Active) -> State {
        self.tell_closed(Closed::WriteTimeout);
        if let Some((socket, _)) = active.into_parts() {
            socket.abort();
        }
        State::Gone
    }

    /// hyper is done with it. Unread bytes must not destroy what the client has not read yet.
    fn ended(&self, active: Active, result: hyper::Result<()>) -> State {
        let pulse = std::sync::Arc::clone(active.pulse());
        let Some((socket, rest)) = active.into_parts() else {
            // It is a tunnel now, with a seat of its own.
            return State::Gone;
        };
        let farewell = match result {
            Err(error) => match explain(&error) {
                Some(reason) => {
                    self.count_refused(reason);
                    let peer = self.seat.address();
                    tracing::debug!(?peer, reason = reason.as_str(), %error, "refused before there was a request");
                    Farewell::Patient
                }
                // Where the end of the connection is the end of the answer, only a reset tells that something is missing.
                None if pulse.is_unframed() => {
                    socket.abort();
                    return State::Gone;
                }
                // The client is gone, or an answer was cut short: it must not look like an end.
                None => Farewell::None,
            },
            Ok(()) if pulse.has_waited() => Farewell::Moment,
            Ok(()) if pulse.was_cut_short() || !rest.is_empty() => Farewell::Patient,
            Ok(()) if self.phase() == Phase::Serving => Farewell::None,
            Ok(()) => Farewell::Moment,
        };
        self.leave(socket, &farewell)
    }

    fn leave(&self, socket: Socket, farewell: &Farewell) -> State {
        let limit = match farewell {
            Farewell::None => return State::Gone,
            Farewell::Moment => MOMENT,
            Farewell::Patient => self.worker().settings().client.linger_timeout,
        };
        self.seat.is_leaving();
        State::Leaving(Linger::new(socket, limit))
    }

    fn linger(&self, mut linger: Linger, cx: &mut Context<'_>) -> Step {
        if self.phase() >= Phase::ClosingIdle {
            linger.hurry();
        }
        match linger.poll(cx) {
            Poll::Ready(()) => Step::Go(State::Gone),
            Poll::Pending => Step::Stay(State::Leaving(linger)),
        }
    }

    /// hitless or hyper answered before there was a request.
    fn count_refused(&self, reason: Reason) {
        let strays = self.gate.strays();
        strays.ledger.counters().answered(reason);
        Line::refused(
            self.worker(),
            strays.app.as_ref(),
            self.seat.address(),
            reason,
        );
    }

    fn tell_closed(&self, why: Closed) {
        self.worker().clients().closed(why);
        let peer = self.seat.address();
        tracing::debug!(?peer, reason = why.as_str(), "client connection closed");
    }

    fn worker(&self) -> &Rc<Worker> {
        self.seat.worker()
    }

    /// How far it is on its way to the end: with all, or with those that came in by the same address.
    fn phase(&self) -> Phase {
        self.worker().phase().max(self.gate.phase())
    }
}

/// hyper has no other way to tell it from a head that is too large. It answers 414 instead of 431.
const URI_TOO_LONG: &str = "URI too long";

/// What hyper has answered by itself before any request was there.
fn explain(error: &hyper::Error) -> Option<Reason> {
    if error.is_parse_too_large() && error.to_string() == URI_TOO_LONG {
        Some(Reason::UriTooLong)
    } else if error.is_parse_too_large() {
        Some(Reason::HeadTooLarge)
    } else {
        error.is_parse().then_some(Reason::BadRequest)
    }
}

// === impl Client ===

impl Client {
    /// The worker that serves it.
    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Where it is; a unix socket does not tell.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Where a request of it goes that is for this host, if anybody asks for the host, and for this path; and how many
    /// bytes at the start of the path are not for the app.
    pub(super) fn route<'a>(
        &self,
        host: impl FnOnce() -> Option<&'a [u8]>,
        path: &str,
    ) -> Option<(Rc<Site>, usize)> {
        self.gate.route(host, path)
    }

    /// Where that is counted which belongs to no app.
    pub(super) fn strays(&self) -> Rc<Ledger> {
        self.gate.stray_ledger()
    }

    /// How far its connection is on its way to the end.
    pub(super) fn phase(&self) -> Phase {
        self.worker.phase().max(self.gate.phase())
    }

    /// A place for what its connection becomes.
    pub(super) fn successor(&self) -> Seat {
        self.worker.successor(self.address)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside it an idle connection costs its task, its place in the roster and what tokio keeps of a socket.
    #[test]
    fn an_idle_connection_is_small() {
        let size = size_of::<Connection>();
        assert!(size <= 128, "{size} bytes");
    }
}
