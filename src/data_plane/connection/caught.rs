//! Keeps a panic to its own request.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;

use crate::data_plane::answer::pages::CurrentPages;
use crate::data_plane::answer::{self, Asker};
use crate::data_plane::body::{AnswerBody, Source};
use crate::data_plane::site::Ledger;
use crate::telemetry::traffic::Reason;

pin_project! {
    /// Answers 500 when the future that makes the answer panics, or what makes that future. What they held is dropped by
    /// then.
    pub(super) struct Caught<F> {
        #[pin]
        future: Option<F>,
        ledger: Rc<Ledger>,
    }
}

/// Drops the future while its panic unwinds, so that what it holds knows of the panic.
struct Unwinding<'a, F>(Pin<&'a mut Option<F>>);

impl<F> Drop for Unwinding<'_, F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set(None);
        }
    }
}

// === impl Caught ===

impl<F> Caught<F> {
    /// Counts a panic in `ledger`.
    pub(super) fn new(make: impl FnOnce() -> F, ledger: Rc<Ledger>) -> Self {
        let future = catch_unwind(AssertUnwindSafe(make)).ok();
        Self { future, ledger }
    }
}

impl<F: Future<Output = Response<AnswerBody>>> Future for Caught<F> {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        // The future is not polled again, and what it shares with others holds no half-made state across a call.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let mut future = Unwinding(me.future);
            future.0.as_mut().as_pin_mut().map(|future| future.poll(cx))
        }));
        polled
            .ok()
            .flatten()
            .unwrap_or_else(|| {
                me.ledger.counters().answered(Reason::Internal);
                // Who asked is not known any more, so it is plain text, for which there are no pages.
                let none = CurrentPages::default();
                let response = answer::make(Reason::Internal, &Asker::default(), &none);
                let body = |bytes| AnswerBody::new(Source::Whole(bytes), None, None);
                Poll::Ready(response.map(body))
            })
            .map(Ok)
    }
}
