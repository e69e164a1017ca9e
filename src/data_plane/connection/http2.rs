//! A client connection from the first byte of the preface of HTTP/2 on: when it takes no more, and how it is left.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::multiplexed::{Multiplexed, Verdict};
use super::preface::{Opening, Speaks};
use super::{Connection, Farewell, State, Step};
use crate::data_plane::Phase;
use crate::data_plane::roster::Call;
use crate::data_plane::wire::Socket;
use crate::telemetry::traffic::{Closed, Reason};

impl Connection {
    /// Waits until it is known which protocol the client speaks.
    pub(super) fn open(&self, mut opening: Box<Opening>, cx: &mut Context<'_>) -> Step {
        match opening.poll(cx) {
            Poll::Ready(None) => Step::Go(State::Gone),
            Poll::Ready(Some(speaks)) => {
                let (socket, ahead) = opening.into_parts();
                Step::Go(match speaks {
                    Speaks::Http2 => self.multiplex(socket, ahead),
                    Speaks::Http1 | Speaks::Undecided => self.activate(socket, ahead),
                })
            }
            Poll::Pending if self.seat.call() == Some(Call::HeadLate) => {
                Step::Go(self.tell_late(opening.into_parts().0))
            }
            Poll::Pending => Step::Stay(State::Opening(opening)),
        }
    }

    /// The same for HTTP/2.
    pub(super) fn multiplex(&self, socket: Socket, ahead: Bytes) -> State {
        let all = Multiplexed::new(socket, ahead, self.client());
        self.seat.is_active(all.pulse());
        State::Multiplexed(Box::new(all))
    }

    pub(super) fn serve_all(&self, mut all: Box<Multiplexed>, cx: &mut Context<'_>) -> Step {
        if self.worker().phase() >= Phase::Closing {
            // A request that is on its way is not lost: the client is told which ones were not taken.
            all.end();
        }
        let polled = all.poll(cx);
        for _ in 0..all.take_refused() {
            self.count_refused(Reason::HeadTooLarge);
            let (peer, reason) = (self.seat.address(), Reason::HeadTooLarge.as_str());
            tracing::debug!(?peer, reason, "refused before there was a request");
        }
        if let Poll::Ready(result) = polled {
            return Step::Go(self.all_ended(*all, result));
        }
        all.settle(&self.seat);
        match all.verdict(&self.seat) {
            Some(Verdict::Over) => return Step::Go(self.leave_all(*all)),
            Some(Verdict::HeadLate) => {
                self.count_refused(Reason::HeadTimeout);
                self.tell_closed(Closed::HeadTimeout);
                return Step::Go(self.leave_all(*all));
            }
            Some(Verdict::Moved) | None => {}
        }
        match self.seat.call() {
            Some(Call::Close(why)) if all.is_idle() && all.end() => {
                self.tell_closed(why);
                // hyper has something to write now.
                Step::Go(State::Multiplexed(all))
            }
            Some(Call::Abort) if all.is_stalled() => {
                self.tell_closed(Closed::WriteTimeout);
                if let Some(socket) = all.into_socket() {
                    socket.abort();
                }
                Step::Go(State::Gone)
            }
            _ => Step::Stay(State::Multiplexed(all)),
        }
    }

    /// hyper is done with it, and has said why where the client broke a rule.
    fn all_ended(&self, all: Multiplexed, result: hyper::Result<()>) -> State {
        if let Some(why) = all.fault() {
            self.tell_closed(why);
        } else if let Err(error) = result {
            let peer = self.seat.address();
            tracing::debug!(?peer, %error, "HTTP/2 connection ended");
        }
        self.leave_all(all)
    }

    fn leave_all(&self, all: Multiplexed) -> State {
        match all.into_socket() {
            Some(socket) => self.leave(socket, &Farewell::Moment),
            None => State::Gone,
        }
    }
}
