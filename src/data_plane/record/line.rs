//! What the access log says about one request: noted while it passes, and handed to the pen when it is over, whichever
//! way that is.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::header::{REFERER, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use tokio::time::Instant;

use crate::data_plane::answer;
use crate::data_plane::connection::Client;
use crate::data_plane::exchange::Exchange;
use crate::data_plane::worker::Worker;
use crate::generation::AppName;
use crate::telemetry::access::{Draft, Pen, Text};
use crate::telemetry::traffic::{Broken, Reason};

/// nginx's word for a client that went away before it got an answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// One line, under way until it is dropped.
pub(in crate::data_plane) struct Line {
    pen: Rc<Pen>,
    /// There until the line is dropped.
    draft: Option<Box<Draft>>,
    end: End,
    /// How long it took, where somebody has looked at the clock already.
    time: Option<Duration>,
    /// Bytes of the request's body, where it has one.
    body: Option<Rc<Cell<u64>>>,
}

/// Whether the client can have all of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Something is still to come.
    Open,
    /// Nothing is.
    Complete,
    /// It was broken off.
    Broken(Broken),
}

// === impl Line ===

impl Line {
    /// The head of `request` was read at `started`. None: there is no access log.
    pub(super) fn begin<B>(
        client: &Client,
        app: Option<&AppName>,
        request: &Request<B>,
        started: Instant,
    ) -> Option<Self> {
        let mut line = Self::of(client.worker(), app, client.address(), started)?;
        let (uri, headers) = (request.uri(), request.headers());
        // CONNECT has an authority alone.
        let path = uri.path_and_query().map(http::uri::PathAndQuery::as_str);
        let path = path.or_else(|| uri.authority().map(http::uri::Authority::as_str));
        line.note(|draft| {
            draft.entry.protocol = request.version().into();
            draft.set(Text::Method, request.method().as_str().as_bytes());
            draft.set(Text::Path, path.unwrap_or("/").as_bytes());
            for (text, name) in [(Text::UserAgent, USER_AGENT), (Text::Referer, REFERER)] {
                if let Some(value) = headers.get(name) {
                    draft.set(text, value.as_bytes());
                }
            }
        });
        if request.method() == Method::HEAD {
            line.end = End::Complete;
        }
        Some(line)
    }

    /// What came never became a request, for `reason`: the whole line.
    pub(in crate::data_plane) fn refused(
        worker: &Worker,
        app: Option<&AppName>,
        client: Option<IpAddr>,
        reason: Reason,
    ) {
        if let Some(mut line) = Self::of(worker, app, client, Instant::now()) {
            line.set_status(answer::status(reason));
            line.answered(reason);
            line.end = End::Complete;
        }
    }

    fn of(
        worker: &Worker,
        app: Option<&AppName>,
        client: Option<IpAddr>,
        started: Instant,
    ) -> Option<Self> {
        let pen = worker.pen()?;
        let mut draft = pen.begin(started);
        draft.entry.client = client;
        if let Some(app) = app {
            draft.set(Text::App, app.as_str().as_bytes());
        }
        Some(Self {
            pen,
            draft: Some(draft),
            end: End::Open,
            time: None,
            body: None,
        })
    }

    /// What the request is called, and whom it is for.
    pub(super) fn named(&mut self, id: &HeaderValue, client: Option<IpAddr>) {
        self.note(|draft| {
            draft.set(Text::RequestId, id.as_bytes());
            draft.entry.client = client.or(draft.entry.client);
        });
    }

    /// It goes to the app; `again` if it did before.
    pub(super) fn sending(&mut self, exchange: &Exchange, again: bool) {
        let (generation, instance) = (exchange.generation_id(), exchange.seat().pool().number());
        self.note(|draft| {
            draft.entry.generation = Some(generation);
            draft.entry.instance = Some(instance);
            draft.entry.resends += u32::from(again);
        });
    }

    pub(super) fn held(&mut self, time: Duration) {
        self.note(|draft| draft.entry.hold += time);
    }

    pub(super) fn head_came(&mut self, after: Duration) {
        self.note(|draft| draft.entry.upstream_head = Some(after));
    }

    pub(super) fn answered(&mut self, reason: Reason) {
        self.note(|draft| draft.entry.reason = Some(reason.as_str()));
    }

    pub(super) fn set_status(&mut self, status: StatusCode) {
        self.note(|draft| draft.entry.status = status.as_u16());
    }

    /// Bytes of the answer, or of the tunnel to the client.
    pub(in crate::data_plane) fn bytes_out(&mut self, bytes: u64) {
        self.note(|draft| draft.entry.bytes_out += bytes);
    }

    /// Bytes of the tunnel from the client.
    pub(in crate::data_plane) fn bytes_in(&mut self, bytes: u64) {
        self.note(|draft| draft.entry.bytes_in += bytes);
    }

    /// Where the bytes of the request's body are to be added up.
    pub(super) fn body(&mut self) -> Rc<Cell<u64>> {
        Rc::clone(self.body.get_or_insert_default())
    }

    /// It is over, after so long.
    pub(super) fn took(&mut self, time: Duration) {
        self.time = Some(time);
    }

    /// The last byte of the answer is out.
    pub(super) fn completed(&mut self) {
        self.end = End::Complete;
    }

    /// The answer was broken off.
    pub(super) fn broke(&mut self, why: Broken) {
        self.end = End::Broken(why);
    }

    fn note(&mut self, note: impl FnOnce(&mut Draft)) {
        if let Some(draft) = &mut self.draft {
            note(draft);
        }
    }

    fn finish(&self, draft: &mut Draft) {
        let entry = &mut draft.entry;
        entry.total = self.time.unwrap_or_else(|| entry.started.elapsed());
        if let Some(body) = &self.body {
            entry.bytes_in += body.get();
        }
        let broken = match self.end {
            _ if std::thread::panicking() => Some(Reason::Internal.as_str()),
            End::Open => Some(Broken::ClientGone.as_str()),
            End::Broken(why) => Some(why.as_str()),
            End::Complete if entry.status == 0 => Some(Broken::ClientGone.as_str()),
            End::Complete => None,
        };
        if entry.reason == Some(Reason::ClientGone.as_str()) {
            // Whatever is still tried to be sent: nobody waits for it.
            entry.status = CLIENT_CLOSED_REQUEST;
        }
        entry.reason = entry.reason.or(broken);
        if entry.status == 0 {
            entry.status = if std::thread::panicking() {
                answer::status(Reason::Internal).as_u16()
            } else {
                CLIENT_CLOSED_REQUEST
            };
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(mut draft) = self.draft.take() {
            self.finish(&mut draft);
            self.pen.end(draft);
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("draft", &self.draft)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
