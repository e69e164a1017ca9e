//! The rows of the table while hitless is up. What several of them do is in `procedures`.

use super::actions::Actions;
use super::situation::{Kind, Leaving, Live, Stage, Standing, Step, Up, Version};
use super::{Action, Rules};
use crate::generation::{GenerationId, Reason, ReasonKind, Settled, TriggerId, Verdict};

/// The supervisor while it is up, within one step.
#[derive(Debug)]
pub(super) struct Serving<'a> {
    pub(super) rules: &'a Rules,
    pub(super) next: &'a mut GenerationId,
    pub(super) up: &'a mut Up,
    pub(super) leaving: &'a mut Leaving,
    pub(super) actions: &'a mut Actions,
}

// === impl Serving: what people ask for ===

impl Serving<'_> {
    /// `Triggered`: the newest wins, and until it is ready nothing else is touched.
    pub(super) fn triggered(&mut self, trigger: TriggerId) {
        self.supersede();
        self.attempt(Kind::Reload(trigger), Step::Queued);
    }

    /// `Paused` and `Resumed`: the route and the clock of the probation follow by themselves.
    pub(super) fn pause(&mut self, paused: bool) {
        self.up.paused = paused;
    }

    /// `MemoryRanShort`: the probation goes on without a standby.
    pub(super) fn memory_ran_short(&mut self) {
        if let Some(standby) = self.take_standby() {
            self.leaving.let_go(standby, self.actions);
            self.cap();
        }
    }

    /// The first `ShutdownAsked`: leaves nothing live, no standby and no attempt.
    pub(super) fn shut_down(&mut self) {
        if let Some(trigger) = self.owed() {
            self.actions.report(trigger, Verdict::Cancelled);
        }
        self.abort();
        self.settle_watch(Settled::Cancelled);
        let standby = self.take_standby();
        self.retire_live(false);
        if let Some(mut standby) = standby {
            standby.close_streams(self.actions);
            self.leaving.let_go(standby, self.actions);
        }
        self.leaving.close_all_streams(self.actions);
    }
}

// === impl Serving: what the candidate does ===

impl Serving<'_> {
    /// `Spawned`.
    pub(super) fn spawned(&mut self, generation: GenerationId) {
        if let Some(attempt) = &mut self.up.attempt
            && attempt.step == Step::Spawning(generation)
        {
            attempt.step = Step::Probing(generation);
            self.actions.push(Action::Probe(generation));
        }
    }

    /// `SpawnFailed`.
    pub(super) fn spawn_failed(&mut self, generation: GenerationId, reason: Reason) {
        if let Some(kind) = self.take_attempt(Step::Spawning(generation)) {
            self.attempt_failed(kind, reason);
        }
    }

    /// `Ready`: the swap.
    pub(super) fn ready(&mut self, generation: GenerationId) {
        let Some(kind) = self.take_attempt(Step::Probing(generation)) else {
            return;
        };
        let version = kind.source().version_of(generation);
        let base = self.up.base();
        if let Some(trigger) = kind.trigger() {
            self.actions.report(trigger, Verdict::Live);
        }
        let standing = match base {
            Some(base) if base != version && self.rules.probation => {
                self.begin_probation(base, kind.trigger())
            }
            _ => self.begin_proven(kind.trigger()),
        };
        self.up.stage = Stage::Live(Live {
            generation,
            version,
            standing,
        });
        self.up.previous = match kind {
            Kind::Reload(_) => base,
            Kind::GoBack(..) => Some(version),
            Kind::Restart(_) => self.up.previous,
        };
        self.cap();
    }

    /// What was live becomes the standby, unless it was bad.
    fn begin_probation(&mut self, back: Version, watch: Option<TriggerId>) -> Standing {
        let earlier = self.make_way();
        let standby = self
            .leaving
            .take_usable(|old| Some(old.generation) == earlier);
        Standing::Probation {
            back,
            standby,
            watch,
        }
    }

    /// Nothing to go back to, or no wish to: whoever waits need not wait any longer.
    fn begin_proven(&mut self, trigger: Option<TriggerId>) -> Standing {
        self.make_way();
        if let Some(trigger) = trigger {
            self.actions.settle(trigger, Settled::Proven);
        }
        Standing::Proven
    }

    /// What was live retires for a newer one, and its own standby is let go. Says who it was.
    fn make_way(&mut self) -> Option<GenerationId> {
        if let Some(earlier) = self.take_standby() {
            self.leaving.let_go(earlier, self.actions);
        }
        self.settle_watch(Settled::Replaced);
        self.retire_live(false)
    }

    /// `Fired(Start)`. The driver may know better words for it: the last answer of the failing check.
    pub(super) fn start_timed_out(&mut self, candidate: GenerationId) {
        let reason = || Reason::new(ReasonKind::StartTimeout, "not ready within start_timeout");
        self.candidate_failed(candidate, reason);
    }

    /// `Fired(Backoff)`.
    pub(super) fn backoff_ended(&mut self) {
        if let Some(attempt) = &mut self.up.attempt
            && attempt.step == Step::Backoff
        {
            attempt.step = Step::Queued;
        }
    }

    fn candidate_failed(&mut self, candidate: GenerationId, reason: impl FnOnce() -> Reason) {
        if self.up.is_at(Step::Probing(candidate))
            && let Some(kind) = self.abort()
        {
            self.attempt_failed(kind, reason());
        }
    }
}

// === impl Serving: what those do that serve ===

impl Serving<'_> {
    /// `WentBad`, of the candidate or of a live generation on probation. After its probation nobody is judged.
    pub(super) fn went_bad(&mut self, generation: GenerationId, reason: Reason) {
        match self.up.live() {
            Some(live) if live.generation == generation => {
                if live.is_on_probation() {
                    self.live_went_bad(reason);
                }
            }
            _ => self.candidate_failed(generation, || reason),
        }
    }

    /// Fails over if anybody usable is alive; else it goes on serving until the version before it is up.
    fn live_went_bad(&mut self, reason: Reason) {
        let Some(back) = self.probation_failed(reason) else {
            return;
        };
        if self.is_anyone_usable() {
            let standby = self.take_standby();
            self.retire_live(true);
            self.serve_with_usable(standby, back);
            self.cap();
        } else if let Stage::Live(live) = &mut self.up.stage {
            live.standing = Standing::Bad { want: back };
        }
        self.restart(Step::Queued);
    }

    /// `Exited`, of the candidate, the live generation or its standby.
    pub(super) fn exited(&mut self, generation: GenerationId, reason: Reason) {
        if let Some(kind) = self.take_attempt(Step::Probing(generation)) {
            self.attempt_failed(kind, reason);
        } else if self
            .up
            .live()
            .is_some_and(|live| live.generation == generation)
        {
            self.live_exited(reason);
        } else if let Some(standby) = self.up.standby_slot() {
            standby.take_if(|standby| standby.generation == generation);
        }
    }

    /// An attempt under way goes on: what it starts is wanted more than ever.
    fn live_exited(&mut self, reason: Reason) {
        let Some(want) = self.up.live().map(Live::fallback) else {
            return;
        };
        self.probation_failed(reason);
        let standby = self.take_standby();
        self.serve_with_usable(standby, want);
        self.restart(Step::Backoff);
    }

    /// Tells who waits for the end of a probation that it failed. Says where to go back to.
    fn probation_failed(&mut self, reason: Reason) -> Option<Version> {
        let live = self.up.live().filter(|live| live.is_on_probation())?;
        let back = live.fallback();
        self.up.previous = Some(back);
        self.settle_watch(Settled::FailedOver(reason));
        Some(back)
    }

    /// `Fired(Probation)`: it stays, and its standby need not wait any longer.
    pub(super) fn probation_ended(&mut self, generation: GenerationId) {
        let due = self.up.live().is_some_and(|live| {
            live.generation == generation && live.is_on_probation() && !self.up.paused
        });
        if due {
            self.settle_watch(Settled::Proven);
            let standby = self.take_standby();
            self.prove();
            if let Some(standby) = standby {
                self.leaving.let_go(standby, self.actions);
            }
            self.cap();
        }
    }
}
