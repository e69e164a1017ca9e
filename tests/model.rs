//! The core searched in a hostile world: any order of events, crashes, deadlines, stale messages, and a shutdown at any
//! point.
//!
//! Breadth first through every situation with three generations alive at once, after any number of triggers; at random
//! far past that. A violation is printed with the shortest way to it. That the search is worth something is shown by the
//! faults planted into the machine, each of which it must find.

#[path = "model/canonical.rs"]
mod canonical;
#[path = "model/faults.rs"]
mod faults;
#[path = "model/invariants.rs"]
mod invariants;
#[path = "model/search.rs"]
mod search;
#[path = "model/world.rs"]
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hitless::control_plane::supervisor::{Overlap, Rules};

use crate::search::{Extent, Violation, breadth_first, faithful, walk};

/// How many generations the search lets live at once.
const ALIVE_MAX: usize = 3;

/// Bounds so small that three generations reach them.
fn narrow(overlap: Overlap) -> Rules {
    Rules {
        overlap,
        probation: true,
        retiring_max: 1,
        stopping_max: 1,
    }
}

/// The bounds that the configuration has when nothing is written.
fn usual(overlap: Overlap) -> Rules {
    Rules {
        overlap,
        probation: true,
        retiring_max: 3,
        stopping_max: 4,
    }
}

#[track_caller]
fn sound(found: Result<Extent, Violation>, of: &str) -> Extent {
    found.unwrap_or_else(|violation| panic!("{of}: {violation}"))
}

#[test]
fn no_order_of_events_breaks_a_promise() {
    let (mut states, mut transitions, mut stale) = (0, 0, 0);
    for overlap in [Overlap::Full, Overlap::None] {
        let extent = sound(
            breadth_first(faithful, &narrow(overlap), ALIVE_MAX),
            &format!("overlap {overlap:?}"),
        );
        states += extent.states;
        transitions += extent.transitions;
        stale += extent.stale;
    }
    println!("model: {states} states, {transitions} transitions, {stale} stale events");
    // A search that sees less than it once did has lost something.
    assert!(states >= 291_000, "only {states} states were seen");
    assert!(
        transitions >= 3_380_000,
        "only {transitions} transitions were seen"
    );
    assert!(stale >= 14_400_000, "only {stale} stale events were tried");
}

#[test]
fn every_planted_fault_is_found() {
    let faults = faults::all();
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, &str, Violation)>> = Mutex::default();
    let hunt = || {
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            let searched = breadth_first(fault.machine, &narrow(fault.overlap), ALIVE_MAX);
            let Err(violation) = searched else {
                println!("NOT FOUND: {}", fault.name);
                continue;
            };
            let mut found = found
                .lock()
                .expect("no hunter panics while it holds the lock");
            found.push((violation.path.len(), fault.name, violation));
        }
    };
    thread::scope(|scope| {
        scope.spawn(hunt);
        scope.spawn(hunt);
    });
    let mut found = found.into_inner().expect("no hunter panicked");
    found.sort_by_key(|(length, ..)| *length);
    for (length, name, violation) in &found {
        println!("{length:3} events: {name}: {}", violation.broken);
    }
    let (shortest, longest) = (found[0].0, found[found.len() - 1].0);
    println!(
        "faults: {} of {} found, paths of {shortest} to {longest} events",
        found.len(),
        faults.len()
    );
    assert_eq!(found.len(), faults.len());
    assert_eq!(faults.len(), 39, "a fault was lost");
}

#[test]
fn long_walks_past_the_bound_break_nothing() {
    let mut extent = Extent::default();
    for seed in 0..64 {
        for overlap in [Overlap::Full, Overlap::None] {
            let walked = sound(
                walk(faithful, &usual(overlap), 12, 4_000, seed),
                &format!("seed {seed}, overlap {overlap:?}"),
            );
            extent.transitions += walked.transitions;
            extent.alive_max = extent.alive_max.max(walked.alive_max);
        }
    }
    println!(
        "walks of seeds 0 to 63: {} events, up to {} generations alive",
        extent.transitions, extent.alive_max
    );
    assert!(extent.alive_max >= 10, "the walks stay near the bound");
}
