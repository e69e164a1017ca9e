//! What goes wrong on command once the app runs, and when.
//!
//! It only says what is to happen; `app` and `routes` let it happen. It never looks at a request.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, getpid, kill_process};
use tokio::time::Instant;

/// How often the app looks whether a file is there.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Faults of a running app.
#[derive(Args, Clone, Debug)]
pub(super) struct Faults {
    /// Exit this long after listening
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    exit_after: Option<Duration>,

    /// The status of `--exit-after`
    #[arg(long, value_name = "STATUS", default_value_t = 1)]
    exit_status: u8,

    /// Abort (SIGABRT) this long after listening
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    abort_after: Option<Duration>,

    /// End by SIGKILL this long after listening
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    kill_after: Option<Duration>,

    /// End by SIGSEGV this long after listening
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    segfault_after: Option<Duration>,

    /// Accept connections, but answer nothing, not even probes
    #[arg(long)]
    hang: bool,

    /// Answer nothing any more this long after listening
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    hang_after: Option<Duration>,

    /// Close the listening socket this long after listening, and each connection after its next answer
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    close_listener_after: Option<Duration>,

    /// Answer everything but hitless's probes with this status
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(200..=599))]
    pub(super) fail_traffic: Option<u16>,

    /// Answer everything but hitless's probes with 500 while this file exists
    #[arg(long, value_name = "FILE")]
    pub(super) fail_file: Option<PathBuf>,

    /// Answer everything but hitless's probes and /warm with 503 until /warm was asked for
    #[arg(long)]
    pub(super) cold: bool,

    /// Answer /warm with this status
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub(super) warm_status: u16,
}

/// What ends the app from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exit(u8),
    Abort,
    Signal(Signal),
}

impl End {
    /// Ends this process so.
    pub(super) fn now(self) -> ! {
        match self {
            Self::Exit(status) => std::process::exit(status.into()),
            Self::Abort => std::process::abort(),
            Self::Signal(signal) => end_by(signal),
        }
    }
}

/// Waits until this file is there.
pub(super) async fn until_there(file: &Path) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    while !file.exists() {
        looks.tick().await;
    }
}

/// Takes the lock of an app that cannot run twice, for as long as the file is kept; none if another one holds it.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).append(true).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Ends this process by a signal, as if it had come from outside.
fn end_by(signal: Signal) -> ! {
    loop {
        // The first SIGSEGV only takes Rust's own handler away, which then expects the fault to come again.
        kill_process(getpid(), signal).expect("a process may signal itself");
    }
}

async fn after(delay: Option<Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep(delay).await,
        None => std::future::pending().await,
    }
}

// === impl Faults ===

impl Faults {
    /// Without any: for the instances that are to be well.
    pub(super) fn none(self) -> Self {
        Self {
            exit_after: None,
            exit_status: self.exit_status,
            abort_after: None,
            kill_after: None,
            segfault_after: None,
            hang: false,
            hang_after: None,
            close_listener_after: None,
            fail_traffic: None,
            fail_file: None,
            cold: false,
            warm_status: 200,
        }
    }

    /// Resolves with the end that was told first, when its time has come.
    pub(super) async fn end(&self) -> (End, String) {
        tokio::select! {
            () = after(self.exit_after) => {
                let status = self.exit_status;
                (End::Exit(status), format!("exiting with status {status}, as told"))
            }
            () = after(self.abort_after) => (End::Abort, "aborting, as told".to_owned()),
            () = after(self.kill_after) => {
                (End::Signal(Signal::KILL), "ending by SIGKILL, as told".to_owned())
            }
            () = after(self.segfault_after) => {
                (End::Signal(Signal::SEGV), "ending by SIGSEGV, as told".to_owned())
            }
        }
    }

    /// Resolves when the listening socket is to be closed.
    pub(super) async fn closes_listener(&self) {
        after(self.close_listener_after).await;
    }

    /// From when on nothing is answered, for an app that listens now.
    pub(super) fn hangs_from(&self) -> Option<Instant> {
        let after = self.hang.then_some(Duration::ZERO).or(self.hang_after);
        after.map(|delay| Instant::now() + delay)
    }

    /// From when on each connection is closed after its next answer, for an app that listens now.
    pub(super) fn closes_from(&self) -> Option<Instant> {
        self.close_listener_after
            .map(|delay| Instant::now() + delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_free_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path).unwrap();
        assert!(held.is_some());
        assert!(lock(&path).unwrap().is_none(), "two at once");
        drop(held);
        assert!(lock(&path).unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_comes_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("go");
        let waits = tokio::spawn({
            let path = path.clone();
            async move { until_there(&path).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waits.is_finished());
        std::fs::write(&path, "").unwrap();
        waits.await.unwrap();
    }
}
