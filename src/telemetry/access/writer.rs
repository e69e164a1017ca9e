//! The thread of the access log: makes lines of what the workers hand over and writes them. Waits for its reader, and
//! for nobody else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{error, info};

use super::format::{self, Clock};
use super::pen::Batch;
use super::{Dropped, Job};
use crate::telemetry::log::Format;
use crate::telemetry::outlet::{Outlet, Unwritten};

/// How much is written at once, a batch more or less.
const WRITE_MAX: usize = 64 << 10;

/// How often it is told that nothing can be written.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What the thread has in hand.
#[derive(Debug)]
pub(super) struct Writer {
    outlet: Outlet,
    /// What is opened again.
    path: Option<PathBuf>,
    format: Format,
    dropped: Arc<Dropped>,
    clock: Clock,
    lines: Vec<u8>,
    told: Option<Instant>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        outlet: Outlet,
        path: Option<PathBuf>,
        format: Format,
        dropped: Arc<Dropped>,
    ) -> Self {
        Self {
            outlet,
            path,
            format,
            dropped,
            clock: Clock::new(),
            lines: Vec::with_capacity(2 * WRITE_MAX),
            told: None,
        }
    }

    /// Until nobody can hand anything over any more.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut next = Some(first);
            while let Some(job) = next {
                self.take(job);
                next = if self.lines.len() < WRITE_MAX {
                    jobs.try_recv().ok()
                } else {
                    None
                };
            }
            self.write();
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Write(batch) => self.format(batch),
            Job::Reopen => {
                // What was handed over before belongs to the old file.
                self.write();
                self.reopen();
            }
            Job::Flushed(done) => {
                self.write();
                let _ = done.send(());
            }
        }
    }

    fn format(&mut self, batch: Batch) {
        // Read together, so that a clock that was set shows in the next batch.
        let (now, wall) = (Instant::now(), SystemTime::now());
        for line in batch.lines() {
            let age = now.saturating_duration_since(line.entry.started);
            let time = wall.checked_sub(age).unwrap_or(wall);
            format::push(&mut self.lines, &line, time, &mut self.clock, self.format);
        }
        batch.go_home();
    }

    fn write(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        if let Err(unwritten) = self.outlet.write(&self.lines) {
            self.dropped.add(unwritten.lines);
            self.tell(&unwritten);
        }
        self.lines.clear();
        self.lines.shrink_to(4 * WRITE_MAX);
    }

    fn tell(&mut self, unwritten: &Unwritten) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now - told < TELL_EVERY) {
            return;
        }
        self.told = Some(now);
        let to = self.path.as_ref().map(|path| path.display().to_string());
        error!(to, error = %unwritten.error, "the access log cannot be written, its lines are lost");
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else {
            return;
        };
        match Outlet::file(path) {
            Ok(outlet) => {
                self.outlet = outlet;
                info!(path = %path.display(), "access log reopened");
            }
            Err(error) => {
                error!(path = %path.display(), %error, "cannot reopen the access log, the old file is written on");
            }
        }
    }
}
