//! Looks for the shortest way to a violation: breadth first through every situation up to a bound, and at random past
//! it.

use std::collections::HashMap;
use std::fmt;

use hitless::control_plane::supervisor::situation::Situation;
use hitless::control_plane::supervisor::{Action, Event, Rules, Supervisor};
use hitless::generation::TriggerId;

use crate::canonical::Node;
use crate::invariants::{Broken, Seen};
use crate::world;

/// The machine under test: the supervisor as it is, or one with a fault.
pub(crate) type Machine = fn(&mut Supervisor, &Event) -> Vec<Action>;

/// The supervisor as it is.
pub(crate) fn faithful(supervisor: &mut Supervisor, event: &Event) -> Vec<Action> {
    supervisor.step(event.clone())
}

/// One thing that happens. Whether a swap begins a probation may differ from reload to reload.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    event: Event,
    probation: bool,
}

/// How much was seen without a violation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    pub(crate) stale: usize,
    pub(crate) alive_max: usize,
}

/// A violation, and the way to it.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) broken: Broken,
    pub(crate) path: Vec<Move>,
}

impl Violation {
    fn new(broken: Broken, path: Vec<Move>) -> Self {
        Self { broken, path }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, after {} events:", self.broken, self.path.len())?;
        self.path.iter().try_for_each(|step| {
            let probation = if step.probation {
                ""
            } else {
                " with probation = 0"
            };
            writeln!(f, "    {:?}{probation}", step.event)
        })
    }
}

/// The start of hitless is the first trigger.
fn start(machine: Machine, rules: &Rules) -> Node {
    let mut supervisor = Supervisor::new(rules.clone());
    machine(&mut supervisor, &Event::Triggered(TriggerId::FIRST));
    Node {
        situation: supervisor.situation().clone(),
        failed: None,
    }
}

/// What may happen next.
fn moves(situation: &Situation) -> impl Iterator<Item = Move> {
    world::fitting(situation).into_iter().flat_map(|event| {
        let both_ways: &[bool] = match event {
            Event::Ready(_) => &[true, false],
            _ => &[true],
        };
        both_ways.iter().map(move |probation| Move {
            event: event.clone(),
            probation: *probation,
        })
    })
}

/// One step of the machine, checked.
fn take(machine: Machine, rules: &Rules, node: &Node, step: &Move) -> Result<Node, Broken> {
    let rules = Rules {
        probation: step.probation,
        ..rules.clone()
    };
    let mut supervisor = Supervisor::resume(rules.clone(), node.situation.clone());
    let actions = machine(&mut supervisor, &step.event);
    let after = supervisor.situation();
    let failed = Seen {
        rules: &rules,
        before: &node.situation,
        failed: node.failed,
        event: &step.event,
        actions: &actions,
        after,
    }
    .check()?;
    Ok(Node {
        situation: after.clone(),
        failed,
    })
}

/// 9. Stale: what does not fit yields no action and no change. Says how many events were tried, or which one broke it.
fn stale_is_ignored(machine: Machine, rules: &Rules, node: &Node) -> Result<usize, Event> {
    let events = world::stale(&node.situation);
    let tried = events.len();
    let mut supervisor = Supervisor::resume(rules.clone(), node.situation.clone());
    for event in events {
        let actions = machine(&mut supervisor, &event);
        if !actions.is_empty() || *supervisor.situation() != node.situation {
            return Err(event);
        }
    }
    Ok(tried)
}

// === Breadth first ===

/// Every situation with at most `alive_max` generations alive, and the way on which it was first reached.
struct Search {
    known: HashMap<Node, usize>,
    reached: Vec<Option<(usize, Move)>>,
}

/// Searches every situation with at most `alive_max` generations alive at once, after any number of triggers. Steps out
/// of that bound are checked, but not followed.
///
/// # Errors
///
/// The shortest way to a violation.
pub(crate) fn breadth_first(
    machine: Machine,
    rules: &Rules,
    alive_max: usize,
) -> Result<Extent, Violation> {
    let mut search = Search {
        known: HashMap::new(),
        reached: Vec::new(),
    };
    let (mut transitions, mut stale) = (0, 0);
    let mut frontier: Vec<_> = search
        .note(start(machine, rules), None)
        .into_iter()
        .collect();
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for (index, node) in frontier {
            stale += stale_is_ignored(machine, rules, &node).map_err(|event| {
                search.violation("9: a stale event was not ignored", index, event)
            })?;
            for step in moves(&node.situation) {
                transitions += 1;
                let reached = take(machine, rules, &node, &step)
                    .map_err(|broken| search.violation(broken, index, step.event.clone()))?;
                if world::alive(&reached.situation).len() <= alive_max {
                    next.extend(search.note(reached, Some((index, step))));
                }
            }
        }
        frontier = next;
    }
    Ok(Extent {
        states: search.known.len(),
        transitions,
        stale,
        alive_max,
    })
}

impl Search {
    /// Says its number if it is new.
    fn note(&mut self, node: Node, from: Option<(usize, Move)>) -> Option<(usize, Node)> {
        let node = node.renamed();
        if self.known.contains_key(&node) {
            return None;
        }
        let index = self.reached.len();
        self.known.insert(node.clone(), index);
        self.reached.push(from);
        Some((index, node))
    }

    fn violation(&self, broken: Broken, mut index: usize, last: Event) -> Violation {
        let mut path = vec![Move {
            event: last,
            probation: true,
        }];
        while let Some((earlier, step)) = &self.reached[index] {
            path.push(step.clone());
            index = *earlier;
        }
        path.push(Move {
            event: Event::Triggered(TriggerId::FIRST),
            probation: true,
        });
        path.reverse();
        Violation::new(broken, path)
    }
}

// === At random ===

/// Walks at random for `steps` events, and starts anew whenever hitless is gone. At most `alive_max` generations are
/// ever let live, so that the walk does not drown in triggers.
///
/// # Errors
///
/// A violation, and the way to it since hitless was started.
pub(crate) fn walk(
    machine: Machine,
    rules: &Rules,
    alive_max: usize,
    steps: usize,
    seed: u64,
) -> Result<Extent, Violation> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut node = start(machine, rules);
    let mut path = Vec::new();
    let mut extent = Extent::default();
    for _ in 0..steps {
        let mut choices: Vec<_> = moves(&node.situation).collect();
        let alive = world::alive(&node.situation).len();
        choices.retain(|step| is_let_happen(&step.event, alive < alive_max, &mut random));
        let Some(step) = random.choice(choices) else {
            continue;
        };
        path.push(step.clone());
        node = take(machine, rules, &node, &step)
            .map_err(|broken| Violation::new(broken, path.clone()))?;
        extent.transitions += 1;
        extent.alive_max = extent.alive_max.max(world::alive(&node.situation).len());
        if random.u8(..) == 0 {
            extent.stale += stale_is_ignored(machine, rules, &node).map_err(|event| {
                path.push(Move {
                    event,
                    probation: true,
                });
                Violation::new("9: a stale event was not ignored", path.clone())
            })?;
        }
        if world::alive(&node.situation).is_empty() && node.situation.up().is_none() {
            node = start(machine, rules);
            path.clear();
        }
    }
    Ok(extent)
}

/// A shutdown, which ends the walk, is rare; and what ends generations is rarer than what makes them.
fn is_let_happen(event: &Event, is_room: bool, random: &mut fastrand::Rng) -> bool {
    match event {
        Event::ShutdownAsked => random.u16(..1000) == 0,
        Event::Triggered(_) => is_room,
        Event::Exited(..) | Event::Fired(_) | Event::StreamsEnded(_) => random.u8(..4) == 0,
        _ => true,
    }
}
