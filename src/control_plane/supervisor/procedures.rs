//! What several rows of the table do: the words that they are written in.

use super::serving::Serving;
use super::situation::{Attempt, Kind, Live, Old, Stage, Standing, Step, Version};
use super::{Action, Overlap};
use crate::generation::{GenerationId, Reason, Settled, TriggerId, Verdict};

impl Serving<'_> {
    /// Whoever waits for the verdict of the attempt.
    pub(super) fn owed(&self) -> Option<TriggerId> {
        self.up.attempt.as_ref()?.kind.trigger()
    }

    pub(super) fn attempt(&mut self, kind: Kind, step: Step) {
        self.up.attempt = Some(Attempt { kind, step });
    }

    /// The attempt, if it is at this step, ends without more ado.
    pub(super) fn take_attempt(&mut self, step: Step) -> Option<Kind> {
        let attempt = self.up.attempt.take_if(|attempt| attempt.step == step)?;
        Some(attempt.kind)
    }

    /// The attempt ends, and what there is of it is told to go.
    pub(super) fn abort(&mut self) -> Option<Kind> {
        let attempt = self.up.attempt.take()?;
        match attempt.step {
            Step::Backoff | Step::Queued => {}
            Step::Spawning(generation) => self.leaving.await_birth(generation),
            Step::Probing(generation) => self.leaving.terminate(generation, self.actions),
        }
        Some(attempt.kind)
    }

    /// The attempt ends because a newer wish came.
    pub(super) fn supersede(&mut self) {
        if let Some(trigger) = self.owed() {
            self.actions.report(trigger, Verdict::Superseded);
        }
        self.abort();
    }

    /// The attempt, which has ended, has failed. What serves is untouched.
    pub(super) fn attempt_failed(&mut self, kind: Kind, reason: Reason) {
        if let Some(trigger) = kind.trigger() {
            self.actions.report(trigger, Verdict::Failed(reason));
        }
        self.restart(Step::Backoff);
    }

    /// Works towards the wanted version, if it does not serve and nothing is being started yet.
    pub(super) fn restart(&mut self, step: Step) {
        if self.up.attempt.is_none() && self.up.is_short() {
            self.attempt(Kind::Restart(self.up.base()), step);
        }
    }

    pub(super) fn settle_watch(&mut self, settled: Settled) {
        if let Stage::Live(Live {
            standing: Standing::Probation { watch, .. },
            ..
        }) = &mut self.up.stage
            && let Some(trigger) = watch.take()
        {
            self.actions.settle(trigger, settled);
        }
    }

    pub(super) fn take_standby(&mut self) -> Option<Old> {
        self.up.standby_slot()?.take()
    }

    /// The live generation leaves the stage and retires; what was to return to is wanted. Says who it was.
    pub(super) fn retire_live(&mut self, fallen: bool) -> Option<GenerationId> {
        let want = self.up.base();
        let live = self.up.live()?;
        let old = Old::of(live, fallen);
        let generation = old.generation;
        // A standby is without a place once its probation is over.
        if let Some(standby) = self.take_standby() {
            self.leaving.let_go(standby, self.actions);
        }
        self.actions.push(Action::Drain(generation));
        self.leaving.retire(old);
        self.up.stage = Stage::Empty { want };
        Some(generation)
    }

    pub(super) fn is_anyone_usable(&self) -> bool {
        self.up.standby().is_some() || self.leaving.retiring.iter().any(|old| !old.fallen)
    }

    /// The standby takes the stage, else the youngest usable one that retires, else nobody.
    pub(super) fn serve_with_usable(&mut self, standby: Option<Old>, want: Version) {
        let usable = standby.or_else(|| self.leaving.take_usable(|_| true));
        self.up.stage = match usable {
            Some(old) if old.version == want => Stage::Live(old.live(Standing::Proven)),
            Some(old) => Stage::Live(old.live(Standing::StandIn { want })),
            None => Stage::Empty { want: Some(want) },
        };
    }

    pub(super) fn prove(&mut self) {
        if let Stage::Live(live) = &mut self.up.stage {
            live.standing = Standing::Proven;
        }
    }

    pub(super) fn cap(&mut self) {
        self.leaving.cap(self.rules.retiring_max, self.actions);
    }

    /// Last in every step. Without overlap, whoever is live makes room first.
    pub(super) fn spawn_when_there_is_room(&mut self) {
        if !self.up.is_at(Step::Queued) {
            return;
        }
        if self.rules.overlap == Overlap::None {
            self.settle_watch(Settled::Replaced);
            let live = self.retire_live(false);
            if let Some(old) = live.and_then(|live| self.leaving.retiring_named(live)) {
                old.close_streams(self.actions);
            }
        }
        if self.is_there_room() {
            self.spawn();
        }
    }

    fn is_there_room(&self) -> bool {
        match self.rules.overlap {
            Overlap::None => self.leaving.is_empty(),
            Overlap::Full => {
                // In an outage a start does not wait: it cannot get worse.
                self.up.live().is_none() || self.leaving.stopping.len() < self.rules.stopping_max
            }
        }
    }

    fn spawn(&mut self) {
        if let Some(attempt) = &mut self.up.attempt {
            let generation = *self.next;
            *self.next = generation.next();
            attempt.step = Step::Spawning(generation);
            let source = attempt.kind.source();
            self.actions.push(Action::Spawn(generation, source));
        }
    }
}
