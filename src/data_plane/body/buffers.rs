//! The memory of one worker for bodies that are received before the app sees them. Counts only; the bytes lie in
//! `store`.

use std::cell::Cell;
use std::rc::Rc;

use crate::data_plane::site::Site;

/// How much all workers together may receive in advance for one app. Past it bodies are passed on as they come.
const BYTES_MAX: usize = 256 << 20;

/// One worker's share of that memory.
#[derive(Debug)]
pub(in crate::data_plane) struct Buffers {
    free: Cell<usize>,
}

/// Memory for one body; given back when dropped.
#[derive(Debug)]
pub(in crate::data_plane) struct Room {
    site: Rc<Site>,
    bytes: usize,
}

// === impl Buffers ===

impl Buffers {
    /// The share of one of so many workers.
    pub(in crate::data_plane) fn new(workers: usize) -> Self {
        Self {
            free: Cell::new(BYTES_MAX / workers.max(1)),
        }
    }

    /// Memory for so many bytes, where there is as much left. `site` is the one that this belongs to.
    pub(in crate::data_plane) fn reserve(&self, site: &Rc<Site>, bytes: usize) -> Option<Room> {
        self.free.set(self.free.get().checked_sub(bytes)?);
        site.counters().buffered(bytes as u64);
        Some(Room {
            site: Rc::clone(site),
            bytes,
        })
    }

    fn give_back(&self, bytes: usize) {
        self.free.set(self.free.get() + bytes);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.site.buffers.give_back(self.bytes);
        self.site.counters().unbuffered(self.bytes as u64);
    }
}
