//! One exchange between a client and the app, and what was wrong with it.

use std::time::Duration;

use tokio::time::Instant;

/// The kinds of exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// A GET on a connection that is kept alive.
    Kept,
    /// A GET on a connection of its own.
    Fresh,
    /// A POST with a body, checked by its checksum.
    Upload,
    /// A GET that the app takes its time for.
    Slow,
    /// A long chunked answer, its content checked.
    Download,
    /// The handshake of a WebSocket.
    WebSocket,
    /// A message on a WebSocket and its echo.
    Echo,
}

/// One exchange that has ended.
#[derive(Clone, Debug)]
pub(in super::super) struct Exchange {
    pub(in super::super) kind: Kind,
    pub(in super::super) sent: Instant,
    /// From there to the head of the answer, less the time that the app took by its own account.
    pub(in super::super) wait: Option<Duration>,
    /// The version that answered; none if no app did.
    pub(in super::super) version: Option<u64>,
    /// What was wrong with it.
    pub(in super::super) trouble: Option<Trouble>,
}

/// What was wrong with an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Trouble {
    pub(in super::super) how: How,
    /// The same for people.
    pub(in super::super) what: String,
}

/// How an exchange failed, as far as a client can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum How {
    /// The app answered, with a status that is none of success.
    Refused,
    /// No app answered: the connection broke, or hitless said so.
    NoAnswer,
    /// The app's answer had begun, and ended before its end.
    BrokenOff,
    /// The answer is whole and wrong.
    Wrong,
}

// === impl Kind ===

impl Kind {
    /// In a sentence.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kept => "a GET",
            Self::Fresh => "a GET on a fresh connection",
            Self::Upload => "an upload",
            Self::Slow => "a slow GET",
            Self::Download => "a download",
            Self::WebSocket => "the opening of a WebSocket",
            Self::Echo => "a message on a WebSocket",
        }
    }
}

// === impl Trouble ===

impl Trouble {
    pub(in super::super) fn new(how: How, what: impl Into<String>) -> Self {
        Self {
            how,
            what: what.into(),
        }
    }
}
