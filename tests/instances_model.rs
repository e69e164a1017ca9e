//! Promise: the core sees one thing for each generation, whatever its processes do.
//!
//! Searches the machine below the core breadth-first in a hostile world: any order of exits, answers, failures, deadlines
//! and orders, with one to three instances. What is checked is the protocol that the core relies on, and that it comes to
//! rest where it should once the world behaves. A fault that is planted must be found.

use std::collections::{HashSet, VecDeque};

use hitless::control_plane::instances::machine::{
    Action, Event, Machine, Slot, Stage, Timer, Word,
};

/// The machine, and what is true around it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    machine: Machine,
    processes: Vec<Process>,
    /// What the data plane balances over.
    published: Vec<usize>,
    said: Said,
    /// The core has told it to end.
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Process {
    None,
    Spawning,
    Running,
    Signalled,
}

/// What was told so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Said {
    spawned: bool,
    bad: bool,
    ready: bool,
    last: bool,
}

/// Changes what the machine said.
type Fault = fn(&Event, &mut Vec<Action>);

fn no_fault(_: &Event, _: &mut Vec<Action>) {}

impl World {
    fn new(count: usize, min_ready: usize) -> Self {
        let (machine, actions) = Machine::new(count, min_ready);
        let mut world = Self {
            machine,
            processes: vec![Process::None; count],
            published: Vec::new(),
            said: Said::default(),
            ended: false,
        };
        world.perform(actions).expect("the first actions spawn");
        world
    }

    /// Everything that can happen next.
    fn possible(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (number, process) in self.processes.iter().enumerate() {
            match process {
                Process::None => {}
                Process::Spawning => {
                    events.extend([Event::Spawned(number), Event::NotSpawned(number)]);
                }
                Process::Running | Process::Signalled => events.push(Event::Exited(number)),
            }
            match self.machine.slots()[number] {
                Slot::Probing => events.extend([Event::Passed(number), Event::Unfit(number)]),
                Slot::Ready => events.push(Event::Unfit(number)),
                _ => {}
            }
        }
        events.extend(self.machine.timers().into_iter().map(Event::Fired));
        events.extend(self.orders());
        events
    }

    /// What the core may ask at this point.
    fn orders(&self) -> Vec<Event> {
        let mut orders = vec![Event::KillAsked];
        if self.said.spawned {
            orders.push(Event::TerminateAsked);
            if !self.said.bad && !self.said.ready && !self.ended {
                orders.push(Event::ProbeAsked);
            }
        }
        if self.said.ready && !self.ended {
            orders.extend([Event::Routed, Event::Retired]);
        }
        orders
    }

    fn step(&mut self, event: Event, fault: Fault) -> Result<(), String> {
        match event {
            Event::Spawned(number) => self.processes[number] = Process::Running,
            Event::NotSpawned(number) | Event::Exited(number) => {
                self.processes[number] = Process::None;
            }
            Event::TerminateAsked | Event::KillAsked => self.ended = true,
            _ => {}
        }
        let mut actions = self.machine.step(event);
        fault(&event, &mut actions);
        self.perform(actions)?;
        self.check()
    }

    fn perform(&mut self, actions: Vec<Action>) -> Result<(), String> {
        for action in actions {
            match action {
                Action::Spawn(number) => {
                    if self.processes[number] != Process::None {
                        return Err(format!("{number} is spawned beside itself"));
                    }
                    if self.said.ready && (self.ended || !self.machine.is_routed()) {
                        return Err(format!("{number} is repaired though not routed"));
                    }
                    self.processes[number] = Process::Spawning;
                }
                Action::Probe(number) if self.processes[number] != Process::Running => {
                    return Err(format!("{number} is asked and does not run"));
                }
                Action::Terminate(number) | Action::Kill(number) => self.signal(number)?,
                Action::Balance => self.published = self.machine.balance().collect(),
                Action::Tell(word) => self.tell(word)?,
                Action::Probe(_) | Action::Arm(_) | Action::Disarm(_) => {}
            }
        }
        Ok(())
    }

    fn signal(&mut self, number: usize) -> Result<(), String> {
        match self.processes[number] {
            Process::None | Process::Spawning => {
                Err(format!("{number} is signalled, and is not there"))
            }
            Process::Running | Process::Signalled => {
                self.processes[number] = Process::Signalled;
                Ok(())
            }
        }
    }

    fn tell(&mut self, word: Word) -> Result<(), String> {
        let said = &mut self.said;
        let nothing_left = self
            .processes
            .iter()
            .all(|process| *process == Process::None);
        let allowed = !said.last
            && match word {
                Word::Spawned => !said.spawned,
                Word::SpawnFailed => !said.spawned && nothing_left,
                Word::Ready => said.spawned && !said.ready && !said.bad,
                Word::WentBad => said.spawned && !said.ready && !said.bad,
                Word::Lost(_) | Word::Back(_) => said.ready,
                Word::Exited => said.spawned && nothing_left,
            };
        match word {
            Word::Spawned => said.spawned = true,
            Word::Ready => said.ready = true,
            Word::WentBad => said.bad = true,
            Word::SpawnFailed | Word::Exited => said.last = true,
            Word::Lost(_) | Word::Back(_) => {}
        }
        if word == Word::Ready {
            self.published = self.machine.balance().collect();
        }
        allowed
            .then_some(())
            .ok_or_else(|| format!("{word:?} must not be said here"))
    }

    /// What holds in every state.
    fn check(&self) -> Result<(), String> {
        for number in &self.published {
            if self.processes[*number] != Process::Running {
                return Err(format!("{number} is in the balance and does not serve"));
            }
        }
        let nothing_left = self
            .processes
            .iter()
            .all(|process| *process == Process::None);
        if nothing_left && !self.said.last {
            return Err("nothing is left, and nobody was told".to_owned());
        }
        let stage = self.machine.stage();
        let serves = self
            .machine
            .slots()
            .iter()
            .any(|slot| matches!(slot, Slot::Ready | Slot::Dying));
        if stage == Stage::Serving && !serves {
            return Err("it outlives its last ready instance".to_owned());
        }
        if stage == (Stage::Candidate { bad: true }) && !self.said.bad {
            return Err("it cannot become ready, and nobody was told".to_owned());
        }
        let waits = |(number, slot): (usize, &Slot)| match slot {
            Slot::Backoff => stage != Stage::Serving,
            Slot::Dying => self.processes[number] != Process::Signalled,
            _ => false,
        };
        if self.machine.slots().iter().enumerate().any(waits) {
            return Err("something waits without an end".to_owned());
        }
        Ok(())
    }

    /// What does not fit changes nothing.
    fn check_stale(&self) -> Result<(), String> {
        let possible: HashSet<_> = self.possible().into_iter().collect();
        for number in 0..self.processes.len() {
            let all = [
                Event::Spawned(number),
                Event::NotSpawned(number),
                Event::Passed(number),
                Event::Unfit(number),
                Event::Exited(number),
            ];
            let timers = [Timer::Backoff(number), Timer::Start(number)].map(Event::Fired);
            let all = all.into_iter().chain(timers).chain(self.unfitting_orders());
            for event in all.filter(|event| !possible.contains(event)) {
                let mut machine = self.machine.clone();
                let actions = machine.step(event);
                if machine != self.machine || !actions.is_empty() {
                    return Err(format!("stale {event:?} does {actions:?}"));
                }
            }
        }
        Ok(())
    }
}

impl World {
    /// Orders that say nothing at this point.
    fn unfitting_orders(&self) -> Vec<Event> {
        let mut orders = Vec::new();
        if self.machine.stage() != Stage::Serving {
            orders.extend([Event::Routed, Event::Retired]);
        }
        if self.machine.stage() != (Stage::Candidate { bad: false }) {
            orders.push(Event::ProbeAsked);
        }
        orders
    }

    /// What happens when processes start, answer and end as they should, and the core asks what it asks then.
    fn well_behaved(&self) -> Vec<Event> {
        let behaves = |event: &Event| match event {
            Event::Spawned(_) | Event::Passed(_) | Event::Fired(Timer::Backoff(_)) => true,
            Event::Exited(number) => self.processes[*number] == Process::Signalled,
            Event::ProbeAsked => self.machine.slots().contains(&Slot::Running),
            Event::TerminateAsked => self.machine.stage() == (Stage::Candidate { bad: true }),
            _ => false,
        };
        self.possible().into_iter().filter(behaves).collect()
    }

    /// How far it is from rest; less is nearer.
    fn distance(&self) -> (u32, u32) {
        let stage = self.machine.stage();
        let kept = match stage {
            Stage::Launching => true,
            Stage::Serving => self.machine.is_routed(),
            _ => false,
        };
        let slot = |slot: &Slot| match slot {
            Slot::Vacant | Slot::Ready => 0,
            Slot::Probing => 1,
            Slot::Running => 2,
            Slot::Spawning if kept => 3,
            Slot::Backoff => 4,
            Slot::Dying => 5,
            Slot::Spawning => 6,
        };
        let stage = match stage {
            Stage::Launching => 4,
            Stage::Candidate { bad: false } => 3,
            Stage::Candidate { bad: true } | Stage::Serving => 2,
            Stage::Ending { .. } | Stage::Aborting => 1,
            Stage::Over => 0,
        };
        (stage, self.machine.slots().iter().map(slot).sum())
    }

    /// Whatever happened before: in a world that behaves it comes nearer to rest with each event, and rests in the right
    /// place.
    fn check_progress(&self) -> Result<(), String> {
        let well_behaved = self.well_behaved();
        for event in &well_behaved {
            let mut next = self.clone();
            next.step(*event, no_fault)?;
            if next.distance() >= self.distance() {
                return Err(format!("{event:?} brings it no nearer to rest"));
            }
        }
        let slots = self.machine.slots();
        let rests_well = match self.machine.stage() {
            Stage::Over => true,
            Stage::Serving if self.machine.is_routed() => {
                slots.iter().all(|slot| *slot == Slot::Ready)
            }
            Stage::Serving => slots.contains(&Slot::Ready),
            _ => false,
        };
        if well_behaved.is_empty() && !rests_well {
            return Err("it rests where it should not".to_owned());
        }
        Ok(())
    }
}

/// How many states there are, or the shortest way to a violation.
fn search(count: usize, min_ready: usize, fault: Fault) -> Result<usize, (Vec<Event>, String)> {
    let start = World::new(count, min_ready);
    let mut seen = HashSet::from([start.clone()]);
    let mut queue = VecDeque::from([(start, Vec::new())]);
    while let Some((world, path)) = queue.pop_front() {
        if world.said.last {
            continue;
        }
        world
            .check_stale()
            .map_err(|violation| (path.clone(), violation))?;
        world
            .check_progress()
            .map_err(|violation| (path.clone(), violation))?;
        for event in world.possible() {
            let mut next = world.clone();
            let mut path = path.clone();
            path.push(event);
            if let Err(violation) = next.step(event, fault) {
                return Err((path, violation));
            }
            if seen.insert(next.clone()) {
                queue.push_back((next, path));
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn whatever_processes_do_the_core_is_told_what_it_relies_on() {
    let mut states = 0;
    for count in 1..=3 {
        for min_ready in 0..=count {
            let found = search(count, min_ready, no_fault);
            states += found.unwrap_or_else(|(path, violation)| {
                panic!("{count} instances, {min_ready} needed: {violation}\nafter {path:#?}")
            });
        }
    }
    println!("{states} states, no violation");
    assert!(states > 1500, "{states}: the search has shrunk");
}

#[test]
fn each_planted_fault_is_found() {
    let faults: [(&str, Fault); 6] = [
        ("what ends stays in the balance", |_, actions| {
            actions.retain(|action| *action != Action::Balance);
        }),
        ("the last exit is not told", |_, actions| {
            actions.retain(|action| *action != Action::Tell(Word::Exited));
        }),
        ("ready is said twice", |event, actions| {
            if matches!(event, Event::Passed(_)) {
                actions.push(Action::Tell(Word::Ready));
            }
        }),
        ("a late process is not ended", |event, actions| {
            if matches!(event, Event::Spawned(_)) {
                actions.retain(|action| !matches!(action, Action::Kill(_) | Action::Terminate(_)));
            }
        }),
        ("a standby is repaired", |event, actions| {
            if let Event::Exited(number) = event
                && actions.contains(&Action::Tell(Word::Lost(*number)))
            {
                actions.push(Action::Spawn(*number));
            }
        }),
        ("a candidate that lost one is not told bad", |_, actions| {
            actions.retain(|action| *action != Action::Tell(Word::WentBad));
        }),
    ];
    for (name, fault) in faults {
        let found = search(2, 1, fault);
        let (path, violation) = found.expect_err(name);
        println!("{name}: {violation} after {} events", path.len());
    }
}
