//! The live generation on probation: what is counted is looked at, and what is bad is said to the core.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::Driver;
use super::clock::Deadline;
use super::judging::{Evidence, JUDGE_INTERVAL, Judge, SAMPLE_INTERVAL, Share};
use crate::control_plane::instances::Instances;
use crate::control_plane::supervisor::{Event, Timer};
use crate::generation::GenerationId;
use crate::live::Trust;

/// The probation under way.
#[derive(Debug)]
pub(super) struct Probation {
    pub(super) generation: GenerationId,
    since: Instant,
    judge: Judge,
    /// The standby, and what it had answered of rescued requests when the probation began.
    standby: Option<(GenerationId, Share)>,
    /// What it has answered since; it may be gone by now.
    rescued: Share,
    /// It should have ended, but too few answers came to tell.
    prolonged: bool,
}

impl Driver {
    /// After each step: the one who judges follows the core.
    pub(super) fn follow_probation(&mut self) {
        let on_probation = self.core.on_probation();
        if self.core.live().is_some() {
            self.clock.set_once(Deadline::Look, SAMPLE_INTERVAL);
        }
        if self
            .probation
            .as_ref()
            .map(|probation| probation.generation)
            == on_probation
        {
            return;
        }
        let ended = self.probation.take();
        if let Some(ended) = ended
            && self.core.live() == Some(ended.generation)
        {
            self.tell_instances(ended.generation, Instances::proven);
        }
        self.probation = on_probation.map(|id| self.begin_probation(id));
        self.set_look();
    }

    fn begin_probation(&self, id: GenerationId) -> Probation {
        let now = Instant::now();
        let standby = self.core.standby();
        let rescued = standby.map(|standby| (standby, Share::rescued(self.tally(standby))));
        Probation {
            generation: id,
            since: now,
            judge: Judge::new(now, self.baseline, self.tally(id)),
            standby: rescued,
            rescued: Share::default(),
            prolonged: false,
        }
    }

    /// Its time begins anew: it was paused.
    pub(super) fn restart_probation(&mut self, id: GenerationId) {
        if let Some(probation) = self
            .probation
            .as_mut()
            .filter(|known| known.generation == id)
        {
            probation.since = Instant::now();
            probation.prolonged = false;
        }
    }

    /// Before each step: the one that is live now may be gone after it, and what comes next is measured by it.
    pub(super) fn keep_baseline(&mut self) {
        if let Some(live) = self.core.live() {
            self.baseline = self.recent_share(live);
        }
    }

    fn recent_share(&self, id: GenerationId) -> Share {
        let running = self.generations.get(id);
        running.map_or_else(Share::default, |running| {
            running.history.share(self.tally(id))
        })
    }

    fn tally(&self, id: GenerationId) -> crate::live::Tally {
        let published = self.generations.published(id);
        published.map_or_else(Default::default, |generation| {
            generation.payload.outcomes.tally()
        })
    }

    fn set_look(&mut self) {
        if self.core.live().is_none() {
            return self.clock.clear(Deadline::Look);
        }
        let interval = match self.probation {
            Some(_) => JUDGE_INTERVAL,
            None => SAMPLE_INTERVAL,
        };
        self.clock.set(Deadline::Look, interval);
    }

    /// Writes down what was counted, and judges it.
    pub(super) fn look(&mut self) {
        self.set_look();
        self.sample();
        if !self.core.paused() {
            self.judge();
        }
    }

    fn sample(&mut self) {
        let Some(live) = self.core.live() else {
            return;
        };
        let (now, tally) = (Instant::now(), self.tally(live));
        if let Some(running) = self.generations.get_mut(live) {
            running.history.sample(now, tally);
        }
    }

    /// Says to the core what is bad about the live generation.
    pub(super) fn judge(&mut self) {
        let Some(mut probation) = self.probation.take() else {
            return;
        };
        let id = probation.generation;
        let evidence = self.evidence(&mut probation);
        let config = &self.settings.driver.judging;
        let verdict = probation.judge.look(Instant::now(), evidence, config);
        let decided = probation.prolonged && !probation.judge.is_undecided(config);
        self.probation = Some(probation);
        if let Some(reason) = verdict {
            self.happened(Event::WentBad(id, reason));
        } else if decided {
            self.happened(Event::Fired(Timer::Probation(id)));
        }
    }

    fn evidence(&self, probation: &mut Probation) -> Evidence {
        let live = self.generations.published(probation.generation);
        let standby = probation.standby.and_then(|(standby, before)| {
            let published = self.generations.published(standby)?;
            Some((&published.payload.outcomes, before))
        });
        let rescuing = standby.is_some_and(|(outcomes, before)| {
            probation.rescued = Share::rescued(outcomes.tally()).since(before);
            outcomes.rescuing() > 0
        });
        Evidence {
            live: self.tally(probation.generation),
            refused_in_a_row: live.map_or(0, |live| live.payload.refused_in_a_row()),
            rescued: probation.rescued,
            rescuing,
        }
    }

    /// The time of a probation is over. It ends, unless a bad answer was seen and too few answers came to tell.
    pub(super) fn probation_is_over(&mut self, id: GenerationId) {
        let config = &self.settings.driver.judging;
        let undecided = self
            .probation
            .as_mut()
            .filter(|probation| !probation.prolonged && probation.judge.is_undecided(config));
        if let Some(probation) = undecided {
            let left = config
                .probation_max
                .saturating_sub(probation.since.elapsed());
            probation.prolonged = true;
            let remark = probation.judge.remark(config);
            info!(app = %self.name, generation = %id, remark, "probation prolonged");
            return self.clock.arm_for(Timer::Probation(id), left);
        }
        self.happened(Event::Fired(Timer::Probation(id)));
    }

    /// How long the generation is on probation.
    pub(super) fn probation_of(&self, id: GenerationId) -> Duration {
        let running = self.generations.get(id);
        running.map_or(self.settings.driver.probation, |running| running.probation)
    }

    /// Why nothing is taken back, or why it is not yet decided.
    pub(super) fn remark(&self) -> Option<String> {
        let probation = self.probation.as_ref()?;
        probation.judge.remark(&self.settings.driver.judging)
    }

    /// Before anything of a step is performed: the data plane is to know whose bad answers are to be replaced.
    pub(super) fn settle_trust(&self) {
        let on_probation = self.core.on_probation();
        for (id, running) in self.generations.iter() {
            let Some(published) = running.published() else {
                continue;
            };
            let trust = if on_probation == Some(id) {
                Trust::Probation
            } else if self.core.is_fallen(id) {
                Trust::Fallen
            } else {
                Trust::Full
            };
            published.payload.outcomes.set_trust(trust);
        }
    }
}
