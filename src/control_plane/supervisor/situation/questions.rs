//! What can be read off the situation: who serves, where to return to, where requests go, which timers are armed.

use std::collections::BTreeSet;
use std::fmt;

use super::{
    Attempt, How, Kind, Leaving, Live, Old, Phase, Requests, Route, Situation, Stage, Standing,
    Step, Stopping, Streams, Up, Version,
};
use crate::control_plane::supervisor::{Source, Timer};
use crate::generation::{GenerationId, TriggerId};

// === impl Situation ===

impl Situation {
    /// What there is while up.
    #[must_use]
    pub fn up(&self) -> Option<&Up> {
        match &self.phase {
            Phase::Up(up) => Some(up),
            Phase::Down { .. } | Phase::Gone => None,
        }
    }

    /// Where new requests go.
    #[must_use]
    pub fn route(&self) -> Route {
        match self.up() {
            None => Route::Frozen,
            Some(Up { paused: true, .. }) => Route::Hold,
            Some(up) => up
                .live()
                .map_or(Route::Hold, |live| Route::To(live.generation)),
        }
    }

    /// The timers that are armed: the whole table of timers is here.
    #[must_use]
    pub fn timers(&self) -> BTreeSet<Timer> {
        let of_up = self.up().into_iter().flat_map(Up::timers);
        let of_olds = self.olds().flat_map(Old::timers);
        let of_stopping = self.leaving.stopping.iter().filter_map(Stopping::timer);
        of_up.chain(of_olds).chain(of_stopping).collect()
    }

    /// Every generation that was live and has not been told to go: the standby, and the retiring, the oldest first.
    pub fn olds(&self) -> impl Iterator<Item = &Old> {
        let standby = self.up().and_then(Up::standby);
        standby.into_iter().chain(&self.leaving.retiring)
    }

    pub(in crate::control_plane::supervisor) fn standby_named(
        &mut self,
        generation: GenerationId,
    ) -> Option<&mut Old> {
        let Phase::Up(up) = &mut self.phase else {
            return None;
        };
        up.standby_slot()?
            .as_mut()
            .filter(|standby| standby.generation == generation)
    }

    pub(in crate::control_plane::supervisor) fn old_named(
        &mut self,
        generation: GenerationId,
    ) -> Option<&mut Old> {
        // Asked twice, because the borrow of a standby that is returned would last over the other search.
        if self.standby_named(generation).is_some() {
            return self.standby_named(generation);
        }
        self.leaving.retiring_named(generation)
    }
}

impl Default for Situation {
    /// Before the first trigger.
    fn default() -> Self {
        Self {
            next: GenerationId::FIRST,
            phase: Phase::Up(Up {
                paused: false,
                stage: Stage::Empty { want: None },
                attempt: None,
                previous: None,
            }),
            leaving: Leaving::default(),
        }
    }
}

// === impl Up ===

impl Up {
    /// Who serves.
    #[must_use]
    pub fn live(&self) -> Option<&Live> {
        match &self.stage {
            Stage::Live(live) => Some(live),
            Stage::Empty { .. } => None,
        }
    }

    /// The generation that was live before this one, ready to take over.
    #[must_use]
    pub fn standby(&self) -> Option<&Old> {
        match &self.live()?.standing {
            Standing::Probation { standby, .. } => standby.as_ref(),
            Standing::Proven | Standing::StandIn { .. } | Standing::Bad { .. } => None,
        }
    }

    /// Where to return if something newer fails; none before the first success.
    #[must_use]
    pub fn base(&self) -> Option<Version> {
        match &self.stage {
            Stage::Empty { want } => *want,
            Stage::Live(live) => Some(live.base()),
        }
    }

    /// Does the wanted version not serve, or not well?
    pub(in crate::control_plane::supervisor) fn is_short(&self) -> bool {
        self.live().is_none_or(|live| match live.standing {
            Standing::Proven | Standing::Probation { .. } => false,
            Standing::StandIn { .. } | Standing::Bad { .. } => true,
        })
    }

    pub(in crate::control_plane::supervisor) fn is_at(&self, step: Step) -> bool {
        self.attempt
            .as_ref()
            .is_some_and(|attempt| attempt.step == step)
    }

    pub(in crate::control_plane::supervisor) fn standby_slot(
        &mut self,
    ) -> Option<&mut Option<Old>> {
        match &mut self.stage {
            Stage::Live(Live {
                standing: Standing::Probation { standby, .. },
                ..
            }) => Some(standby),
            Stage::Live(_) | Stage::Empty { .. } => None,
        }
    }

    fn timers(&self) -> impl Iterator<Item = Timer> {
        let of_attempt = match self.attempt.as_ref().map(|attempt| attempt.step) {
            Some(Step::Backoff) => Some(Timer::Backoff),
            Some(Step::Probing(candidate)) => Some(Timer::Start(candidate)),
            Some(Step::Queued | Step::Spawning(_)) | None => None,
        };
        let of_live = self
            .live()
            .filter(|live| live.is_on_probation() && !self.paused)
            .map(|live| Timer::Probation(live.generation));
        of_attempt.into_iter().chain(of_live)
    }
}

// === impl Live ===

impl Live {
    /// Where to return if something newer fails.
    #[must_use]
    pub fn base(&self) -> Version {
        match self.standing {
            Standing::Proven | Standing::Probation { .. } => self.version,
            Standing::StandIn { want } | Standing::Bad { want } => want,
        }
    }

    /// Where to return if this one fails.
    #[must_use]
    pub fn fallback(&self) -> Version {
        match self.standing {
            Standing::Proven => self.version,
            Standing::Probation { back, .. } => back,
            Standing::StandIn { want } | Standing::Bad { want } => want,
        }
    }

    /// May it still be sent back?
    #[must_use]
    pub fn is_on_probation(&self) -> bool {
        matches!(self.standing, Standing::Probation { .. })
    }
}

// === impl Standing ===

impl Standing {
    /// The word in status, metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Probation { .. } => "probation",
            Self::StandIn { .. } => "stand_in",
            Self::Bad { .. } => "bad",
        }
    }
}

// === impl Attempt ===

impl Attempt {
    /// The number of what is being started, once it has one.
    #[must_use]
    pub fn generation(&self) -> Option<GenerationId> {
        match self.step {
            Step::Backoff | Step::Queued => None,
            Step::Spawning(generation) | Step::Probing(generation) => Some(generation),
        }
    }
}

// === impl Kind ===

impl Kind {
    /// Who waits for a verdict.
    #[must_use]
    pub fn trigger(self) -> Option<TriggerId> {
        match self {
            Self::Reload(trigger) | Self::GoBack(trigger, _) => Some(trigger),
            Self::Restart(_) => None,
        }
    }

    /// What is started.
    #[must_use]
    pub fn source(self) -> Source {
        match self {
            Self::Reload(_) | Self::Restart(None) => Source::Fresh,
            Self::GoBack(_, version) | Self::Restart(Some(version)) => Source::Again(version),
        }
    }
}

// === impl Old ===

impl Old {
    /// Of a generation that stops being live at this moment.
    pub(in crate::control_plane::supervisor) fn of(live: &Live, fallen: bool) -> Self {
        Self {
            generation: live.generation,
            version: live.version,
            requests: Requests::Open,
            streams: Streams::Open,
            fallen: fallen || matches!(live.standing, Standing::Bad { .. }),
        }
    }

    /// May ordinary requests be left?
    #[must_use]
    pub fn has_requests(&self) -> bool {
        self.requests == Requests::Open
    }

    /// Are its streams neither closed nor being closed?
    #[must_use]
    pub fn has_open_streams(&self) -> bool {
        self.streams == Streams::Open
    }

    /// Are its streams being closed?
    #[must_use]
    pub fn is_closing_streams(&self) -> bool {
        self.streams == Streams::Closing
    }

    /// Is nothing of it left to finish?
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.requests == Requests::Done && self.streams == Streams::Done
    }

    pub(in crate::control_plane::supervisor) fn drained(&mut self) {
        self.requests = Requests::Done;
    }

    pub(in crate::control_plane::supervisor) fn streams_ended(&mut self) {
        self.streams = Streams::Done;
    }

    pub(in crate::control_plane::supervisor) fn live(self, standing: Standing) -> Live {
        Live {
            generation: self.generation,
            version: self.version,
            standing,
        }
    }

    fn timers(&self) -> impl Iterator<Item = Timer> {
        let of_requests = self.has_requests().then_some(Timer::Drain(self.generation));
        let of_streams = match self.streams {
            Streams::Open => Some(Timer::Stream(self.generation)),
            Streams::Closing => Some(Timer::Close(self.generation)),
            Streams::Done => None,
        };
        of_requests.into_iter().chain(of_streams)
    }
}

// === impl Stopping ===

impl Stopping {
    fn timer(&self) -> Option<Timer> {
        match self.how {
            How::Unborn => None,
            How::Terminating => Some(Timer::Stop(self.generation)),
            How::Killing => Some(Timer::Reap(self.generation)),
        }
    }
}

// === impl Version ===

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
