//! What the processes of a generation tell, as events of the core.

use std::sync::Arc;

use tracing::{info, warn};

use super::Driver;
use crate::control_plane::backoff::GOOD_SERVICE;
use crate::control_plane::instances::{Instances, Record, Report, Told};
use crate::control_plane::readiness::Probe;
use crate::control_plane::supervisor::Event;
use crate::generation::{GenerationId, Reason, ReasonKind};
use crate::live::{self, Backend};

/// So many exits on probation are bad, also where there are more instances.
const EXITS_MAX: u32 = 3;

impl Driver {
    pub(super) fn told(&mut self, told: Told) {
        let id = told.generation;
        match told.report {
            Report::Spawned(record) => self.spawned(id, record),
            Report::SpawnFailed(reason) => {
                self.note_crash(id, &reason);
                self.happened(Event::SpawnFailed(id, reason));
            }
            Report::Probed { instance, probe } => self.probed(id, instance, &probe),
            Report::Checked { passed } => self.world.metrics.probed(passed),
            Report::Ready(published) => self.ready(id, published),
            Report::WentBad(reason) | Report::Unready(reason) => {
                self.note_failed_retry(id, &reason);
                self.happened(Event::WentBad(id, reason));
            }
            Report::InstanceLost { instance, why } => self.lost_one(id, instance, &why),
            Report::StillThere => self.publish_again(id),
            Report::FilesChanged { instance } => {
                self.note_changed_files(id, &format!("instance {instance} of generation {id}"));
            }
            Report::InstanceBack { instance } => {
                info!(app = %self.name, generation = %id, instance, "instance is back");
                if self.world.live.live() == Some(id) {
                    // Nothing has moved, but whoever waits for an instance hears of it by this.
                    self.publish(Some(id));
                }
            }
            Report::Exited { reason, by_itself } => {
                if by_itself {
                    self.note_crash(id, &reason);
                    self.explained_by_exit(id, &reason);
                }
                self.gone(id, reason);
            }
        }
    }

    fn spawned(&mut self, id: GenerationId, record: Record) {
        let members = self.generations.instances(id).map(Instances::list);
        for member in members.unwrap_or_default() {
            let what = if member.pid.is_some() {
                "started"
            } else {
                "forwarding to it when it is ready"
            };
            info!(app = %self.name, generation = %id, instance = member.number, pid = member.pid, address = %member.address, "{what}");
        }
        self.generations.spawned(id, record);
        self.happened(Event::Spawned(id));
    }

    fn probed(&mut self, id: GenerationId, instance: u32, probe: &Probe) {
        if let Some(passed) = probe.result() {
            self.world.metrics.probed(passed);
        }
        if self.generations.probed(id, instance, probe) {
            let output = self.generations.last_line(id);
            let instances = self.generations.instances(id);
            let told = instances.map_or_else(
                || probe.on_the_way(),
                |instances| instances.told(instance, probe),
            );
            self.triggers.probed(&self.name, id, told, output);
        }
    }

    fn ready(&mut self, id: GenerationId, published: Arc<live::Generation<Backend>>) {
        let asked = self
            .core
            .owner()
            .and_then(|owner| self.triggers.probation(owner));
        let probation = asked.unwrap_or(self.settings.driver.probation);
        self.generations.ready(id, published, probation);
        self.world
            .metrics
            .phase_ended("start", self.generations.age(id));
        let mut rules = self.settings.driver.rules();
        rules.probation = !probation.is_zero();
        self.core.set_rules(rules);
        self.triggers.ready(&self.name, id);
        // After a first start that failed it is tried again without a trigger.
        let first = self.core.owner().is_none() && self.core.base().is_none();
        self.happened(Event::Ready(id));
        if first && self.core.live() == Some(id) {
            self.triggers.stale = None;
        }
    }

    /// One of several is gone, and the generation goes on.
    fn lost_one(&mut self, id: GenerationId, instance: u32, why: &str) {
        let live = self.core.live() == Some(id);
        if !live {
            info!(app = %self.name, generation = %id, instance, why, "instance ended");
            return;
        }
        if self.is_addressed() {
            warn!(app = %self.name, generation = %id, instance, why, "instance is out of balance until it answers again");
        } else {
            warn!(app = %self.name, generation = %id, instance, why, "instance ended; it is started again");
            self.world.metrics.restarted();
        }
        let instances = self.generations.instances(id);
        let exits = instances.map_or(0, Instances::exits);
        let bound = instances.map_or(EXITS_MAX, Instances::count).min(EXITS_MAX);
        if exits >= bound {
            let reason = format!("{exits} instances ended, the last one: {why}");
            let reason = Reason::new(ReasonKind::Exited, reason);
            // Only probation makes anything of it.
            self.happened(Event::WentBad(id, reason));
        }
    }

    fn gone(&mut self, id: GenerationId, reason: Reason) {
        let why = reason.to_string();
        info!(app = %self.name, generation = %id, reason = why, "ended");
        let served = self.core.live() == Some(id);
        if served && self.generations.served(id) >= GOOD_SERVICE {
            self.clock.reset_backoff();
        }
        if self.generations.is_stopping(id) {
            self.world
                .metrics
                .phase_ended("stop", self.generations.stopping_for(id));
        }
        self.happened(Event::Exited(id, reason));
    }
}
