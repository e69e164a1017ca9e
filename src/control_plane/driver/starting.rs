//! From the core's `Spawn` to the processes: what is looked at before they are started.
//!
//! Looking means reading files, so it is done elsewhere and comes home as an input.

use std::sync::Arc;

use tracing::warn;

use super::config::MemoryPolicy;
use super::generations::Record;
use super::{Driver, Input};
use crate::control_plane::instances::{Instances, Plan};
use crate::control_plane::memory;
use crate::control_plane::supervisor::{Event, Overlap, Source};
use crate::generation::{GenerationId, Reason, ReasonKind};

/// A generation that is to be started, and what was found out about it before.
#[derive(Debug)]
pub(crate) struct Preparation {
    generation: GenerationId,
    record: Option<Record>,
    /// Why it may not fit into memory beside what runs.
    shortage: Option<String>,
    /// It would be started from other files than those its record was made of.
    changed: bool,
}

/// A start that waits until the standby has made room.
#[derive(Debug)]
pub(super) struct Delayed {
    generation: GenerationId,
    record: Option<Record>,
    standby: GenerationId,
}

impl Driver {
    pub(super) fn spawn(&mut self, id: GenerationId, source: Source) {
        self.generations.starting(id);
        match self.core.owner() {
            Some(owner) => self.triggers.starting(&self.name, owner, id),
            None => self.world.metrics.restarted(),
        }
        let record = match source {
            Source::Fresh => None,
            Source::Again(version) => match self.generations.record(version) {
                Some(record) => Some(record.clone()),
                None => {
                    let reason = format!("nothing is known any more of version {}", version.0);
                    let reason = Reason::new(ReasonKind::Spawn, reason);
                    return self.events.push_back(Event::SpawnFailed(id, reason));
                }
            },
        };
        let rival = self.rival();
        if record.is_none() && rival.is_empty() {
            return self.begin(id, None);
        }
        let home = self.home.clone();
        tokio::task::spawn_blocking(move || {
            let preparation = Preparation {
                generation: id,
                shortage: shortage(&rival),
                changed: record
                    .as_ref()
                    .is_some_and(|record| record.made.files_changed()),
                record,
            };
            // The driver waits for every start that is under way.
            let _ = home.blocking_send(Input::Prepared(Box::new(preparation)));
        });
    }

    /// The processes that the new ones are to run beside.
    fn rival(&self) -> Vec<u32> {
        let beside = self.settings.driver.overlap == Overlap::Full;
        let live = self.core.live().filter(|_| beside);
        live.map(|live| self.generations.pids(live))
            .unwrap_or_default()
    }

    pub(super) fn prepared(&mut self, preparation: Preparation) {
        let Preparation {
            generation: id,
            record,
            shortage,
            changed,
        } = preparation;
        if changed {
            self.triggers.started_from_changed_files(id);
            self.note_changed_files(id, &format!("generation {id}"));
        }
        let Some(shortage) = shortage.filter(|_| self.core.candidate() == Some(id)) else {
            return self.begin(id, record);
        };
        match self.settings.driver.overlap_memory {
            MemoryPolicy::Refuse => {
                let reason = format!("not started, for memory may run short: {shortage}");
                self.happened(Event::SpawnFailed(
                    id,
                    Reason::new(ReasonKind::Spawn, reason),
                ));
            }
            MemoryPolicy::StopStandby => self.make_room(id, record, &shortage),
            MemoryPolicy::Warn => {
                self.warn_of_shortage(id, &shortage);
                self.begin(id, record);
            }
        }
    }

    pub(super) fn note_changed_files(&mut self, id: GenerationId, who: &str) {
        warn!(app = %self.name, generation = %id, "{who} is started again from changed files: what is on disk is not what ran before");
        self.note(id, format!("{who} was started again from changed files"));
    }

    fn note(&mut self, id: GenerationId, note: String) {
        let notes = self.notes.entry(id).or_default();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn make_room(&mut self, id: GenerationId, record: Option<Record>, shortage: &str) {
        let standby = self.core.standby();
        self.happened(Event::MemoryRanShort);
        match standby.filter(|standby| self.generations.is_stopping(*standby)) {
            Some(standby) => {
                warn!(app = %self.name, generation = %id, "stopping the standby {standby} first, for memory may run short: {shortage}");
                self.delayed = Some(Delayed {
                    generation: id,
                    record,
                    standby,
                });
            }
            // None, or one that still has streams: waiting for those would have no end.
            None => {
                self.warn_of_shortage(id, shortage);
                self.begin(id, record);
            }
        }
    }

    fn warn_of_shortage(&mut self, id: GenerationId, shortage: &str) {
        warn!(app = %self.name, generation = %id, "memory may run short: {shortage}");
        self.note(id, format!("memory may run short: {shortage}"));
    }

    /// Starts what waited for the standby to go, once it has gone.
    pub(super) fn begin_delayed(&mut self) {
        let gone = |delayed: &mut Delayed| self.core.state_of(delayed.standby).is_none();
        if let Some(delayed) = self.delayed.take_if(gone) {
            self.begin(delayed.generation, delayed.record);
        }
    }

    fn begin(&mut self, id: GenerationId, record: Option<Record>) {
        if self.core.candidate() != Some(id) {
            let reason = Reason::new(ReasonKind::Spawn, "no longer wanted");
            return self.happened(Event::SpawnFailed(id, reason));
        }
        // A version is started again as it was started first: a newer configuration belongs to a newer version.
        let (made, readiness, config) = match record {
            Some(record) => (Some(record.made), record.readiness, record.instances),
            None => {
                let settings = &self.settings;
                let (readiness, instances) = (&settings.readiness, &settings.instances);
                (None, readiness.clone(), instances.clone())
            }
        };
        let terms = (readiness.clone(), config.clone());
        let (backing, instead_of) = self.backing();
        let plan = Plan {
            app: self.name.clone(),
            generation: id,
            record: made,
            backing,
            instead_of,
            readiness,
            config,
            processes: Arc::clone(&self.world.processes),
            changes: self.world.changes.clone(),
            workers: self.world.workers,
            starts: self.world.starts.clone(),
            nudge: Arc::clone(&self.nudge),
            alarm: Arc::clone(&self.alarm),
        };
        let instances = Instances::start(plan, self.home.clone());
        self.generations.begun(id, instances, terms);
    }
}

/// Whether what runs now would fit once more; nothing where that cannot be told.
fn shortage(rival: &[u32]) -> Option<String> {
    if rival.is_empty() {
        return None;
    }
    let available = memory::available().ok()?;
    memory::shortage(&available, memory::resident(rival))
}
