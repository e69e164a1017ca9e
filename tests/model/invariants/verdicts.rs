//! 4. Who is told what, and how often.

use hitless::control_plane::supervisor::situation::{Kind, Step, Up};
use hitless::control_plane::supervisor::{Action, Event, Overlap, Timer, Version};
use hitless::generation::{ReasonKind, Settled, TriggerId, Verdict};

use super::words::{candidate_of, live, owed, step, watch};
use super::{Check, Seen, ensure};

// === 4. Verdicts ===

impl Seen<'_> {
    /// Owed before and new = owed after and reported.
    pub(crate) fn verdicts(&self) -> Check {
        let mut owed: Vec<_> = owed(self.before).into_iter().chain(self.asker()).collect();
        let reported = self.actions.iter().filter_map(|action| match action {
            Action::Report(trigger, _) => Some(*trigger),
            _ => None,
        });
        let mut accounted: Vec<_> = self::owed(self.after).into_iter().chain(reported).collect();
        owed.sort_unstable();
        accounted.sort_unstable();
        ensure(owed == accounted, "4: not one verdict a trigger")
    }

    pub(crate) fn verdicts_have_causes(&self) -> Check {
        for action in self.actions {
            match action {
                Action::Report(trigger, verdict) => ensure(
                    self.may_report(*trigger, verdict),
                    "4: a verdict at an event that cannot cause it",
                )?,
                Action::Settle(_, settled) => ensure(
                    self.may_settle(settled),
                    "4: a second verdict at an event that cannot cause it",
                )?,
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn may_report(&self, trigger: TriggerId, verdict: &Verdict) -> bool {
        let own = self.asker() == Some(trigger);
        let down = self.before.up().is_none();
        match verdict {
            Verdict::Live => match self.event {
                Event::Ready(_) => true,
                Event::RollbackAsked(_) => own,
                _ => false,
            },
            Verdict::Failed(reason) => match self.event {
                Event::SpawnFailed(candidate, _)
                | Event::WentBad(candidate, _)
                | Event::Exited(candidate, _) => candidate_of(self.before) == Some(*candidate),
                Event::Fired(Timer::Start(_)) => reason.kind == ReasonKind::StartTimeout,
                Event::RollbackAsked(_) => own && reason.kind == ReasonKind::NowhereToGo,
                _ => false,
            },
            Verdict::Superseded => self.asker().is_some() && !own,
            Verdict::Cancelled if *self.event == Event::ShutdownAsked => !down,
            Verdict::Cancelled => own && down,
        }
    }

    pub(crate) fn may_settle(&self, settled: &Settled) -> bool {
        match settled {
            Settled::Proven => matches!(
                self.event,
                Event::Ready(_) | Event::Fired(Timer::Probation(_))
            ),
            Settled::FailedOver(reason) => match self.event {
                Event::WentBad(generation, _) | Event::Exited(generation, _) => {
                    live(self.before).is_some_and(|live| live.generation == *generation)
                }
                Event::RollbackAsked(_) => reason.kind == ReasonKind::Asked,
                _ => false,
            },
            Settled::Replaced => {
                matches!(self.event, Event::Ready(_)) || self.rules.overlap == Overlap::None
            }
            Settled::Cancelled => *self.event == Event::ShutdownAsked,
        }
    }

    /// Who waits for a second verdict is born by `Live` at `Ready`; else as with the first.
    pub(crate) fn watches(&self) -> Check {
        let born = self
            .actions
            .iter()
            .filter_map(|action| match (self.event, action) {
                (Event::Ready(_), Action::Report(trigger, Verdict::Live)) => Some(*trigger),
                _ => None,
            });
        let settled = self.actions.iter().filter_map(|action| match action {
            Action::Settle(trigger, _) => Some(*trigger),
            _ => None,
        });
        let mut watching: Vec<_> = watch(self.before).into_iter().chain(born).collect();
        let mut accounted: Vec<_> = watch(self.after).into_iter().chain(settled).collect();
        watching.sort_unstable();
        accounted.sort_unstable();
        ensure(watching == accounted, "4: not one second verdict a trigger")
    }

    pub(crate) fn newest_owns_the_attempt(&self) -> Check {
        let (Some(before), Some(after)) = (self.before.up(), self.after.up()) else {
            return Ok(());
        };
        let kind = |up: &Up| up.attempt.as_ref().map(|attempt| attempt.kind);
        match self.event {
            Event::Triggered(trigger) => ensure(
                kind(after) == Some(Kind::Reload(*trigger)),
                "4: the newest trigger does not own the attempt",
            ),
            Event::RollbackAsked(_) => ensure(
                before.base().is_none() || !matches!(kind(after), Some(Kind::Reload(_))),
                "4: a reload survived its rollback",
            ),
            Event::Exited(dead, _) | Event::WentBad(dead, _)
                if before.live().is_some_and(|live| live.generation == *dead) =>
            {
                let goes_on = kind(before) == kind(after)
                    && (candidate_of(self.before).is_none()
                        || candidate_of(self.before) == candidate_of(self.after));
                ensure(
                    kind(before).is_none() || goes_on,
                    "4: the death of live ended an attempt",
                )
            }
            _ => Ok(()),
        }
    }

    /// What a rollback calls live is the version that it was to lead to.
    pub(crate) fn rollback_goes_back(&self) -> Check {
        let (Event::RollbackAsked(asker), Some(before)) = (self.event, self.before.up()) else {
            return Ok(());
        };
        if !self
            .actions
            .contains(&Action::Report(*asker, Verdict::Live))
        {
            return Ok(());
        }
        let attempt = before.attempt.as_ref().map(|attempt| attempt.kind);
        let target = match attempt {
            Some(Kind::Reload(_)) => before.base(),
            _ => before.previous,
        };
        let good = live(self.after).filter(|live| live.base() == live.version);
        ensure(
            good.is_some() && good.map(|live| live.version) == target,
            "4: a rollback is called live, and its version is not",
        )
    }

    /// A rollback leads to what was to return to when the newest reload went live; after going back, by whatever way,
    /// to the version gone back to, so that what is asked twice happens once.
    fn previous_leads_back_to(&self, before: &Up) -> Option<Version> {
        let attempt = before.attempt.as_ref().map(|attempt| attempt.kind);
        let failing = before.live().filter(|live| live.is_on_probation());
        match (self.event, attempt) {
            (Event::Ready(_), Some(Kind::Reload(_))) => before.base(),
            (Event::Ready(_), Some(Kind::GoBack(_, version))) => Some(version),
            (Event::WentBad(dead, _) | Event::Exited(dead, _), _) => failing
                .filter(|live| live.generation == *dead)
                .map_or(before.previous, |live| Some(live.fallback())),
            _ => before.previous,
        }
    }

    pub(crate) fn previous_leads_back(&self) -> Check {
        let (Some(before), Some(after)) = (self.before.up(), self.after.up()) else {
            return Ok(());
        };
        ensure(
            after.previous == self.previous_leads_back_to(before),
            "4: the next rollback leads elsewhere",
        )
    }

    pub(crate) fn nobody_waits_out_a_backoff(&self) -> Check {
        let waits = step(self.after) == Some(Step::Backoff);
        ensure(
            !waits || owed(self.after).is_none(),
            "4: somebody who asked waits out a backoff",
        )
    }
}
