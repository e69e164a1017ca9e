//! What asks from outside without a word: signals, and files that change.

pub mod files;

use std::io;
use std::sync::Arc;

use signal_hook::consts::{SIGHUP, SIGUSR1, SIGUSR2};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

/// The signals that hitless answers to.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
    /// Without work so far; unheard it would end the process.
    idle: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGHUP: like `hitless reload`.
    Reload,
    /// SIGUSR1: log files are to be opened anew.
    ReopenLogs,
    /// SIGTERM or SIGINT: a graceful stop; the second one: at once.
    Stop,
}

/// From now on what asks for something does not end the process although nobody listens yet: a log may be rotated, and a
/// reload be asked for, while hitless starts. What is asked for is done by the start itself. What the process executes
/// begins with the signals as they were.
///
/// # Errors
///
/// The system refuses a handler.
pub fn survive() -> io::Result<()> {
    for signal in [SIGHUP, SIGUSR1, SIGUSR2] {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    Ok(())
}

impl Signals {
    /// Listens from now on; without it these signals end the process.
    ///
    /// # Errors
    ///
    /// The system refuses a handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            idle: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next wish. Signals of one kind that come together are one.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Wish {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => return Wish::Reload,
                _ = self.terminate.recv() => return Wish::Stop,
                _ = self.interrupt.recv() => return Wish::Stop,
                _ = self.user1.recv() => return Wish::ReopenLogs,
                _ = self.idle.recv() => info!("USR2: nothing is done on it yet"),
            }
        }
    }
}
