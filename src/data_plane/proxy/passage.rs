//! What belongs to a request whatever becomes of it: who asked, what is counted about it, and how its answer leaves.

use std::rc::Rc;

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::destination::Destination;
use crate::data_plane::Phase;
use crate::data_plane::answer::{self, Asker};
use crate::data_plane::body::{AnswerBody, Source};
use crate::data_plane::connection::Client;
use crate::data_plane::record::Record;
use crate::data_plane::wire::Busy;
use crate::telemetry::traffic::Reason;

/// A request, from its head to the head of its answer.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) client: Rc<Client>,
    pub(super) busy: Busy,
    pub(super) record: Record,
    pub(super) asker: Asker,
    /// It came by HTTP/1.0.
    is_old: bool,
}

// === impl Passage ===

impl Passage {
    /// The head of `request` has been read; without a destination no route leads anywhere.
    pub(super) fn begin(
        request: &Request<Incoming>,
        destination: Option<&Destination>,
        client: Rc<Client>,
        busy: Busy,
    ) -> Self {
        let site = destination.map(|destination| &destination.site);
        let mut asker = Asker::new(request.headers());
        asker.client = client.origin().peer();
        Self {
            record: Record::new(site, &client, request),
            asker,
            is_old: request.version() == Version::HTTP_10,
            client,
            busy,
        }
    }

    /// The answer as the client gets it: the app's, or hitless's own.
    pub(super) fn end(mut self, answer: Result<Response<Source>, Reason>) -> Response<AnswerBody> {
        let mut response = answer.unwrap_or_else(|reason| self.refuse(reason));
        self.record.set_status(response.status());
        if self.client.phase() != Phase::Serving
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        if self.is_old && !response.headers().contains_key(CONTENT_LENGTH) {
            self.busy.pulse().ends_with_connection();
        }
        let (record, busy) = (self.record, self.busy);
        response.map(|source| AnswerBody::new(source, Some(record), Some(busy)))
    }

    fn refuse(&mut self, reason: Reason) -> Response<Source> {
        self.record.answered(reason);
        let (from, reason_word) = (self.asker.client, reason.as_str());
        tracing::debug!(client = ?from, reason = reason_word, "answered by hitless");
        let pages = &self.client.worker().settings().pages;
        answer::make(reason, &self.asker, pages).map(Source::Whole)
    }
}
