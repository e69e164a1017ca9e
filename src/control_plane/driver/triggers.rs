//! Who asked for what, and how each of them learns the verdict. Every trigger gets exactly one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::handle::Wish;
use super::{Driver, Input, Origin};
use crate::control_plane::endpoint::Endpoint;
use crate::control_plane::process::Output;
use crate::control_plane::progress::{Progress, SettledWord, Watchers};
use crate::control_plane::status::{FirstStart, TriggerSource, TriggerStatus, VerdictWord};
use crate::generation::{AppName, GenerationId, Reason, Settled, TriggerId, Verdict};

/// How many of the app's last lines a failed verdict shows.
const LAST_LINES: usize = 20;
/// How long a failed verdict waits for what the app wrote last: its process is gone, but its pipes may still be read.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(200);

/// The triggers without a verdict, and what became of the newest that has one.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    last: Option<TriggerId>,
    waiting: BTreeMap<TriggerId, Trigger>,
    /// Those that are live, and whose askers wait for the end of the probation.
    settling: BTreeMap<TriggerId, Settling>,
    /// Failures whose last words are awaited.
    pub(super) concluding: usize,
    /// The newest that has ended.
    pub(super) ended: Option<TriggerStatus>,
    /// Why an older generation than the wanted one serves.
    pub(super) stale: Option<String>,
    /// What has just led to another live generation.
    pub(super) swapped: Option<(TriggerId, Origin)>,
    /// How the first of all, the start of hitless, has ended.
    pub(super) first_start: FirstStart,
}

/// One trigger that has no verdict yet.
#[derive(Debug)]
struct Trigger {
    origin: Origin,
    asked: Instant,
    watchers: Watchers,
    generation: Option<GenerationId>,
    /// How its generation is to differ from what the configuration says.
    wish: Wish,
    /// What it was started from is not what was recorded.
    changed: bool,
    /// What was on its way when it came was given up for it.
    abandons: bool,
}

/// One that is live, with those who wait for the end of the probation.
#[derive(Debug)]
struct Settling {
    asked: Instant,
    watchers: Watchers,
}

/// A verdict that is complete but for what the app wrote last.
#[derive(Debug)]
pub(crate) struct Conclusion {
    status: TriggerStatus,
    asked: Instant,
    watchers: Watchers,
}

/// For a trigger that nobody waits for.
pub(super) fn nobody() -> Watchers {
    Watchers::default()
}

impl Triggers {
    pub(super) fn accept(
        &mut self,
        app: &AppName,
        origin: Origin,
        wish: Wish,
        mut watchers: Watchers,
    ) -> TriggerId {
        let id = self.last.map_or(TriggerId::FIRST, TriggerId::next);
        self.last = Some(id);
        watchers.tell(&Progress::Accepted {
            app: app.clone(),
            trigger: id,
            source: origin.source,
        });
        self.waiting.insert(
            id,
            Trigger {
                origin,
                asked: Instant::now(),
                watchers,
                generation: None,
                wish,
                changed: false,
                abandons: false,
            },
        );
        id
    }

    /// A rollback leads there.
    pub(super) fn going_back(&mut self, app: &AppName, id: TriggerId, to: Option<GenerationId>) {
        if let Some(trigger) = self.waiting.get_mut(&id) {
            trigger.watchers.tell(&Progress::GoingBack {
                app: app.clone(),
                trigger: id,
                to,
            });
        }
    }

    /// How long the generation that it starts is to be on probation, if not as long as all.
    pub(super) fn probation(&self, id: TriggerId) -> Option<Duration> {
        self.waiting.get(&id)?.wish.probation
    }

    /// The addresses that the generation which it starts is to have, if not those of the configuration.
    pub(super) fn addresses(&self, id: TriggerId) -> Option<&Arc<[Endpoint]>> {
        self.waiting.get(&id)?.wish.addresses.as_ref()
    }

    /// The generation that a trigger starts is made from files that have changed since its version was recorded.
    pub(super) fn started_from_changed_files(&mut self, generation: GenerationId) {
        for trigger in self.waiting.values_mut() {
            trigger.changed |= trigger.generation == Some(generation);
        }
    }

    /// This generation is started for that trigger.
    pub(super) fn starting(&mut self, app: &AppName, id: TriggerId, generation: GenerationId) {
        if let Some(trigger) = self.waiting.get_mut(&id) {
            trigger.generation = Some(generation);
            trigger.watchers.tell(&Progress::Starting {
                app: app.clone(),
                generation,
            });
        }
    }

    pub(super) fn probed(
        &mut self,
        app: &AppName,
        generation: GenerationId,
        probe: String,
        output: Option<String>,
    ) {
        if let Some(trigger) = self
            .waiting
            .values_mut()
            .find(|trigger| trigger.generation == Some(generation))
        {
            trigger.watchers.tell(&Progress::Probe {
                app: app.clone(),
                generation,
                probe,
                output,
            });
        }
    }

    /// It may go live.
    pub(super) fn ready(&mut self, app: &AppName, generation: GenerationId) {
        let mut waiting = self.waiting.values_mut();
        if let Some(trigger) = waiting.find(|trigger| trigger.generation == Some(generation)) {
            trigger.watchers.tell(&Progress::Ready {
                app: app.clone(),
                generation,
            });
        }
    }

    /// The trigger whose generation is wanted.
    pub(super) fn pending(&self) -> Option<TriggerId> {
        self.waiting.keys().next_back().copied()
    }

    /// The probation that a trigger led to has ended.
    pub(super) fn settle(&mut self, app: &AppName, id: TriggerId, settled: &Settled) {
        let (word, reason) = match settled {
            Settled::Proven => (SettledWord::Proven, None),
            Settled::FailedOver(reason) => (SettledWord::FailedOver, Some(reason.to_string())),
            Settled::Replaced => (SettledWord::Replaced, None),
            Settled::Cancelled => (SettledWord::Cancelled, None),
        };
        info!(%app, trigger = %id, ended = word.as_str(), reason, "probation ended");
        if let Some(mut settling) = self.settling.remove(&id) {
            settling.watchers.tell(&Progress::Settled {
                app: app.clone(),
                trigger: id,
                settled: word,
                reason,
                elapsed: settling.asked.elapsed().as_secs_f64(),
            });
        }
    }

    /// The start of hitless ends with the first trigger, or with the one that took its place.
    fn first_start(&mut self, status: &TriggerStatus) {
        if self.first_start != FirstStart::UnderWay || status.source == TriggerSource::Rollback {
            return;
        }
        self.first_start = match status.verdict {
            VerdictWord::Superseded => FirstStart::UnderWay,
            VerdictWord::Failed => FirstStart::Failed,
            VerdictWord::Live | VerdictWord::Cancelled => FirstStart::Live,
        };
    }

    pub(super) fn all_concluded(&self) -> bool {
        self.concluding == 0
    }
}

impl Trigger {
    fn is_rollback(&self) -> bool {
        self.origin.source == TriggerSource::Rollback
    }

    fn ended(&self, id: TriggerId, verdict: VerdictWord) -> TriggerStatus {
        TriggerStatus {
            trigger: id,
            source: self.origin.source,
            cause: self.origin.cause.clone(),
            verdict,
            generation: self.generation,
            kind: None,
            reason: None,
            probe: None,
            output: Vec::new(),
            changed_files: self.changed,
            already: false,
            serving: None,
            at: SystemTime::now(),
        }
    }
}

// === impl Driver ===

impl Driver {
    /// Gives a trigger its verdict.
    pub(super) fn report(&mut self, id: TriggerId, verdict: Verdict) {
        let Some(mut trigger) = self.triggers.waiting.remove(&id) else {
            return;
        };
        match verdict {
            Verdict::Live => {
                self.triggers.stale = None;
                self.failing = None;
                self.clock.reset_backoff();
                let mut status = trigger.ended(id, VerdictWord::Live);
                status.generation = self.core.live();
                status.already = self.live_before == status.generation && !trigger.abandons;
                self.tell_of_swap(&mut trigger.watchers);
                self.triggers.swapped = Some((id, trigger.origin.clone()));
                self.conclude_now(status, trigger);
            }
            Verdict::Failed(reason) => self.conclude_with_last_words(id, trigger, &reason),
            Verdict::Superseded => self.hand_on(id, trigger),
            Verdict::Cancelled => {
                let status = trigger.ended(id, VerdictWord::Cancelled);
                self.conclude_now(status, trigger);
            }
        }
    }

    /// What serves now, and what it took over from, where that is another one.
    fn tell_of_swap(&self, watchers: &mut Watchers) {
        let app = &self.name;
        let Some(live) = self
            .core
            .live()
            .filter(|live| self.live_before != Some(*live))
        else {
            return;
        };
        watchers.tell(&Progress::Live {
            app: app.clone(),
            generation: live,
        });
        let before = self.live_before;
        let before = before.and_then(|id| Some((id, self.generations.published(id)?)));
        if let Some((generation, published)) = before {
            watchers.tell(&Progress::Draining {
                app: app.clone(),
                generation,
                requests: published.requests(),
                streams: published.streams(),
            });
        }
    }

    /// The askers of a superseded trigger wait for the newer one, unless that leads the other way: who asked for a new
    /// version is not told that the old one is live, nor the other way round.
    fn hand_on(&mut self, id: TriggerId, mut trigger: Trigger) {
        let status = trigger.ended(id, VerdictWord::Superseded);
        if let Some((by, newer)) = self.triggers.waiting.iter_mut().next_back() {
            let joined = trigger.is_rollback() == newer.is_rollback();
            trigger.watchers.tell(&Progress::Superseded {
                app: self.name.clone(),
                trigger: id,
                by: *by,
                source: newer.origin.source,
                joined,
                cause: newer.origin.cause.clone(),
            });
            newer.abandons |= newer.is_rollback();
            if joined {
                newer.watchers.join(std::mem::take(&mut trigger.watchers));
            }
            info!(app = %self.name, trigger = %id, %by, "reload superseded");
        }
        self.conclude_now(status, trigger);
    }

    fn conclude_now(&mut self, status: TriggerStatus, trigger: Trigger) {
        self.triggers.concluding += 1;
        self.conclude(Conclusion {
            status,
            asked: trigger.asked,
            watchers: trigger.watchers,
        });
    }

    /// Completes a failed verdict with what the app wrote last, without waiting for it here.
    fn conclude_with_last_words(&mut self, id: TriggerId, trigger: Trigger, reason: &Reason) {
        if trigger.origin.source != TriggerSource::Rollback {
            self.triggers.stale = Some(format!("reload {id} failed: {reason}"));
            self.failing = None;
        }
        self.triggers.concluding += 1;
        let mut status = trigger.ended(id, VerdictWord::Failed);
        status.kind = Some(reason.kind);
        status.reason = Some(reason.message.to_string());
        status.probe = trigger
            .generation
            .and_then(|id| self.generations.last_probe(id));
        let output = trigger
            .generation
            .and_then(|id| self.generations.output(id));
        let conclusion = Conclusion {
            status,
            asked: trigger.asked,
            watchers: trigger.watchers,
        };
        let home = self.home.clone();
        tokio::spawn(async move {
            let conclusion = with_last_words(conclusion, output).await;
            // The driver is gone only once every verdict is given.
            let _ = home.send(Input::Concluded(Box::new(conclusion))).await;
        });
    }

    /// The verdict is complete: everyone is told.
    pub(super) fn conclude(&mut self, conclusion: Conclusion) {
        let Conclusion {
            mut status,
            asked,
            mut watchers,
        } = conclusion;
        status.serving = self.core.live();
        self.triggers.concluding -= 1;
        self.triggers.first_start(&status);
        let elapsed = asked.elapsed().as_secs_f64();
        self.log_verdict(&status, elapsed);
        self.world
            .metrics
            .concluded(status.source.as_str(), status.verdict.as_str());
        if status.source != TriggerSource::Rollback || status.verdict == VerdictWord::Live {
            self.world.metrics.reload_ended(status.verdict.as_str());
        }
        watchers.tell(&Progress::Verdict {
            app: self.name.clone(),
            status: status.clone(),
            elapsed,
            // Where requests are routed is known to others.
            awaited: false,
        });
        if status.verdict == VerdictWord::Live {
            let watchers = watchers.through_probation();
            if !watchers.is_empty() {
                let settling = Settling { asked, watchers };
                self.triggers.settling.insert(status.trigger, settling);
            }
        }
        if self
            .triggers
            .ended
            .as_ref()
            .is_none_or(|newest| newest.trigger < status.trigger)
        {
            self.triggers.ended = Some(status);
        }
    }

    fn log_verdict(&self, status: &TriggerStatus, elapsed: f64) {
        let (app, trigger, verdict) = (&self.name, status.trigger, status.verdict.as_str());
        // Seconds, of which nobody reads more than the thousandths.
        let elapsed = (elapsed * 1000.0).round() / 1000.0;
        let generation = status.generation.map(GenerationId::get);
        let cause = status.cause.as_deref();
        match status.verdict {
            VerdictWord::Failed => {
                let (reason, probe) = (status.reason.as_deref(), status.probe.as_deref());
                error!(%app, %trigger, cause, generation, verdict, reason, probe, elapsed, "reload failed");
                for line in &status.output {
                    warn!(%app, generation, "last output: {line}");
                }
            }
            VerdictWord::Live => {
                info!(%app, %trigger, cause, generation, verdict, elapsed, "reload done")
            }
            VerdictWord::Superseded | VerdictWord::Cancelled => {
                info!(%app, %trigger, cause, generation, verdict, elapsed, "reload ended");
            }
        }
    }
}

async fn with_last_words(mut conclusion: Conclusion, output: Option<Arc<Output>>) -> Conclusion {
    conclusion.status.output = last_words(output, true).await;
    conclusion
}

/// What an app wrote last. Of one that has ended, what it wrote up to its end, for as long as that may take.
pub(super) async fn last_words(output: Option<Arc<Output>>, ended: bool) -> Vec<String> {
    let Some(output) = output else {
        return Vec::new();
    };
    if ended {
        // Past the time-out it is what has been read so far.
        let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, output.ended()).await;
    }
    let lines = output.last_lines(LAST_LINES);
    lines.iter().map(|line| line.text.to_string()).collect()
}
