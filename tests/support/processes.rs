//! Which processes of a world run, by a mark in their environment: it stays on what has forked twice and has a session
//! of its own, where no parent leads to it any more.

use std::fmt;
use std::fs;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::time::Instant;

/// The variable that carries the mark. hitless hands it on, for its name does not begin with `HITLESS_`.
pub const MARK: &str = "TEST_WORLD";

/// Ticks a second in `/proc`, whatever the kernel's own clock does.
const USER_HZ: f64 = 100.0;

/// A process of a world.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: i32,
    pub command: String,
}

/// Every process that carries this mark, zombies apart.
pub fn marked(world: &str) -> Vec<Process> {
    let mark = format!("{MARK}={world}");
    let entries = fs::read_dir("/proc").expect("/proc is there");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| has_mark(*pid, &mark))
        .map(|pid| Process {
            pid,
            command: command_line(pid),
        })
        .collect()
}

/// Waits until no process with this mark is left; what is left when the time is over.
pub fn left_after(world: &str, within: Duration) -> Vec<Process> {
    let deadline = Instant::now() + within;
    loop {
        let left = marked(world);
        let late = !left.iter().all(|process| exits(process.pid, deadline));
        // Asked once more after the last exit, for a process may have forked meanwhile.
        if left.is_empty() || late {
            return if late { marked(world) } else { left };
        }
    }
}

/// Waits until this process has exited (it may still be a zombie); false if it has not by then.
pub fn exits(pid: i32, deadline: Instant) -> bool {
    let Some(pid) = Pid::from_raw(pid) else {
        return true;
    };
    let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("a deadline of a test fits");
        let mut descriptors = [PollFd::new(&descriptor, PollFlags::IN)];
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("polling a pidfd: {error}"),
        }
    }
}

/// Sends a signal; a process that is gone already is no error.
pub fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => panic!("signal {signal:?} to {pid:?}: {error}"),
        }
    }
}

/// The time that a process has computed, in itself and in the kernel, since it was started.
///
/// # Panics
///
/// If it is gone.
pub fn computed(pid: i32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    // The name, in brackets, may have spaces; utime and stime are the 14th and 15th field (proc_pid_stat(5)).
    let (_, fields) = text.rsplit_once(')').expect("the name is in brackets");
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("a number of ticks"))
        .sum();
    Duration::from_secs_f64(ticks as f64 / USER_HZ)
}

fn has_mark(pid: i32, mark: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    })
}

fn command_line(pid: i32) -> String {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = raw
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    words.join(" ").trim_end().to_owned()
}

// === impl Process ===

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.command)
    }
}

/// One line a process.
pub fn list(processes: &[Process]) -> String {
    let lines: Vec<_> = processes.iter().map(Process::to_string).collect();
    lines.join("\n")
}
