//! Where a request goes next: to the live generation, and after a failure to another instance, to the generation that
//! may stand in, or into the queue for the next live one. Also whether it may go anywhere again at all.
//!
//! Never after the first byte of an answer.

use std::rc::Rc;

use tokio::time::Instant;

use super::exchange::Exchange;
use super::hold::{NoTurn, Place, Seen, Turn};
use super::record::Record;
use super::upstream::{Failed, Failure, Upstream};
use super::worker::Site;
use crate::generation::Address;
use crate::live::{Backend, Lease};
use crate::telemetry::traffic::{Reason, ResendOutcome, ResendReason};

/// All attempts to get one request answered.
#[derive(Debug)]
pub(super) struct Attempts {
    site: Rc<Site>,
    next: Next,
    left: u32,
    tried: Vec<Address>,
    fresh: bool,
    seen: Seen,
    place: Option<Place>,
    hold_until: Option<Instant>,
    turn: Option<Turn>,
    resent: Option<ResendReason>,
}

/// An exchange with the connections that it may use.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) upstream: Rc<Upstream>,
    pub(super) exchange: Exchange,
    /// No idle connection may be taken.
    pub(super) fresh: bool,
}

/// Where to look for an instance.
#[derive(Clone, Copy, Debug)]
enum Next {
    Live,
    Fallback,
    Hold,
}

// === impl Attempts ===

impl Attempts {
    pub(super) fn new(site: &Rc<Site>) -> Self {
        Self {
            site: Rc::clone(site),
            next: Next::Live,
            left: site.app.config.resends,
            tried: Vec::new(),
            fresh: false,
            seen: Seen::default(),
            place: None,
            hold_until: None,
            turn: None,
            resent: None,
        }
    }

    /// The next attempt, held until there is somebody to go to.
    ///
    /// # Errors
    ///
    /// When it may not wait any longer.
    pub(super) async fn begin(&mut self, record: &mut Record) -> Result<Attempt, Reason> {
        loop {
            match self.next {
                Next::Live => {
                    if let Some(attempt) = self.begin_live() {
                        return Ok(attempt);
                    }
                }
                Next::Fallback => {
                    self.next = Next::Hold;
                    let lease = self.site.live.acquire_fallback();
                    if let Some(attempt) = lease.and_then(|lease| self.begin_with(lease)) {
                        return Ok(attempt);
                    }
                }
                Next::Hold => {
                    let since = Instant::now();
                    let held = self.hold().await;
                    record.held(since.elapsed());
                    held.inspect_err(|_| self.resent_as(ResendOutcome::Failed))?;
                    self.next = Next::Live;
                }
            }
        }
    }

    fn begin_live(&mut self) -> Option<Attempt> {
        self.next = Next::Hold;
        if self.turn.is_none() && self.tried.is_empty() && !self.site.hold.is_empty() {
            // Others have waited for longer.
            return None;
        }
        self.seen = self.site.hold.seen();
        let attempt = self.begin_with(self.site.live.acquire()?);
        if attempt.is_none() && !self.tried.is_empty() {
            self.next = Next::Fallback;
        }
        attempt
    }

    fn begin_with(&self, lease: Lease<Backend>) -> Option<Attempt> {
        let upstream = self.site.upstream(lease.generation());
        let exchange = upstream.begin(lease, &self.tried)?;
        Some(Attempt {
            upstream,
            exchange,
            fresh: self.fresh,
        })
    }

    async fn hold(&mut self) -> Result<(), Reason> {
        let hold = &self.site.hold;
        let place = *self.place.get_or_insert_with(|| hold.place());
        let timeout = self.site.app.config.hold_timeout;
        let until = *self
            .hold_until
            .get_or_insert_with(|| Instant::now() + timeout);
        self.turn = None;
        let turn = hold.wait(place, self.seen, until).await;
        self.turn = Some(turn.map_err(|no_turn| match no_turn {
            NoTurn::Full => Reason::HoldFull,
            NoTurn::TimedOut => Reason::HoldTimeout,
        })?);
        self.tried.clear();
        Ok(())
    }

    /// An attempt failed. Prepares the next one.
    ///
    /// # Errors
    ///
    /// What the client is to be told when there is none.
    pub(super) fn failed(
        &mut self,
        failed: &Failed,
        exchange: &Exchange,
        repeatable: bool,
    ) -> Result<(), Reason> {
        let may = match resendable(failed.failure) {
            Some((reason, Written::No)) if failed.request.is_some() => Some(reason),
            Some((reason, Written::Yes)) if repeatable => Some(reason),
            _ => None,
        };
        let Some(reason) = may.filter(|_| self.left > 0) else {
            self.resent_as(ResendOutcome::Failed);
            return Err(failed.failure.into());
        };
        self.resent_as(ResendOutcome::Failed);
        self.resent = Some(reason);
        self.left -= 1;
        self.fresh = true;
        if failed.failure != Failure::LostReused {
            // The others say something about the instance; that one only about an idle connection.
            self.tried.push(exchange.seat().pool().address().clone());
        }
        self.next = Next::Live;
        Ok(())
    }

    /// The app answered.
    pub(super) fn answered(&mut self) {
        self.resent_as(ResendOutcome::Answered);
    }

    fn resent_as(&mut self, outcome: ResendOutcome) {
        if let Some(reason) = self.resent.take() {
            self.site.counters().resent(reason, outcome);
        }
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        self.resent_as(ResendOutcome::Abandoned);
    }
}

/// Whether anything of a request was written.
enum Written {
    No,
    Yes,
}

/// What a request may be sent again after, and whether it must be one that may be repeated: RFC 9110 section 9.2.2.
fn resendable(failure: Failure) -> Option<(ResendReason, Written)> {
    match failure {
        Failure::Refused => Some((ResendReason::Refused, Written::No)),
        Failure::ConnectTimedOut => Some((ResendReason::ConnectTimeout, Written::No)),
        Failure::ConnectFailed => Some((ResendReason::ConnectFailed, Written::No)),
        Failure::Unwritten => Some((ResendReason::Stale, Written::No)),
        Failure::LostReused => Some((ResendReason::Stale, Written::Yes)),
        Failure::Lost => Some((ResendReason::Lost, Written::Yes)),
        Failure::Truncated
        | Failure::BadAnswer
        | Failure::AnswerTooLarge
        | Failure::BadBody
        | Failure::BodyTimedOut
        | Failure::AnswerTimedOut
        | Failure::Cut => None,
    }
}
