//! What the driver knows of each generation beside its place in the core: its processes, its record, its time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::judging::History;
use crate::control_plane::instances::{self, Instances};
use crate::control_plane::process::Output;
use crate::control_plane::readiness::{self, Probe};
use crate::control_plane::status::{GenerationState, GenerationStatus};
use crate::control_plane::supervisor::{Standing, State, Supervisor, Version};
use crate::generation::GenerationId;
use crate::live::{self, Backend};

/// Every generation that the core knows, and the records of their versions.
#[derive(Debug, Default)]
pub(super) struct Generations {
    running: BTreeMap<GenerationId, Running>,
    records: BTreeMap<Version, Record>,
}

/// All that is needed to start a version again as it was started first.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) made: instances::Record,
    pub(super) readiness: readiness::Config,
    pub(super) instances: instances::Config,
}

/// One generation.
#[derive(Debug)]
pub(super) struct Running {
    asked: Instant,
    since: SystemTime,
    instances: Option<Instances>,
    /// When they are ready, and how many there are.
    terms: Option<(readiness::Config, instances::Config)>,
    /// The latest answer of each instance's check.
    probes: HashMap<u32, Probe>,
    /// How the data plane knows it, once it was ready.
    published: Option<Arc<live::Generation<Backend>>>,
    /// How long it is on probation, once it was ready.
    pub(super) probation: Duration,
    pub(super) history: History,
    /// Its safe requests were called back.
    recalled: bool,
    live_since: Option<Instant>,
    retired_at: Option<Instant>,
    stopping_at: Option<Instant>,
}

impl Running {
    fn new() -> Self {
        Self {
            asked: Instant::now(),
            since: SystemTime::now(),
            instances: None,
            terms: None,
            probes: HashMap::new(),
            published: None,
            probation: Duration::ZERO,
            history: History::default(),
            recalled: false,
            live_since: None,
            retired_at: None,
            stopping_at: None,
        }
    }
}

impl Generations {
    pub(super) fn starting(&mut self, id: GenerationId) {
        self.running.insert(id, Running::new());
    }

    /// Its processes are on their way.
    pub(super) fn begun(
        &mut self,
        id: GenerationId,
        instances: Instances,
        terms: (readiness::Config, instances::Config),
    ) {
        if let Some(running) = self.running.get_mut(&id) {
            running.instances = Some(instances);
            running.terms = Some(terms);
        }
    }

    /// It is made of what this record says.
    pub(super) fn spawned(&mut self, id: GenerationId, made: instances::Record) {
        let running = self.running.get(&id);
        if let Some((readiness, instances)) = running.and_then(|running| running.terms.clone()) {
            self.records.entry(Version(id)).or_insert(Record {
                made,
                readiness,
                instances,
            });
        }
    }

    /// Whether the answer differs from the one before.
    pub(super) fn probed(&mut self, id: GenerationId, instance: u32, probe: &Probe) -> bool {
        let Some(running) = self.running.get_mut(&id) else {
            return false;
        };
        let before = running.probes.insert(instance, probe.clone());
        before.as_ref() != Some(probe)
    }

    pub(super) fn ready(
        &mut self,
        id: GenerationId,
        published: Arc<live::Generation<Backend>>,
        probation: Duration,
    ) {
        if let Some(running) = self.running.get_mut(&id) {
            running.published = Some(published);
            running.probation = probation;
        }
    }

    pub(super) fn routed(&mut self, id: GenerationId) {
        if let Some(running) = self.running.get_mut(&id) {
            running.live_since = Some(Instant::now());
            running.retired_at = None;
        }
    }

    pub(super) fn retired(&mut self, id: GenerationId) {
        if let Some(running) = self.running.get_mut(&id) {
            running.retired_at = Some(Instant::now());
        }
    }

    pub(super) fn stopping(&mut self, id: GenerationId) {
        if let Some(running) = self.running.get_mut(&id) {
            running.stopping_at.get_or_insert_with(Instant::now);
        }
    }

    /// Lets go of the generations that the core has forgotten, and of versions that nothing can lead to any more.
    pub(super) fn forget_unknown(&mut self, core: &Supervisor) {
        self.running.retain(|id, _| core.state_of(*id).is_some());
        let back = match core.standing() {
            Some(Standing::Probation { back, .. }) => Some(*back),
            _ => None,
        };
        let wanted = [core.base(), core.previous(), back];
        self.records.retain(|version, _| {
            wanted.contains(&Some(*version))
                || core
                    .generations()
                    .any(|(id, _)| id == version.0 || core.version_of(id) == Some(*version))
        });
    }

    pub(super) fn get(&self, id: GenerationId) -> Option<&Running> {
        self.running.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: GenerationId) -> Option<&mut Running> {
        self.running.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (GenerationId, &Running)> {
        self.running.iter().map(|(id, running)| (*id, running))
    }

    pub(super) fn instances(&self, id: GenerationId) -> Option<&Instances> {
        self.running.get(&id)?.instances.as_ref()
    }

    pub(super) fn published(&self, id: GenerationId) -> Option<&Arc<live::Generation<Backend>>> {
        self.running.get(&id)?.published.as_ref()
    }

    pub(super) fn record(&self, version: Version) -> Option<&Record> {
        self.records.get(&version)
    }

    /// Those that were left because they are bad, and have not been told so yet.
    pub(super) fn newly_fallen(&mut self, core: &Supervisor) -> Vec<GenerationId> {
        let fallen = self
            .running
            .iter_mut()
            .filter(|(id, running)| !running.recalled && core.is_fallen(**id));
        fallen
            .map(|(id, running)| {
                running.recalled = true;
                *id
            })
            .collect()
    }

    /// Those that were retired, with their counts.
    pub(super) fn draining(&self) -> Vec<(GenerationId, u32, u32)> {
        let draining = self
            .running
            .iter()
            .filter(|(_, running)| running.retired_at.is_some());
        draining
            .filter_map(|(id, running)| {
                let published = running.published.as_ref()?;
                Some((*id, published.requests(), published.streams()))
            })
            .collect()
    }

    pub(super) fn output(&self, id: GenerationId) -> Option<Arc<Output>> {
        self.instances(id)?.output()
    }

    pub(super) fn last_line(&self, id: GenerationId) -> Option<String> {
        self.output(id)?
            .last_lines(1)
            .pop()
            .map(|line| line.text.to_string())
    }

    pub(super) fn last_probe(&self, id: GenerationId) -> Option<String> {
        self.instances(id)?.last_probe()
    }

    /// The processes that run of all generations that are not on their way out.
    pub(super) fn pids(&self, id: GenerationId) -> Vec<u32> {
        let members = self.instances(id).map(Instances::list).unwrap_or_default();
        members.iter().filter_map(|member| member.pid).collect()
    }

    pub(super) fn is_retired(&self, id: GenerationId) -> bool {
        self.running
            .get(&id)
            .is_some_and(|running| running.retired_at.is_some())
    }

    pub(super) fn is_stopping(&self, id: GenerationId) -> bool {
        self.running
            .get(&id)
            .is_some_and(|running| running.stopping_at.is_some())
    }

    /// How long ago it was asked for.
    pub(super) fn age(&self, id: GenerationId) -> Duration {
        self.since(id, |running| Some(running.asked))
    }

    /// How long it has been live.
    pub(super) fn served(&self, id: GenerationId) -> Duration {
        self.since(id, |running| running.live_since)
    }

    pub(super) fn retired_for(&self, id: GenerationId) -> Duration {
        self.since(id, |running| running.retired_at)
    }

    pub(super) fn stopping_for(&self, id: GenerationId) -> Duration {
        self.since(id, |running| running.stopping_at)
    }

    fn since(&self, id: GenerationId, start: impl Fn(&Running) -> Option<Instant>) -> Duration {
        self.running
            .get(&id)
            .and_then(start)
            .map_or(Duration::ZERO, |start| start.elapsed())
    }

    /// What is told about each of them, oldest first.
    pub(super) fn status(&self, core: &Supervisor) -> Vec<GenerationStatus> {
        self.running
            .iter()
            .filter_map(|(id, running)| {
                let mut status = running.status(*id, core.state_of(*id)?, core);
                let version = core.version_of(*id);
                let record = version.and_then(|version| self.records.get(&version));
                if let Some(recipe) = record.and_then(|record| record.made.recipe()) {
                    status.directory = Some(recipe.directory().to_owned());
                    status.environment = Arc::clone(recipe.names());
                }
                Some(status)
            })
            .collect()
    }
}

impl Running {
    /// How the data plane knows it.
    pub(super) fn published(&self) -> Option<&Arc<live::Generation<Backend>>> {
        self.published.as_ref()
    }

    fn status(
        &self,
        generation: GenerationId,
        state: State,
        core: &Supervisor,
    ) -> GenerationStatus {
        let published = self.published.as_ref();
        let members = self
            .instances
            .as_ref()
            .map(Instances::list)
            .unwrap_or_default();
        GenerationStatus {
            generation,
            version: core.version_of(generation).map(|version| version.0),
            state: word(state),
            since: self.since,
            pids: members.iter().filter_map(|member| member.pid).collect(),
            addresses: members
                .iter()
                .map(|member| member.address.clone())
                .collect(),
            ready: members.iter().filter(|member| member.ready).count() as u32,
            directory: None,
            environment: Arc::default(),
            requests: published.map_or(0, |generation| generation.requests()),
            streams: published.map_or(0, |generation| generation.streams()),
        }
    }
}

fn word(state: State) -> GenerationState {
    match state {
        State::Starting => GenerationState::Starting,
        State::Live => GenerationState::Live,
        State::Standby => GenerationState::Standby,
        State::Retiring => GenerationState::Retiring,
        State::Stopping => GenerationState::Stopping,
    }
}
