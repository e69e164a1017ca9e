//! Ends a request body on its way to an app of HTTP/2, whose connection goes on for others.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

/// Shared by a body and by whoever may give it up.
#[derive(Debug, Default)]
pub(in crate::data_plane) struct Cut {
    is_cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

// === impl Cut ===

impl Cut {
    /// Nobody wants the rest.
    pub(in crate::data_plane) fn cut(&self) {
        self.is_cut.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether that is so; the task is woken when it comes to be.
    pub(super) fn is_cut(&self, cx: &Context<'_>) -> bool {
        if !self.is_cut.get() {
            self.waker.replace(Some(cx.waker().clone()));
        }
        self.is_cut.get()
    }
}
