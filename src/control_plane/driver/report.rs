//! The snapshot of an app that is published after each turn of the loop.

use std::sync::Arc;
use std::time::SystemTime;

use super::Driver;
use super::clock::Deadline;
use crate::control_plane::status::{
    AppState, AppStatus, CrashStatus, FirstStart, ProbationStatus, ServingBy, ServingStatus,
};
use crate::control_plane::supervisor::{PhaseWord, Standing, Timer};
use crate::generation::{GenerationId, Reason};

impl Driver {
    pub(super) fn publish_status(&self) {
        let stale = self.triggers.stale.clone().or_else(|| self.stands_in());
        let status = AppStatus {
            name: self.name.clone(),
            state: self.state(),
            stale: stale.is_some(),
            stale_reason: stale,
            paused: self.core.paused(),
            paused_until: self.known_time(Deadline::PauseEnd, |known| known.paused_until),
            standing: self.standing_word(),
            probation: self.probation_status(),
            failovers: self.failovers,
            last_failover: self.last_failover.clone(),
            moved: self.moved_status(),
            notes: self
                .notes
                .values()
                .flatten()
                .chain(&self.file_notes)
                .cloned()
                .collect(),
            live: self.core.live(),
            serving: self.serving.clone(),
            crashes: self.clock.crashes(),
            last_crash: self.last_crash.clone(),
            next_start: self.known_time(Deadline::Core(Timer::Backoff), |known| known.next_start),
            generations: self.generations.status(&self.core),
            last_trigger: self.triggers.ended.clone(),
            pending: self.triggers.pending(),
            restarts: self.world.metrics.restarts(),
            first_start: self.triggers.first_start,
        };
        self.status.send_if_modified(|published| {
            let changed = **published != status;
            if changed {
                *published = Arc::new(status);
            }
            changed
        });
    }

    /// After each step: notes since when what is live now is live, and why.
    pub(super) fn note_serving(&mut self) {
        let swapped = self.triggers.swapped.take();
        let live = self.core.live();
        if live == self.live_before {
            return;
        }
        let (trigger, origin) = swapped.unzip();
        let by = match (&origin, self.live_before) {
            (Some(origin), _) => ServingBy::Trigger(origin.source),
            (None, Some(_)) => ServingBy::Failover,
            (None, None) => ServingBy::Restart,
        };
        self.serving = live.map(|_| ServingStatus {
            since: SystemTime::now(),
            by,
            trigger,
            cause: origin.and_then(|origin| origin.cause),
        });
    }

    /// It ended, and nobody had told it to.
    pub(super) fn note_crash(&mut self, generation: GenerationId, reason: &Reason) {
        if self.core.live() == Some(generation) {
            self.crashed(generation, reason);
        }
        self.note_failed_retry(generation, reason);
    }

    /// It was started without a trigger, and failed: there is no verdict to tell of it.
    pub(super) fn note_failed_retry(&mut self, generation: GenerationId, reason: &Reason) {
        if self.core.candidate() == Some(generation) && self.core.owner().is_none() {
            self.crashed(generation, reason);
        }
    }

    fn crashed(&mut self, generation: GenerationId, reason: &Reason) {
        self.last_crash = Some(CrashStatus {
            generation,
            reason: reason.message.to_string(),
            at: SystemTime::now(),
        });
    }

    fn state(&self) -> AppState {
        if self.core.phase() != PhaseWord::Up {
            AppState::Stopping
        } else if self.core.live().is_some() {
            AppState::Live
        } else if self.triggers.first_start == FirstStart::UnderWay {
            AppState::Starting
        } else {
            AppState::Down
        }
    }

    /// An older generation serves, because the wanted version died.
    fn stands_in(&self) -> Option<String> {
        let live = self.core.live()?;
        let Some(Standing::StandIn { want }) = self.core.standing() else {
            return None;
        };
        let want = want.0;
        Some(format!(
            "generation {live} stands in for version {want}, which died and is being started again"
        ))
    }

    fn probation_status(&self) -> Option<ProbationStatus> {
        let probation = self.probation.as_ref()?;
        let timer = Deadline::Core(Timer::Probation(probation.generation));
        let known = |known: &AppStatus| known.probation.as_ref()?.until;
        Some(ProbationStatus {
            until: self.known_time(timer, known),
            standby: self.core.standby(),
            remark: self.remark(),
        })
    }

    /// When a deadline is due, by the clock on the wall. Told once: the two clocks drift, and a status that changes by
    /// microseconds would be news all the time.
    fn known_time(
        &self,
        deadline: Deadline,
        known: impl Fn(&AppStatus) -> Option<SystemTime>,
    ) -> Option<SystemTime> {
        let due = SystemTime::now() + self.clock.left(deadline)?;
        let told = known(&self.status.borrow());
        let same = |told: &SystemTime| {
            let apart = due
                .duration_since(*told)
                .or_else(|_| told.duration_since(due));
            apart.is_ok_and(|apart| apart.as_millis() < 500)
        };
        Some(told.filter(same).unwrap_or(due))
    }
}
