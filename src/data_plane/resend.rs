//! Where a request goes next: to the live generation, and after a failure to another instance, to the generation that
//! may stand in, or into the queue for the next live one. Also whether it may go anywhere again at all.
//!
//! Never after the first byte of an answer.

mod attempt;
mod budget;
mod rescuer;

pub(super) use self::attempt::Attempt;
pub(super) use self::budget::Budget;

use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use self::rescuer::Rescuer;
use super::body::Patience;
use super::exchange::Recall;
use super::hold::{NoTurn, Place, Seen, Turn};
use super::record::Record;
use super::site::Site;
use super::upstream::{Failed, Failure};
use crate::generation::{Address, GenerationId};
use crate::live::{Backend, Lease, Origin, Trust};
use crate::telemetry::traffic::{HoldOutcome, Reason, ResendOutcome, ResendReason};

/// How long a request that was lost waits for another instance to come. An instance that has died is out of the balance by
/// then; one that is still there has only lost this request, and may be asked again.
const SECOND_LOOK: Duration = Duration::from_millis(250);

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
    /// What has begun already.
    ready: Option<Attempt>,
    /// The generation that is to rescue it.
    rescuer: Option<Rescuer>,
    seen: Seen,
    place: Option<Place>,
    /// How long it may still be held.
    hold_left: Duration,
    /// An instance that took the request and lost it may be asked again, if it turns out to be alive.
    may_live: bool,
    turn: Option<Turn>,
    resent: Option<ResendReason>,
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
    Fallback {
        /// Where to look when there is none.
        after: After,
    },
    Hold,
}

/// Where to look when no fallback is there.
#[derive(Clone, Copy, Debug)]
enum After {
    Live,
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
            left: site.config().resends,
            tried: Vec::new(),
            failed_at: FailedAt::None,
            begun: false,
            fresh: false,
            recall: Recall::Never,
            rescued: false,
            ready: None,
            rescuer: None,
            seen: Seen::default(),
            place: None,
            hold_left: site.config().hold_timeout,
            may_live: false,
            turn: None,
            resent: None,
        }
    }

    /// The next attempt, held until there is somebody to go to. `recall` says whether it may be taken from there again;
    /// one that has been sent before is held no longer than it may be waited for.
    ///
    /// # Errors
    ///
    /// When it may not wait any longer.
    pub(super) async fn begin(
        &mut self,
        record: &mut Record,
        recall: Recall,
        patience: &Patience,
    ) -> Result<Attempt, Reason> {
        self.recall = recall;
        let deadline = patience.deadline().filter(|_| self.begun);
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
                Next::Fallback { after } => {
                    self.next = after.into();
                    let lease = self.site.live.acquire_fallback();
                    if let Some(attempt) = lease.and_then(|lease| self.begin_with(lease)) {
                        return Ok(attempt);
                    }
                }
                Next::Hold => {
                    let waiting = record.hold();
                    let held = self.hold(waiting.since(), deadline).await;
                    let time = waiting.end();
                    self.hold_left = self.hold_left.saturating_sub(time);
                    held.inspect_err(|_| self.resent_as(ResendOutcome::Failed))?;
                    if !self.begun {
                        patience.starts_now();
                    }
                    self.next = Next::Live;
                }
            }
        }
    }

    /// The first attempt, where there is a live generation and nobody has waited for longer.
    pub(super) fn begin_at_once(&mut self, recall: Recall) -> Option<Attempt> {
        self.recall = recall;
        self.begin_live()
    }

    /// Has `attempt` be the next one.
    pub(super) fn put_off(&mut self, attempt: Attempt) {
        self.ready = Some(attempt);
    }

    fn begin_live(&mut self) -> Option<Attempt> {
        self.next = Next::Hold;
        if self.turn.is_none() && !self.begun && self.site.hold.has_others_to_go() {
            // Others have waited for longer.
            return None;
        }
        self.seen = self.site.hold.seen();
        let attempt = self.begin_with(self.site.live.acquire()?);
        if attempt.is_none() && !self.tried.is_empty() {
            self.next = Next::Fallback { after: After::Hold };
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

    async fn hold(
        &mut self,
        now: Instant,
        deadline: Option<(Instant, Failure)>,
    ) -> Result<(), Reason> {
        let hold = &self.site.hold;
        let place = *self.place.get_or_insert_with(|| hold.place());
        self.turn = None;
        let (end, reason) = match deadline {
            Some((at, failure)) if at < now + self.hold_left => (at, failure.into()),
            _ => (now + self.hold_left, Reason::HoldTimeout),
        };
        let look = now + SECOND_LOOK;
        let turn = if self.may_live && look < end {
            let turn = hold.wait(place, self.seen, look, HoldOutcome::Released);
            turn.await.map(Some).or_else(|no_turn| match no_turn {
                NoTurn::TimedOut => Ok(None),
                NoTurn::Full | NoTurn::Removed => Err(no_turn),
            })
        } else {
            let turn = hold.wait(place, self.seen, end, HoldOutcome::TimedOut);
            turn.await.map(Some)
        };
        self.turn = turn.map_err(|no_turn| match no_turn {
            NoTurn::Full => Reason::HoldFull,
            NoTurn::TimedOut => reason,
            NoTurn::Removed => Reason::Removed,
        })?;
        self.tried.clear();
        self.may_live = false;
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
            // It was written, and yet nobody has seen it.
            Some((reason, written)) if failure == Failure::NotTaken && repeatable => {
                Some((reason, written))
            }
            Some((reason, written @ Written::Yes)) if repeatable => Some((reason, written)),
            _ => None,
        };
        let paid = may.filter(|(reason, written)| self.pays(*reason, *written));
        // The others say something about the instance; these only about a connection.
        let of_connection = matches!(failure, Failure::LostReused | Failure::NotTaken);
        if paid.is_none() && of_connection {
            // Once it is all that the client gets, it is the app's answer.
            attempt.exchange.ended(self.origin(attempt), true);
        }
        let (reason, _) = paid.ok_or(failure)?;
        self.resent = Some(reason);
        self.fresh = true;
        self.may_live = failure == Failure::Lost;
        if !of_connection {
            let address = attempt.exchange.seat().pool().address().clone();
            self.tried.push((attempt.upstream.generation(), address));
            self.failed_at(attempt);
        }
        let last = self.left == 0 && reason != ResendReason::Failover;
        self.next = if last && !of_connection {
            // The last try goes to where there is most hope.
            Next::Fallback { after: After::Live }
        } else {
            Next::Live
        };
        Ok(())
    }

    /// Whether one more attempt fits within what is allowed. A recall always does: a failover makes only so many. So does
    /// one after a refusal, which costs no time and reached nobody: it goes to each instance once. The budget keeps
    /// requests from multiplying at an app in trouble; one that was not written has not reached any.
    fn pays(&mut self, reason: ResendReason, written: Written) -> bool {
        match reason {
            ResendReason::Failover => return true,
            ResendReason::Refused => return self.site.config().resends > 0,
            _ if self.left == 0 => return false,
            _ => {}
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
        if self.rescued || !self.site.config().rescue_5xx {
            return false;
        }
        let mut trust = Trust::Full;
        attempt
            .exchange
            .outcomes(|outcomes| trust = outcomes.trust());
        let live = &self.site.live;
        let from = attempt.upstream.generation();
        let other = |lease: &Lease<Backend>| lease.generation().id() != from;
        let standby = || live.acquire_fallback().filter(other);
        let wanted = || live.acquire().filter(other);
        // Which of the two it is may be changing at this moment.
        let other = match trust {
            Trust::Full => None,
            Trust::Probation => standby().or_else(wanted),
            Trust::Fallen => wanted().or_else(standby),
        };
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
        let rescuer = self.ready.as_ref().map(|ready| ready.exchange.generation());
        self.rescuer = rescuer.map(|generation| Rescuer::new(generation, self.site.index()));
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
        self.rescuer = None;
        self.resent_as(ResendOutcome::Answered);
    }

    fn resent_as(&mut self, outcome: ResendOutcome) {
        if let Some(reason) = self.resent.take() {
            self.site.counters().resent(reason, outcome);
        }
    }
}

impl From<After> for Next {
    fn from(after: After) -> Self {
        match after {
            After::Live => Self::Live,
            After::Hold => Self::Hold,
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
        Failure::NotTaken => Some((ResendReason::NotTaken, Written::No)),
        Failure::LostReused => Some((ResendReason::Stale, Written::Yes)),
        Failure::Lost => Some((ResendReason::Lost, Written::Yes)),
        Failure::Recalled => Some((ResendReason::Failover, Written::Yes)),
        Failure::NoSocket
        | Failure::BadRequest
        | Failure::NoWebsockets
        | Failure::Truncated
        | Failure::BadAnswer
        | Failure::AnswerTooLarge
        | Failure::BadBody
        | Failure::ClientGone
        | Failure::BodyTooLarge
        | Failure::BodyTimedOut
        | Failure::AnswerTimedOut
        | Failure::Cut => None,
    }
}
