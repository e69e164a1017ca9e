//! Where a stream may end in the middle of its answer, so that its client takes it for what it is.

use bytes::Bytes;
use http::HeaderMap;

use super::events::Events;
use super::messages::Messages;
use crate::data_plane::answer;

/// Follows an answer to the places where it may end.
#[derive(Debug)]
pub(super) enum Boundary {
    /// Between two events.
    Events(Events),
    /// Between two messages of a gRPC call, with a status in trailers.
    Messages {
        messages: Messages,
        /// The status has been given out.
        told: bool,
    },
}

// === impl Boundary ===

impl Boundary {
    /// Of an event stream.
    pub(super) fn of_events() -> Self {
        Self::Events(Events::default())
    }

    /// Of a gRPC call.
    pub(super) fn of_messages() -> Self {
        Self::Messages {
            messages: Messages::default(),
            told: false,
        }
    }

    /// It is to end as soon as it can.
    pub(super) fn close(&mut self) {
        match self {
            Self::Events(events) => events.close(),
            Self::Messages { messages, .. } => messages.close(),
        }
    }

    /// Whether it ends here.
    pub(super) fn ends_here(&self) -> bool {
        match self {
            Self::Events(events) => events.ends_here(),
            Self::Messages { messages, .. } => messages.ends_here(),
        }
    }

    /// Whether it ends here and nothing more is to be said.
    pub(super) fn has_ended(&self) -> bool {
        self.ends_here() && !matches!(self, Self::Messages { told: false, .. })
    }

    /// Whether something that had come was left out.
    pub(super) fn was_cut(&self) -> bool {
        matches!(self, Self::Messages { messages, .. } if messages.was_cut())
    }

    /// What of `data` is passed on.
    pub(super) fn pass(&mut self, data: Bytes) -> Bytes {
        match self {
            Self::Events(events) => events.pass(data),
            Self::Messages { messages, .. } => messages.pass(data),
        }
    }

    /// What is to be said at its end, once.
    pub(super) fn farewell(&mut self) -> Option<HeaderMap> {
        match self {
            Self::Messages { told, .. } if !*told => {
                *told = true;
                Some(answer::closed_call())
            }
            Self::Messages { .. } | Self::Events(_) => None,
        }
    }
}
