//! The rows of a rollback: it undoes the newest reload, and what is asked twice happens once.
//!
//! A reload that is still starting is abandoned; one that is live is swapped back, at once where its version before is
//! still alive. It never goes forward: forward is a reload. Going back leaves `previous` as it is: it leads to the version
//! gone back to, which is why the second time changes nothing.

use super::serving::Serving;
use super::situation::{Attempt, Kind, Old, Stage, Standing, Step, Version};
use crate::generation::{Reason, ReasonKind, Settled, TriggerId, Verdict};

impl Serving<'_> {
    /// `RollbackAsked`.
    pub(super) fn rollback_asked(&mut self, asker: TriggerId) {
        let reloading = matches!(
            self.up.attempt,
            Some(Attempt {
                kind: Kind::Reload(_),
                ..
            })
        );
        let target = if reloading {
            self.up.base()
        } else {
            self.up.previous
        };
        let Some(version) = target else {
            let reason = Reason::new(ReasonKind::NowhereToGo, "there is no version to go back to");
            return self.actions.report(asker, Verdict::Failed(reason));
        };
        if reloading {
            self.supersede();
        }
        self.go_back_to(version, asker);
    }

    fn go_back_to(&mut self, version: Version, asker: TriggerId) {
        match self.up.live() {
            Some(live) if live.version == version && live.base() == version => {
                self.actions.report(asker, Verdict::Live);
            }
            Some(live) if live.version == version && is_stand_in(&live.standing) => {
                self.stay_with_stand_in(asker);
            }
            _ => {
                if let Some(old) = self.take_usable(version) {
                    self.return_to(old, asker);
                } else if self.is_starting(version) {
                    self.adopt_attempt(version, asker);
                } else {
                    self.supersede();
                    self.attempt(Kind::GoBack(asker, version), Step::Queued);
                }
            }
        }
    }

    /// Who serves only for another is the one that is wished for.
    fn stay_with_stand_in(&mut self, asker: TriggerId) {
        self.supersede();
        self.prove();
        self.actions.report(asker, Verdict::Live);
    }

    /// Takes the standby, else the youngest usable one that retires, that runs this version.
    fn take_usable(&mut self, version: Version) -> Option<Old> {
        let standby = self.up.standby_slot();
        standby
            .and_then(|standby| standby.take_if(|standby| standby.version == version))
            .or_else(|| self.leaving.take_usable(|old| old.version == version))
    }

    /// Swaps back at once.
    fn return_to(&mut self, old: Old, asker: TriggerId) {
        self.supersede();
        let asked = Reason::new(ReasonKind::Asked, "a rollback was asked for");
        self.settle_watch(Settled::FailedOver(asked));
        let left_over = self.take_standby();
        self.retire_live(true);
        self.up.stage = Stage::Live(old.live(Standing::Proven));
        if let Some(standby) = left_over {
            self.leaving.let_go(standby, self.actions);
        }
        self.actions.report(asker, Verdict::Live);
        self.cap();
    }

    fn is_starting(&self, version: Version) -> bool {
        let attempt = self.up.attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.kind.source() == super::Source::Again(version))
    }

    /// What is already being started is from now on started for this rollback, and at once.
    fn adopt_attempt(&mut self, version: Version, asker: TriggerId) {
        if let Some(trigger) = self.owed() {
            self.actions.report(trigger, Verdict::Superseded);
        }
        if let Some(attempt) = &mut self.up.attempt {
            attempt.kind = Kind::GoBack(asker, version);
            if attempt.step == Step::Backoff {
                attempt.step = Step::Queued;
            }
        }
    }
}

fn is_stand_in(standing: &Standing) -> bool {
    matches!(standing, Standing::StandIn { .. })
}
