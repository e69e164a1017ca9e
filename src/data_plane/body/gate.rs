//! Holds a body back until the app has said that it wants it: RFC 9110 section 10.1.1.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How long an app that was asked may say nothing. An old one does not know the question, and its client would wait in
/// vain (RFC 9110 section 10.1.1: not indefinitely).
const PATIENCE: Duration = Duration::from_secs(1);

/// What a body waits at before its first byte is asked for.
#[derive(Debug)]
pub(in crate::data_plane) struct Gate {
    key: Arc<Key>,
    open: Cell<bool>,
    /// Runs from when the app can have read the head.
    late: RefCell<Option<Pin<Box<Sleep>>>>,
}

/// Opens a gate, from whichever task hears that the app wants the body.
#[derive(Debug, Default)]
pub(in crate::data_plane) struct Key(Mutex<Turned>);

#[derive(Debug, Default)]
struct Turned {
    turned: bool,
    waker: Option<Waker>,
}

// === impl Gate ===

impl Gate {
    /// A shut one.
    pub(in crate::data_plane) fn new() -> Self {
        Self {
            key: Arc::default(),
            open: Cell::new(false),
            late: RefCell::default(),
        }
    }

    /// What opens it.
    pub(in crate::data_plane) fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// Nobody needs to be waited for any more.
    pub(super) fn open(&self) {
        self.open.set(true);
    }

    /// Ready when it is open.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.open.get() {
            return Poll::Ready(());
        }
        let mut late = self.late.borrow_mut();
        let late = late.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        if self.key.is_turned(cx) || late.as_mut().poll(cx).is_ready() {
            self.open();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

// === impl Key ===

impl Key {
    /// The app wants the body.
    pub(in crate::data_plane) fn turn(&self) {
        let mut turned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turned.turned = true;
        if let Some(waker) = turned.waker.take() {
            waker.wake();
        }
    }

    fn is_turned(&self, cx: &Context<'_>) -> bool {
        let mut turned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !turned.turned {
            turned.waker = Some(cx.waker().clone());
        }
        turned.turned
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_app_that_says_nothing_gets_the_body_after_a_second() {
        let gate = Gate::new();
        let since = tokio::time::Instant::now();
        poll_fn(|cx| gate.poll(cx)).await;
        let waited = since.elapsed();
        assert!((PATIENCE..PATIENCE * 2).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_wants_the_body_gets_it_at_once() {
        let gate = Gate::new();
        let since = tokio::time::Instant::now();
        let turn = async { gate.key().turn() };
        tokio::join!(poll_fn(|cx| gate.poll(cx)), turn);
        assert_eq!(since.elapsed(), Duration::ZERO);
    }
}
