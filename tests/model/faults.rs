//! The faults that the search must find: each is the supervisor with one thing wrong, as somebody might get it wrong.
//!
//! They are planted from outside, so that the product knows nothing of them: by changing what the machine knows before
//! its step, what it knows after it, or what it says. What follows from the situation is computed again, because a
//! wrong supervisor would compute it too.

use hitless::control_plane::supervisor::Overlap;

use crate::search::Machine;

#[path = "faults/leaving.rs"]
mod leaving;
#[path = "faults/planting.rs"]
mod planting;
#[path = "faults/serving.rs"]
mod serving;
#[path = "faults/starting.rs"]
mod starting;

/// The supervisor with one thing wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// The overlap that it shows with.
    pub(crate) overlap: Overlap,
    pub(crate) machine: Machine,
}

/// Every fault.
pub(crate) fn all() -> Vec<Fault> {
    [starting::FAULTS, serving::FAULTS, leaving::FAULTS].concat()
}
