//! What becomes of a generation's processes: a pure state machine below the core, one for each generation.
//!
//! An [`Event`] goes in, [`Action`]s come out. Knows no clock, no process and no address; it names its instances by their
//! numbers, 1 to `count`, and its timers by theirs. An event that fits nothing changes nothing. It keeps what the core
//! relies on: `Spawned` comes before anything else is told, `SpawnFailed` or `Exited` once and last, and a generation
//! ends with its last ready instance.

mod vocabulary;

pub use self::vocabulary::{Action, Event, Slot, Stage, Timer, Word};

use std::collections::BTreeSet;

/// The instances of one generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    min_ready: usize,
    stage: Stage,
    /// Clients are sent there: what is lost is started again.
    routed: bool,
    slots: Vec<Slot>,
}

// === impl Machine ===

impl Machine {
    /// `count` instances, at least 1, of which `min_ready` must be ready; 0, or more than there are: all. What is to be
    /// done first comes with it.
    #[must_use]
    pub fn new(count: usize, min_ready: usize) -> (Self, Vec<Action>) {
        let min_ready = if min_ready == 0 {
            count
        } else {
            min_ready.min(count)
        };
        let machine = Self {
            min_ready,
            stage: Stage::Launching,
            routed: false,
            slots: vec![Slot::Spawning; count],
        };
        let spawns = (0..count).map(Action::Spawn).collect();
        (machine, spawns)
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether what is lost is started again.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        self.routed
    }

    /// Each place, by its number from 0.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The instances that get requests.
    pub fn balance(&self) -> impl Iterator<Item = usize> {
        let serving = self.stage == Stage::Serving;
        let ready = self
            .slots
            .iter()
            .enumerate()
            .filter(move |(_, slot)| serving && **slot == Slot::Ready);
        ready.map(|(number, _)| number)
    }

    /// The timers that are armed: exactly while what they are for holds.
    #[must_use]
    pub fn timers(&self) -> BTreeSet<Timer> {
        if self.stage != Stage::Serving {
            return BTreeSet::new();
        }
        let timer = |(number, slot): (usize, &Slot)| match slot {
            Slot::Backoff => Some(Timer::Backoff(number)),
            Slot::Probing => Some(Timer::Start(number)),
            _ => None,
        };
        self.slots.iter().enumerate().filter_map(timer).collect()
    }

    /// Takes one event and says what is to be done. `Arm` and `Disarm` follow from the comparison of before and after.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        let (timers, balance): (_, Vec<_>) = (self.timers(), self.balance().collect());
        let mut actions = Vec::new();
        self.decide(event, &mut actions);
        self.conclude(&mut actions);
        if balance != self.balance().collect::<Vec<_>>() {
            // Before anything is told: what the core does next relies on it.
            actions.insert(0, Action::Balance);
        }
        let now = self.timers();
        let fired = |timer: &&Timer| event != Event::Fired(**timer);
        actions.extend(
            timers
                .difference(&now)
                .filter(fired)
                .map(|timer| Action::Disarm(*timer)),
        );
        actions.extend(now.difference(&timers).map(|timer| Action::Arm(*timer)));
        actions
    }

    fn decide(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Spawned(number) => self.spawned(number, actions),
            Event::NotSpawned(number) => self.not_spawned(number, actions),
            Event::Passed(number) => self.passed(number, actions),
            Event::Unfit(number) => self.unfit(number, actions),
            Event::Exited(number) => self.exited(number, actions),
            Event::ProbeAsked => self.probe_asked(actions),
            Event::Routed => self.routed(),
            Event::Retired => self.retired(actions),
            Event::TerminateAsked => self.end(false, actions),
            Event::KillAsked => self.end(true, actions),
            Event::Fired(timer) => self.fired(timer, actions),
        }
    }

    fn is(&self, number: usize, slot: Slot) -> bool {
        self.slots.get(number) == Some(&slot)
    }

    fn spawned(&mut self, number: usize, actions: &mut Vec<Action>) {
        if !self.is(number, Slot::Spawning) {
            return;
        }
        match self.stage {
            Stage::Launching => self.slots[number] = Slot::Running,
            Stage::Serving if self.routed => {
                self.slots[number] = Slot::Probing;
                actions.push(Action::Probe(number));
            }
            Stage::Ending { killed: false } => self.terminate(number, actions),
            // Nobody waits for it any more.
            _ => self.kill(number, actions),
        }
    }

    fn not_spawned(&mut self, number: usize, actions: &mut Vec<Action>) {
        if !self.is(number, Slot::Spawning) {
            return;
        }
        self.slots[number] = self.after_loss();
        if self.stage == Stage::Launching {
            self.stage = Stage::Aborting;
            self.kill_running(actions);
        }
    }

    fn passed(&mut self, number: usize, actions: &mut Vec<Action>) {
        if !self.is(number, Slot::Probing) {
            return;
        }
        match self.stage {
            Stage::Candidate { bad } => {
                self.slots[number] = Slot::Ready;
                if !bad && self.ready() >= self.min_ready {
                    self.stage = Stage::Serving;
                    // Live from its swap on; until then nothing is lost that is not told.
                    self.routed = true;
                    actions.push(Action::Tell(Word::Ready));
                }
            }
            Stage::Serving => {
                self.slots[number] = Slot::Ready;
                actions.push(Action::Tell(Word::Back(number)));
            }
            _ => {}
        }
    }

    fn unfit(&mut self, number: usize, actions: &mut Vec<Action>) {
        let asked = self.is(number, Slot::Probing);
        let serves = self.is(number, Slot::Ready);
        match self.stage {
            Stage::Candidate { bad: false } if asked => self.went_bad(actions),
            Stage::Serving if asked || (serves && self.routed) => self.kill(number, actions),
            _ => {}
        }
    }

    fn exited(&mut self, number: usize, actions: &mut Vec<Action>) {
        let runs = [Slot::Running, Slot::Probing, Slot::Ready, Slot::Dying];
        let Some(slot) = self
            .slots
            .get(number)
            .copied()
            .filter(|slot| runs.contains(slot))
        else {
            return;
        };
        self.slots[number] = self.after_loss();
        match self.stage {
            Stage::Launching | Stage::Aborting => {}
            Stage::Candidate { bad: false } if self.processes() > 0 => self.went_bad(actions),
            Stage::Serving => self.lost(number, slot, actions),
            _ => {}
        }
    }

    /// One of a serving generation is gone. With the last ready one the generation ends.
    fn lost(&mut self, number: usize, slot: Slot, actions: &mut Vec<Action>) {
        if self.ready() > 0 {
            actions.push(Action::Tell(Word::Lost(number)));
        } else if slot == Slot::Ready || slot == Slot::Dying {
            self.end(true, actions);
        }
    }

    fn probe_asked(&mut self, actions: &mut Vec<Action>) {
        if self.stage != (Stage::Candidate { bad: false }) {
            return;
        }
        for number in 0..self.slots.len() {
            if self.is(number, Slot::Running) {
                self.slots[number] = Slot::Probing;
                actions.push(Action::Probe(number));
            }
        }
    }

    fn routed(&mut self) {
        if self.stage == Stage::Serving {
            self.routed = true;
            for slot in &mut self.slots {
                if *slot == Slot::Vacant {
                    *slot = Slot::Backoff;
                }
            }
        }
    }

    fn retired(&mut self, actions: &mut Vec<Action>) {
        if self.stage != Stage::Serving {
            return;
        }
        self.routed = false;
        for number in 0..self.slots.len() {
            match self.slots[number] {
                Slot::Backoff => self.slots[number] = Slot::Vacant,
                Slot::Probing => self.kill(number, actions),
                _ => {}
            }
        }
    }

    /// All out of the balance, no pause goes on, what runs is told to end.
    fn end(&mut self, killed: bool, actions: &mut Vec<Action>) {
        match self.stage {
            Stage::Over | Stage::Aborting => return,
            // Nothing was told yet: it has not come to life, and will not.
            Stage::Launching => {
                self.stage = Stage::Aborting;
                return self.kill_running(actions);
            }
            // A late process is killed, whatever is asked after that.
            Stage::Ending { killed: true } if !killed => return,
            Stage::Candidate { .. } | Stage::Serving | Stage::Ending { .. } => {}
        }
        self.stage = Stage::Ending { killed };
        self.routed = false;
        for number in 0..self.slots.len() {
            match self.slots[number] {
                Slot::Backoff => self.slots[number] = Slot::Vacant,
                Slot::Running | Slot::Probing | Slot::Ready if killed => self.kill(number, actions),
                Slot::Running | Slot::Probing | Slot::Ready => self.terminate(number, actions),
                Slot::Dying if killed => actions.push(Action::Kill(number)),
                Slot::Dying | Slot::Vacant | Slot::Spawning => {}
            }
        }
    }

    fn fired(&mut self, timer: Timer, actions: &mut Vec<Action>) {
        if !self.timers().contains(&timer) {
            return;
        }
        match timer {
            Timer::Backoff(number) => {
                self.slots[number] = Slot::Spawning;
                actions.push(Action::Spawn(number));
            }
            Timer::Start(number) => self.kill(number, actions),
        }
    }

    fn went_bad(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Candidate { bad: true };
        actions.push(Action::Tell(Word::WentBad));
    }

    /// What follows in every step.
    fn conclude(&mut self, actions: &mut Vec<Action>) {
        let (processes, launched) = (self.processes(), !self.slots.contains(&Slot::Spawning));
        match self.stage {
            Stage::Launching if launched && processes == self.slots.len() => {
                self.stage = Stage::Candidate { bad: false };
                actions.push(Action::Tell(Word::Spawned));
            }
            // All came to life, and some have gone already.
            Stage::Launching if launched => {
                self.stage = Stage::Candidate { bad: false };
                actions.push(Action::Tell(Word::Spawned));
                if processes == 0 {
                    self.over(Word::Exited, actions);
                } else {
                    self.went_bad(actions);
                }
            }
            Stage::Aborting if processes == 0 && launched => {
                self.over(Word::SpawnFailed, actions);
            }
            Stage::Candidate { .. } | Stage::Ending { .. } if processes == 0 && launched => {
                self.over(Word::Exited, actions);
            }
            _ => {}
        }
    }

    fn over(&mut self, word: Word, actions: &mut Vec<Action>) {
        self.stage = Stage::Over;
        actions.push(Action::Tell(word));
    }

    fn after_loss(&self) -> Slot {
        if self.stage == Stage::Serving && self.routed {
            Slot::Backoff
        } else {
            Slot::Vacant
        }
    }

    fn kill(&mut self, number: usize, actions: &mut Vec<Action>) {
        self.slots[number] = Slot::Dying;
        actions.push(Action::Kill(number));
    }

    fn terminate(&mut self, number: usize, actions: &mut Vec<Action>) {
        self.slots[number] = Slot::Dying;
        actions.push(Action::Terminate(number));
    }

    fn kill_running(&mut self, actions: &mut Vec<Action>) {
        for number in 0..self.slots.len() {
            if self.is(number, Slot::Running) {
                self.kill(number, actions);
            }
        }
    }

    fn ready(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| **slot == Slot::Ready)
            .count()
    }

    /// How many processes run, or are on their way out.
    fn processes(&self) -> usize {
        let runs = |slot: &&Slot| !matches!(slot, Slot::Vacant | Slot::Backoff | Slot::Spawning);
        self.slots.iter().filter(runs).count()
    }
}
