//! What each action of the core means in the world. Each starts its work and returns.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Driver;
use super::clock::CLOSE_GRACE;
use crate::control_plane::backoff::GOOD_SERVICE;
use crate::control_plane::instances::Instances;
use crate::control_plane::supervisor::{Action, Event, Overlap, PhaseWord, Timer};
use crate::generation::GenerationId;
use crate::live::Routing;

impl Driver {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Route(id) => self.route(id),
            Action::Unroute => self.publish(None),
            Action::Spawn(id, source) => self.spawn(id, source),
            Action::Probe(id) => self.probe(id),
            Action::Drain(id) => self.drain(id),
            Action::CloseStreams(id) => self.close_streams(id, self.close_spread()),
            Action::Cut(id) => self.cut(id),
            Action::Terminate(id) => self.terminate(id),
            Action::Kill(id) => self.kill(id),
            Action::Abandon(id) => self.abandon(id),
            Action::Report(id, verdict) => self.report(id, verdict),
            Action::Settle(id, settled) => self.settle(id, &settled),
            // Whoever asks for the shutdown has closed the listeners first: what they had queued is served.
            Action::Close => {}
            Action::Arm(timer) => self.arm(timer),
            Action::Disarm(timer) => self.disarm(timer),
            Action::Exit => self.exited = true,
        }
    }

    fn route(&mut self, id: GenerationId) {
        self.generations.routed(id);
        self.publish(Some(id));
        self.order(id, |orders| orders.retired = false);
        let probation = self.core.on_probation() == Some(id);
        self.tell_instances(id, |instances| instances.route(probation));
    }

    /// Moves new requests in one atomic step.
    pub(super) fn publish(&self, live: Option<GenerationId>) {
        let published =
            |id: Option<GenerationId>| id.and_then(|id| self.generations.published(id)).cloned();
        let routing = Routing {
            live: published(live),
            fallback: published(self.core.fallback_target()),
        };
        self.world.live.publish(routing);
        // During a shutdown the live one is on its way out: publishing it again must not take that back.
        if let Some(id) = live
            && self.generations.is_retired(id)
            && let Some(generation) = self.generations.published(id)
        {
            generation.retire();
        }
    }

    /// After each step: the fallback follows the core.
    pub(super) fn publish_fallback(&self) {
        if self.world.live.fallback() != self.core.fallback_target() {
            self.publish(self.world.live.live());
        }
    }

    /// Lets the requests go that found nobody there a moment ago.
    pub(super) fn publish_again(&self, id: GenerationId) {
        if self.world.live.live() == Some(id) {
            self.publish(Some(id));
        }
    }

    /// A connection was refused: what somebody else serves is looked at at once. Processes of ours tell of their end.
    pub(super) fn look_at_addresses(&self) {
        let Some(live) = self.core.live().filter(|_| self.is_addressed()) else {
            return;
        };
        let published = self.generations.published(live);
        if published.is_some_and(|live| live.payload.outcomes.any_refused()) {
            self.tell_instances(live, Instances::look);
        }
    }

    pub(super) fn is_addressed(&self) -> bool {
        self.settings.backing.addresses().is_some()
    }

    fn probe(&self, id: GenerationId) {
        self.tell_instances(id, Instances::probe);
    }

    pub(super) fn tell_instances(&self, id: GenerationId, tell: impl FnOnce(&Instances)) {
        if let Some(instances) = self.generations.instances(id) {
            tell(instances);
        }
    }

    /// Watches until its requests and streams are done.
    fn drain(&mut self, id: GenerationId) {
        if let Some(generation) = self.generations.published(id) {
            generation.retire();
            let (requests, streams) = (generation.requests(), generation.streams());
            info!(app = %self.name, generation = %id, requests, streams, "draining");
        }
        if self.generations.served(id) >= GOOD_SERVICE {
            self.clock.reset_backoff();
        }
        self.generations.retired(id);
        self.order(id, |orders| orders.retired = true);
        self.tell_instances(id, Instances::retire);
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

    /// Tells its streams to end in their own manner, evenly over so long.
    pub(super) fn close_streams(&self, id: GenerationId, spread: Duration) {
        if let Some(generation) = self.generations.published(id) {
            let streams = generation.streams();
            info!(app = %self.name, generation = %id, streams, ?spread, "closing streams");
        }
        self.order(id, |orders| {
            orders.closes += 1;
            orders.close_spread = spread;
        });
    }

    /// Over how long the closing of streams is spread. Not at all where everything ends, or where requests are held until
    /// the generation is gone: its clients come back to the next one together however they leave.
    fn close_spread(&self) -> Duration {
        if self.shutdown.is_some() || self.settings.driver.overlap == Overlap::None {
            Duration::ZERO
        } else {
            self.settings.driver.close_spread
        }
    }

    fn cut(&self, id: GenerationId) {
        let requests = self
            .generations
            .published(id)
            .map_or(0, |generation| generation.requests());
        warn!(app = %self.name, generation = %id, requests, "drain timeout: breaking off what has no answer yet");
        self.drained(id);
        self.order(id, |orders| orders.cuts += 1);
    }

    fn drained(&self, id: GenerationId) {
        let after = self.generations.retired_for(id);
        self.world.metrics.phase_ended("drain", after);
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
        info!(app = %self.name, generation = %id, "stopping");
        self.tell_instances(id, Instances::terminate);
        self.clock.arm(Timer::Stop(id), &self.settings.driver);
    }

    fn kill(&mut self, id: GenerationId) {
        self.generations.stopping(id);
        self.clock.release_signal(id);
        self.order(id, |orders| orders.breaks += 1);
        warn!(app = %self.name, generation = %id, "killing: it has not stopped in time");
        self.tell_instances(id, Instances::kill);
    }

    fn abandon(&self, id: GenerationId) {
        let pids = self.generations.pids(id);
        error!(app = %self.name, generation = %id, ?pids, "abandoned: SIGKILL has not ended it; look at the process");
    }

    /// The clock of a stop whose signal is held back starts at the signal.
    fn arm(&mut self, timer: Timer) {
        match timer {
            Timer::Stop(id) if self.clock.holds_signal(id) => {}
            Timer::Close(_) => self.clock.arm_for(timer, self.close_spread() + CLOSE_GRACE),
            Timer::Probation(id) => {
                self.restart_probation(id);
                self.clock.arm_for(timer, self.probation_of(id));
            }
            _ => self.clock.arm(timer, &self.settings.driver),
        }
    }

    fn disarm(&mut self, timer: Timer) {
        if let Timer::Drain(id) = timer
            && self.core.live() != Some(id)
        {
            self.drained(id);
        }
        self.clock.disarm(timer);
    }

    pub(super) fn order(&self, id: GenerationId, change: impl FnOnce(&mut crate::live::Orders)) {
        if let Some(generation) = self.generations.published(id) {
            generation.payload.order(change);
        }
    }
}
