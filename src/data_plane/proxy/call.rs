//! A request as it is sent to the app, as often as it must be, and the head of its answer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use super::again::Again;
use super::destination::Destination;
use super::interim::Interim;
use super::passage::Passage;
use crate::data_plane::answer;
use crate::data_plane::body::{Agreed, AppBody, Coding, Gate, Patience, RequestBody, Source};
use crate::data_plane::exchange::{Exchange, Recall};
use crate::data_plane::headers::{self, Found, Handshake, Rules};
use crate::data_plane::record::Record;
use crate::data_plane::site::Site;
use crate::data_plane::tunnel;
use crate::data_plane::upstream::{Failed, Reply, Terms};
use crate::data_plane::{AppConfig, Expect, Phase};
use crate::live::Origin;
use crate::telemetry::traffic::{Reason, StreamKind};

const GENERATION: HeaderName = HeaderName::from_static("x-hitless-generation");

/// A request that has been checked and rewritten.
#[derive(Debug)]
pub(super) struct Call {
    site: Rc<Site>,
    /// What is to be sent next; none while it is on its way, as nearly all are at once.
    request: Option<Box<Request<RequestBody>>>,
    patience: Patience,
    /// None: it may not be sent again once it was written.
    again: Option<Again>,
    interim: Interim,
    /// The client's side of the tunnel that it asks for.
    upgrade: Option<OnUpgrade>,
    /// The handshake that is made with the app for a client of HTTP/2.
    handshake: Option<Handshake>,
    /// The client speaks HTTP/2.
    is_http2: bool,
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
        destination: Option<&Destination>,
        passage: &mut Passage,
    ) -> Result<(Self, Request<RequestBody>), Reason> {
        let (client, busy, record) = (&passage.client, &passage.busy, &mut passage.record);
        let worker = client.worker();
        let settings = worker.settings();
        // A body that nobody was told to send is not read either when the head is refused.
        let expects =
            !request.body().is_end_stream() && request.headers().contains_key(http::header::EXPECT);
        let mut request =
            request.map(|body| RequestBody::new(body, worker, record.ledger(), busy, expects));
        // Taken before the message is moved, or the tunnel could not be opened later.
        let upgrade = hyper::upgrade::on(&mut request);
        let takes_hints = request.version() == Version::HTTP_11;
        let mut handshake = None;
        let is_http2 = request.version() == Version::HTTP_2;
        if is_http2 {
            headers::from_http2(&mut request, settings.client.head_fields_max)?;
            handshake = Handshake::begin(&mut request);
        }
        let rules = Rules {
            proxies: &settings.trusted_proxies,
            expect: destination.map_or(Expect::Answer, Destination::expect),
        };
        let found = headers::toward_app(&mut request, client.origin(), &rules)?;
        record.named(&found.request_id, found.client);
        passage.asker.request_id = Some(found.request_id.clone());
        passage.asker.client = found.client;
        // Only now, for a head that is wrong in itself is not merely for nobody.
        let destination = destination.ok_or(Reason::NoRoute)?;
        destination.strip(request.uri_mut())?;
        let app = &*destination.site.config();
        let agreed = Agreed {
            counter: record.counter_of(request.body()),
            ..agree(&found, app)
        };
        let interim = Interim {
            key: agreed.gate.as_ref().map(|gate| Arc::clone(gate.key())),
            hints: (app.early_hints && takes_hints).then(|| Arc::clone(busy.pulse().hints())),
        };
        let fits = agreed
            .bytes_max
            .is_none_or(|max| request.body().size_hint().lower() <= max);
        request.body().agree(agreed);
        if !fits {
            return Err(Reason::BodyTooLarge);
        }
        let body_timeout = settings.client.body_timeout;
        let call = Self {
            patience: Patience::new(
                record.started(),
                app.answer_timeout,
                body_timeout,
                request.body(),
            ),
            again: Again::of(&request, app),
            interim,
            upgrade: found.websocket.then_some(upgrade),
            handshake,
            is_http2,
            request: None,
            site: Rc::clone(&destination.site),
        };
        Ok((call, request))
    }

    /// The app that it is for.
    pub(super) fn site(&self) -> &Rc<Site> {
        &self.site
    }

    /// Has the request told of what comes for it before its answer. To be called once it is about to be sent.
    pub(super) fn listen(&self, request: &mut Request<RequestBody>) {
        self.interim.listen(request);
    }

    /// Keeps the request, to be sent later.
    pub(super) fn keep(&mut self, request: Request<RequestBody>) {
        self.request = Some(Box::new(request));
    }

    /// The request, to be sent.
    ///
    /// # Panics
    ///
    /// When it was taken before and not made ready again.
    pub(super) fn take(&mut self) -> Request<RequestBody> {
        let request = self.request.take();
        let mut request = *request.expect("a call is made ready before it is sent");
        self.listen(&mut request);
        request
    }

    /// On which terms it is sent at `now`.
    pub(super) fn terms(&self, fresh: bool, of_many: bool, now: Instant) -> Terms<'_> {
        Terms {
            patience: &self.patience,
            fresh,
            of_many,
            now,
        }
    }

    /// Whether its body is to be received before the app sees it.
    pub(super) fn is_received_first(&self) -> bool {
        self.again.as_ref().is_some_and(Again::is_received_first)
    }

    /// How long its answer may take.
    pub(super) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Receives its body before the app sees it, where that is asked for and there is room.
    ///
    /// # Errors
    ///
    /// When the client fails to send it.
    pub(super) async fn receive(
        &mut self,
        idle: Duration,
        record: &mut Record,
    ) -> Result<(), Reason> {
        match &mut self.again {
            Some(again) if again.is_received_first() => {
                again.receive(&self.site, idle, record).await
            }
            _ => Ok(()),
        }
    }

    /// Whether it may be taken from one generation to another although it has been written.
    pub(super) fn recall(&self) -> Recall {
        self.again.as_ref().map_or(Recall::Never, Again::recall)
    }

    /// Whether it is safe, and can be sent once more.
    pub(super) fn is_safe(&self) -> bool {
        self.again.as_ref().is_some_and(Again::is_safe)
    }

    /// Whether it may be sent again after it was written and failed like this.
    pub(super) fn may_follow(&self, failed: &Failed) -> bool {
        self.again
            .as_ref()
            .is_some_and(|again| again.may_follow(failed))
    }

    /// Makes it ready to be sent again: as it came back unwritten, or from what was kept.
    pub(super) fn prepare_again(&mut self, unwritten: Option<Request<RequestBody>>) {
        let kept = || self.again.as_ref().map(Again::request);
        self.request = unwritten.or_else(kept).map(Box::new);
    }

    /// Turns the app's answer into the client's, and tells how the request of `origin` ended.
    ///
    /// # Errors
    ///
    /// When it cannot be passed on.
    pub(super) fn answered(
        &mut self,
        reply: Reply,
        exchange: Exchange,
        origin: Origin,
        passage: &mut Passage,
    ) -> Result<Response<Source>, Reason> {
        let (client, record) = (&passage.client, &mut passage.record);
        let (mut response, mut carrier) = reply;
        exchange.answered();
        // Nothing of the request is needed again.
        self.again = None;
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if let Some(handshake) = &self.handshake
            && (switched || response.status().is_success())
            && !(switched && handshake.is_answered_by(&mut response))
        {
            // To a client of HTTP/2 any 2xx means that there is a tunnel now.
            exchange.ended(origin, true);
            return Err(Reason::BadUpgrade);
        }
        if switched {
            let generation = exchange.generation();
            let asked = self.upgrade.take();
            // That of a client of HTTP/2 goes on, with the tunnel as one of its streams.
            let seat = self.handshake.is_none().then(|| client.successor());
            let opened = tunnel::open(
                response,
                carrier,
                asked,
                exchange,
                (client.worker(), seat),
                record,
            );
            let outcomes = &generation.payload.outcomes;
            outcomes.ended(self.site.index(), origin, opened.is_err());
            return opened.map(|mut response| {
                if self.handshake.is_some() {
                    headers::without_upgrade(response.headers_mut());
                }
                response
            });
        }
        let bad = response.status().is_server_error();
        carrier.read_head(&response);
        let passable = headers::toward_client(&mut response);
        exchange.ended(origin, bad || passable.is_err());
        passable?;
        let config = self.site.config();
        if config.expose_generation {
            let number = HeaderValue::from(exchange.generation_id().get());
            response.headers_mut().insert(GENERATION, number);
        }
        let kind = stream_kind(response.headers());
        if let Some(kind) = kind.filter(|_| !response.body().is_end_stream()) {
            exchange.become_stream(kind);
            if kind == StreamKind::EventStream && client.worker().phase() != Phase::Serving {
                // Those that were there have been told by now.
                exchange.end_soon();
            }
        }
        let coding = kind.map(|_| coding(response.headers()));
        // Only HTTP/2 has trailers at every client.
        let has_trailers =
            kind == Some(StreamKind::Grpc) && self.is_http2 && is_plain_grpc(response.headers());
        Ok(response.map(|incoming| {
            let body = AppBody::new(incoming, exchange, carrier, &mut self.patience);
            Source::App(match kind.zip(coding) {
                None => body.with_limit(config.body_timeout),
                Some((StreamKind::EventStream, coding)) => body.with_events(coding),
                Some((StreamKind::Grpc, _)) if has_trailers => body.with_messages(),
                Some(_) => body,
            })
        }))
    }
}

/// What the head says about the body.
fn agree(found: &Found, app: &AppConfig) -> Agreed {
    let asks_app = found.expects_continue && app.expect == Expect::Forward;
    Agreed {
        expects_continue: found.expects_continue,
        bytes_max: (app.body_bytes_max > 0).then_some(app.body_bytes_max as u64),
        gate: asks_app.then(Gate::new),
        ..Agreed::default()
    }
}

/// RFC 9110 section 8.4: `identity` is no coding.
fn coding(headers: &HeaderMap) -> Coding {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let plain = values.all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if plain { Coding::Plain } else { Coding::Other }
}

/// Whether its body is messages of gRPC, and ends with its status in trailers.
fn is_plain_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(answer::is_plain_grpc)
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
