//! What became of a request that got no answer. Never decides whether it may be sent again.

use std::error::Error;
use std::io;

use http::Request;

use super::pool::Link;
use crate::data_plane::body::{Patience, RequestBody, UploadError};
use crate::telemetry::traffic::Reason;

/// A request that got no answer.
#[derive(Debug)]
pub(in crate::data_plane) struct Failed {
    pub(in crate::data_plane) failure: Failure,
    /// The request, where nothing of it was written.
    pub(in crate::data_plane) request: Option<Request<RequestBody>>,
    /// The app cannot have read the whole of it: it was not written to its end, or the connection was reset.
    pub(in crate::data_plane) untaken: bool,
}

/// What became of a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data_plane) enum Failure {
    /// Not written: the connection was refused.
    Refused,
    /// Not written: the connection was not accepted in time.
    ConnectTimedOut,
    /// Not written: no connection for another cause.
    ConnectFailed,
    /// Not written: hitless itself has no descriptor, port or memory left for a connection.
    NoSocket,
    /// Not written: a fresh connection closed before. (An idle one that did is replaced at once.)
    Unwritten,
    /// Not written: its host, or the key of its WebSocket, is nothing that HTTP/2 could bring to the app.
    BadRequest,
    /// Not written: it asks for a WebSocket, and the app takes none over HTTP/2.
    NoWebsockets,
    /// Written, and the app said that it had not looked at it: REFUSED_STREAM, or GOAWAY above it.
    NotTaken,
    /// Written on a connection that had been idle, which closed without a byte of the answer.
    LostReused,
    /// Written, and the connection closed without a byte of the answer.
    Lost,
    /// Written, and the answer began but its head did not end.
    Truncated,
    /// The head of the answer breaks a rule of HTTP.
    BadAnswer,
    /// The head of the answer is too large.
    AnswerTooLarge,
    /// The client's body breaks a rule of HTTP.
    BadBody,
    /// The client went away before its body was there.
    ClientGone,
    /// The client's body is larger than allowed.
    BodyTooLarge,
    /// The client's body made no progress.
    BodyTimedOut,
    /// The head of the answer did not come in time.
    AnswerTimedOut,
    /// The generation had to stop.
    Cut,
    /// The generation was failed over, and the request may go to the live one.
    Recalled,
}

/// What it means that hyper gave this error after it had taken the request.
pub(super) fn explain(error: &hyper::Error, link: &Link, patience: &Patience) -> Failure {
    if let Some(failure) = patience.body_failure() {
        failure
    } else if error.is_parse_too_large() {
        Failure::AnswerTooLarge
    } else if error.is_parse() {
        Failure::BadAnswer
    } else if link.has_heard() {
        Failure::Truncated
    } else {
        Failure::Lost
    }
}

/// The same for a stream of HTTP/2. `was_idle`: nothing else was under way on its connection.
pub(super) fn explain_stream(error: &hyper::Error, was_idle: bool, patience: &Patience) -> Failure {
    if let Some(failure) = patience.body_failure() {
        return failure;
    }
    match source_of::<h2::Error>(error) {
        // RFC 9113 section 8.7.
        Some(error) if error.is_remote() && error.is_go_away() => Failure::NotTaken,
        Some(error) if error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) => {
            Failure::NotTaken
        }
        Some(error) if error.is_library() => Failure::BadAnswer,
        _ if was_idle => Failure::LostReused,
        _ => Failure::Lost,
    }
}

/// Whether the other side reset the connection rather than ending it.
pub(super) fn is_reset(error: &hyper::Error) -> bool {
    system_error(error).is_some_and(is_reset_kind)
}

fn is_reset_kind(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// What the system said, as far as it is to blame.
fn system_error(error: &hyper::Error) -> Option<io::ErrorKind> {
    source_of::<io::Error>(error).map(io::Error::kind)
}

fn source_of<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

// === impl Failed ===

impl Failed {
    /// The same, on a connection that had been idle.
    pub(in crate::data_plane) fn on_reused(mut self) -> Self {
        if self.failure == Failure::Lost {
            self.failure = Failure::LostReused;
        }
        self
    }

    /// It failed before it reached a connection, or without a word of the connection's end.
    pub(super) fn boxed(failure: Failure, request: Option<Request<RequestBody>>) -> Box<Self> {
        Box::new(Self {
            failure,
            request,
            untaken: false,
        })
    }
}

// === impl Failure ===

impl Failure {
    /// What this error of the client's body means.
    pub(in crate::data_plane) fn of_body(error: &hyper::Error) -> Self {
        let is_end = |kind| kind == io::ErrorKind::UnexpectedEof || is_reset_kind(kind);
        // Over HTTP/2 it takes its stream back.
        let is_reset = source_of::<h2::Error>(error).is_some_and(h2::Error::is_remote);
        let is_ended = error.is_incomplete_message() || system_error(error).is_some_and(is_end);
        if is_reset || is_ended {
            Self::ClientGone
        } else {
            Self::BadBody
        }
    }

    /// Whether the app is to blame: it could not be reached, or gave no answer that can be passed on. An idle connection
    /// that had gone stale says nothing about the app.
    pub(in crate::data_plane) fn is_apps(self) -> bool {
        match self {
            Self::Refused
            | Self::ConnectTimedOut
            | Self::ConnectFailed
            | Self::Unwritten
            | Self::Lost
            | Self::Truncated
            | Self::BadAnswer
            | Self::AnswerTooLarge
            | Self::AnswerTimedOut => true,
            Self::NoSocket
            | Self::BadRequest
            | Self::NoWebsockets
            | Self::NotTaken
            | Self::LostReused
            | Self::BadBody
            | Self::ClientGone
            | Self::BodyTooLarge
            | Self::BodyTimedOut
            | Self::Cut
            | Self::Recalled => false,
        }
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused => Self::ConnectionRefused,
            Failure::ConnectTimedOut => Self::ConnectionTimeout,
            Failure::ConnectFailed | Failure::NoSocket => Self::ConnectionFailed,
            Failure::Unwritten
            | Failure::NotTaken
            | Failure::LostReused
            | Failure::Lost
            | Failure::Truncated => Self::ConnectionLost,
            Failure::BadAnswer => Self::BadAnswer,
            Failure::AnswerTooLarge => Self::AnswerTooLarge,
            Failure::BadBody | Failure::BadRequest => Self::BadRequest,
            Failure::NoWebsockets => Self::NoWebsockets,
            Failure::ClientGone => Self::ClientGone,
            Failure::BodyTooLarge => Self::BodyTooLarge,
            Failure::BodyTimedOut => Self::BodyTimeout,
            Failure::AnswerTimedOut => Self::AnswerTimeout,
            Failure::Cut | Failure::Recalled => Self::Cut,
        }
    }
}

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Client(error) => Self::of_body(&error),
            UploadError::TooLarge => Self::BodyTooLarge,
            UploadError::GivenUp(_) => Self::ClientGone,
        }
    }
}
