//! The kernel's table of processes as `/proc` shows it: who is whose child, and the end of all that are ours.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, wait,
};
use tokio::time::Instant;

/// How long one look waits for a killed process before the next look.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// More than `/proc` has to say about one process.
const STAT_BYTES: usize = 1024;

/// One reading of the table. It is old as soon as it is read.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: HashMap<u32, Row>,
}

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) parent: u32,
    pub(super) group: u32,
    /// Exited, and not reaped yet.
    pub(super) zombie: bool,
}

// === impl Table ===

impl Table {
    /// Reads it; empty where there is no `/proc`.
    pub(super) fn read() -> Self {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let rows = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid: u32| Some((pid, Row::read(pid)?)))
            .collect();
        Self { rows }
    }

    /// One process, if it is there.
    pub(super) fn row(&self, pid: u32) -> Option<Row> {
        self.rows.get(&pid).copied()
    }

    /// Every process and its row.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Row)> {
        self.rows.iter().map(|(pid, row)| (*pid, *row))
    }

    /// Whether `pid` is `ancestor` or descends from it.
    pub(super) fn descends(&self, pid: u32, ancestor: u32) -> bool {
        let mut seen = HashSet::new();
        let mut at = pid;
        while at != ancestor {
            // A table read while processes move may have a ring in it.
            let Some(row) = self.row(at).filter(|_| seen.insert(at)) else {
                return false;
            };
            at = row.parent;
        }
        true
    }

    /// All that descend from `ancestor`, itself not among them.
    pub(super) fn descendants(&self, ancestor: u32) -> Vec<u32> {
        self.rows
            .keys()
            .copied()
            .filter(|pid| *pid != ancestor && self.descends(*pid, ancestor))
            .collect()
    }
}

// === impl Row ===

impl Row {
    fn read(pid: u32) -> Option<Self> {
        // One read: what is needed stands at the beginning, and asking for the end of the file takes five more.
        let mut stat = [0; STAT_BYTES];
        let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
        let length = file.read(&mut stat).ok()?;
        Self::parse(&String::from_utf8_lossy(&stat[..length]))
    }

    /// The name stands in brackets and may hold anything, brackets and blanks included: what counts is the last one.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        Some(Self {
            zombie: state == "Z",
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
        })
    }
}

/// Kills every descendant of this process and reaps it, again and again until none is left or `patience` is over.
/// Returns how many are left. For a process whose every child may be killed, and that is a child subreaper: the
/// grandchildren come to it as their parents die, whatever session or group they have made for themselves.
pub(super) fn sweep(patience: Duration) -> usize {
    let me = getpid().as_raw_pid().unsigned_abs();
    let deadline = Instant::now() + patience;
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        let left = Table::read().descendants(me);
        if left.is_empty() || Instant::now() >= deadline {
            return left.len();
        }
        let left: Vec<Pid> = left.into_iter().filter_map(pid).collect();
        for pid in &left {
            // Gone already is as good.
            let _ = kill_process(*pid, Signal::KILL);
        }
        await_one(&left);
    }
}

/// Waits until the first of them has exited, or one look.
fn await_one(pids: &[Pid]) {
    let Some(pidfd) = pids
        .iter()
        .find_map(|pid| pidfd_open(*pid, PidfdFlags::empty()).ok())
    else {
        return;
    };
    // An interrupted wait is a look that ends early.
    let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&LOOK));
}

/// The number as the kernel's type; none for 0 and for what is no process number.
pub(super) fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_is_no_trap() {
        let row = Row::parse("12 (a) Z 1 (b) S 7 8 9 0 -1").unwrap();
        assert_eq!(
            row,
            Row {
                parent: 7,
                group: 8,
                zombie: false
            }
        );
    }

    #[test]
    fn descent_is_followed_over_generations_and_ends_in_a_ring() {
        let row = |parent| Row {
            parent,
            group: 0,
            zombie: false,
        };
        let table = Table {
            rows: [(2, row(1)), (3, row(2)), (4, row(5)), (5, row(4))].into(),
        };
        assert!(table.descends(3, 1) && table.descends(3, 3));
        assert!(!table.descends(4, 1));
        let mut found = table.descendants(1);
        found.sort_unstable();
        assert_eq!(found, [2, 3]);
    }

    #[test]
    fn this_process_is_in_the_table() {
        let me = std::process::id();
        assert!(Table::read().row(me).is_some_and(|row| !row.zombie));
    }
}
