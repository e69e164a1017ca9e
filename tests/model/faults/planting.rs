//! How a fault is planted, and what the faults look at.

use hitless::control_plane::supervisor::situation::{
    How, Live, Old, Phase, Requests, Route, Situation, Stage, Standing, Step, Stopping, Streams, Up,
};
use hitless::control_plane::supervisor::{Action, Event, Rules, Supervisor, Timer};
use hitless::generation::GenerationId;

// === How a fault is planted ===

/// The machine does not say this.
pub(super) fn mute(
    supervisor: &mut Supervisor,
    event: &Event,
    unsaid: impl Fn(&Action) -> bool,
) -> Vec<Action> {
    let mut actions = supervisor.step(event.clone());
    actions.retain(|action| !unsaid(action));
    actions
}

/// The machine does not hear this event.
pub(super) fn deaf(supervisor: &mut Supervisor, event: &Event, unheard: bool) -> Vec<Action> {
    if unheard {
        Vec::new()
    } else {
        supervisor.step(event.clone())
    }
}

/// The machine knows something else.
pub(super) fn prepare(supervisor: &mut Supervisor, change: impl FnOnce(&mut Situation)) {
    let mut situation = supervisor.situation().clone();
    change(&mut situation);
    *supervisor = Supervisor::resume(supervisor.rules().clone(), situation);
}

/// The machine comes to another conclusion.
pub(super) fn edit(
    supervisor: &mut Supervisor,
    event: &Event,
    change: impl FnOnce(&Situation, &mut Situation, &mut Vec<Action>),
) -> Vec<Action> {
    let before = supervisor.situation().clone();
    let mut actions = supervisor.step(event.clone());
    let unchanged = supervisor.situation().clone();
    prepare(supervisor, |after| change(&before, after, &mut actions));
    if *supervisor.situation() == unchanged {
        return actions;
    }
    framed(&before, event, supervisor.situation(), actions)
}

/// The machine steps by other rules.
pub(super) fn with_rules(
    supervisor: &mut Supervisor,
    event: &Event,
    change: impl FnOnce(&mut Rules),
) -> Vec<Action> {
    let rules = supervisor.rules().clone();
    let mut changed = rules.clone();
    change(&mut changed);
    supervisor.set_rules(changed);
    let actions = supervisor.step(event.clone());
    supervisor.set_rules(rules);
    actions
}

/// The machine does not see some of those that could take over.
pub(super) fn hide(
    supervisor: &mut Supervisor,
    event: &Event,
    unseen: impl Fn(&Old) -> bool,
    standby: Option<GenerationId>,
) -> Vec<Action> {
    let usable = |old: &Old| !old.fallen && unseen(old);
    let mut hidden = retiring(supervisor.situation(), usable);
    hidden.extend(standby);
    let before = supervisor.situation().clone();
    prepare(supervisor, |before| {
        if standby.is_some() {
            let standby = take_standby(before, |_| true);
            before.leaving.retiring.extend(standby);
        }
        mark(before, &hidden, true);
    });
    let actions = supervisor.step(event.clone());
    prepare(supervisor, |after| mark(after, &hidden, false));
    framed(&before, event, supervisor.situation(), actions)
}

/// What follows from the situation, computed again.
pub(super) fn framed(
    before: &Situation,
    event: &Event,
    after: &Situation,
    mut actions: Vec<Action>,
) -> Vec<Action> {
    actions.retain(|action| {
        let frame = matches!(
            action,
            Action::Route(_) | Action::Unroute | Action::Arm(_) | Action::Disarm(_)
        );
        !frame
    });
    match after.route() {
        route if route == before.route() => {}
        Route::To(generation) => actions.insert(0, Action::Route(generation)),
        Route::Hold => actions.insert(0, Action::Unroute),
        Route::Frozen => {}
    }
    let (mut was, now) = (before.timers(), after.timers());
    if let Event::Fired(timer) = event {
        was.remove(timer);
    }
    let end = actions.len() - usize::from(actions.last() == Some(&Action::Exit));
    let disarmed = was.difference(&now).copied().map(Action::Disarm);
    let armed = now.difference(&was).copied().map(Action::Arm);
    actions.splice(end..end, disarmed.chain(armed));
    actions
}

// === What the faults look at ===

pub(super) fn step(situation: &Situation) -> Option<Step> {
    Some(situation.up()?.attempt.as_ref()?.step)
}

pub(super) fn is_unborn_arriving(situation: &Situation, event: &Event) -> bool {
    let Event::Spawned(arrived) = event else {
        return false;
    };
    let mut stopping = situation.leaving.stopping.iter();
    stopping.any(|stopping| stopping.generation == *arrived && stopping.how == How::Unborn)
}

pub(super) fn is_candidate_failing(situation: &Situation, event: &Event) -> bool {
    let step = step(situation);
    match event {
        Event::SpawnFailed(failed, _) => step == Some(Step::Spawning(*failed)),
        Event::WentBad(failed, _)
        | Event::Exited(failed, _)
        | Event::Fired(Timer::Start(failed)) => step == Some(Step::Probing(*failed)),
        _ => false,
    }
}

/// Live exits, or is judged bad on probation.
pub(super) fn is_live_failing(situation: &Situation, event: &Event) -> bool {
    let Some(live) = situation.up().and_then(Up::live) else {
        return false;
    };
    match event {
        Event::Exited(failed, _) => live.generation == *failed,
        Event::WentBad(failed, _) => live.generation == *failed && live.is_on_probation(),
        _ => false,
    }
}

pub(super) fn retiring(situation: &Situation, like: impl Fn(&Old) -> bool) -> Vec<GenerationId> {
    let retiring = situation.leaving.retiring.iter();
    let like = retiring.filter(|old| like(old));
    like.map(|old| old.generation).collect()
}

pub(super) fn mark(situation: &mut Situation, generations: &[GenerationId], fallen: bool) {
    for old in &mut situation.leaving.retiring {
        if generations.contains(&old.generation) {
            old.fallen = fallen;
        }
    }
}

pub(super) fn take_standby(situation: &mut Situation, like: impl Fn(&Old) -> bool) -> Option<Old> {
    let Phase::Up(up) = &mut situation.phase else {
        return None;
    };
    let Stage::Live(live) = &mut up.stage else {
        return None;
    };
    match &mut live.standing {
        Standing::Probation { standby, .. } => standby.take_if(|standby| like(standby)),
        Standing::Proven | Standing::StandIn { .. } | Standing::Bad { .. } => None,
    }
}

pub(super) fn old(live: &Live, fallen: bool) -> Old {
    Old {
        generation: live.generation,
        version: live.version,
        requests: Requests::Open,
        streams: Streams::Open,
        fallen,
    }
}

pub(super) fn terminate(
    situation: &mut Situation,
    generation: GenerationId,
    actions: &mut Vec<Action>,
) {
    actions.push(Action::Terminate(generation));
    let how = How::Terminating;
    situation
        .leaving
        .stopping
        .push(Stopping { generation, how });
}

pub(super) fn note_terminating(situation: &mut Situation, generation: GenerationId) {
    for stopping in &mut situation.leaving.stopping {
        if stopping.generation == generation {
            stopping.how = How::Terminating;
        }
    }
}

/// What was the standby is stopped, whether or not it has requests.
pub(super) fn stop_standby_early(
    supervisor: &mut Supervisor,
    event: &Event,
    when: bool,
) -> Vec<Action> {
    let standby = supervisor.standby();
    edit(supervisor, event, |_, after, actions| {
        let retiring = &mut after.leaving.retiring;
        let place = retiring
            .iter()
            .position(|old| Some(old.generation) == standby);
        if when && let Some(place) = place {
            let standby = retiring.remove(place);
            terminate(after, standby.generation, actions);
        }
    })
}
