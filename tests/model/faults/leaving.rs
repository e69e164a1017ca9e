//! Faults in how generations leave.

use hitless::control_plane::supervisor::situation::{How, Old, Phase};
use hitless::control_plane::supervisor::{Action, Event, Overlap, Supervisor, Timer};

use super::Fault;
use super::planting::{deaf, edit, stop_standby_early, take_standby, terminate, with_rules};

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "exit before unborn is gone",
        overlap: Overlap::Full,
        machine: exit_before_unborn_is_gone,
    },
    Fault {
        name: "second shutdown ignored",
        overlap: Overlap::Full,
        machine: second_shutdown_ignored,
    },
    Fault {
        name: "stale Drained accepted",
        overlap: Overlap::Full,
        machine: stale_drained_accepted,
    },
    Fault {
        name: "stop deadline does not kill",
        overlap: Overlap::Full,
        machine: stop_deadline_does_not_kill,
    },
    Fault {
        name: "standby stopped at the swap while it has requests",
        overlap: Overlap::Full,
        machine: standby_stopped_at_the_swap,
    },
    Fault {
        name: "drained standby is stopped",
        overlap: Overlap::Full,
        machine: drained_standby_is_stopped,
    },
    Fault {
        name: "shutdown forgets the standby",
        overlap: Overlap::Full,
        machine: shutdown_forgets_the_standby,
    },
    Fault {
        name: "standby cut at the end of probation",
        overlap: Overlap::Full,
        machine: standby_cut_at_the_end_of_probation,
    },
    Fault {
        name: "standby stopped for a candidate",
        overlap: Overlap::Full,
        machine: standby_stopped_for_a_candidate,
    },
    Fault {
        name: "retiring not capped",
        overlap: Overlap::Full,
        machine: retiring_not_capped,
    },
];

// === Standby and retiring ===

fn standby_stopped_at_the_swap(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let swap = matches!(event, Event::Ready(_));
    stop_standby_early(supervisor, event, swap)
}

fn standby_stopped_for_a_candidate(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let starts = matches!(event, Event::Triggered(_));
    edit(supervisor, event, |_, after, actions| {
        if starts && let Some(standby) = take_standby(after, Old::is_done) {
            terminate(after, standby.generation, actions);
        }
    })
}

fn standby_cut_at_the_end_of_probation(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let end = matches!(event, Event::Fired(Timer::Probation(_)));
    stop_standby_early(supervisor, event, end)
}

fn drained_standby_is_stopped(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let done = matches!(event, Event::Drained(_) | Event::StreamsEnded(_));
    edit(supervisor, event, |_, after, actions| {
        if done && let Some(standby) = take_standby(after, Old::is_done) {
            terminate(after, standby.generation, actions);
        }
    })
}

fn retiring_not_capped(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    with_rules(supervisor, event, |rules| rules.retiring_max = usize::MAX)
}

fn stale_drained_accepted(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let live = supervisor.live();
    let mut actions = supervisor.step(event.clone());
    if let Event::Drained(generation) = event
        && live == Some(*generation)
    {
        actions.push(Action::Terminate(*generation));
    }
    actions
}

fn stop_deadline_does_not_kill(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    deaf(
        supervisor,
        event,
        matches!(event, Event::Fired(Timer::Stop(_))),
    )
}

// === Shutdown ===

fn second_shutdown_ignored(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let second = *event == Event::ShutdownAsked && supervisor.situation().up().is_none();
    deaf(supervisor, event, second)
}

fn shutdown_forgets_the_standby(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    let standby = supervisor.standby();
    edit(supervisor, event, |_, after, actions| {
        if *event == Event::ShutdownAsked
            && let Some(standby) = standby
        {
            let retiring = &mut after.leaving.retiring;
            retiring.retain(|old| old.generation != standby);
            actions.retain(|action| *action != Action::CloseStreams(standby));
        }
    })
}

fn exit_before_unborn_is_gone(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    edit(supervisor, event, |_, after, actions| {
        let mut stopping = after.leaving.stopping.iter();
        let only_unborn = stopping.all(|stopping| stopping.how == How::Unborn);
        if matches!(after.phase, Phase::Down { .. })
            && after.leaving.retiring.is_empty()
            && only_unborn
        {
            after.phase = Phase::Gone;
            actions.push(Action::Exit);
        }
    })
}
