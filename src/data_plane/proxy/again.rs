//! What it takes to send a request once more after it was written, and whether it may be.

mod kept_head;

use std::rc::Rc;
use std::time::Duration;

use http::header::HeaderName;
use http::{Method, Request};
use http_body::Body;
use tokio::time::Instant;

use self::kept_head::KeptHead;
use crate::data_plane::AppConfig;
use crate::data_plane::body::{Claim, Received, RequestBody, Room};
use crate::data_plane::exchange::Recall;
use crate::data_plane::record::Record;
use crate::data_plane::site::Site;
use crate::data_plane::upstream::{Failed, Failure};
use crate::generation::AppProtocol;
use crate::telemetry::traffic::Reason;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The head of a request that may be sent again, and the right to its body.
#[derive(Debug)]
pub(super) struct Again {
    head: KeptHead,
    /// Twice is once: RFC 9110 section 9.2.2, or the client says so by `Idempotency-Key`.
    idempotent: bool,
    /// None: there is no body.
    claim: Option<Claim>,
    keeping: Keeping,
    /// The memory for what is received in advance.
    room: Option<Room>,
}

/// How much of a body may be kept.
#[derive(Clone, Copy, Debug)]
struct Keeping {
    /// While it streams; 0 where the method forbids that it be sent again.
    streamed_max: usize,
    /// Received before the app sees it; 0 where it is not.
    buffered_max: usize,
}

// === impl Again ===

impl Again {
    /// None: whatever happens, this request can be sent again only where nothing of it was written.
    pub(super) fn of(request: &Request<RequestBody>, config: &AppConfig) -> Option<Self> {
        let idempotent = request.method().is_idempotent()
            || (config.resend_idempotency_key && request.headers().contains_key(IDEMPOTENCY_KEY));
        // An app of HTTP/2 may say that it has not taken a request, whatever its method.
        let may_be_refused = config.protocol == AppProtocol::H2c;
        let keeping = Keeping::of(request.body(), idempotent || may_be_refused, config);
        if !idempotent && !may_be_refused && config.buffer_requests == 0 {
            return None;
        }
        if !request.body().is_end_stream() && keeping.is_nothing() {
            return None;
        }
        Some(Self {
            head: KeptHead::of(request.method(), request.uri(), request.headers()),
            idempotent,
            claim: Claim::new(request.body(), keeping.max()),
            keeping,
            room: None,
        })
    }

    /// Whether the body is to be received before the app sees any of it.
    pub(super) fn is_received_first(&self) -> bool {
        self.claim.is_some() && self.keeping.buffered_max > 0
    }

    /// Receives the body in advance. Without room for it, it is passed on as it comes.
    ///
    /// # Errors
    ///
    /// When the client fails to send it.
    pub(super) async fn receive(
        &mut self,
        site: &Rc<Site>,
        idle: Duration,
        record: &mut Record,
    ) -> Result<(), Reason> {
        let Some(claim) = &self.claim else {
            return Ok(());
        };
        let max = self.keeping.buffered_max;
        let size = claim.size().map_or(max, |size| size.min(max));
        self.room = site.buffers.reserve(site, size);
        let whole = if self.room.is_some() {
            let since = Instant::now();
            let received = claim.receive(max, idle).await;
            record.waited(since.elapsed());
            received? == Received::Whole
        } else {
            self.keeping.buffered_max = 0;
            false
        };
        match self.keeping.streamed_max {
            _ if whole => {}
            0 => claim.stop_keeping(),
            streamed_max => claim.keep(streamed_max),
        }
        Ok(())
    }

    /// Whether the request may go to the app once more after the app has had it, or a part of it.
    pub(super) fn may_repeat(&self) -> bool {
        self.idempotent && self.is_whole()
    }

    /// Whether it may go to the app once more after it was written and failed like this.
    pub(super) fn may_follow(&self, failed: &Failed) -> bool {
        let untaken = failed.failure == Failure::NotTaken
            || (failed.untaken && self.keeping.buffered_max > 0);
        (self.idempotent || untaken) && self.is_whole()
    }

    /// Whether it is safe (RFC 9110 section 9.2.1) and can be sent once more. `TRACE` asks about the way itself.
    pub(super) fn is_safe(&self) -> bool {
        let safe = matches!(
            *self.head.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        safe && self.may_repeat()
    }

    /// Whether it may be taken from one generation to another although it has been written.
    pub(super) fn recall(&self) -> Recall {
        if self.is_safe() && self.claim.as_ref().is_none_or(Claim::stays_whole) {
            Recall::May
        } else {
            Recall::Never
        }
    }

    /// The request as it was.
    pub(super) fn request(&self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::default());
        if let Some(claim) = &self.claim {
            *request.body_mut() = claim.again();
        }
        *request.method_mut() = self.head.method().clone();
        *request.uri_mut() = self.head.uri().clone();
        *request.headers_mut() = self.head.headers();
        request
    }

    fn is_whole(&self) -> bool {
        self.claim.as_ref().is_none_or(Claim::is_whole)
    }
}

// === impl Keeping ===

impl Keeping {
    fn of(body: &RequestBody, may_stream: bool, config: &AppConfig) -> Self {
        let size = body.size_hint().exact();
        let fitting = |max: usize| {
            let fits = size.is_none_or(|size| size <= max as u64);
            if fits { max } else { 0 }
        };
        Self {
            streamed_max: fitting(if may_stream {
                config.resend_body_max
            } else {
                0
            }),
            buffered_max: fitting(config.buffer_requests),
        }
    }

    fn max(self) -> usize {
        self.streamed_max.max(self.buffered_max)
    }

    fn is_nothing(self) -> bool {
        self.max() == 0
    }
}
