//! What is counted about one request, exactly once, whichever way it ends.

use std::rc::Rc;
use std::time::Duration;

use http::{Request, StatusCode};
use tokio::time::Instant;

use super::site::Ledger;
use crate::telemetry::traffic::{CodeClass, Method, Protocol, Reason};

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
}

// === impl Record ===

impl Record {
    /// The head of `request` has been read.
    pub(super) fn new<B>(ledger: &Rc<Ledger>, request: &Request<B>) -> Self {
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

    /// It waited so long for something that hitless does not do: to be let go, for its body, for an attempt that failed.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// It is being sent to the app.
    pub(super) fn sending(&mut self) {
        self.sent = Instant::now();
    }

    /// The app gave no answer that can be passed on.
    pub(super) fn not_answered(&mut self) {
        self.waited += self.sent.elapsed();
    }

    /// The head of the app's answer came.
    pub(super) fn head_came(&self) {
        let now = Instant::now();
        let (waited, total) = (now - self.sent, now - self.started);
        let overhead = total.saturating_sub(waited + self.waited);
        self.ledger.counters().head_came(waited, overhead);
    }

    /// hitless answers by itself.
    pub(super) fn answered(&self, reason: Reason) {
        self.ledger.counters().answered(reason);
    }

    /// The status that the client gets.
    pub(super) fn set_status(&mut self, status: StatusCode) {
        self.class = Some(status.into());
    }

    /// Bytes of the answer's body are on their way.
    pub(super) fn bytes_out(&self, bytes: u64) {
        self.ledger.counters().bytes_out(bytes);
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
        counters.request_ended(self.method, class, self.protocol, self.started.elapsed());
    }
}
