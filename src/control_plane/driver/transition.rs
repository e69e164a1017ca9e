//! One log line for each transition of an app, with from and to.

use std::fmt;

use tracing::info;

use super::Driver;
use crate::control_plane::status::StandingWord;
use crate::control_plane::supervisor::PhaseWord;
use crate::generation::GenerationId;

/// What serves at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    live: Option<(GenerationId, StandingWord)>,
    candidate: Option<GenerationId>,
    paused: bool,
    phase: PhaseWord,
}

impl Driver {
    pub(super) fn moment(&self) -> Moment {
        Moment {
            live: self.core.live().zip(self.standing_word()),
            candidate: self.core.candidate(),
            paused: self.core.paused(),
            phase: self.core.phase(),
        }
    }

    pub(super) fn log_transition(&self, before: Moment, cause: &str) {
        let now = self.moment();
        if now != before {
            let (from, to) = (before.to_string(), now.to_string());
            info!(app = %self.name, from, to, cause, "transition");
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phase {
            PhaseWord::Down => return f.write_str("stopping"),
            PhaseWord::Gone => return f.write_str("stopped"),
            PhaseWord::Up => {}
        }
        if self.paused {
            f.write_str("paused, ")?;
        }
        match self.live {
            None => f.write_str("nothing live")?,
            Some((id, StandingWord::Proven)) => write!(f, "{id} live")?,
            Some((id, StandingWord::Probation)) => write!(f, "{id} live on probation")?,
            Some((id, StandingWord::StandIn)) => write!(f, "{id} standing in")?,
            Some((id, StandingWord::Bad)) => write!(f, "{id} live though bad")?,
        }
        match self.candidate {
            Some(id) => write!(f, ", {id} starting"),
            None => Ok(()),
        }
    }
}
