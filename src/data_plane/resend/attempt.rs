//! One attempt to get a request answered.

use std::rc::Rc;

use http::Request;
use tokio::time::Instant;

use crate::data_plane::body::RequestBody;
use crate::data_plane::exchange::Exchange;
use crate::data_plane::upstream::{Failed, Link, Reply, Terms, Upstream};

/// An exchange with the connections that it may use.
#[derive(Debug)]
pub(in crate::data_plane) struct Attempt {
    pub(in crate::data_plane) upstream: Rc<Upstream>,
    pub(in crate::data_plane) exchange: Exchange,
    /// No idle connection may be taken.
    pub(in crate::data_plane) fresh: bool,
}

// === impl Attempt ===

impl Attempt {
    /// A connection of HTTP/1 that is idle at `now`. Of `of_many` see [`Terms`].
    pub(in crate::data_plane) fn idle_link(&self, now: Instant, of_many: bool) -> Option<Link> {
        self.upstream.idle_link(&self.exchange, now, of_many)
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// What became of it; with the request where nothing was written.
    pub(in crate::data_plane) async fn send(
        &self,
        request: Request<RequestBody>,
        terms: Terms<'_>,
    ) -> Result<Reply, Box<Failed>> {
        self.upstream.send(&self.exchange, request, terms).await
    }
}
