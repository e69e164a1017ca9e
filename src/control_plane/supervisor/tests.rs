//! The main stories, told event by event. That no other order of events breaks a promise is for `tests/model.rs`.

use super::situation::Standing;
use super::{Action, Event, Overlap, PhaseWord, Rules, Source, State, Supervisor, Timer, Version};
use crate::generation::{GenerationId, Reason, ReasonKind, Settled, TriggerId, Verdict};

fn rules() -> Rules {
    Rules {
        overlap: Overlap::Full,
        probation: true,
        retiring_max: 3,
        stopping_max: 4,
    }
}

fn g(number: u64) -> GenerationId {
    GenerationId::from(number)
}

fn t(number: u64) -> TriggerId {
    TriggerId::from(number)
}

fn crash() -> Reason {
    Reason::new(ReasonKind::Exited, "exited with status 1")
}

/// Generation 1 is live and proven.
fn serving(rules: Rules) -> Supervisor {
    let mut supervisor = Supervisor::new(rules);
    tell(
        &mut supervisor,
        [
            Event::Triggered(t(1)),
            Event::Spawned(g(1)),
            Event::Ready(g(1)),
        ],
    );
    supervisor
}

/// Generation 2 is live and on probation; generation 1 is its standby, drained.
fn on_probation() -> Supervisor {
    let mut supervisor = serving(rules());
    tell(
        &mut supervisor,
        [
            Event::Triggered(t(2)),
            Event::Spawned(g(2)),
            Event::Ready(g(2)),
            Event::Drained(g(1)),
            Event::StreamsEnded(g(1)),
        ],
    );
    supervisor
}

fn tell(supervisor: &mut Supervisor, events: impl IntoIterator<Item = Event>) {
    for event in events {
        let _ = supervisor.step(event);
    }
}

#[test]
fn the_first_start_goes_live_and_has_nothing_to_prove() {
    let mut supervisor = Supervisor::new(rules());
    assert_eq!(
        supervisor.step(Event::Triggered(t(1))),
        [Action::Spawn(g(1), Source::Fresh)]
    );
    assert_eq!(
        supervisor.step(Event::Spawned(g(1))),
        [Action::Probe(g(1)), Action::Arm(Timer::Start(g(1)))]
    );
    assert_eq!(
        supervisor.step(Event::Ready(g(1))),
        [
            Action::Route(g(1)),
            Action::Report(t(1), Verdict::Live),
            Action::Settle(t(1), Settled::Proven),
            Action::Disarm(Timer::Start(g(1))),
        ]
    );
    assert_eq!(supervisor.standing(), Some(&Standing::Proven));
}

#[test]
fn a_good_reload_swaps_then_drains_then_is_proven_then_stops_the_old_one() {
    let mut supervisor = serving(rules());
    tell(
        &mut supervisor,
        [Event::Triggered(t(2)), Event::Spawned(g(2))],
    );
    assert_eq!(
        supervisor.step(Event::Ready(g(2))),
        [
            Action::Route(g(2)),
            Action::Report(t(2), Verdict::Live),
            Action::Drain(g(1)),
            Action::Disarm(Timer::Start(g(2))),
            Action::Arm(Timer::Probation(g(2))),
            Action::Arm(Timer::Drain(g(1))),
            Action::Arm(Timer::Stream(g(1))),
        ]
    );
    assert_eq!(supervisor.fallback_target(), Some(g(1)));
    assert_eq!(supervisor.state_of(g(1)), Some(State::Standby));

    assert_eq!(
        supervisor.step(Event::Drained(g(1))),
        [Action::Disarm(Timer::Drain(g(1)))]
    );
    assert_eq!(
        supervisor.step(Event::StreamsEnded(g(1))),
        [Action::Disarm(Timer::Stream(g(1)))]
    );
    assert_eq!(
        supervisor.step(Event::Fired(Timer::Probation(g(2)))),
        [
            Action::Settle(t(2), Settled::Proven),
            Action::Terminate(g(1)),
            Action::Arm(Timer::Stop(g(1))),
        ]
    );
    assert_eq!(
        supervisor.step(Event::Exited(g(1), crash())),
        [Action::Disarm(Timer::Stop(g(1)))]
    );
    assert!(supervisor.generations().eq([(g(2), State::Live)]));
}

#[test]
fn a_candidate_that_exits_fails_at_once_and_live_is_untouched() {
    let mut supervisor = serving(rules());
    let before = supervisor.live();
    tell(
        &mut supervisor,
        [Event::Triggered(t(2)), Event::Spawned(g(2))],
    );
    assert_eq!(
        supervisor.step(Event::Exited(g(2), crash())),
        [
            Action::Report(t(2), Verdict::Failed(crash())),
            Action::Disarm(Timer::Start(g(2))),
        ]
    );
    assert_eq!(supervisor.live(), before);
    assert!(supervisor.generations().eq([(g(1), State::Live)]));
}

#[test]
fn the_newest_trigger_wins() {
    let mut supervisor = serving(rules());
    tell(&mut supervisor, [Event::Triggered(t(2))]);
    assert_eq!(
        supervisor.step(Event::Triggered(t(3))),
        [
            Action::Report(t(2), Verdict::Superseded),
            Action::Spawn(g(3), Source::Fresh),
        ]
    );
    // Its spawn could not be taken back: it is told to go when it arrives.
    assert_eq!(
        supervisor.step(Event::Spawned(g(2))),
        [Action::Terminate(g(2)), Action::Arm(Timer::Stop(g(2)))]
    );
}

#[test]
fn a_crash_on_probation_fails_over_in_the_same_step() {
    let mut supervisor = on_probation();
    assert_eq!(
        supervisor.step(Event::Exited(g(2), crash())),
        [
            Action::Route(g(1)),
            Action::Settle(t(2), Settled::FailedOver(crash())),
            Action::Disarm(Timer::Probation(g(2))),
        ]
    );
    assert_eq!(supervisor.standing(), Some(&Standing::Proven));
    // The failed version is not started again.
    assert_eq!(supervisor.candidate(), None);
}

#[test]
fn a_live_one_judged_bad_fails_over_and_drains() {
    let mut supervisor = on_probation();
    let actions = supervisor.step(Event::WentBad(g(2), crash()));
    assert_eq!(actions[0], Action::Route(g(1)));
    assert!(actions.contains(&Action::Drain(g(2))));
    // Nobody ever goes back to it.
    assert_eq!(supervisor.fallback_target(), None);
}

#[test]
fn a_bad_one_serves_until_the_previous_version_is_up_if_nobody_else_is_alive() {
    let mut supervisor = on_probation();
    tell(&mut supervisor, [Event::Exited(g(1), crash())]);
    assert_eq!(
        supervisor.step(Event::WentBad(g(2), crash())),
        [
            Action::Settle(t(2), Settled::FailedOver(crash())),
            Action::Spawn(g(3), Source::Again(Version(g(1)))),
            Action::Disarm(Timer::Probation(g(2))),
        ]
    );
    assert_eq!(supervisor.live(), Some(g(2)));
    tell(&mut supervisor, [Event::Spawned(g(3)), Event::Ready(g(3))]);
    assert_eq!(supervisor.live(), Some(g(3)));
    assert_eq!(supervisor.standing(), Some(&Standing::Proven));
}

#[test]
fn a_retiring_one_stands_in_when_a_proven_one_dies() {
    let mut supervisor = serving(rules());
    tell(
        &mut supervisor,
        [
            Event::Triggered(t(2)),
            Event::Spawned(g(2)),
            Event::Ready(g(2)),
            Event::Fired(Timer::Probation(g(2))),
        ],
    );
    let actions = supervisor.step(Event::Exited(g(2), crash()));
    assert_eq!(actions[0], Action::Route(g(1)));
    assert!(actions.contains(&Action::Arm(Timer::Backoff)));
    let want = Version(g(2));
    assert_eq!(supervisor.standing(), Some(&Standing::StandIn { want }));
    assert_eq!(
        supervisor.step(Event::Fired(Timer::Backoff)),
        [Action::Spawn(g(3), Source::Again(want))]
    );
}

#[test]
fn a_rollback_goes_back_at_once_and_twice_is_once() {
    let mut supervisor = on_probation();
    let actions = supervisor.step(Event::RollbackAsked(t(3)));
    assert_eq!(actions[0], Action::Route(g(1)));
    assert!(actions.contains(&Action::Report(t(3), Verdict::Live)));
    assert_eq!(
        supervisor.step(Event::RollbackAsked(t(4))),
        [Action::Report(t(4), Verdict::Live)]
    );
    assert_eq!(supervisor.live(), Some(g(1)));
}

#[test]
fn a_rollback_abandons_a_reload_that_is_still_starting() {
    let mut supervisor = serving(rules());
    tell(
        &mut supervisor,
        [Event::Triggered(t(2)), Event::Spawned(g(2))],
    );
    assert_eq!(
        supervisor.step(Event::RollbackAsked(t(3))),
        [
            Action::Report(t(2), Verdict::Superseded),
            Action::Terminate(g(2)),
            Action::Report(t(3), Verdict::Live),
            Action::Disarm(Timer::Start(g(2))),
            Action::Arm(Timer::Stop(g(2))),
        ]
    );
}

#[test]
fn a_rollback_before_anything_was_live_has_nowhere_to_go() {
    let mut supervisor = Supervisor::new(rules());
    let actions = supervisor.step(Event::RollbackAsked(t(1)));
    assert!(matches!(
        actions.as_slice(),
        [Action::Report(_, Verdict::Failed(reason))] if reason.kind == ReasonKind::NowhereToGo
    ));
    assert_eq!(supervisor, Supervisor::new(rules()));
}

#[test]
fn a_second_swap_starts_the_probation_anew() {
    let mut supervisor = on_probation();
    tell(
        &mut supervisor,
        [Event::Triggered(t(3)), Event::Spawned(g(3))],
    );
    let actions = supervisor.step(Event::Ready(g(3)));
    assert!(actions.contains(&Action::Disarm(Timer::Probation(g(2)))));
    assert!(actions.contains(&Action::Arm(Timer::Probation(g(3)))));
}

#[test]
fn a_pause_holds_requests_and_the_clock_of_the_probation() {
    let mut supervisor = on_probation();
    assert_eq!(
        supervisor.step(Event::Paused),
        [Action::Unroute, Action::Disarm(Timer::Probation(g(2)))]
    );
    assert_eq!(
        supervisor.step(Event::Resumed),
        [Action::Route(g(2)), Action::Arm(Timer::Probation(g(2)))]
    );
}

#[test]
fn without_overlap_the_old_one_is_gone_before_the_new_one_starts() {
    let mut supervisor = serving(Rules {
        overlap: Overlap::None,
        ..rules()
    });
    let actions = supervisor.step(Event::Triggered(t(2)));
    assert_eq!(
        actions[..3],
        [
            Action::Unroute,
            Action::Drain(g(1)),
            Action::CloseStreams(g(1))
        ]
    );
    tell(
        &mut supervisor,
        [Event::Drained(g(1)), Event::StreamsEnded(g(1))],
    );
    assert_eq!(
        supervisor.step(Event::Exited(g(1), crash())),
        [
            Action::Spawn(g(2), Source::Fresh),
            Action::Disarm(Timer::Stop(g(1))),
        ]
    );
}

#[test]
fn shutdown_drains_what_serves_and_exits_last() {
    let mut supervisor = serving(rules());
    let actions = supervisor.step(Event::ShutdownAsked);
    assert_eq!(
        actions[..3],
        [
            Action::Close,
            Action::Drain(g(1)),
            Action::CloseStreams(g(1))
        ]
    );
    assert_eq!(
        supervisor.step(Event::Triggered(t(2))),
        [Action::Report(t(2), Verdict::Cancelled)]
    );
    tell(
        &mut supervisor,
        [Event::Drained(g(1)), Event::StreamsEnded(g(1))],
    );
    assert_eq!(
        supervisor.step(Event::Exited(g(1), crash())),
        [Action::Disarm(Timer::Stop(g(1))), Action::Exit]
    );
    assert_eq!(supervisor.phase(), PhaseWord::Gone);
}
