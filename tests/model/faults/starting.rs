//! Faults in what is being started and what is said of it.

use hitless::control_plane::supervisor::situation::{Attempt, How, Kind, Phase, Stage, Step, Up};
use hitless::control_plane::supervisor::{Action, Event, Overlap, Supervisor, Timer};
use hitless::generation::{Settled, Verdict};

use super::Fault;
use super::planting::{
    deaf, edit, is_candidate_failing, is_unborn_arriving, mute, note_terminating, old, prepare,
    step, with_rules,
};

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "superseded without verdict",
        overlap: Overlap::Full,
        machine: superseded_without_verdict,
    },
    Fault {
        name: "two verdicts",
        overlap: Overlap::Full,
        machine: two_verdicts,
    },
    Fault {
        name: "unborn forgotten",
        overlap: Overlap::Full,
        machine: unborn_forgotten,
    },
    Fault {
        name: "shutdown forgets a verdict",
        overlap: Overlap::Full,
        machine: shutdown_forgets_a_verdict,
    },
    Fault {
        name: "overlap none does not wait",
        overlap: Overlap::None,
        machine: overlap_none_does_not_wait,
    },
    Fault {
        name: "trigger lost in backoff",
        overlap: Overlap::Full,
        machine: trigger_lost_in_backoff,
    },
    Fault {
        name: "unborn not terminated",
        overlap: Overlap::Full,
        machine: unborn_not_terminated,
    },
    Fault {
        name: "no restart after a failed candidate",
        overlap: Overlap::Full,
        machine: no_restart_after_a_failed_candidate,
    },
    Fault {
        name: "timer leaks when superseded",
        overlap: Overlap::Full,
        machine: timer_leaks_when_superseded,
    },
    Fault {
        name: "stale Ready accepted",
        overlap: Overlap::Full,
        machine: stale_ready_accepted,
    },
    Fault {
        name: "hurry ignored for unborn",
        overlap: Overlap::Full,
        machine: hurry_ignored_for_unborn,
    },
    Fault {
        name: "failed candidate takes live along",
        overlap: Overlap::Full,
        machine: failed_candidate_takes_live_along,
    },
    Fault {
        name: "rollback without verdict",
        overlap: Overlap::Full,
        machine: rollback_without_verdict,
    },
    Fault {
        name: "no room rule",
        overlap: Overlap::Full,
        machine: no_room_rule,
    },
];

// === Verdicts ===

fn superseded_without_verdict(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    mute(supervisor, event, |action| {
        matches!(action, Action::Report(_, Verdict::Superseded))
    })
}

fn two_verdicts(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let mut actions = supervisor.step(event.clone());
    let superseded = |action: &&Action| matches!(action, Action::Report(_, Verdict::Superseded));
    if let Some(Action::Report(trigger, _)) = actions.iter().find(superseded) {
        actions.insert(0, Action::Report(*trigger, Verdict::Cancelled));
    }
    actions
}

fn shutdown_forgets_a_verdict(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    mute(supervisor, event, |action| {
        matches!(action, Action::Settle(_, Settled::Cancelled))
    })
}

fn rollback_without_verdict(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let rollback = matches!(event, Event::RollbackAsked(_));
    mute(supervisor, event, |action| {
        rollback && matches!(action, Action::Report(_, Verdict::Live))
    })
}

fn trigger_lost_in_backoff(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let waits = step(supervisor.situation()) == Some(Step::Backoff);
    deaf(
        supervisor,
        event,
        waits && matches!(event, Event::Triggered(_)),
    )
}

// === The candidate ===

fn unborn_forgotten(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    edit(supervisor, event, |_, after, _| {
        let stopping = &mut after.leaving.stopping;
        stopping.retain(|stopping| stopping.how != How::Unborn);
    })
}

fn unborn_not_terminated(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let arrived = is_unborn_arriving(supervisor.situation(), event);
    deaf(supervisor, event, arrived)
}

fn hurry_ignored_for_unborn(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let arrived = is_unborn_arriving(supervisor.situation(), event);
    if !arrived || supervisor.situation().phase != (Phase::Down { hurry: true }) {
        return supervisor.step(event.clone());
    }
    edit(supervisor, event, |_, after, actions| {
        for action in actions {
            if let Action::Kill(generation) = action {
                note_terminating(after, *generation);
                *action = Action::Terminate(*generation);
            }
        }
    })
}

fn timer_leaks_when_superseded(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let newer = matches!(event, Event::Triggered(_));
    mute(supervisor, event, |action| {
        newer && matches!(action, Action::Disarm(Timer::Start(_)))
    })
}

fn stale_ready_accepted(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let Event::Ready(late) = event else {
        return supervisor.step(event.clone());
    };
    let late = *late;
    prepare(supervisor, |before| {
        let base = before.up().and_then(Up::base);
        let stopping = &mut before.leaving.stopping;
        let was = stopping.len();
        if let Phase::Up(up) = &mut before.phase
            && up.attempt.is_none()
        {
            stopping.retain(|stopping| stopping.generation != late);
            if stopping.len() < was {
                let (kind, step) = (Kind::Restart(base), Step::Probing(late));
                up.attempt = Some(Attempt { kind, step });
            }
        }
    });
    supervisor.step(event.clone())
}

fn failed_candidate_takes_live_along(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let failed = is_candidate_failing(supervisor.situation(), event);
    edit(supervisor, event, |_, after, actions| {
        let want = after.up().and_then(Up::base);
        if let Phase::Up(up) = &mut after.phase
            && failed
            && let Stage::Live(live) = &up.stage
        {
            actions.push(Action::Drain(live.generation));
            after.leaving.retiring.push(old(live, false));
            up.stage = Stage::Empty { want };
        }
    })
}

fn no_restart_after_a_failed_candidate(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let failed = is_candidate_failing(supervisor.situation(), event);
    edit(supervisor, event, |_, after, _| {
        if let Phase::Up(up) = &mut after.phase
            && failed
        {
            up.attempt = None;
        }
    })
}

fn no_room_rule(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    with_rules(supervisor, event, |rules| rules.stopping_max = usize::MAX)
}

fn overlap_none_does_not_wait(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    edit(supervisor, event, |_, after, actions| {
        if let Phase::Up(up) = &mut after.phase
            && let Some(attempt) = &mut up.attempt
            && attempt.step == Step::Queued
        {
            attempt.step = Step::Spawning(after.next);
            actions.push(Action::Spawn(after.next, attempt.kind.source()));
            after.next = after.next.next();
        }
    })
}
