//! A version that had gone live and was taken back: seen in the step in which it happens, told with its last words.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{error, warn};

use super::clock::Deadline;
use super::triggers::last_words;
use super::{Driver, Input};
use crate::control_plane::process::Output;
use crate::control_plane::status::{FailoverStatus, StandingWord};
use crate::control_plane::supervisor::{Event, Standing, Supervisor};
use crate::generation::{GenerationId, Reason, ReasonKind, Settled, TriggerId};

/// How long a failover because of refused connections waits for the exit that may explain them. The requests do not wait.
const EXPLANATION_TIMEOUT: Duration = Duration::from_millis(200);

/// A failover that was performed and is not told yet.
#[derive(Debug)]
pub(super) struct Untold {
    from: GenerationId,
    to: Option<GenerationId>,
    reason: Reason,
    at: SystemTime,
    /// What it writes, which outlasts it.
    output: Option<Arc<Output>>,
    /// The trigger whose askers wait for the end of the probation.
    watched: Option<TriggerId>,
}

/// A failover with all that is to be told of it.
#[derive(Debug)]
pub(crate) struct Account {
    status: FailoverStatus,
    reason: Reason,
    watched: Option<TriggerId>,
}

/// What a step is compared with to see whether it went back.
#[derive(Debug)]
pub(super) struct Before {
    on_probation: Option<GenerationId>,
    blamed: Option<(GenerationId, Reason)>,
}

impl Before {
    pub(super) fn new(core: &Supervisor, event: &Event) -> Self {
        let on_probation = core.on_probation();
        let blamed = match event {
            Event::WentBad(id, reason) | Event::Exited(id, reason) => Some((*id, reason.clone())),
            _ => None,
        };
        Self {
            on_probation,
            blamed,
        }
    }

    /// The generation that was found bad in this step.
    fn fallen(self, core: &Supervisor) -> Option<(GenerationId, Reason)> {
        let (id, reason) = self
            .blamed
            .filter(|(id, _)| self.on_probation == Some(*id))?;
        let still_trusted = core.live() == Some(id)
            && matches!(
                core.standing(),
                Some(Standing::Probation { .. } | Standing::Proven)
            );
        (!still_trusted).then_some((id, reason))
    }
}

impl Driver {
    /// Between the step and its actions: remembers a failover.
    pub(super) fn notice_failover(&mut self, before: Before) {
        let Some((from, reason)) = before.fallen(&self.core) else {
            return;
        };
        // An earlier one is told as it stands.
        self.tell_failover();
        let to = self.core.live().filter(|live| *live != from);
        self.triggers.stale = Some(stale(from, &reason));
        self.untold = Some(Untold {
            from,
            to,
            reason,
            at: SystemTime::now(),
            output: self.generations.output(from),
            watched: None,
        });
    }

    /// After the actions of the step: safe requests that one which was left as bad has not begun to answer go to the live
    /// one, or wait for it.
    pub(super) fn recall(&mut self) {
        for fallen in self.generations.newly_fallen(&self.core) {
            self.order(fallen, |orders| orders.recalls += 1);
        }
    }

    /// After the actions of the step: it is told at once, unless an exit may still explain it better.
    pub(super) fn tell_or_wait(&mut self) {
        let Some(untold) = &self.untold else {
            return;
        };
        if untold.reason.kind == ReasonKind::ConnectFailures
            && self.generations.get(untold.from).is_some()
        {
            self.clock
                .set_once(Deadline::Explanation, EXPLANATION_TIMEOUT);
        } else {
            self.tell_failover();
        }
    }

    /// The exit of a generation explains why its connections were refused.
    pub(super) fn explained_by_exit(&mut self, id: GenerationId, exit: &Reason) {
        if let Some(untold) = self.untold.as_mut().filter(|untold| untold.from == id) {
            untold.reason = exit.clone();
            self.tell_failover();
        }
    }

    /// Completes it with what the app wrote last, without waiting for that here.
    pub(super) fn tell_failover(&mut self) {
        self.clock.clear(Deadline::Explanation);
        let Some(untold) = self.untold.take() else {
            return;
        };
        self.triggers.concluding += 1;
        self.failing = Some(untold.from);
        let home = self.home.clone();
        // Of one that goes on running there are no last words to wait for.
        let ended = untold.reason.kind == ReasonKind::Exited;
        tokio::spawn(async move {
            let output = last_words(untold.output, ended).await;
            let account = Account {
                status: FailoverStatus {
                    from: untold.from,
                    to: untold.to,
                    kind: untold.reason.kind,
                    reason: untold.reason.message.to_string(),
                    output,
                    at: untold.at,
                },
                reason: untold.reason,
                watched: untold.watched,
            };
            // The driver is gone only once all is told.
            let _ = home.send(Input::FailedOver(Box::new(account))).await;
        });
    }

    /// All is known about a failover: everyone is told.
    pub(super) fn failed_over(&mut self, account: Account) {
        let Account {
            status,
            reason,
            watched,
        } = account;
        self.triggers.concluding -= 1;
        let (from, to) = (status.from, status.to.map(GenerationId::get));
        error!(app = %self.name, generation = %from, to, kind = reason.kind.as_str(), reason = reason.to_string(), "failed over");
        for line in &status.output {
            warn!(app = %self.name, generation = %from, "last output: {line}");
        }
        self.failovers += 1;
        self.world.metrics.failed_over(reason.kind);
        // Nothing has ended it meanwhile.
        if self.failing.take_if(|failing| *failing == from).is_some() {
            self.triggers.stale = Some(stale(from, &reason));
        }
        self.last_failover = Some(status);
        if let Some(trigger) = watched {
            self.triggers
                .settle(&self.name, trigger, &Settled::FailedOver(reason));
        }
    }

    /// Tells how a probation ended to those who wait for it.
    pub(super) fn settle(&mut self, trigger: TriggerId, settled: &Settled) {
        match (settled, &mut self.untold) {
            (Settled::FailedOver(reason), Some(untold)) if reason.kind != ReasonKind::Asked => {
                untold.watched = Some(trigger);
            }
            _ => self.triggers.settle(&self.name, trigger, settled),
        }
    }

    pub(super) fn standing_word(&self) -> Option<StandingWord> {
        Some(match self.core.standing()? {
            Standing::Proven => StandingWord::Proven,
            Standing::Probation { .. } => StandingWord::Probation,
            Standing::StandIn { .. } => StandingWord::StandIn,
            Standing::Bad { .. } => StandingWord::Bad,
        })
    }
}

fn stale(from: GenerationId, reason: &Reason) -> String {
    format!("generation {from} was failed over: {reason}")
}
