//! The nine groups of invariants, in the words of the design and not in those of the code. Each is a check of one step
//! (a situation, an event, actions, a situation); that the first situation is sound makes it hold for all.

use hitless::control_plane::supervisor::situation::Situation;
use hitless::control_plane::supervisor::{Action, Event, Rules, Version};
use hitless::generation::{GenerationId, TriggerId};

#[path = "invariants/end.rs"]
mod end;
#[path = "invariants/serving.rs"]
mod serving;
#[path = "invariants/signals.rs"]
mod signals;
#[path = "invariants/verdicts.rs"]
mod verdicts;
#[path = "invariants/words.rs"]
mod words;

/// One step of the machine under test.
pub(crate) struct Seen<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) before: &'a Situation,
    pub(crate) failed: Option<Version>,
    pub(crate) event: &'a Event,
    pub(crate) actions: &'a [Action],
    pub(crate) after: &'a Situation,
}

/// What was broken, in a few words.
pub(crate) type Broken = &'static str;

type Check = Result<(), Broken>;

fn ensure(holds: bool, what: Broken) -> Check {
    if holds { Ok(()) } else { Err(what) }
}

impl Seen<'_> {
    /// Checks everything; says F as it is after the step.
    pub(crate) fn check(&self) -> Result<Option<Version>, Broken> {
        let failed = self.failed_after();
        self.roles()?;
        self.never_empty_handed()?;
        self.signals()?;
        self.signalled_is_noted()?;
        self.standby_is_kept()?;
        self.verdicts()?;
        self.verdicts_have_causes()?;
        self.watches()?;
        self.newest_owns_the_attempt()?;
        self.rollback_goes_back()?;
        self.previous_leads_back()?;
        self.nobody_waits_out_a_backoff()?;
        self.hold_down(failed)?;
        self.timers()?;
        self.nothing_waits_for_ever()?;
        self.end()?;
        self.bounds()?;
        self.conservation()?;
        self.liveness()?;
        self.rest()?;
        Ok(failed)
    }
}

impl Seen<'_> {
    fn exited(&self) -> Option<GenerationId> {
        match self.event {
            Event::Exited(generation, _) => Some(*generation),
            _ => None,
        }
    }

    fn asker(&self) -> Option<TriggerId> {
        match self.event {
            Event::Triggered(trigger) | Event::RollbackAsked(trigger) => Some(*trigger),
            _ => None,
        }
    }
}
