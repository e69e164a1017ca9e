//! What is settled about the body of a request once its head has been read.

use std::cell::Cell;
use std::rc::Rc;

use super::Gate;

/// What the head of a request says about its body.
#[derive(Debug, Default)]
pub(in crate::data_plane) struct Agreed {
    /// The client sends it only after it was told to go on.
    pub(in crate::data_plane) expects_continue: bool,
    /// How many bytes may still come; none: as many as there are.
    pub(in crate::data_plane) bytes_max: Option<u64>,
    /// What it waits at before it is asked for.
    pub(in crate::data_plane) gate: Option<Gate>,
    /// Where what comes is added up for the access log.
    pub(in crate::data_plane) counter: Option<Rc<Cell<u64>>>,
}

// === impl Agreed ===

impl Agreed {
    /// Takes so many bytes off what may still come. Says no when they are too many.
    pub(super) fn allow(&mut self, bytes: u64) -> bool {
        let Some(left) = &mut self.bytes_max else {
            return true;
        };
        let rest = left.checked_sub(bytes);
        *left = rest.unwrap_or(0);
        rest.is_some()
    }
}
