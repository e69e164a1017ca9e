//! What the driver knows of each generation beside its place in the core: its process, its record, its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::control_plane::process::{self, Output, Recipe};
use crate::control_plane::readiness::Probe;
use crate::control_plane::status::{GenerationState, GenerationStatus};
use crate::control_plane::supervisor::{State, Supervisor, Version};
use crate::generation::{Address, GenerationId};
use crate::live::{self, Backend, Instance};

/// Every generation that the core knows, and the records of their versions.
#[derive(Debug, Default)]
pub(super) struct Generations {
    running: BTreeMap<GenerationId, Running>,
    recipes: BTreeMap<Version, Arc<Recipe>>,
}

/// One generation.
#[derive(Debug)]
pub(super) struct Running {
    asked: Instant,
    since: SystemTime,
    instance: Option<Arc<process::Instance>>,
    /// Asks it until it is ready.
    probing: Option<AbortHandle>,
    probe: Option<Probe>,
    /// How the data plane knows it, once it was ready.
    published: Option<Arc<live::Generation<Backend>>>,
    live_since: Option<Instant>,
    retired_at: Option<Instant>,
    stopping_at: Option<Instant>,
}

impl Running {
    fn new() -> Self {
        Self {
            asked: Instant::now(),
            since: SystemTime::now(),
            instance: None,
            probing: None,
            probe: None,
            published: None,
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

    pub(super) fn spawned(
        &mut self,
        id: GenerationId,
        instance: Arc<process::Instance>,
        recipe: Arc<Recipe>,
    ) {
        if let Some(running) = self.running.get_mut(&id) {
            running.instance = Some(instance);
            self.recipes.entry(Version(id)).or_insert(recipe);
        }
    }

    pub(super) fn probing(&mut self, id: GenerationId, task: AbortHandle) {
        if let Some(running) = self.running.get_mut(&id) {
            running.probing = Some(task);
        }
    }

    /// Whether the answer differs from the one before.
    pub(super) fn probed(&mut self, id: GenerationId, probe: &Probe) -> bool {
        let Some(running) = self.running.get_mut(&id) else {
            return false;
        };
        running.probe.replace(probe.clone()).as_ref() != Some(probe)
    }

    pub(super) fn ready(
        &mut self,
        id: GenerationId,
        address: Address,
        workers: usize,
        nudge: impl Fn(GenerationId) + Send + Sync + 'static,
    ) {
        if let Some(running) = self.running.get_mut(&id) {
            let backend = Backend::new(vec![Instance { number: 1, address }]);
            running.published = Some(Arc::new(live::Generation::new(id, backend, workers, nudge)));
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

    /// Told to stop: nobody asks it for readiness any more.
    pub(super) fn stopping(&mut self, id: GenerationId) {
        if let Some(running) = self.running.get_mut(&id) {
            running.stopping_at.get_or_insert_with(Instant::now);
            if let Some(probing) = running.probing.take() {
                probing.abort();
            }
        }
    }

    /// Lets go of the generations that the core has forgotten, and of versions that nothing can lead to any more.
    pub(super) fn forget_unknown(&mut self, core: &Supervisor) {
        self.running.retain(|id, _| core.state_of(*id).is_some());
        let wanted = [core.base(), core.previous()];
        self.recipes.retain(|version, _| {
            wanted.contains(&Some(*version))
                || core
                    .generations()
                    .any(|(id, _)| id == version.0 || core.version_of(id) == Some(*version))
        });
    }

    pub(super) fn instance(&self, id: GenerationId) -> Option<&Arc<process::Instance>> {
        self.running.get(&id)?.instance.as_ref()
    }

    pub(super) fn published(&self, id: GenerationId) -> Option<&Arc<live::Generation<Backend>>> {
        self.running.get(&id)?.published.as_ref()
    }

    pub(super) fn recipe(&self, version: Version) -> Option<&Arc<Recipe>> {
        self.recipes.get(&version)
    }

    /// Those that were retired and have not been told to stop, with their counts.
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
        Some(Arc::clone(self.instance(id)?.output()))
    }

    pub(super) fn last_line(&self, id: GenerationId) -> Option<String> {
        self.output(id)?
            .last_lines(1)
            .pop()
            .map(|line| line.text.to_string())
    }

    pub(super) fn last_probe(&self, id: GenerationId) -> Option<String> {
        Some(self.running.get(&id)?.probe.as_ref()?.to_string())
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
            .filter_map(|(id, running)| Some(running.status(*id, core.state_of(*id)?)))
            .collect()
    }
}

impl Running {
    fn status(&self, generation: GenerationId, state: State) -> GenerationStatus {
        let published = self.published.as_ref();
        GenerationStatus {
            generation,
            state: word(state),
            since: self.since,
            pids: self
                .instance
                .iter()
                .map(|instance| instance.pid())
                .collect(),
            addresses: self
                .instance
                .iter()
                .map(|instance| instance.address().to_string())
                .collect(),
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
