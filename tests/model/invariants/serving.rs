//! Who serves: 1. roles, 2. never empty-handed, 5. hold-down.

use hitless::control_plane::supervisor::situation::{Live, Old, Step};
use hitless::control_plane::supervisor::{Action, Event, Overlap, Source, Version};

use super::words::{live, routed, standby, step, usable};
use super::{Check, Seen, ensure};
use crate::world;

// === 1. Roles ===

impl Seen<'_> {
    pub(crate) fn roles(&self) -> Check {
        let mut alive = world::alive(self.after);
        let places = alive.len();
        alive.sort_unstable();
        alive.dedup();
        ensure(alive.len() == places, "1: a generation is in two places")?;
        ensure(
            alive.iter().all(|generation| *generation < self.after.next),
            "1: a number may be given twice",
        )?;
        match (live(self.before), live(self.after)) {
            (before, Some(after))
                if before.map(|live| live.generation) != Some(after.generation) =>
            {
                self.rises_by_right(after)
            }
            (Some(before), Some(after)) => ensure(
                before.version == after.version,
                "1: a generation changed its version",
            ),
            _ => Ok(()),
        }
    }

    /// Live changes only to the candidate whose `Ready` this is, or to a usable old one.
    pub(crate) fn rises_by_right(&self, risen: &Live) -> Check {
        if let Event::Ready(candidate) = self.event {
            let was_probing = step(self.before) == Some(Step::Probing(*candidate));
            return ensure(
                was_probing && risen.generation == *candidate,
                "1: live changed at Ready to another than the candidate",
            );
        }
        let asked = matches!(self.event, Event::RollbackAsked(_));
        let usable = |old: &&Old| !asked || old.version == risen.version;
        let standby = standby(self.before).filter(usable);
        let retiring = self.before.leaving.retiring.iter();
        let youngest = retiring
            .filter(|old| !old.fallen)
            .filter(usable)
            .max_by_key(|old| old.generation);
        let due = standby.or(youngest);
        ensure(
            due.is_some_and(|old| old.generation == risen.generation),
            "1: live changed to another than the standby, or the youngest usable one",
        )
    }
}

// === 2. Never empty-handed ===

impl Seen<'_> {
    pub(crate) fn never_empty_handed(&self) -> Check {
        if let Some(up) = self.after.up()
            && self.rules.overlap == Overlap::Full
            && up.live().is_none()
        {
            ensure(
                usable(self.after).is_none(),
                "2: nobody is live while somebody usable is alive",
            )?;
            if let Some(live) = live(self.before) {
                ensure(
                    self.exited() == Some(live.generation),
                    "2: nobody is live, but not because live exited",
                )?;
            }
        }
        self.route_is_followed()
    }

    /// Following the actions in order, as the data plane does.
    pub(crate) fn route_is_followed(&self) -> Check {
        let mut routed = routed(self.before);
        for action in self.actions {
            match action {
                Action::Route(generation) => {
                    ensure(self.after.up().is_some(), "2: routed once down")?;
                    routed = Some(*generation);
                }
                Action::Unroute => {
                    ensure(self.after.up().is_some(), "2: unrouted once down")?;
                    routed = None;
                }
                Action::Drain(generation)
                | Action::Cut(generation)
                | Action::Terminate(generation)
                | Action::Kill(generation) => ensure(
                    self.after.up().is_none() || routed != Some(*generation),
                    "2: drained, cut or signalled while it is the routed one",
                )?,
                _ => {}
            }
        }
        ensure(
            self.after.up().is_none() || routed == self::routed(self.after),
            "2: the data plane and the core disagree on who is routed",
        )
    }
}

// === 5. Hold-down ===

impl Seen<'_> {
    /// F: the version of a live one that left by failover or at-once rollback; cleared by the next trigger.
    pub(crate) fn failed_after(&self) -> Option<Version> {
        let before = live(self.before);
        match self.event {
            Event::Triggered(_) => None,
            Event::WentBad(generation, _) | Event::Exited(generation, _) => before
                .filter(|live| live.generation == *generation && live.is_on_probation())
                .map_or(self.failed, |live| Some(live.version)),
            Event::RollbackAsked(_) => before
                .filter(|live| self.swapped_from(live))
                .map_or(self.failed, |live| Some(live.version)),
            _ => self.failed,
        }
    }

    pub(crate) fn swapped_from(&self, before: &Live) -> bool {
        live(self.after).is_some_and(|after| after.generation != before.generation)
    }

    pub(crate) fn hold_down(&self, failed: Option<Version>) -> Check {
        if let Some(failed) = failed {
            let spawned = |action: &Action| matches!(action, Action::Spawn(_, Source::Again(version)) if *version == failed);
            ensure(
                !self.actions.iter().any(spawned),
                "5: the failed version is started again",
            )?;
            let risen = live(self.after).filter(|after| {
                live(self.before).is_none_or(|before| before.generation != after.generation)
            });
            ensure(
                risen.is_none_or(|risen| risen.version != failed),
                "5: the failed version is live again",
            )?;
        }
        let failing = matches!(self.event, Event::WentBad(..) | Event::Exited(..));
        let back = live(self.before)
            .zip(live(self.after))
            .is_some_and(|(before, after)| before.generation != after.generation);
        ensure(
            !(failing && back && live(self.after).is_some_and(Live::is_on_probation)),
            "5: on probation after a failover",
        )
    }
}
