//! A generation that answers in the place of another one.

use std::sync::Arc;

use crate::live::{Backend, Generation};

/// A generation that is answering a request which another one answered badly; until it is dropped.
#[derive(Debug)]
pub(super) struct Rescuer {
    generation: Arc<Generation<Backend>>,
    worker: usize,
}

// === impl Rescuer ===

impl Rescuer {
    pub(super) fn new(generation: Arc<Generation<Backend>>, worker: usize) -> Self {
        generation.payload.outcomes.rescue_begins(worker);
        Self { generation, worker }
    }
}

impl Drop for Rescuer {
    fn drop(&mut self) {
        self.generation.payload.outcomes.rescue_over(self.worker);
    }
}
