//! The core: decides which generation of one app is live, and everything that follows from it.
//!
//! A pure state machine. An [`Event`] goes in, [`Action`]s come out. It performs no I/O, knows no clock and no
//! durations, and speaks of ids instead of handles, so a late result is merely stale: an event that fits nothing
//! changes nothing. The driver around it performs the actions, owns the timers and brings every result home as an
//! event.
//!
//! Three ideas carry it:
//!
//! 1. **Generations and versions are two things.** A [`Version`] is a recorded command, directory and environment,
//!    named by the generation that first ran it. A reload starts a [`Source::Fresh`] one; restarts and ways back start
//!    a version [`Source::Again`]. Only versions can have failed; only generations live and die.
//! 2. **Every moment has a wanted version.** `base` is where to return if something *newer* fails, `fallback` where to
//!    return if what serves fails *itself*. Crash, failover, outage, stand-in and rollback are all "serve with whatever
//!    usable is alive, and work towards the wanted version".
//! 3. **What follows from the situation is computed, not written.** [`Supervisor::step`] compares the route and the
//!    timers before and after; the difference *is* `Route`, `Unroute`, `Arm` and `Disarm`. So "route before drain", "no
//!    timer outlives its phase" and "paused means not routed" hold by construction, and no row below mentions them.
//!
//! In reading order: the [`situation`] is all that is known. `Supervisor::decide` has one arm an event. The rows while up
//! are in `serving` (written in the words of `procedures`), those of a rollback in `rollback`, those of generations on
//! their way out in `leaving`. What the driver reads is in `view`.
//! `tests/model.rs` searches the whole machine in a hostile world.

pub mod situation;

mod actions;
mod leaving;
mod procedures;
mod rollback;
mod serving;
mod view;

#[cfg(test)]
mod tests;

pub use self::situation::{Situation, Standing, Version};
pub use self::view::{PhaseWord, State};

use self::actions::Actions;
use self::serving::Serving;
use self::situation::Phase;
use crate::generation::{GenerationId, Reason, Settled, TriggerId, Verdict};

/// Decides which generation of one app is live.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Supervisor {
    rules: Rules,
    situation: Situation,
}

/// What the configuration says that changes a decision. The durations are the driver's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// May an old and a new generation run at the same time?
    pub overlap: Overlap,
    /// Can a new live generation still be sent back for a while? Read once a generation, at its swap.
    pub probation: bool,
    /// How many generations may retire with open streams; past that the oldest one's streams are closed.
    pub retiring_max: usize,
    /// While something is live and this many are stopping, a start waits. At least 1: with 0 it would wait for ever.
    pub stopping_max: usize,
}

/// Whether two generations may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// The new one starts beside the old one.
    Full,
    /// The old one is gone before the new one starts; requests are held meanwhile.
    None,
}

/// What has happened. Each id may be stale.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Somebody or something asks for a reload; the start of hitless is the first trigger.
    Triggered(TriggerId),
    /// Somebody asks to undo the newest reload.
    RollbackAsked(TriggerId),
    /// Requests are to be held from now on.
    Paused,
    /// Requests are to be let through again.
    Resumed,
    /// There is too little memory for a candidate beside a standby. Sent before `Triggered`; the driver performs that
    /// `Spawn` only once the standby is gone.
    MemoryRanShort,
    /// hitless is to stop; asked twice: at once.
    ShutdownAsked,
    /// All processes of the generation run.
    Spawned(GenerationId),
    /// The generation never came to life, and nothing of it is left.
    SpawnFailed(GenerationId, Reason),
    /// Every check of the candidate holds, and its warm-up is done.
    Ready(GenerationId),
    /// The candidate cannot become ready, or the live generation is judged bad.
    WentBad(GenerationId, Reason),
    /// No process of the generation is left. Said once, and after its `Spawned`.
    Exited(GenerationId, Reason),
    /// No ordinary request of the generation is left, as counted when this is delivered.
    Drained(GenerationId),
    /// No stream of the generation is left, nor an ordinary request that could become one.
    StreamsEnded(GenerationId),
    /// A timer that was armed is due.
    Fired(Timer),
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// New requests go to this generation.
    Route(GenerationId),
    /// New requests are held.
    Unroute,
    /// Start the processes of a generation; answered by `Spawned` or `SpawnFailed`.
    Spawn(GenerationId, Source),
    /// Ask the candidate until it is ready; answered by `Ready` or `WentBad`.
    Probe(GenerationId),
    /// It is no longer live: watch until its requests and streams are done, and close its idle upstream connections.
    Drain(GenerationId),
    /// Close its streams in the way their policy says.
    CloseStreams(GenerationId),
    /// `drain_timeout` is over: a request without an answer head is broken off. An answer under way counts as a stream
    /// from now on while the streams are open; else it is broken off too.
    Cut(GenerationId),
    /// Ask its processes to exit. The clock of `Stop` starts at the signal.
    Terminate(GenerationId),
    /// End its processes.
    Kill(GenerationId),
    /// Not even a kill ended it: say so loudly and forget it.
    Abandon(GenerationId),
    /// The verdict of a trigger. Each gets exactly one.
    Report(TriggerId, Verdict),
    /// How the probation ended, for the trigger whose `Live` was reported at a swap.
    Settle(TriggerId, Settled),
    /// Stop accepting connections. From here on the route stays as it is.
    Close,
    /// Start this timer from its full time.
    Arm(Timer),
    /// Stop this timer. Not said of one that fired.
    Disarm(Timer),
    /// Nothing is left to do; always the last action of all.
    Exit,
}

/// What to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Everything is read anew: a new version.
    Fresh,
    /// A version as it was recorded.
    Again(Version),
}

/// When to do something that nothing else causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// When to start again after a failure.
    Backoff,
    /// When to call the live generation proven. Named by its generation, so that a swap starts it anew.
    Probation(GenerationId),
    /// When to give up on a candidate that is not ready.
    Start(GenerationId),
    /// When to cut the ordinary requests of a generation that was live.
    Drain(GenerationId),
    /// When to close its streams.
    Stream(GenerationId),
    /// When to give up on streams being closed.
    Close(GenerationId),
    /// When to kill what was told to exit.
    Stop(GenerationId),
    /// When to abandon what was killed.
    Reap(GenerationId),
}

// === impl Supervisor ===

impl Supervisor {
    /// Nothing was ever live; waits for the first trigger.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self::resume(rules, Situation::default())
    }

    /// Goes on from a situation that another supervisor was in.
    #[must_use]
    pub fn resume(rules: Rules, situation: Situation) -> Self {
        Self { rules, situation }
    }

    /// All that is known.
    #[must_use]
    pub fn situation(&self) -> &Situation {
        &self.situation
    }

    /// The rules of the next step.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// From the next step on these rules hold. Nothing is done at once: `probation` is read at a swap (so a reload can
    /// carry its own, set before its `Ready` is stepped), the others when something starts or retires.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Takes note of what has happened, and says what is to be done, in order. An event that is stale yields nothing.
    #[must_use = "the supervisor takes its actions for performed"]
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        let route = self.situation.route();
        let mut timers = self.situation.timers();
        if let Event::Fired(timer) = &event {
            timers.remove(timer);
        }
        let mut actions = Actions::default();
        self.decide(event, &mut actions);
        self.settle(&mut actions);
        actions.framed(
            route.to(self.situation.route()),
            &timers,
            &self.situation.timers(),
        )
    }

    /// The table: one arm an event, one function an arm.
    fn decide(&mut self, event: Event, actions: &mut Actions) {
        match event {
            Event::Triggered(trigger) => self.triggered(trigger, actions),
            Event::RollbackAsked(trigger) => self.rollback_asked(trigger, actions),
            Event::Paused => self.while_up(actions, |up| up.pause(true)),
            Event::Resumed => self.while_up(actions, |up| up.pause(false)),
            Event::MemoryRanShort => self.while_up(actions, |up| up.memory_ran_short()),
            Event::ShutdownAsked => self.shutdown_asked(actions),
            Event::Spawned(generation) => self.spawned(generation, actions),
            Event::SpawnFailed(generation, reason) => {
                self.spawn_failed(generation, reason, actions)
            }
            Event::Ready(generation) => self.while_up(actions, |up| up.ready(generation)),
            Event::WentBad(generation, reason) => {
                self.while_up(actions, |up| up.went_bad(generation, reason));
            }
            Event::Exited(generation, reason) => self.exited(generation, reason, actions),
            Event::Drained(generation) => self.drained(generation, actions),
            Event::StreamsEnded(generation) => self.streams_ended(generation, actions),
            Event::Fired(timer) => self.fired(timer, actions),
        }
    }

    /// Last in every step: starts what is queued as soon as there is room; exits when nothing is left.
    fn settle(&mut self, actions: &mut Actions) {
        match self.situation.phase {
            Phase::Up(_) => self.while_up(actions, |up| up.spawn_when_there_is_room()),
            Phase::Down { .. } if self.situation.leaving.is_empty() => {
                actions.push(Action::Exit);
                self.situation.phase = Phase::Gone;
            }
            Phase::Down { .. } | Phase::Gone => {}
        }
    }

    /// The rows that hold only while up.
    fn while_up(&mut self, actions: &mut Actions, row: impl FnOnce(&mut Serving<'_>)) {
        if let Some(mut serving) = self.serving(actions) {
            row(&mut serving);
        }
    }

    fn serving<'a>(&'a mut self, actions: &'a mut Actions) -> Option<Serving<'a>> {
        let Situation {
            next,
            phase,
            leaving,
        } = &mut self.situation;
        let Phase::Up(up) = phase else { return None };
        Some(Serving {
            rules: &self.rules,
            next,
            up,
            leaving,
            actions,
        })
    }
}

// === impl Supervisor: the rows that hold in every phase ===

impl Supervisor {
    fn triggered(&mut self, trigger: TriggerId, actions: &mut Actions) {
        match self.serving(actions) {
            Some(mut up) => up.triggered(trigger),
            None => actions.report(trigger, Verdict::Cancelled),
        }
    }

    fn rollback_asked(&mut self, trigger: TriggerId, actions: &mut Actions) {
        match self.serving(actions) {
            Some(mut up) => up.rollback_asked(trigger),
            None => actions.report(trigger, Verdict::Cancelled),
        }
    }

    /// Asked once, everything that is left begins to leave. Asked twice, it is killed.
    fn shutdown_asked(&mut self, actions: &mut Actions) {
        match &mut self.situation.phase {
            Phase::Up(_) => {
                actions.push(Action::Close);
                self.while_up(actions, |up| up.shut_down());
                self.situation.phase = Phase::Down { hurry: false };
            }
            Phase::Down { hurry } if !*hurry => {
                *hurry = true;
                self.situation.leaving.kill_all(actions);
            }
            Phase::Down { .. } | Phase::Gone => {}
        }
    }

    fn spawned(&mut self, generation: GenerationId, actions: &mut Actions) {
        self.while_up(actions, |up| up.spawned(generation));
        let hurry = matches!(self.situation.phase, Phase::Down { hurry: true });
        self.situation.leaving.born(generation, hurry, actions);
    }

    fn spawn_failed(&mut self, generation: GenerationId, reason: Reason, actions: &mut Actions) {
        self.while_up(actions, |up| up.spawn_failed(generation, reason));
        self.situation.leaving.never_born(generation);
    }

    fn exited(&mut self, generation: GenerationId, reason: Reason, actions: &mut Actions) {
        self.while_up(actions, |up| up.exited(generation, reason));
        self.situation.leaving.exited(generation);
    }

    /// A drained standby stays: it may have to take over.
    fn drained(&mut self, generation: GenerationId, actions: &mut Actions) {
        match self.situation.standby_named(generation) {
            Some(standby) => standby.drained(),
            None => self.situation.leaving.drained(generation, actions),
        }
    }

    fn streams_ended(&mut self, generation: GenerationId, actions: &mut Actions) {
        match self.situation.standby_named(generation) {
            Some(standby) => standby.streams_ended(),
            None => self.situation.leaving.streams_ended(generation, actions),
        }
    }

    fn fired(&mut self, timer: Timer, actions: &mut Actions) {
        match timer {
            Timer::Backoff => self.while_up(actions, |up| up.backoff_ended()),
            Timer::Probation(live) => self.while_up(actions, |up| up.probation_ended(live)),
            Timer::Start(candidate) => self.while_up(actions, |up| up.start_timed_out(candidate)),
            Timer::Drain(old) => self.drain_timed_out(old, actions),
            Timer::Stream(old) => self.stream_timed_out(old, actions),
            Timer::Close(old) => self.close_timed_out(old, actions),
            Timer::Stop(stopping) => self.situation.leaving.stop_timed_out(stopping, actions),
            Timer::Reap(stopping) => self.situation.leaving.reap_timed_out(stopping, actions),
        }
    }

    fn drain_timed_out(&mut self, generation: GenerationId, actions: &mut Actions) {
        let old = self.situation.old_named(generation);
        if old.is_some_and(|old| old.has_requests()) {
            actions.push(Action::Cut(generation));
            self.drained(generation, actions);
        }
    }

    fn stream_timed_out(&mut self, generation: GenerationId, actions: &mut Actions) {
        if let Some(old) = self.situation.old_named(generation) {
            old.close_streams(actions);
        }
    }

    fn close_timed_out(&mut self, generation: GenerationId, actions: &mut Actions) {
        let old = self.situation.old_named(generation);
        if old.is_some_and(|old| old.is_closing_streams()) {
            self.streams_ended(generation, actions);
        }
    }
}

// === impl Source ===

impl Source {
    /// The version that a generation started from this one runs.
    pub(crate) fn version_of(self, generation: GenerationId) -> Version {
        match self {
            Self::Fresh => Version(generation),
            Self::Again(version) => version,
        }
    }
}
