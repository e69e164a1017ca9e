//! The file descriptors of this process: how many client connections they are enough for, and a few kept back for those
//! who must be able to look when none is left.
//!
//! Knows neither plane, and never closes what is not its own.

use std::fs::{self, File};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// What a connection to the control socket or the admin address may need: itself, and two for what it asks about.
const LOAN: usize = 3;

/// How many such connections can be served while there is no other descriptor.
const LOANS: usize = 4;

/// For what is opened now and then: pipes and sockets of starting generations, files, idle connections to the app.
const SPARE: u64 = 64;

/// Descriptors that are kept back.
#[derive(Clone, Debug)]
pub struct Reserve(Arc<Mutex<Vec<File>>>);

/// Descriptors let go of for one connection; when it is dropped, as many are kept back again.
#[derive(Debug)]
pub struct Loan {
    reserve: Reserve,
}

/// How many client connections the descriptors of this process are enough for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// How many descriptors it may have.
    pub limit: u64,
    /// How many of them are not for client connections.
    pub others: u64,
}

/// Whether there is no descriptor left, in this process or in the system.
pub fn are_out(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
}

// === impl Room ===

impl Room {
    /// As things stand, beside what is open now.
    pub fn now() -> Self {
        let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        Self {
            limit: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            others: open + SPARE,
        }
    }

    /// How many client connections fit, at least a handful. Each may need a second descriptor, towards the app.
    pub fn connections(self) -> usize {
        let fitting = self.limit.saturating_sub(self.others) / 2;
        usize::try_from(fitting).unwrap_or(usize::MAX).max(8)
    }

    /// What the limit would have to be for so many.
    pub fn needed(self, connections: usize) -> u64 {
        self.others.saturating_add(2 * connections as u64)
    }
}

// === impl Reserve ===

impl Reserve {
    /// Keeps some back from now on.
    pub fn new() -> Self {
        let reserve = Self(Arc::default());
        reserve.fill();
        reserve
    }

    /// Lets go of some for one connection that is about to be accepted. None: there are none left to let go of.
    pub fn lend(&self) -> Option<Loan> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = kept.len().checked_sub(LOAN)?;
        kept.truncate(left);
        Some(Loan {
            reserve: self.clone(),
        })
    }

    /// Whether there are some to let go of. Keeps back what may be free again.
    pub fn can_lend(&self) -> bool {
        self.fill();
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.len() >= LOAN
    }

    /// Keeps back what can be, up to all.
    pub fn fill(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.len() < LOAN * LOANS {
            // None left: next time.
            let Ok(file) = File::open("/dev/null") else {
                return;
            };
            kept.push(file);
        }
    }
}

impl Default for Reserve {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Loan ===

impl Drop for Loan {
    fn drop(&mut self) {
        self.reserve.fill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_connection_has_room_for_one_to_the_app() {
        let room = Room {
            limit: 1024,
            others: 100,
        };
        assert_eq!(room.connections(), 462);
        assert_eq!(room.needed(462), 1024);
        let tight = Room { limit: 64, ..room };
        assert_eq!(tight.connections(), 8);
    }

    #[test]
    fn what_is_lent_comes_back() {
        let reserve = Reserve::new();
        let loans: Vec<_> = (0..LOANS).map(|_| reserve.lend().unwrap()).collect();
        assert!(reserve.lend().is_none());
        drop(loans);
        assert!(reserve.lend().is_some());
    }
}
