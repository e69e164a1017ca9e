//! Waiting on behalf of an exchange, which may be told to stop, and may be out of time.

use std::future::{Future, poll_fn};
use std::ops::DerefMut;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::Instant;

use super::failure::{explain, is_reset};
use super::{Failed, Failure, Link};
use crate::data_plane::body::{Patience, RequestBody};
use crate::data_plane::exchange::{Exchange, Order};

/// A request that is with hyper, and becomes the head of its answer.
pub(in crate::data_plane) trait Sent:
    Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>
{
}

impl<F> Sent for F where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>
{
}

// === impl Link ===

impl Link {
    /// Waits for what became of the request that was sent on it.
    ///
    /// # Errors
    ///
    /// With the request where nothing was written.
    pub(in crate::data_plane) fn poll_sent(
        &self,
        exchange: &Exchange,
        patience: &Patience,
        cx: &mut Context<'_>,
        sent: Pin<&mut impl Sent>,
    ) -> Poll<Result<Response<Incoming>, Box<Failed>>> {
        let failed = match ready!(poll(exchange, patience, cx, sent)) {
            Ok(Ok(response)) => return Poll::Ready(Ok(response)),
            Ok(Err(mut error)) => {
                let request = error.take_message();
                let failure = match &request {
                    Some(_) => Failure::Unwritten,
                    None => explain(error.error(), self, patience),
                };
                let unwritten_rest = request.is_none() && !self.has_written_all();
                let untaken = unwritten_rest || is_reset(error.error());
                Box::new(Failed {
                    failure,
                    request,
                    untaken,
                })
            }
            Err(failure) => Failed::boxed(failure, None),
        };
        Poll::Ready(Err(failed))
    }
}

/// Waits for `work` while the exchange is neither told to stop nor out of time.
pub(super) async fn attended<F: Future>(
    exchange: &Exchange,
    patience: &Patience,
    mut work: Pin<impl DerefMut<Target = F>>,
) -> Result<F::Output, Failure> {
    poll_fn(|cx| poll(exchange, patience, cx, work.as_mut())).await
}

/// Whether it is out of time is looked at when the sweep says so, for a look at the clock at each wait would cost more than
/// it is worth.
fn poll<F: Future>(
    exchange: &Exchange,
    patience: &Patience,
    cx: &mut Context<'_>,
    work: Pin<&mut F>,
) -> Poll<Result<F::Output, Failure>> {
    if let Poll::Ready(output) = work.poll(cx) {
        return Poll::Ready(Ok(output));
    }
    let deadline = patience.deadline();
    match (exchange.order(), deadline) {
        (Some(Order::Break), _) => return Poll::Ready(Err(Failure::Cut)),
        (Some(Order::Recall), _) => return Poll::Ready(Err(Failure::Recalled)),
        (Some(Order::Look), Some((at, failure))) if at <= Instant::now() => {
            return Poll::Ready(Err(failure));
        }
        (Some(Order::Look | Order::Close) | None, _) => {}
    }
    exchange.park(cx, deadline.map(|(at, _)| at));
    patience.wake_by(cx);
    Poll::Pending
}
