//! Until when an answer may be waited for, which depends on where the request's own body is.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::RequestBody;
use super::upload::{Upload, UploadState};
use crate::data_plane::upstream::Failure;

/// How long may be waited for the head of an answer.
#[derive(Debug)]
pub(in crate::data_plane) struct Patience {
    since: Cell<Instant>,
    answer_timeout: Duration,
    body_timeout: Duration,
    pub(super) upload: Option<Rc<Upload>>,
}

// === impl Patience ===

impl Patience {
    /// For a request whose head was read at `since`.
    pub(in crate::data_plane) fn new(
        since: Instant,
        answer_timeout: Duration,
        body_timeout: Duration,
        body: &RequestBody,
    ) -> Self {
        Self {
            since: Cell::new(since),
            answer_timeout,
            body_timeout,
            upload: body.upload().map(Rc::clone),
        }
    }

    /// Nobody was there to answer until now.
    pub(in crate::data_plane) fn starts_now(&self) {
        self.since.set(Instant::now());
    }

    /// Until when may be waited as things stand, and what it means when nothing has come by then.
    pub(in crate::data_plane) fn deadline(&self) -> Option<(Instant, Failure)> {
        let (from, limit, failure) = match &self.upload {
            Some(upload) if upload.state() == UploadState::AwaitsClient => {
                (upload.at(), self.body_timeout, Failure::BodyTimedOut)
            }
            Some(upload) if upload.state() != UploadState::Untouched => {
                (upload.at(), self.answer_timeout, Failure::AnswerTimedOut)
            }
            _ => (
                self.since.get(),
                self.answer_timeout,
                Failure::AnswerTimedOut,
            ),
        };
        (!limit.is_zero()).then(|| (from + limit, failure))
    }

    /// Has whoever waits woken when another deadline counts.
    pub(in crate::data_plane) fn wake_by(&self, cx: &Context<'_>) {
        if let Some(upload) = &self.upload {
            upload.wake_by(cx);
        }
    }

    /// What is wrong with the request's own body, if that is to blame.
    pub(in crate::data_plane) fn body_failure(&self) -> Option<Failure> {
        match self.upload.as_ref()?.state() {
            UploadState::Failed => Some(Failure::BadBody),
            UploadState::Abandoned => Some(Failure::ClientGone),
            UploadState::TooLarge => Some(Failure::BodyTooLarge),
            _ => None,
        }
    }
}
