//! The bodies of a request and of its answer while they are passed on, frame by frame. Nothing of an answer is kept, and
//! of a request only what it may be sent again with.
//!
//! Every wrapper is honest about its end and its size, for hyper frames the message by them.

mod agreed;
mod boundary;
mod buffers;
mod cut;
mod discard;
mod events;
mod fault;
mod gate;
mod messages;
mod patience;
mod request;
mod store;
mod upload;

pub(super) use self::agreed::Agreed;
pub(super) use self::buffers::{Buffers, Room};
pub(super) use self::cut::Cut;
pub(super) use self::discard::Discard;
pub(super) use self::fault::UploadError;
pub(super) use self::gate::{Gate, Key};
pub(super) use self::patience::Patience;
pub(super) use self::request::RequestBody;
pub(super) use self::upload::{Claim, Received};

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use self::boundary::Boundary;
use self::upload::Upload;
use super::exchange::{Exchange, Order};
use super::headers;
use super::record::Record;
use super::upstream::Carrier;
use super::wire::Busy;
use crate::telemetry::traffic::Broken;

/// The body of an answer on its way to the client.
#[derive(Debug)]
pub(super) struct AnswerBody {
    source: Source,
    record: Option<Record>,
    _busy: Option<Busy>,
}

/// Where the body of an answer comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// hitless.
    Whole(Bytes),
    /// The app.
    App(AppBody),
}

/// The body of the app's answer. The exchange lasts as long as it.
#[derive(Debug)]
pub(super) struct AppBody {
    incoming: Incoming,
    exchange: Exchange,
    carrier: Option<Carrier>,
    upload: Option<Rc<Upload>>,
    /// How long it may make no progress; none: as long as it likes.
    limit: Option<Duration>,
    deadline: Option<Instant>,
    /// Where it may end before its end; none: it can only be broken off.
    boundary: Option<Boundary>,
}

/// How the text of an event stream is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Plain,
    /// Compressed, or something else that `Content-Encoding` names.
    Other,
}

/// Why an answer did not reach its end. The client's connection is broken off, so that it can tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the app's answer ended early: {0}")]
    App(#[from] hyper::Error),
    #[error("the app's answer made no progress")]
    Stalled,
    #[error("the generation had to stop")]
    BrokenOff,
}

// === impl AnswerBody ===

impl AnswerBody {
    /// Lasts, with all that it keeps alive, until its last byte is with hyper.
    pub(super) fn new(source: Source, record: Option<Record>, busy: Option<Busy>) -> Self {
        let mut record = record;
        if let Some(record) = record.as_mut().filter(|_| source.is_end_stream()) {
            // hyper does not ask for what it knows not to be there.
            record.completed();
        }
        Self {
            source,
            record,
            _busy: busy,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let me = self.get_mut();
        let polled = match &mut me.source {
            Source::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::App(body) => body.poll_frame(cx),
        };
        if let Some(record) = &mut me.record {
            match &polled {
                Poll::Pending => {}
                Poll::Ready(None) => record.completed(),
                Poll::Ready(Some(Err(error))) => record.broke(error.broken()),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        record.bytes_out(data.len() as u64);
                    }
                    if me.source.is_end_stream() {
                        record.completed();
                    }
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::App(body) => body.incoming.size_hint(),
        }
    }
}

// === impl Source ===

impl Source {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::App(body) => body.is_end_stream(),
        }
    }
}

// === impl Error ===

impl Error {
    fn broken(&self) -> Broken {
        match self {
            Self::App(_) => Broken::AnswerLost,
            Self::Stalled => Broken::AnswerStalled,
            Self::BrokenOff => Broken::BrokenOff,
        }
    }
}

// === impl AppBody ===

impl AppBody {
    /// The rest of an answer whose head came by `carrier`.
    pub(super) fn new(
        incoming: Incoming,
        exchange: Exchange,
        carrier: Carrier,
        patience: &mut Patience,
    ) -> Self {
        let mut body = Self {
            incoming,
            exchange,
            carrier: Some(carrier),
            upload: patience.upload.take(),
            limit: None,
            deadline: None,
            boundary: None,
        };
        if body.incoming.is_end_stream() {
            body.end();
        }
        body
    }

    /// Sets how long it may make no progress; zero: as long as it likes.
    pub(super) fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = (!limit.is_zero()).then_some(limit);
        self
    }

    /// Its manner of closing is to end between two events. One of known length, or in a `coding` in which nobody sees where
    /// an event ends, can only be broken off.
    pub(super) fn with_events(mut self, coding: Coding) -> Self {
        if self.is_endless() && coding == Coding::Plain {
            self.boundary = Some(Boundary::of_events());
        }
        self
    }

    /// Its manner of closing is to end between two messages of gRPC with a status in trailers, which the client takes.
    pub(super) fn with_messages(mut self) -> Self {
        if self.is_endless() {
            self.boundary = Some(Boundary::of_messages());
        }
        self
    }

    fn is_endless(&self) -> bool {
        self.incoming.size_hint().exact().is_none()
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(error) = self.obey() {
            return Poll::Ready(Some(Err(error)));
        }
        if self.boundary.as_ref().is_some_and(Boundary::ends_here) {
            return Poll::Ready(self.last(cx));
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => {
                self.wait(cx);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                if self.deadline.take().is_some() {
                    self.exchange.progress();
                }
                // Nothing follows trailers, though hyper knows it only when it is asked once more.
                if self.incoming.is_end_stream() || frame.is_trailers() {
                    self.end();
                }
                Poll::Ready(Some(Ok(self.passed(frame))))
            }
            Poll::Ready(Some(Err(error))) => {
                self.carrier = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.boundary.as_ref().is_some_and(Boundary::has_ended);
        ended || self.incoming.is_end_stream()
    }

    /// The last frame of an answer that is ended here. The app's own end goes before, if it is there by now and nothing was
    /// left out.
    fn last(&mut self, cx: &mut Context<'_>) -> Option<Result<Frame<Bytes>, Error>> {
        let boundary = self.boundary.as_mut()?;
        let farewell = boundary.farewell()?;
        if boundary.was_cut() {
            return Some(Ok(Frame::trailers(farewell)));
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(None) => {
                self.end();
                None
            }
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                self.end();
                Some(Ok(self.passed(frame)))
            }
            _ => Some(Ok(Frame::trailers(farewell))),
        }
    }

    /// Does as it was told, or says why it must be broken off.
    fn obey(&mut self) -> Option<Error> {
        match (self.exchange.order()?, &mut self.boundary) {
            (Order::Look | Order::Recall, _) => {
                let late = self
                    .deadline
                    .is_some_and(|deadline| deadline <= Instant::now());
                late.then_some(Error::Stalled)
            }
            (Order::Close, Some(boundary)) => {
                boundary.close();
                None
            }
            (Order::Close | Order::Break, _) => Some(Error::BrokenOff),
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        if self.deadline.is_none() {
            self.deadline = self.limit.map(|limit| Instant::now() + limit);
        }
        self.exchange.park(cx, self.deadline);
    }

    fn passed(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match (frame.into_data(), &mut self.boundary) {
            (Ok(data), Some(boundary)) => Frame::data(boundary.pass(data)),
            (Ok(data), None) => Frame::data(data),
            (Err(mut frame), _) => {
                if let Some(trailers) = frame.trailers_mut() {
                    headers::clean_trailers(trailers);
                }
                frame
            }
        }
    }

    /// All of it was read: the connection can be used again, unless the request's body is still on it.
    fn end(&mut self) {
        let uploaded = self.upload.as_ref().is_none_or(|upload| upload.has_ended());
        if let Some(carrier) = self.carrier.take()
            && uploaded
        {
            self.exchange.seat().give_back(carrier);
        }
    }
}
