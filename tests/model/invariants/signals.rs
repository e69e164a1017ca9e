//! 3. Who is told to go, and when.

use hitless::control_plane::supervisor::situation::{How, Old, Phase, Requests, Step, Streams};
use hitless::control_plane::supervisor::{Action, Event, Timer};
use hitless::generation::GenerationId;

use super::words::{drained, how, live, standby, step, streams};
use super::{Check, Seen, ensure};

// === 3. Signals ===

impl Seen<'_> {
    pub(crate) fn signals(&self) -> Check {
        for action in self.actions {
            match action {
                Action::Terminate(generation) => ensure(
                    self.may_terminate(*generation),
                    "3: terminated what still has something to do",
                )?,
                Action::Kill(generation) => {
                    ensure(self.may_kill(*generation), "3: killed without need")?;
                }
                Action::Cut(generation) => ensure(
                    *self.event == Event::Fired(Timer::Drain(*generation)),
                    "3: cut before its deadline",
                )?,
                Action::Abandon(generation) => ensure(
                    *self.event == Event::Fired(Timer::Reap(*generation)),
                    "3: abandoned before its deadline",
                )?,
                _ => {}
            }
        }
        let stepped_down = live(self.before).filter(|live| {
            self.exited() != Some(live.generation)
                && self::live(self.after).is_none_or(|after| after.generation != live.generation)
        });
        let due: Vec<_> = stepped_down
            .map(|live| live.generation)
            .into_iter()
            .collect();
        let drains: Vec<_> = self.actions.iter().filter_map(drained).collect();
        ensure(
            drains == due,
            "3: Drain is not said once of who stops being live",
        )
    }

    /// A candidate, an unborn one that arrived, or an old one with nothing left to finish.
    pub(crate) fn may_terminate(&self, generation: GenerationId) -> bool {
        let is_candidate = step(self.before) == Some(Step::Probing(generation));
        let arrived = *self.event == Event::Spawned(generation)
            && how(self.before, generation) == Some(How::Unborn);
        let mut olds = self.before.olds();
        let done = olds.any(|old| old.generation == generation && self.is_done_by_now(old));
        is_candidate || arrived || done
    }

    pub(crate) fn is_done_by_now(&self, old: &Old) -> bool {
        let generation = old.generation;
        let event = self.event;
        let requests = old.requests == Requests::Done
            || *event == Event::Drained(generation)
            || *event == Event::Fired(Timer::Drain(generation));
        let streams = old.streams == Streams::Done
            || *event == Event::StreamsEnded(generation)
            || *event == Event::Fired(Timer::Close(generation));
        requests && streams
    }

    /// Only by the deadline of a stop, or in a hurry.
    pub(crate) fn may_kill(&self, generation: GenerationId) -> bool {
        let hurry = matches!(self.after.phase, Phase::Down { hurry: true });
        match self.event {
            Event::Fired(Timer::Stop(late)) => {
                *late == generation && how(self.before, generation) == Some(How::Terminating)
            }
            Event::ShutdownAsked => hurry,
            Event::Spawned(arrived) => hurry && *arrived == generation,
            _ => false,
        }
    }

    /// Whoever is noted as told to go was told in this step, and the other way round; so with closed streams.
    pub(crate) fn signalled_is_noted(&self) -> Check {
        for stopping in &self.after.leaving.stopping {
            let generation = stopping.generation;
            let told = match stopping.how {
                How::Unborn => continue,
                How::Terminating => Action::Terminate(generation),
                How::Killing => Action::Kill(generation),
            };
            let newly = how(self.before, generation) != Some(stopping.how);
            let times = self.actions.iter().filter(|action| **action == told);
            ensure(
                times.count() == usize::from(newly),
                "3: told to go and noted so are not the same",
            )?;
        }
        for old in self.after.olds() {
            let before = streams(self.before, old.generation).unwrap_or(Streams::Open);
            let newly = before == Streams::Open && old.streams == Streams::Closing;
            let told = Action::CloseStreams(old.generation);
            ensure(
                self.actions.contains(&told) == newly,
                "3: streams told to close and noted so are not the same",
            )?;
        }
        Ok(())
    }

    /// A standby is let go only at the next swap, the end of probation, rollback, shutdown, or for want of memory.
    pub(crate) fn standby_is_kept(&self) -> Check {
        let Some(before) = standby(self.before) else {
            return Ok(());
        };
        let generation = before.generation;
        let stays = standby(self.after).is_some_and(|after| after.generation == generation);
        let serves = live(self.after).is_some_and(|live| live.generation == generation);
        let gone = self.exited() == Some(generation);
        let may_be_let_go = matches!(
            self.event,
            Event::Ready(_)
                | Event::Fired(Timer::Probation(_))
                | Event::RollbackAsked(_)
                | Event::ShutdownAsked
                | Event::MemoryRanShort
        );
        ensure(
            stays || serves || gone || may_be_let_go,
            "3: the standby was let go without need",
        )
    }
}
