//! A request as it is sent to the app, as often as it must be, and the head of its answer.

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use crate::data_plane::answer::{self, Asker};
use crate::data_plane::body::{AppBody, Patience, RequestBody, Source};
use crate::data_plane::connection::Client;
use crate::data_plane::exchange::Exchange;
use crate::data_plane::headers;
use crate::data_plane::tunnel;
use crate::data_plane::upstream::Reply;
use crate::data_plane::wire::Busy;
use crate::telemetry::traffic::{Reason, StreamKind};

const GENERATION: HeaderName = HeaderName::from_static("x-hitless-generation");

/// A request that has been checked and rewritten.
#[derive(Debug)]
pub(super) struct Call {
    /// What is to be sent next; none while it is on its way.
    request: Option<Request<RequestBody>>,
    patience: Patience,
    copy: Option<Copy>,
    /// The client's side of the tunnel that it asks for.
    upgrade: Option<OnUpgrade>,
}

/// The head of a request that may be repeated after it was written.
#[derive(Debug)]
struct Copy {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

// === impl Call ===

impl Call {
    /// Checks a request and rewrites it for the app.
    ///
    /// # Errors
    ///
    /// What the client is to be told instead.
    pub(super) fn new(
        request: Request<Incoming>,
        client: &Client,
        busy: &Busy,
        since: Instant,
        asker: &mut Asker,
    ) -> Result<Self, Reason> {
        let worker = client.worker();
        // A body that nobody was told to send is not read either when the head is refused.
        let expects = request.headers().contains_key(http::header::EXPECT);
        let mut request = request.map(|body| RequestBody::new(body, worker, busy, expects));
        // Taken before the message is moved, or the tunnel could not be opened later.
        let upgrade = hyper::upgrade::on(&mut request);
        let found = headers::toward_app(&mut request, client.origin())?;
        asker.request_id = Some(found.request_id);
        request
            .body_mut()
            .set_expects_continue(found.expects_continue);
        let app = &worker.site.app.config;
        let body_timeout = worker.settings.client.body_timeout;
        Ok(Self {
            patience: Patience::new(since, app.answer_timeout, body_timeout, request.body()),
            copy: Copy::of(&request, found.websocket),
            upgrade: found.websocket.then_some(upgrade),
            request: Some(request),
        })
    }

    /// The request, to be sent.
    ///
    /// # Panics
    ///
    /// When it was taken before and not made ready again.
    pub(super) fn take(&mut self) -> Request<RequestBody> {
        self.request
            .take()
            .expect("a call is made ready before it is sent again")
    }

    /// How long its answer may take.
    pub(super) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Whether it may be sent again after it was written.
    pub(super) fn is_repeatable(&self) -> bool {
        self.copy.is_some()
    }

    /// Makes it ready to be sent again: as it came back unwritten, or from its copy.
    pub(super) fn prepare_again(&mut self, unwritten: Option<Request<RequestBody>>) {
        let copied = || self.copy.as_ref().map(Copy::request);
        self.request = unwritten.or_else(copied);
    }

    /// Turns the app's answer into the client's.
    ///
    /// # Errors
    ///
    /// When it cannot be passed on.
    pub(super) fn answered(
        mut self,
        reply: Reply,
        exchange: Exchange,
        client: &Client,
    ) -> Result<Response<Source>, Reason> {
        let (mut response, mut link) = reply;
        exchange.answered();
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let asked = self.upgrade.take();
            return tunnel::open(response, link, asked, exchange, client.worker());
        }
        link.read_head(&response);
        headers::toward_client(&mut response);
        let config = &client.worker().site.app.config;
        if config.expose_generation {
            let number = HeaderValue::from(exchange.generation().id().get());
            response.headers_mut().insert(GENERATION, number);
        }
        let kind = stream_kind(response.headers());
        if let Some(kind) = kind.filter(|_| !response.body().is_end_stream()) {
            exchange.become_stream(kind);
        }
        Ok(response.map(|incoming| {
            let body = AppBody::new(incoming, exchange, link, self.patience);
            Source::App(match kind {
                None => body.with_limit(config.body_timeout),
                Some(StreamKind::EventStream) => body.with_events(),
                Some(_) => body,
            })
        }))
    }
}

/// Which answers are streams from their head on.
fn stream_kind(headers: &HeaderMap) -> Option<StreamKind> {
    const EVENTS: &[u8] = b"text/event-stream";
    let content_type = headers.get(CONTENT_TYPE)?;
    let start = content_type.as_bytes().get(..EVENTS.len());
    if start.is_some_and(|start| start.eq_ignore_ascii_case(EVENTS)) {
        Some(StreamKind::EventStream)
    } else {
        answer::is_grpc(content_type).then_some(StreamKind::Grpc)
    }
}

// === impl Copy ===

impl Copy {
    /// Only of an idempotent request (RFC 9110 section 9.2.2) without a body.
    fn of(request: &Request<RequestBody>, websocket: bool) -> Option<Self> {
        let idempotent = request.method().is_idempotent();
        let repeatable = idempotent && !websocket && request.body().is_end_stream();
        repeatable.then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    fn request(&self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::default());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}
