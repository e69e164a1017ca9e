//! What each action of the core means in the world. Each starts its work and returns.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Driver, Input};
use crate::control_plane::process::Recipe;
use crate::control_plane::readiness;
use crate::control_plane::status::{AppState, AppStatus};
use crate::control_plane::supervisor::{Action, Event, PhaseWord, Source, Timer};
use crate::generation::{GenerationId, Reason, ReasonKind};
use crate::live::Routing;

impl Driver {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Route(id) => self.route(id),
            Action::Unroute => self.publish(None),
            Action::Spawn(id, source) => self.spawn(id, source),
            Action::Probe(id) => self.probe(id),
            Action::Drain(id) => self.drain(id),
            Action::CloseStreams(id) => self.order(id, |orders| orders.closes += 1),
            Action::Cut(id) => self.cut(id),
            Action::Terminate(id) => self.terminate(id),
            Action::Kill(id) => self.kill(id),
            Action::Abandon(id) => self.abandon(id),
            Action::Report(id, verdict) => self.report(id, verdict),
            // Nobody can wait for the end of a probation while there is none.
            Action::Settle(..) => {}
            // Whoever asks for the shutdown has closed the listeners first: what they had queued is served.
            Action::Close => {}
            Action::Arm(timer) => self.arm(timer),
            Action::Disarm(timer) => self.disarm(timer),
            Action::Exit => self.exited = true,
        }
    }

    fn route(&mut self, id: GenerationId) {
        let from = self.world.live.live().map(GenerationId::get);
        self.publish(Some(id));
        self.order(id, |orders| orders.retired = false);
        self.generations.routed(id);
        info!(app = %self.name, generation = %id, from, "live");
    }

    /// Moves new requests in one atomic step.
    fn publish(&self, live: Option<GenerationId>) {
        let published =
            |id: Option<GenerationId>| id.and_then(|id| self.generations.published(id)).cloned();
        let routing = Routing {
            live: published(live),
            fallback: published(self.core.fallback_target()),
        };
        self.world.live.publish(routing);
    }

    /// After each step: the fallback follows the core.
    pub(super) fn publish_fallback(&self) {
        if self.world.live.fallback() != self.core.fallback_target() {
            self.publish(self.world.live.live());
        }
    }

    fn spawn(&mut self, id: GenerationId, source: Source) {
        self.generations.starting(id);
        self.triggers.starting(&self.name, id);
        if !matches!(source, Source::Fresh) && self.triggers.pending().is_none() {
            self.world.metrics.restarted();
        }
        let record = match source {
            Source::Fresh => None,
            Source::Again(version) => self.generations.recipe(version).cloned(),
        };
        let process = self.settings.process.clone();
        let notify = self.settings.readiness.notify;
        let processes = Arc::clone(&self.world.processes);
        let (name, home) = (self.name.clone(), self.home.clone());
        tokio::spawn(async move {
            let started = async {
                let recipe = match record {
                    Some(recipe) => recipe,
                    None => Arc::new(resolve(process).await?.notifying(notify)),
                };
                let instance = processes.start(&recipe, &name, id, 1).await?;
                Ok((Arc::new(instance), recipe))
            };
            let input = match started.await {
                Ok((instance, recipe)) => Input::Spawned(id, instance, recipe),
                Err(reason) => Input::SpawnFailed(id, reason),
            };
            // The driver waits for every spawn that is under way.
            let _ = home.send(input).await;
        });
    }

    fn probe(&mut self, id: GenerationId) {
        let Some(instance) = self.generations.instance(id).cloned() else {
            return;
        };
        let config = self.settings.readiness.clone();
        let home = self.home.clone();
        let task = tokio::spawn(async move {
            let probes = home.clone();
            let progress = |probe| tell(&probes, Input::Probed(id, probe));
            let input = match readiness::until_ready(&config, &instance, progress).await {
                Ok(ready) => Input::Ready(id, ready.address),
                // Its exit is told by whoever watches it.
                Err(reason) if matches!(reason.kind, ReasonKind::Exited | ReasonKind::Keeper) => {
                    return;
                }
                Err(reason) => Input::WentBad(id, reason),
            };
            let _ = home.send(input).await;
        });
        self.generations.probing(id, task.abort_handle());
    }

    /// Watches until its requests and streams are done.
    fn drain(&mut self, id: GenerationId) {
        if let Some(generation) = self.generations.published(id) {
            generation.retire();
            let (requests, streams) = (generation.requests(), generation.streams());
            info!(app = %self.name, generation = %id, requests, streams, "draining");
        }
        self.generations.retired(id);
        self.order(id, |orders| orders.retired = true);
        self.look_for_drained();
    }

    /// Says what is true now about the generations that drain; a nudge only asks for another look.
    pub(super) fn look_for_drained(&mut self) {
        for (id, requests, streams) in self.generations.draining() {
            if requests > 0 || self.may_still_get_requests(id) {
                continue;
            }
            if self.generations.is_stopping(id) {
                if self.clock.holds_signal(id) {
                    self.signal(id);
                }
                continue;
            }
            self.events.push_back(Event::Drained(id));
            if streams == 0 {
                self.events.push_back(Event::StreamsEnded(id));
            }
        }
        self.run_events();
    }

    /// During a shutdown the live generation goes on serving the clients that are still connected.
    fn may_still_get_requests(&self, id: GenerationId) -> bool {
        self.shutdown
            .is_some_and(|shutdown| shutdown.frozen == Some(id) && !shutdown.clients_gone)
    }

    fn cut(&self, id: GenerationId) {
        let requests = self
            .generations
            .published(id)
            .map_or(0, |generation| generation.requests());
        warn!(app = %self.name, generation = %id, requests, "drain timeout: breaking off what has no answer yet");
        self.order(id, |orders| orders.cuts += 1);
    }

    /// Asks it to stop, once no request is left that was sent to it while it was the fallback.
    fn terminate(&mut self, id: GenerationId) {
        self.generations.stopping(id);
        self.publish_fallback();
        let left = self
            .generations
            .published(id)
            .map_or(0, |generation| generation.requests());
        if left > 0 && self.core.phase() == PhaseWord::Up {
            self.clock
                .hold_signal(id, Instant::now() + self.settings.driver.lease_timeout);
        } else {
            self.signal(id);
        }
    }

    /// Sends the signal that asks it to stop, and starts the time it has for that.
    pub(super) fn signal(&mut self, id: GenerationId) {
        self.clock.release_signal(id);
        self.order(id, |orders| orders.breaks += 1);
        if let Some(instance) = self.generations.instance(id) {
            info!(app = %self.name, generation = %id, "stopping");
            instance.terminate();
        }
        self.clock.arm(Timer::Stop(id), &self.settings.driver);
    }

    fn kill(&mut self, id: GenerationId) {
        self.generations.stopping(id);
        self.clock.release_signal(id);
        self.order(id, |orders| orders.breaks += 1);
        if let Some(instance) = self.generations.instance(id) {
            warn!(app = %self.name, generation = %id, "killing: it has not stopped in time");
            instance.kill();
        }
    }

    fn abandon(&self, id: GenerationId) {
        let pid = self.generations.instance(id).map(|instance| instance.pid());
        error!(app = %self.name, generation = %id, pid, "abandoned: SIGKILL has not ended it; look at the process");
    }

    /// The clock of a stop whose signal is held back starts at the signal.
    fn arm(&mut self, timer: Timer) {
        let waits_for_signal = matches!(timer, Timer::Stop(id) if self.clock.holds_signal(id));
        if !waits_for_signal {
            self.clock.arm(timer, &self.settings.driver);
        }
    }

    fn disarm(&mut self, timer: Timer) {
        if let Timer::Drain(id) = timer {
            self.world
                .metrics
                .phase_ended("drain", self.generations.retired_for(id));
        }
        self.clock.disarm(timer);
    }

    fn order(&self, id: GenerationId, change: impl FnOnce(&mut crate::live::Orders)) {
        if let Some(generation) = self.generations.published(id) {
            generation.payload.order(change);
        }
    }

    pub(super) fn publish_status(&self) {
        let status = AppStatus {
            name: self.name.clone(),
            state: self.state(),
            stale: self.triggers.stale.is_some(),
            stale_reason: self.triggers.stale.clone(),
            paused: self.core.paused(),
            live: self.core.live(),
            generations: self.generations.status(&self.core),
            last_trigger: self.triggers.ended.clone(),
            pending: self.triggers.pending(),
            restarts: self.world.metrics.restarts(),
            started: self.triggers.started,
        };
        self.status.send_if_modified(|published| {
            let changed = **published != status;
            if changed {
                *published = Arc::new(status);
            }
            changed
        });
    }

    fn state(&self) -> AppState {
        if self.core.phase() != PhaseWord::Up {
            AppState::Stopping
        } else if self.core.live().is_some() {
            AppState::Live
        } else if self.triggers.started {
            AppState::Down
        } else {
            AppState::Starting
        }
    }
}

/// Reads the environment file and the directory anew. On a thread of its own: a file system may hang.
async fn resolve(process: crate::control_plane::process::Config) -> Result<Recipe, Reason> {
    let resolved = tokio::task::spawn_blocking(move || process.resolve(std::env::vars_os()));
    let panicked = |error| {
        Reason::new(
            ReasonKind::Spawn,
            format!("cannot prepare the start: {error}"),
        )
    };
    resolved.await.unwrap_or_else(|error| Err(panicked(error)))
}

/// Progress is told when there is room: the next probe says more.
fn tell(home: &mpsc::Sender<Input>, input: Input) {
    let _ = home.try_send(input);
}
