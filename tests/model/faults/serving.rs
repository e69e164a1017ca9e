//! Faults in who serves.

use hitless::control_plane::supervisor::situation::{
    Attempt, How, Kind, Phase, Stage, Standing, Step, Stopping, Up,
};
use hitless::control_plane::supervisor::{Action, Event, Overlap, Supervisor, Timer};
use hitless::generation::Verdict;

use super::Fault;
use super::planting::{
    edit, framed, hide, is_live_failing, mark, mute, prepare, retiring, terminate,
};

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "drain never asked",
        overlap: Overlap::Full,
        machine: drain_never_asked,
    },
    Fault {
        name: "resume does not route",
        overlap: Overlap::Full,
        machine: resume_does_not_route,
    },
    Fault {
        name: "rollback ignores the candidate",
        overlap: Overlap::Full,
        machine: rollback_ignores_the_candidate,
    },
    Fault {
        name: "failover aborts the candidate",
        overlap: Overlap::Full,
        machine: failover_aborts_the_candidate,
    },
    Fault {
        name: "drain before route",
        overlap: Overlap::Full,
        machine: drain_before_route,
    },
    Fault {
        name: "no failover on exit",
        overlap: Overlap::Full,
        machine: no_failover_on_exit,
    },
    Fault {
        name: "probation runs while paused",
        overlap: Overlap::Full,
        machine: probation_runs_while_paused,
    },
    Fault {
        name: "failover ignores retiring",
        overlap: Overlap::Full,
        machine: failover_ignores_retiring,
    },
    Fault {
        name: "failover to fallen",
        overlap: Overlap::Full,
        machine: failover_to_fallen,
    },
    Fault {
        name: "fallen not marked",
        overlap: Overlap::Full,
        machine: fallen_not_marked,
    },
    Fault {
        name: "the failed version is restarted",
        overlap: Overlap::Full,
        machine: the_failed_version_is_restarted,
    },
    Fault {
        name: "rollback toggles",
        overlap: Overlap::Full,
        machine: rollback_toggles,
    },
    Fault {
        name: "WentBad after probation",
        overlap: Overlap::Full,
        machine: went_bad_after_probation,
    },
    Fault {
        name: "failover to the oldest",
        overlap: Overlap::Full,
        machine: failover_to_the_oldest,
    },
    Fault {
        name: "previous kept after a failover",
        overlap: Overlap::Full,
        machine: previous_kept_after_a_failover,
    },
];

// === Live ===

fn resume_does_not_route(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let resumed = *event == Event::Resumed;
    mute(supervisor, event, |action| {
        resumed && matches!(action, Action::Route(_))
    })
}

fn drain_before_route(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let mut actions = supervisor.step(event.clone());
    let drain = actions.iter().position(|a| matches!(a, Action::Drain(_)));
    if let Some(drain) = drain {
        let drain = actions.remove(drain);
        actions.insert(0, drain);
    }
    actions
}

fn drain_never_asked(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    mute(supervisor, event, |action| {
        matches!(action, Action::Drain(_))
    })
}

fn probation_runs_while_paused(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    mute(supervisor, event, |action| {
        *event == Event::Paused && matches!(action, Action::Disarm(Timer::Probation(_)))
    })
}

fn went_bad_after_probation(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    prepare(supervisor, |before| {
        if let Event::WentBad(..) = event
            && let Phase::Up(up) = &mut before.phase
            && let Some(back) = up.previous
            && let Stage::Live(live) = &mut up.stage
            && live.standing == Standing::Proven
        {
            live.standing = Standing::Probation {
                back,
                standby: None,
                watch: None,
            };
        }
    });
    supervisor.step(event.clone())
}

// === Failover ===

fn no_failover_on_exit(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let exited =
        matches!(event, Event::Exited(..)) && is_live_failing(supervisor.situation(), event);
    let standby = supervisor.standby();
    hide(
        supervisor,
        event,
        |_| exited,
        exited.then_some(standby).flatten(),
    )
}

fn failover_ignores_retiring(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let fails = is_live_failing(supervisor.situation(), event);
    hide(supervisor, event, |_| fails, None)
}

fn failover_to_fallen(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    if !is_live_failing(supervisor.situation(), event) {
        return supervisor.step(event.clone());
    }
    let fallen: Vec<_> = retiring(supervisor.situation(), |old| old.fallen);
    let before = supervisor.situation().clone();
    prepare(supervisor, |before| mark(before, &fallen, false));
    let actions = supervisor.step(event.clone());
    prepare(supervisor, |after| mark(after, &fallen, true));
    framed(&before, event, supervisor.situation(), actions)
}

fn fallen_not_marked(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    edit(supervisor, event, |_, after, _| {
        for old in &mut after.leaving.retiring {
            old.fallen = false;
        }
    })
}

fn failover_to_the_oldest(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    prepare(supervisor, |before| before.leaving.retiring.reverse());
    let actions = supervisor.step(event.clone());
    prepare(supervisor, |after| {
        after.leaving.retiring.sort_by_key(|old| old.generation);
    });
    actions
}

fn failover_aborts_the_candidate(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let fails = is_live_failing(supervisor.situation(), event);
    let mut aborted = Vec::new();
    prepare(supervisor, |before| {
        if let Phase::Up(up) = &mut before.phase
            && fails
            && let Some(attempt) = up.attempt.take()
        {
            let superseded = |trigger| Action::Report(trigger, Verdict::Superseded);
            aborted.extend(attempt.kind.trigger().map(superseded));
            match attempt.step {
                Step::Backoff | Step::Queued => {}
                Step::Spawning(generation) => {
                    let how = How::Unborn;
                    before.leaving.stopping.push(Stopping { generation, how });
                }
                Step::Probing(generation) => terminate(before, generation, &mut aborted),
            }
        }
    });
    aborted.extend(supervisor.step(event.clone()));
    aborted
}

fn the_failed_version_is_restarted(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let fails = is_live_failing(supervisor.situation(), event);
    edit(supervisor, event, |before, after, actions| {
        let failed = before.up().and_then(Up::live).map(|live| live.version);
        if let Phase::Up(up) = &mut after.phase
            && fails
            && let Some(attempt) = &mut up.attempt
            && let Kind::Restart(Some(_)) = attempt.kind
        {
            attempt.kind = Kind::Restart(failed);
            for action in actions {
                if let Action::Spawn(_, source) = action {
                    *source = attempt.kind.source();
                }
            }
        }
    })
}

fn previous_kept_after_a_failover(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let fails = is_live_failing(supervisor.situation(), event);
    edit(supervisor, event, |before, after, _| {
        if let (Some(was), Phase::Up(up)) = (before.up(), &mut after.phase)
            && fails
        {
            up.previous = was.previous;
        }
    })
}

// === Rollback ===

fn rollback_ignores_the_candidate(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let before = supervisor.situation().clone();
    let mut reload = None;
    prepare(supervisor, |before| {
        if let Event::RollbackAsked(_) = event
            && let Phase::Up(up) = &mut before.phase
        {
            let is_reload = |attempt: &mut Attempt| matches!(attempt.kind, Kind::Reload(_));
            reload = up.attempt.take_if(is_reload);
        }
    });
    let actions = supervisor.step(event.clone());
    prepare(supervisor, |after| {
        if let Phase::Up(up) = &mut after.phase {
            up.attempt = up.attempt.take().or(reload);
        }
    });
    framed(&before, event, supervisor.situation(), actions)
}

fn rollback_toggles(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let rollback = matches!(event, Event::RollbackAsked(_));
    edit(supervisor, event, |before, after, _| {
        let left = before.up().and_then(Up::live);
        if let Phase::Up(up) = &mut after.phase
            && rollback
            && up.live() != left
        {
            up.previous = left.map(|live| live.version);
        }
    })
}
