//! The hostile world: whatever the driver's contract allows may happen at any moment, in any order.

use hitless::control_plane::supervisor::situation::{
    How, Old, Phase, Requests, Situation, Standing, Step, Stopping, Streams, Up,
};
use hitless::control_plane::supervisor::{Event, Timer};
use hitless::generation::{GenerationId, Reason, ReasonKind, TriggerId};

/// Something that fails fails for this reason: the core must not look at it.
pub(crate) fn reason() -> Reason {
    thread_local! {
        static REASON: Reason = Reason::new(ReasonKind::Exited, "exited");
    }
    REASON.with(Clone::clone)
}

/// Every generation that there is, once for each place it is in.
pub(crate) fn alive(situation: &Situation) -> Vec<GenerationId> {
    let up = situation.up();
    let attempt = up.and_then(|up| up.attempt.as_ref());
    let candidate = attempt.and_then(|attempt| attempt.generation());
    let live = up.and_then(Up::live).map(|live| live.generation);
    let stopping = situation.leaving.stopping.iter();
    let mut alive = Vec::with_capacity(8);
    alive.extend(candidate);
    alive.extend(live);
    alive.extend(situation.olds().map(|old| old.generation));
    alive.extend(stopping.map(|stopping| stopping.generation));
    alive
}

/// A trigger that nobody has seen yet.
pub(crate) fn new_trigger(situation: &Situation) -> TriggerId {
    let up = situation.up();
    let owed = up.and_then(|up| up.attempt.as_ref()?.kind.trigger());
    let watch = up.and_then(Up::live).and_then(|live| match live.standing {
        Standing::Probation { watch, .. } => watch,
        Standing::Proven | Standing::StandIn { .. } | Standing::Bad { .. } => None,
    });
    let newest = owed.max(watch);
    newest.map_or(TriggerId::FIRST, TriggerId::next)
}

/// Every event that can come, in its meaning: the rows of the table, by the driver's contract.
pub(crate) fn fitting(situation: &Situation) -> Vec<Event> {
    let mut events = Vec::with_capacity(24);
    let trigger = new_trigger(situation);
    events.push(Event::Triggered(trigger));
    events.push(Event::RollbackAsked(trigger));
    match &situation.phase {
        Phase::Up(up) => {
            events.push(Event::ShutdownAsked);
            of_up(up, &mut events);
        }
        Phase::Down { hurry: false } => events.push(Event::ShutdownAsked),
        Phase::Down { hurry: true } | Phase::Gone => {}
    }
    for old in situation.olds() {
        of_old(old, &mut events);
    }
    for stopping in &situation.leaving.stopping {
        of_stopping(stopping, &mut events);
    }
    events
}

fn of_up(up: &Up, events: &mut Vec<Event>) {
    events.push(if up.paused {
        Event::Resumed
    } else {
        Event::Paused
    });
    match up.attempt.as_ref().map(|attempt| attempt.step) {
        Some(Step::Backoff) => events.push(Event::Fired(Timer::Backoff)),
        Some(Step::Spawning(candidate)) => of_spawn(candidate, events),
        Some(Step::Probing(candidate)) => events.extend([
            Event::Ready(candidate),
            Event::WentBad(candidate, reason()),
            Event::Exited(candidate, reason()),
            Event::Fired(Timer::Start(candidate)),
        ]),
        Some(Step::Queued) | None => {}
    }
    let Some(live) = up.live() else { return };
    events.push(Event::Exited(live.generation, reason()));
    if live.is_on_probation() {
        events.push(Event::WentBad(live.generation, reason()));
        if !up.paused {
            events.push(Event::Fired(Timer::Probation(live.generation)));
        }
    }
    if up.standby().is_some() {
        events.push(Event::MemoryRanShort);
    }
}

fn of_spawn(generation: GenerationId, events: &mut Vec<Event>) {
    events.push(Event::Spawned(generation));
    events.push(Event::SpawnFailed(generation, reason()));
}

fn of_old(old: &Old, events: &mut Vec<Event>) {
    events.push(Event::Exited(old.generation, reason()));
    match old.requests {
        Requests::Open => events.extend([
            Event::Drained(old.generation),
            Event::Fired(Timer::Drain(old.generation)),
        ]),
        // An ordinary request may still become a stream, so only now can the driver say this.
        Requests::Done if old.streams != Streams::Done => {
            events.push(Event::StreamsEnded(old.generation));
        }
        Requests::Done => {}
    }
    match old.streams {
        Streams::Open => events.push(Event::Fired(Timer::Stream(old.generation))),
        Streams::Closing => events.push(Event::Fired(Timer::Close(old.generation))),
        Streams::Done => {}
    }
}

fn of_stopping(stopping: &Stopping, events: &mut Vec<Event>) {
    let generation = stopping.generation;
    match stopping.how {
        How::Unborn => of_spawn(generation, events),
        How::Terminating => events.extend([
            Event::Exited(generation, reason()),
            Event::Fired(Timer::Stop(generation)),
        ]),
        How::Killing => events.extend([
            Event::Exited(generation, reason()),
            Event::Fired(Timer::Reap(generation)),
        ]),
    }
}

/// Every event that can be told late or by mistake: all kinds, of all generations there are and of one there is not, and
/// all timers; less those that fit, and less those that the driver's contract rules out.
pub(crate) fn stale(situation: &Situation) -> Vec<Event> {
    let fitting = fitting(situation);
    let mut all = vec![
        Event::Paused,
        Event::Resumed,
        Event::MemoryRanShort,
        Event::ShutdownAsked,
        Event::Fired(Timer::Backoff),
    ];
    let mut generations = alive(situation);
    generations.push(situation.next);
    for generation in generations {
        all.extend(of_everything(generation));
    }
    all.retain(|event| !fitting.contains(event) && !is_ruled_out(situation, event));
    all
}

fn of_everything(generation: GenerationId) -> [Event; 14] {
    [
        Event::Spawned(generation),
        Event::SpawnFailed(generation, reason()),
        Event::Ready(generation),
        Event::WentBad(generation, reason()),
        Event::Exited(generation, reason()),
        Event::Drained(generation),
        Event::StreamsEnded(generation),
        Event::Fired(Timer::Probation(generation)),
        Event::Fired(Timer::Start(generation)),
        Event::Fired(Timer::Drain(generation)),
        Event::Fired(Timer::Stream(generation)),
        Event::Fired(Timer::Close(generation)),
        Event::Fired(Timer::Stop(generation)),
        Event::Fired(Timer::Reap(generation)),
    ]
}

/// `StreamsEnded` is said only once no ordinary request is left.
fn is_ruled_out(situation: &Situation, event: &Event) -> bool {
    let Event::StreamsEnded(generation) = event else {
        return false;
    };
    let mut olds = situation.olds();
    olds.any(|old| old.generation == *generation && old.requests == Requests::Open)
}

/// What happens when nobody does anything and nothing breaks: it must lead to rest.
pub(crate) fn is_well_behaved(situation: &Situation, event: &Event) -> bool {
    match event {
        Event::Spawned(_) | Event::Ready(_) | Event::Drained(_) | Event::StreamsEnded(_) => true,
        Event::Resumed => true,
        Event::Exited(generation, _) => {
            let mut stopping = situation.leaving.stopping.iter();
            stopping.any(|stopping| stopping.generation == *generation)
        }
        Event::Fired(timer) => !matches!(timer, Timer::Start(_)),
        Event::Triggered(_)
        | Event::RollbackAsked(_)
        | Event::Paused
        | Event::MemoryRanShort
        | Event::ShutdownAsked
        | Event::SpawnFailed(..)
        | Event::WentBad(..) => false,
    }
}
