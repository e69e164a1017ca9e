//! Reads what a client still sends of a body that nobody wants: its answer is out, and it may not have read it yet.

use std::pin::Pin;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::data_plane::connection::LINGER_IDLE_MAX;
use crate::data_plane::wire::Busy;

/// The rest of a request body.
#[derive(Debug)]
pub(in crate::data_plane) struct Discard {
    incoming: Incoming,
    busy: Busy,
}

// === impl Discard ===

impl Discard {
    pub(super) fn new(incoming: Incoming, busy: Busy) -> Self {
        Self { incoming, busy }
    }

    /// Reads to the end, but neither for longer than `limit` nor from a client that has fallen silent. hyper closes the connection
    /// when the body is dropped before its end, and keeps it for the next request otherwise.
    pub(in crate::data_plane) async fn run(mut self, limit: Duration) {
        let until = Instant::now() + limit;
        while !Pin::new(&self.incoming).is_end_stream() {
            let idle_until = Instant::now() + LINGER_IDLE_MAX;
            match timeout_at(until.min(idle_until), self.incoming.frame()).await {
                Ok(Some(Ok(_))) => {}
                Ok(None) => break,
                Ok(Some(Err(_))) => return self.busy.pulse().cut_short(),
                Err(_) => return self.busy.pulse().give_up(),
            }
        }
        self.busy.pulse().forget_heard();
    }
}
