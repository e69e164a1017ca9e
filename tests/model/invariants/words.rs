//! What the words mean, read off a situation.

use std::collections::BTreeSet;

use hitless::control_plane::supervisor::situation::{
    How, Kind, Live, Old, Requests, Situation, Stage, Standing, Step, Streams,
};
use hitless::control_plane::supervisor::{Action, Source, Timer, Version};
use hitless::generation::{GenerationId, TriggerId};

pub(crate) fn drained(action: &Action) -> Option<GenerationId> {
    match action {
        Action::Drain(generation) => Some(*generation),
        _ => None,
    }
}

pub(crate) fn live(situation: &Situation) -> Option<&Live> {
    match &situation.up()?.stage {
        Stage::Live(live) => Some(live),
        Stage::Empty { .. } => None,
    }
}

pub(crate) fn standby(situation: &Situation) -> Option<&Old> {
    match &live(situation)?.standing {
        Standing::Probation { standby, .. } => standby.as_ref(),
        _ => None,
    }
}

pub(crate) fn usable(situation: &Situation) -> Option<&Old> {
    let mut retiring = situation.leaving.retiring.iter();
    standby(situation).or_else(|| retiring.find(|old| !old.fallen))
}

pub(crate) fn routed(situation: &Situation) -> Option<GenerationId> {
    let up = situation.up()?;
    let live = live(situation)?;
    (!up.paused).then_some(live.generation)
}

pub(crate) fn step(situation: &Situation) -> Option<Step> {
    Some(situation.up()?.attempt.as_ref()?.step)
}

pub(crate) fn candidate_of(situation: &Situation) -> Option<GenerationId> {
    match step(situation)? {
        Step::Spawning(generation) | Step::Probing(generation) => Some(generation),
        Step::Backoff | Step::Queued => None,
    }
}

pub(crate) fn owed(situation: &Situation) -> Option<TriggerId> {
    match situation.up()?.attempt.as_ref()?.kind {
        Kind::Reload(trigger) | Kind::GoBack(trigger, _) => Some(trigger),
        Kind::Restart(_) => None,
    }
}

pub(crate) fn watch(situation: &Situation) -> Option<TriggerId> {
    match live(situation)?.standing {
        Standing::Probation { watch, .. } => watch,
        _ => None,
    }
}

pub(crate) fn how(situation: &Situation, generation: GenerationId) -> Option<How> {
    let mut stopping = situation.leaving.stopping.iter();
    let found = stopping.find(|stopping| stopping.generation == generation)?;
    Some(found.how)
}

pub(crate) fn streams(situation: &Situation, generation: GenerationId) -> Option<Streams> {
    let found = situation.olds().find(|old| old.generation == generation)?;
    Some(found.streams)
}

pub(crate) fn is_done(old: &Old) -> bool {
    old.requests == Requests::Done && old.streams == Streams::Done
}

/// The table of timers.
pub(crate) fn timers(situation: &Situation) -> BTreeSet<Timer> {
    let mut timers = BTreeSet::new();
    match step(situation) {
        Some(Step::Probing(candidate)) => timers.extend([Timer::Start(candidate)]),
        Some(Step::Backoff) => timers.extend([Timer::Backoff]),
        Some(Step::Queued | Step::Spawning(_)) | None => {}
    }
    if let Some(live) = live(situation)
        && let Standing::Probation { .. } = live.standing
        && routed(situation).is_some()
    {
        timers.insert(Timer::Probation(live.generation));
    }
    for old in situation.olds() {
        if old.requests == Requests::Open {
            timers.insert(Timer::Drain(old.generation));
        }
        match old.streams {
            Streams::Open => timers.extend([Timer::Stream(old.generation)]),
            Streams::Closing => timers.extend([Timer::Close(old.generation)]),
            Streams::Done => {}
        }
    }
    for stopping in &situation.leaving.stopping {
        match stopping.how {
            How::Unborn => {}
            How::Terminating => timers.extend([Timer::Stop(stopping.generation)]),
            How::Killing => timers.extend([Timer::Reap(stopping.generation)]),
        }
    }
    timers
}
/// How far it is from rest: each good event makes it smaller.
pub(crate) fn measure(situation: &Situation) -> u32 {
    let of_up = situation.up().map_or(0, |up| {
        let attempt = match up.attempt.as_ref().map(|attempt| attempt.step) {
            Some(Step::Backoff) => 16,
            Some(Step::Queued) => 10,
            Some(Step::Spawning(_)) => 9,
            Some(Step::Probing(_)) => 8,
            None => 0,
        };
        let probation = up.live().is_some_and(Live::is_on_probation);
        attempt + u32::from(probation) + u32::from(up.paused)
    });
    let of_old = |old: &Old| {
        let streams = match old.streams {
            Streams::Open => 2,
            Streams::Closing => 1,
            Streams::Done => 0,
        };
        3 + streams + u32::from(old.requests == Requests::Open)
    };
    let of_stopping = |how| match how {
        How::Unborn => 3,
        How::Terminating => 2,
        How::Killing => 1,
    };
    let stopping = situation.leaving.stopping.iter();
    of_up
        + situation.olds().map(of_old).sum::<u32>()
        + stopping
            .map(|stopping| of_stopping(stopping.how))
            .sum::<u32>()
}

/// The version that all this leads to, if nothing breaks.
pub(crate) fn goal(situation: &Situation) -> Option<Version> {
    let up = situation.up()?;
    match &up.attempt {
        None => up.base(),
        Some(attempt) => match attempt.kind.source() {
            Source::Again(version) => Some(version),
            Source::Fresh => Some(Version(attempt.generation().unwrap_or(situation.next))),
        },
    }
}
