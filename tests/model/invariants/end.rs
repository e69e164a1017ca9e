//! That everything ends: 6. timers and the end, 7. bounds, 8. liveness.

use std::collections::BTreeSet;

use hitless::control_plane::supervisor::situation::{How, Phase, Standing, Step, Streams};
use hitless::control_plane::supervisor::{Action, Event, Overlap};

use super::words::{goal, is_done, live, measure, step, timers};
use super::{Check, Seen, ensure};
use crate::world;

// === 6. Timers, end ===

impl Seen<'_> {
    /// Those armed before, less the one that fired, followed through the actions, are those of the table.
    pub(crate) fn timers(&self) -> Check {
        let mut armed = timers(self.before);
        if let Event::Fired(timer) = self.event {
            armed.remove(timer);
        }
        for action in self.actions {
            match action {
                Action::Arm(timer) => ensure(armed.insert(*timer), "6: armed twice")?,
                Action::Disarm(timer) => ensure(armed.remove(timer), "6: disarmed unarmed")?,
                _ => {}
            }
        }
        ensure(
            armed == timers(self.after),
            "6: the armed timers are not those of the table",
        )
    }

    /// Everything that retires, stops or queues has a timer or a spawn in flight.
    pub(crate) fn nothing_waits_for_ever(&self) -> Check {
        let leaving = &self.after.leaving;
        ensure(
            leaving.retiring.iter().all(|old| !is_done(old)),
            "6: something retires with nothing left to finish",
        )?;
        let queued = step(self.after) == Some(Step::Queued);
        let awaited = match self.rules.overlap {
            Overlap::None => !leaving.retiring.is_empty() || !leaving.stopping.is_empty(),
            Overlap::Full => {
                live(self.after).is_some() && leaving.stopping.len() >= self.rules.stopping_max
            }
        };
        ensure(!queued || awaited, "6: queued, and waits for nothing")
    }

    pub(crate) fn end(&self) -> Check {
        let down = self.after.up().is_none();
        let spawns = |action: &Action| matches!(action, Action::Spawn(..));
        ensure(
            !down || !self.actions.iter().any(spawns),
            "6: spawned once down",
        )?;
        let gone = self.after.phase == Phase::Gone;
        let left = self.before.phase != Phase::Gone && gone;
        let exits = self.actions.iter().filter(|a| **a == Action::Exit).count();
        ensure(exits == usize::from(left), "6: Exit is not said once")?;
        ensure(
            exits == 0 || self.actions.last() == Some(&Action::Exit),
            "6: Exit is not the last",
        )?;
        let nobody = world::alive(self.after).is_empty();
        ensure(!gone || nobody, "6: gone before all generations are")?;
        ensure(!down || gone || !nobody, "6: down, nothing left, no Exit")?;
        let closes = self.actions.iter().filter(|a| **a == Action::Close).count();
        let closing = self.before.up().is_some() && down;
        ensure(closes == usize::from(closing), "6: Close is not said once")?;
        if *self.event == Event::ShutdownAsked {
            ensure(down, "6: not down though asked")?;
            let hurry = matches!(self.after.phase, Phase::Down { hurry: true });
            ensure(
                closing || gone || hurry,
                "6: the second shutdown is not in a hurry",
            )?;
        }
        self.hurry_is_hurried()
    }

    pub(crate) fn hurry_is_hurried(&self) -> Check {
        let leaving = &self.after.leaving;
        let waits = |how| leaving.stopping.iter().any(|stopping| stopping.how == how);
        ensure(
            self.after.phase != (Phase::Down { hurry: true })
                || leaving.retiring.is_empty() && !waits(How::Terminating),
            "6: in a hurry, and something may still take its time",
        )
    }
}

// === 7. Bounds ===

impl Seen<'_> {
    pub(crate) fn bounds(&self) -> Check {
        let retiring = self.after.leaving.retiring.iter();
        let open = retiring.filter(|old| old.streams == Streams::Open).count();
        ensure(
            open <= self.rules.retiring_max,
            "7: too many retire with open streams",
        )?;
        let spawns = self
            .actions
            .iter()
            .any(|action| matches!(action, Action::Spawn(..)));
        if !spawns {
            return Ok(());
        }
        match self.rules.overlap {
            Overlap::None => ensure(
                world::alive(self.after).len() == 1,
                "7: spawned beside another, without overlap",
            ),
            Overlap::Full => ensure(
                live(self.after).is_none()
                    || self.after.leaving.stopping.len() < self.rules.stopping_max,
                "7: spawned while too many are stopping",
            ),
        }
    }

    /// No process is forgotten or invented.
    pub(crate) fn conservation(&self) -> Check {
        let mut expected: BTreeSet<_> = world::alive(self.before).into_iter().collect();
        match self.event {
            Event::Exited(gone, _) | Event::SpawnFailed(gone, _) => {
                expected.remove(gone);
            }
            _ => {}
        }
        for action in self.actions {
            match action {
                Action::Spawn(new, _) => ensure(expected.insert(*new), "7: spawned twice")?,
                Action::Abandon(gone) => {
                    expected.remove(gone);
                }
                _ => {}
            }
        }
        let present: BTreeSet<_> = world::alive(self.after).into_iter().collect();
        ensure(expected == present, "7: a process is forgotten or invented")
    }
}

// === 8. Liveness ===

impl Seen<'_> {
    pub(crate) fn liveness(&self) -> Check {
        if let Some(up) = self.after.up() {
            let good = up.live().is_some_and(|live| live.base() == live.version);
            ensure(
                good || up.attempt.is_some(),
                "8: nothing good serves, and nothing is being started",
            )?;
        }
        if world::is_well_behaved(self.before, self.event) {
            ensure(
                measure(self.after) < measure(self.before),
                "8: a good event brought nothing nearer",
            )?;
            ensure(
                goal(self.after) == goal(self.before),
                "8: a good event changed the goal",
            )?;
        }
        Ok(())
    }

    /// Where nothing good is left to happen, all is well.
    pub(crate) fn rest(&self) -> Check {
        let mut events = world::fitting(self.after).into_iter();
        if events.any(|event| world::is_well_behaved(self.after, &event)) {
            return Ok(());
        }
        let well = match &self.after.phase {
            Phase::Up(up) => {
                let proven = up
                    .live()
                    .is_some_and(|live| live.standing == Standing::Proven);
                proven && !up.paused && world::alive(self.after).len() == 1
            }
            Phase::Down { .. } => false,
            Phase::Gone => true,
        };
        ensure(well, "8: at rest, and not well")
    }
}
