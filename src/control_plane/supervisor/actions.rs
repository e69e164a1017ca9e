//! What one step says is to be done, and the frame of what follows from its difference.

use std::collections::BTreeSet;

use super::situation::Route;
use super::{Action, Timer};
use crate::generation::{Settled, TriggerId, Verdict};

/// The actions that the rows of one step write, in their order.
#[derive(Debug, Default)]
pub(super) struct Actions(Vec<Action>);

impl Actions {
    pub(super) fn push(&mut self, action: Action) {
        self.0.push(action);
    }

    pub(super) fn report(&mut self, trigger: TriggerId, verdict: Verdict) {
        self.push(Action::Report(trigger, verdict));
    }

    pub(super) fn settle(&mut self, trigger: TriggerId, settled: Settled) {
        self.push(Action::Settle(trigger, settled));
    }

    /// The new route before all else, so that nothing is drained while it is routed; the timers after all else; the
    /// exit at the very end.
    pub(super) fn framed(
        mut self,
        route: Option<Action>,
        before: &BTreeSet<Timer>,
        after: &BTreeSet<Timer>,
    ) -> Vec<Action> {
        let exit = self.0.pop_if(|last| *last == Action::Exit);
        let disarmed = before.difference(after).copied().map(Action::Disarm);
        let armed = after.difference(before).copied().map(Action::Arm);
        let written = self.0.into_iter();
        route
            .into_iter()
            .chain(written)
            .chain(disarmed)
            .chain(armed)
            .chain(exit)
            .collect()
    }
}

// === impl Route ===

impl Route {
    /// What turns this route into `after`.
    pub(super) fn to(self, after: Self) -> Option<Action> {
        match after {
            _ if self == after => None,
            Self::To(generation) => Some(Action::Route(generation)),
            Self::Hold => Some(Action::Unroute),
            Self::Frozen => None,
        }
    }
}
