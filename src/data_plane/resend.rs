//! Where a request goes next: to the live generation, and after a failure to another instance, to the generation that
//! may stand in, or into the queue for the next live one. Also whether it may go anywhere again at all.
//!
//! Never after the first byte of an answer.

mod budget;

pub(super) use self::budget::Budget;

use std::rc::Rc;

use http::StatusCode;
use tokio::time::Instant;

use super::exchange::{Exchange, Recall};
use super::hold::{NoTurn, Place, Seen, Turn};
use super::record::Record;
use super::upstream::{Failed, Failure, Upstream};
use super::worker::Site;
use crate::generation::{Address, GenerationId};
use crate::live::{Backend, Lease, Origin, Trust};
use crate::telemetry::traffic::{Reason, ResendOutcome, ResendReason};

/// All attempts to get one request answered.
#[derive(Debug)]
pub(super) struct Attempts {
    site: Rc<Site>,
    next: Next,
    left: u32,
    /// Instances that failed. An address says nothing about those of another generation.
    tried: Vec<(GenerationId, Address)>,
    failed_at: FailedAt,
    /// It has been sent, and so waits behind no newcomer.
    begun: bool,
    fresh: bool,
    recall: Recall,
    rescued: bool,
    /// What a rescue has begun already.
    ready: Option<Attempt>,
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

/// Which generations have failed to answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailedAt {
    None,
    One(GenerationId),
    Several,
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
    /// Those of a request that came at `since`.
    pub(super) fn new(site: &Rc<Site>, since: Instant) -> Self {
        site.budget.request_came(since);
        Self {
            site: Rc::clone(site),
            next: Next::Live,
            left: site.app.config.resends,
            tried: Vec::new(),
            failed_at: FailedAt::None,
            begun: false,
            fresh: false,
            recall: Recall::Never,
            rescued: false,
            ready: None,
            seen: Seen::default(),
            place: None,
            hold_until: None,
            turn: None,
            resent: None,
        }
    }

    /// The next attempt, held until there is somebody to go to. `recall` says whether it may be taken from there again.
    ///
    /// # Errors
    ///
    /// When it may not wait any longer.
    pub(super) async fn begin(
        &mut self,
        record: &mut Record,
        recall: Recall,
    ) -> Result<Attempt, Reason> {
        self.recall = recall;
        if let Some(attempt) = self.ready.take() {
            return Ok(attempt);
        }
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
        if self.turn.is_none() && !self.begun && !self.site.hold.is_empty() {
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

    fn begin_with(&mut self, lease: Lease<Backend>) -> Option<Attempt> {
        let generation = lease.generation().id();
        let tried = self.tried.iter().filter(|tried| tried.0 == generation);
        let avoid: Vec<_> = tried.map(|(_, address)| address.clone()).collect();
        let upstream = self.site.upstream(lease.generation());
        let exchange = upstream.begin(lease, &avoid, self.recall)?;
        self.begun = true;
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

    /// An attempt failed. Prepares the next one; `repeatable` says whether the request may be sent again although it was
    /// written.
    ///
    /// # Errors
    ///
    /// What the client is to be told when there is none.
    pub(super) fn failed(
        &mut self,
        failed: &Failed,
        attempt: &Attempt,
        repeatable: bool,
    ) -> Result<(), Reason> {
        let failure = failed.failure;
        if failure.is_apps() {
            attempt.exchange.ended(self.origin(attempt), true);
        }
        self.resent_as(ResendOutcome::Failed);
        let may = match resendable(failure) {
            Some((reason, written @ Written::No)) if failed.request.is_some() => {
                Some((reason, written))
            }
            Some((reason, written @ Written::Yes)) if repeatable => Some((reason, written)),
            _ => None,
        };
        let paid = may.filter(|(reason, written)| self.pays(*reason, *written));
        let (reason, _) = paid.ok_or(failure)?;
        self.resent = Some(reason);
        self.fresh = true;
        if failure != Failure::LostReused {
            // The others say something about the instance; that one only about an idle connection.
            let address = attempt.exchange.seat().pool().address().clone();
            self.tried.push((attempt.upstream.generation(), address));
            self.failed_at(attempt);
        }
        self.next = Next::Live;
        Ok(())
    }

    /// Whether one more attempt fits within what is allowed. A recall always does: a failover makes only so many. The
    /// budget keeps requests from multiplying at an app in trouble; one that was not written has not reached any.
    fn pays(&mut self, reason: ResendReason, written: Written) -> bool {
        if reason == ResendReason::Failover {
            return true;
        }
        if self.left == 0 {
            return false;
        }
        let fits = match written {
            Written::No => true,
            Written::Yes => self.site.budget.take(Instant::now()),
        };
        if fits {
            self.left -= 1;
        } else {
            let counters = self.site.counters();
            counters.resent(reason, ResendOutcome::OverBudget);
        }
        fits
    }

    /// A safe request got an answer that [is rescuable](is_rescuable). Begins one more attempt, once, where the generation
    /// is not trusted and there is another one to ask; the answer is to be dropped then. Should the other one fail to
    /// answer, the first may be asked again, and the client gets what it says.
    pub(super) fn rescue(&mut self, attempt: &Attempt) -> bool {
        if self.rescued || !self.site.app.config.rescue_5xx {
            return false;
        }
        let lease = match attempt.exchange.generation().payload.outcomes.trust() {
            Trust::Full => None,
            Trust::Probation => self.site.live.acquire_fallback(),
            Trust::Fallen => self.site.live.acquire(),
        };
        let from = attempt.upstream.generation();
        let other = lease.filter(|lease| lease.generation().id() != from);
        let fresh = std::mem::replace(&mut self.fresh, true);
        self.ready = other.and_then(|lease| self.begin_with(lease));
        if self.ready.is_none() {
            self.fresh = fresh;
            return false;
        }
        attempt.exchange.ended(self.origin(attempt), true);
        self.failed_at(attempt);
        self.answered();
        self.resent = Some(ResendReason::Rescue);
        self.rescued = true;
        true
    }

    /// Whether the request came to this generation first.
    pub(super) fn origin(&self, attempt: &Attempt) -> Origin {
        match self.failed_at {
            FailedAt::None => Origin::Own,
            FailedAt::One(generation) if generation == attempt.upstream.generation() => Origin::Own,
            FailedAt::One(_) | FailedAt::Several => Origin::Rescued,
        }
    }

    fn failed_at(&mut self, attempt: &Attempt) {
        let generation = attempt.upstream.generation();
        self.failed_at = match self.failed_at {
            FailedAt::None => FailedAt::One(generation),
            FailedAt::One(before) if before == generation => FailedAt::One(generation),
            FailedAt::One(_) | FailedAt::Several => FailedAt::Several,
        };
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

/// Whether an answer with this status is none that a client should get from a generation that is not trusted.
pub(super) fn is_rescuable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether anything of a request was written.
#[derive(Clone, Copy, Debug)]
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
        Failure::Recalled => Some((ResendReason::Failover, Written::Yes)),
        Failure::Truncated
        | Failure::BadAnswer
        | Failure::AnswerTooLarge
        | Failure::BadBody
        | Failure::BodyTimedOut
        | Failure::AnswerTimedOut
        | Failure::Cut => None,
    }
}
