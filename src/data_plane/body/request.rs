//! The body of a request as one attempt passes it on. What it passes on belongs to the upload that all attempts share.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::agreed::Agreed;
use super::cut::Cut;
use super::fault::UploadError;
use super::upload::{AttemptNumber, Upload};
use crate::data_plane::site::Ledger;
use crate::data_plane::wire::{Busy, Pulse};
use crate::data_plane::worker::Worker;

/// The body of a request on its way to the app.
#[derive(Debug, Default)]
pub(in crate::data_plane) struct RequestBody {
    open: Option<Open>,
}

/// A request body whose end has not been passed on.
#[derive(Debug)]
struct Open {
    upload: Rc<Upload>,
    attempt: AttemptNumber,
    /// The app's connection has not been given all of it.
    busy: Option<Busy>,
    /// Whoever sends it may give it up.
    cut: Option<Rc<Cut>>,
}

// === impl RequestBody ===

impl RequestBody {
    /// A body that comes from a client, and whose bytes `ledger` counts. There is no upload where there is nothing to come.
    pub(in crate::data_plane) fn new(
        incoming: Incoming,
        worker: &Rc<Worker>,
        ledger: &Rc<Ledger>,
        busy: &Busy,
        expects_continue: bool,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::default();
        }
        let upload = Upload::new(incoming, worker, ledger, busy, expects_continue);
        Self::of(upload, AttemptNumber::FIRST)
    }

    /// The same body for one more attempt.
    pub(super) fn of(upload: Rc<Upload>, attempt: AttemptNumber) -> Self {
        let open = Open {
            upload,
            attempt,
            busy: None,
            cut: None,
        };
        Self { open: Some(open) }
    }

    /// Sets what was found out about it in the head.
    pub(in crate::data_plane) fn agree(&self, agreed: Agreed) {
        if let Some(open) = &self.open {
            open.upload.agree(agreed);
        }
    }

    /// It goes to the app by the connection with this pulse.
    pub(in crate::data_plane) fn goes_by(&mut self, pulse: &Arc<Pulse>) {
        if let Some(open) = &mut self.open {
            open.busy = Some(pulse.begin());
        }
    }

    /// It shares its connection with others, and ends when it is cut; none: there is nothing to come.
    pub(in crate::data_plane) fn can_be_cut(&mut self) -> Option<Rc<Cut>> {
        let open = self.open.as_mut()?;
        Some(Rc::clone(open.cut.get_or_insert_default()))
    }

    /// What all attempts share, while there is something to come.
    pub(super) fn upload(&self) -> Option<&Rc<Upload>> {
        self.open.as_ref().map(|open| &open.upload)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let me = self.get_mut();
        let Some(open) = &me.open else {
            return Poll::Ready(None);
        };
        if open.cut.as_ref().is_some_and(|cut| cut.is_cut(cx)) {
            me.leave();
            return Poll::Ready(Some(Err(UploadError::given_up())));
        }
        let polled = open.upload.poll_frame(open.attempt, cx);
        let ended = match &polled {
            Poll::Ready(Some(Ok(_))) => open.upload.is_passed(),
            Poll::Ready(None) => true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if ended {
            me.leave();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.open
            .as_ref()
            .is_none_or(|open| open.upload.is_passed())
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.open.as_ref().map(|open| open.upload.size_hint());
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl RequestBody {
    fn leave(&mut self) {
        if let Some(open) = self.open.take() {
            open.upload.left(open.attempt);
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.leave();
    }
}
