//! One request from its head to the last byte of its answer, top to bottom.
//!
//! Picks the generation exactly once, when the head has been read, and again only to send the request again.

mod again;

mod call;

mod destination;

mod interim;

mod passage;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use self::call::Call;
use self::destination::Destination;
use self::passage::Passage;
use super::body::{AnswerBody, RequestBody, Source};
use super::connection::Client;
use super::resend::{Attempt, Attempts, is_rescuable};
use super::upstream::{Carrier, Failed, Failure, Link, Reply, Sent};
use super::wire::Busy;
use crate::telemetry::traffic::Reason;

/// Answers one request of a client. What it keeps alive lasts until the last byte of the answer.
///
/// Nearly every request finds an idle connection to the app, and is on its way when this returns. The future that waits for
/// the answer is moved before it rests, and so whatever is rare and large stands in one of its own.
pub(super) fn forward(
    request: Request<Incoming>,
    client: Rc<Client>,
    busy: Busy,
) -> impl Future<Output = Response<AnswerBody>> {
    let destination = Destination::of(&request, &client);
    let mut passage = Passage::begin(&request, destination.as_ref(), client, busy);
    let (mut call, mut request) = match Call::new(request, destination.as_ref(), &mut passage) {
        Ok(call) => call,
        Err(reason) => {
            let passage = Some(passage);
            return Forward::Refused { passage, reason };
        }
    };
    if call.is_received_first() {
        call.keep(request);
        let rest = Box::pin(rest(passage, call, None, None));
        return Forward::Rest { rest };
    }
    let of_many = passage.busy.pulse().is_of_many();
    let record = &mut passage.record;
    let mut attempts = Attempts::new(call.site(), record.started());
    if let Some(attempt) = attempts.begin_at_once(call.recall()) {
        if let Some(mut link) = attempt.idle_link(record.started(), of_many) {
            record.sending(&attempt.exchange);
            call.listen(&mut request);
            let sent = link.send(request);
            let underway = Some(Box::new(Underway {
                passage,
                call,
                attempts,
                attempt,
                link,
            }));
            return Forward::Sent { underway, sent };
        }
        attempts.put_off(attempt);
    }
    call.keep(request);
    let rest = Box::pin(rest(passage, call, Some(attempts), None));
    Forward::Rest { rest }
}

/// What is left to do for an answer, where that is more than to wait for it.
type Rest = Pin<Box<dyn Future<Output = Response<AnswerBody>>>>;

pin_project! {
    /// The answer to one request.
    #[project = Stage]
    enum Forward<F> {
        /// Sent on a connection that had been idle.
        Sent {
            underway: Option<Box<Underway>>,
            #[pin]
            sent: F,
        },
        /// Whatever else it takes.
        Rest { rest: Rest },
        /// hitless answers by itself.
        Refused { passage: Option<Passage>, reason: Reason },
    }
}

/// A request that was sent on a connection that had been idle.
struct Underway {
    link: Link,
    attempt: Attempt,
    attempts: Attempts,
    call: Call,
    passage: Passage,
}

/// How the first attempt went.
enum First {
    /// The connection had been closed while it was idle, and nothing was written: a fresh one will do for any method.
    Unwritten(Attempt, Request<RequestBody>),
    /// It ended.
    Ended(Attempt, Result<Reply, Box<Failed>>),
}

// === impl Forward ===

impl<F: Sent> Future for Forward<F> {
    type Output = Response<AnswerBody>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const ONCE: &str = "it is not polled again after the answer";
        let rest = match self.as_mut().project() {
            Stage::Sent { underway, sent } => {
                let result = ready!(underway.as_ref().expect(ONCE).poll(cx, sent));
                match underway.take().expect(ONCE).ended(result) {
                    Ok(answer) => return Poll::Ready(answer),
                    Err(rest) => rest,
                }
            }
            Stage::Rest { rest } => return rest.as_mut().poll(cx),
            Stage::Refused { passage, reason } => {
                let passage = passage.take().expect(ONCE);
                return Poll::Ready(passage.end(Err(*reason)));
            }
        };
        self.set(Self::Rest { rest });
        self.poll(cx)
    }
}

// === impl Underway ===

impl Underway {
    fn poll(
        &self,
        cx: &mut Context<'_>,
        sent: Pin<&mut impl Sent>,
    ) -> Poll<Result<Response<Incoming>, Box<Failed>>> {
        let (exchange, patience) = (&self.attempt.exchange, self.call.patience());
        self.link.poll_sent(exchange, patience, cx, sent)
    }

    /// The client's answer, or what leads to one.
    fn ended(
        mut self: Box<Self>,
        result: Result<Response<Incoming>, Box<Failed>>,
    ) -> Result<Response<AnswerBody>, Rest> {
        let (attempt, link) = (self.attempt, self.link);
        let first = match result {
            Ok(answer) if !is_rescuable(answer.status()) => {
                let reply = (answer, Carrier::Link(link));
                let (call, attempts) = (&mut self.call, &mut self.attempts);
                let answer = answered(call, reply, attempts, attempt, &mut self.passage);
                return Ok(self.passage.end(answer));
            }
            Ok(answer) => First::Ended(attempt, Ok((answer, Carrier::Link(link)))),
            Err(failed) => match *failed {
                Failed {
                    failure: Failure::Unwritten,
                    request: Some(unwritten),
                    ..
                } => First::Unwritten(attempt, unwritten),
                other => First::Ended(attempt, Err(Box::new(other.on_reused()))),
            },
        };
        let (call, attempts) = (self.call, self.attempts);
        let (attempts, first) = (Some(attempts), Some(first));
        Err(Box::pin(rest(self.passage, call, attempts, first)))
    }
}

/// All that is left to do for an answer.
async fn rest(
    mut passage: Passage,
    call: Call,
    attempts: Option<Attempts>,
    first: Option<First>,
) -> Response<AnswerBody> {
    let answer = relay(&mut passage, call, attempts, first).await;
    passage.end(answer)
}

/// Gets the app's answer, from whichever instance gives one.
async fn relay(
    passage: &mut Passage,
    mut call: Call,
    attempts: Option<Attempts>,
    mut first: Option<First>,
) -> Result<Response<Source>, Reason> {
    let mut attempts = match attempts {
        Some(attempts) => attempts,
        None => {
            let idle = passage.client.worker().settings().client.body_timeout;
            call.receive(idle, &mut passage.record).await?;
            Attempts::new(call.site(), passage.record.started())
        }
    };
    loop {
        let of_many = passage.busy.pulse().is_of_many();
        let (attempt, sent) = match first.take() {
            Some(First::Ended(attempt, sent)) => (attempt, sent),
            Some(First::Unwritten(attempt, request)) => {
                let terms = call.terms(true, of_many, passage.record.started());
                let sent = attempt.send(request, terms).await;
                (attempt, sent)
            }
            None => {
                let record = &mut passage.record;
                let begun = attempts.begin(record, call.recall(), call.patience());
                let attempt = begun.await?;
                let now = record.sending(&attempt.exchange);
                let request = call.take();
                let terms = call.terms(attempt.fresh, of_many, now);
                let sent = attempt.send(request, terms).await;
                (attempt, sent)
            }
        };
        match sent {
            Ok((answer, _))
                if is_rescuable(answer.status()) && call.is_safe() && attempts.rescue(&attempt) =>
            {
                passage.record.not_answered();
                call.prepare_again(None);
            }
            Ok(reply) => return answered(&mut call, reply, &mut attempts, attempt, passage),
            Err(failed) => {
                passage.record.not_answered();
                attempts.failed(&failed, &attempt, call.may_follow(&failed))?;
                call.prepare_again(failed.request);
            }
        }
    }
}

/// The head of the answer is there, and goes to the client.
fn answered(
    call: &mut Call,
    reply: Reply,
    attempts: &mut Attempts,
    attempt: Attempt,
    passage: &mut Passage,
) -> Result<Response<Source>, Reason> {
    attempts.answered();
    passage.record.head_came();
    let origin = attempts.origin(&attempt);
    call.answered(reply, attempt.exchange, origin, passage)
}
