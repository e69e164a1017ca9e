//! What the driver reads from the core after a step: to publish, to show and to log. Nothing here changes anything.

use super::situation::{Kind, Live, Old, Phase, Stage, Standing, Version};
use super::{Event, Supervisor, Timer};
use crate::generation::{GenerationId, TriggerId};

/// Where a generation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// It is the candidate.
    Starting,
    /// It gets new requests.
    Live,
    /// It was live before the live one, and may take over.
    Standby,
    /// It was live, and finishes what it has.
    Retiring,
    /// It was told to go.
    Stopping,
}

/// How far hitless is in its own life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PhaseWord {
    /// It serves, or tries to.
    Up,
    /// It was asked to stop.
    Down,
    /// Nothing is left.
    Gone,
}

// === impl Supervisor ===

impl Supervisor {
    /// The generation that gets new requests; also while paused, when they are held. None once shutdown was asked.
    #[must_use]
    pub fn live(&self) -> Option<GenerationId> {
        self.live_now().map(|live| live.generation)
    }

    /// How well the live generation stands.
    #[must_use]
    pub fn standing(&self) -> Option<&Standing> {
        self.live_now().map(|live| &live.standing)
    }

    /// The live generation, while it may still be sent back.
    #[must_use]
    pub fn on_probation(&self) -> Option<GenerationId> {
        match self.standing() {
            Some(Standing::Probation { .. }) => self.live(),
            _ => None,
        }
    }

    /// The generation that would take over from the live one at once: the standby, else the youngest usable one that
    /// retires. What the driver publishes as fallback. None once shutdown was asked.
    #[must_use]
    pub fn fallback_target(&self) -> Option<GenerationId> {
        let up = self.situation.up()?;
        let retiring = self.situation.leaving.retiring.iter();
        let usable = up
            .standby()
            .or_else(|| retiring.rev().find(|old| !old.fallen));
        usable.map(|old| old.generation)
    }

    /// The generation that was live before the live one, while that is on probation.
    #[must_use]
    pub fn standby(&self) -> Option<GenerationId> {
        Some(self.situation.up()?.standby()?.generation)
    }

    /// Was it live, and left because it was bad? It never serves again.
    #[must_use]
    pub fn is_fallen(&self, generation: GenerationId) -> bool {
        let mut retiring = self.situation.leaving.retiring.iter();
        retiring.any(|old| old.generation == generation && old.fallen)
    }

    /// What a rollback would lead to now; none: nowhere.
    #[must_use]
    pub fn rollback_target(&self) -> Option<Version> {
        let up = self.situation.up()?;
        let reloading = up
            .attempt
            .as_ref()
            .is_some_and(|attempt| matches!(attempt.kind, Kind::Reload(_)));
        if reloading { up.base() } else { up.previous }
    }

    /// The generation that is being started, if it has a number yet.
    #[must_use]
    pub fn candidate(&self) -> Option<GenerationId> {
        self.situation.up()?.attempt.as_ref()?.generation()
    }

    /// The trigger or rollback that waits for the verdict of what is being started.
    #[must_use]
    pub fn owner(&self) -> Option<TriggerId> {
        self.situation.up()?.attempt.as_ref()?.kind.trigger()
    }

    /// Every generation that there is, with its state: the candidate, then the live one, the standby, the retiring from
    /// the oldest, the stopping.
    pub fn generations(&self) -> impl Iterator<Item = (GenerationId, State)> {
        let named = |state| move |generation| (generation, state);
        let leaving = &self.situation.leaving;
        let retiring = leaving.retiring.iter().map(|old| old.generation);
        let stopping = leaving.stopping.iter().map(|stopping| stopping.generation);
        let candidate = self.candidate().into_iter();
        candidate
            .map(named(State::Starting))
            .chain(self.live().map(named(State::Live)))
            .chain(self.standby().map(named(State::Standby)))
            .chain(retiring.map(named(State::Retiring)))
            .chain(stopping.map(named(State::Stopping)))
    }

    /// Where a generation is in its life; none if it is gone or was never started.
    #[must_use]
    pub fn state_of(&self, generation: GenerationId) -> Option<State> {
        let mut generations = self.generations();
        generations.find_map(|(id, state)| (id == generation).then_some(state))
    }

    /// What a candidate, live, standby or retiring generation runs. What stops has lost its version.
    #[must_use]
    pub fn version_of(&self, generation: GenerationId) -> Option<Version> {
        let old = self
            .situation
            .olds()
            .find(|old| old.generation == generation);
        old.map(|old: &Old| old.version)
            .or_else(|| self.version_of_live(generation))
            .or_else(|| self.version_of_candidate(generation))
    }

    fn version_of_live(&self, generation: GenerationId) -> Option<Version> {
        let live = self.live_now()?;
        (live.generation == generation).then_some(live.version)
    }

    fn version_of_candidate(&self, generation: GenerationId) -> Option<Version> {
        let attempt = self.situation.up()?.attempt.as_ref()?;
        (attempt.generation() == Some(generation))
            .then(|| attempt.kind.source().version_of(generation))
    }

    /// The version to return to if something newer fails; none before the first success.
    #[must_use]
    pub fn base(&self) -> Option<Version> {
        self.situation.up()?.base()
    }

    /// The version that a rollback leads to while nothing is reloading.
    #[must_use]
    pub fn previous(&self) -> Option<Version> {
        self.situation.up()?.previous
    }

    /// Has somebody asked to hold all requests?
    #[must_use]
    pub fn paused(&self) -> bool {
        self.situation.up().is_some_and(|up| up.paused)
    }

    /// How far hitless is in its own life.
    #[must_use]
    pub fn phase(&self) -> PhaseWord {
        match self.situation.phase {
            Phase::Up(_) => PhaseWord::Up,
            Phase::Down { .. } => PhaseWord::Down,
            Phase::Gone => PhaseWord::Gone,
        }
    }

    fn live_now(&self) -> Option<&Live> {
        match &self.situation.up()?.stage {
            Stage::Live(live) => Some(live),
            Stage::Empty { .. } => None,
        }
    }
}

// === impl State ===

impl State {
    /// The word in status, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Standby => "standby",
            Self::Retiring => "retiring",
            Self::Stopping => "stopping",
        }
    }
}

// === impl Event ===

impl Event {
    /// What happened, in a word or two for the log.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Triggered(_) => "reload asked for",
            Self::RollbackAsked(_) => "rollback asked for",
            Self::Paused => "pause asked for",
            Self::Resumed => "resumed",
            Self::MemoryRanShort => "memory short",
            Self::ShutdownAsked => "shutdown asked for",
            Self::Spawned(_) => "spawned",
            Self::SpawnFailed(..) => "not spawned",
            Self::Ready(_) => "ready",
            Self::WentBad(..) => "went bad",
            Self::Exited(..) => "exited",
            Self::Drained(_) => "drained",
            Self::StreamsEnded(_) => "streams ended",
            Self::Fired(Timer::Probation(_)) => "probation over",
            Self::Fired(Timer::Backoff) => "backoff over",
            Self::Fired(Timer::Start(_)) => "not ready in time",
            Self::Fired(_) => "time over",
        }
    }
}
