//! What is counted and noted about one request, exactly once, whichever way it ends.

mod line;

pub(super) use self::line::Line;

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode};
use http_body::Body;
use tokio::time::Instant;

use super::connection::Client;
use super::exchange::Exchange;
use super::site::{Ledger, Site};
use crate::telemetry::traffic::{Broken, CodeClass, Method, Protocol, Reason};

/// One request, from its head to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Record {
    ledger: Rc<Ledger>,
    method: Method,
    protocol: Protocol,
    class: Option<CodeClass>,
    started: Instant,
    /// What others took so far, besides the attempt under way.
    waited: Duration,
    sent: Instant,
    /// It has been sent to the app.
    was_sent: bool,
    /// Its line in the access log; none where there is no log, or a tunnel goes on with it.
    line: Option<Line>,
}

/// A request that is held.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    record: &'a mut Record,
    since: Instant,
}

// === impl Waiting ===

impl Waiting<'_> {
    /// When that began.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// It is let go, after this time.
    pub(super) fn end(self) -> Duration {
        self.since.elapsed()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.record.held(self.since.elapsed());
    }
}

// === impl Record ===

impl Record {
    /// The head of `request` has been read.
    /// Without a `site` no app is found for it.
    pub(super) fn new<B>(site: Option<&Rc<Site>>, client: &Client, request: &Request<B>) -> Self {
        let ledger = match site {
            Some(site) => site.ledger(),
            None => client.worker().strays(),
        };
        let app = site.map(|site| &site.app.name);
        ledger.counters().request_began();
        let started = Instant::now();
        Self {
            ledger: Rc::clone(ledger),
            method: Method::from(request.method()),
            protocol: Protocol::from(request.version()),
            class: None,
            started,
            waited: Duration::ZERO,
            sent: started,
            was_sent: false,
            line: Line::begin(client, app, request, started),
        }
    }

    /// Where it is counted.
    pub(super) fn ledger(&self) -> &Rc<Ledger> {
        &self.ledger
    }

    /// When its head had been read.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// What it is called in logs and error answers, and whom it is for, as far as a trusted proxy says.
    pub(super) fn named(&mut self, id: &HeaderValue, client: Option<IpAddr>) {
        self.note(|line| line.named(id, client));
    }

    /// Where the bytes of its body are to be added up; none: nobody asks.
    pub(super) fn counter_of(&mut self, body: &impl Body) -> Option<Rc<Cell<u64>>> {
        let line = self.line.as_mut().filter(|_| !body.is_end_stream());
        line.map(Line::body)
    }

    /// It waits to be let go, until what this gives ends or is dropped: the client may leave.
    pub(super) fn hold(&mut self) -> Waiting<'_> {
        Waiting {
            record: self,
            since: Instant::now(),
        }
    }

    fn held(&mut self, time: Duration) {
        self.waited(time);
        self.note(|line| line.held(time));
    }

    /// It waited so long for something that hitless does not do: to be let go, for its body, for an attempt that failed.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// It is being sent to the app; says when.
    pub(super) fn sending(&mut self, exchange: &Exchange) -> Instant {
        self.sent = Instant::now();
        let again = std::mem::replace(&mut self.was_sent, true);
        self.note(|line| line.sending(exchange, again));
        self.sent
    }

    /// The app gave no answer that can be passed on.
    pub(super) fn not_answered(&mut self) {
        self.waited += self.sent.elapsed();
    }

    /// The head of the app's answer came.
    pub(super) fn head_came(&mut self) {
        let now = Instant::now();
        let (waited, total) = (now - self.sent, now - self.started);
        let overhead = total.saturating_sub(waited + self.waited);
        self.ledger.counters().head_came(waited, overhead);
        self.note(|line| line.head_came(waited));
    }

    /// hitless answers by itself.
    pub(super) fn answered(&mut self, reason: Reason) {
        self.ledger.counters().answered(reason);
        self.note(|line| line.answered(reason));
    }

    /// The status that the client gets.
    pub(super) fn set_status(&mut self, status: StatusCode) {
        self.class = Some(status.into());
        self.note(|line| line.set_status(status));
    }

    /// Bytes of the answer's body are on their way.
    pub(super) fn bytes_out(&mut self, bytes: u64) {
        self.ledger.counters().bytes_out(bytes);
        self.note(|line| line.bytes_out(bytes));
    }

    /// The last byte of the answer is on its way.
    pub(super) fn completed(&mut self) {
        self.note(Line::completed);
    }

    /// The answer was broken off.
    pub(super) fn broke(&mut self, why: Broken) {
        self.note(|line| line.broke(why));
    }

    /// The tunnel that it has become goes on with its line.
    pub(super) fn take_line(&mut self, status: StatusCode) -> Option<Line> {
        let mut line = self.line.take()?;
        line.set_status(status);
        line.completed();
        Some(line)
    }

    fn note(&mut self, note: impl FnOnce(&mut Line)) {
        if let Some(line) = &mut self.line {
            note(line);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let unanswered = if std::thread::panicking() {
            CodeClass::ServerError
        } else {
            // The client went away first.
            CodeClass::ClientError
        };
        let class = self.class.unwrap_or(unanswered);
        let counters = self.ledger.counters();
        let time = self.started.elapsed();
        counters.request_ended(self.method, class, self.protocol, time);
        self.note(|line| line.took(time));
    }
}
