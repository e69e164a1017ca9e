//! What hitless writes, as a whole: opened at the start, opened anew on a signal, written to the end at the end, and told
//! about when lines are lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::control_plane::process::OutputSink;
use crate::telemetry::access::AccessLog;
use crate::telemetry::log::{self, LogConfig};
use crate::telemetry::metrics::{LinesDropped, Metrics};

/// How often it is told that lines were lost.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How long the end waits for whoever reads.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// The three logs: hitless's own, that of requests, and what the apps write.
#[derive(Clone, Debug)]
pub(super) struct Logs {
    access: Arc<Mutex<Access>>,
    app: Arc<dyn OutputSink>,
    /// What was told of already.
    told: Arc<Mutex<LinesDropped>>,
}

/// The log of requests, and what was lost in those that it took the place of.
#[derive(Debug)]
struct Access {
    log: Option<AccessLog>,
    dropped_before: u64,
}

// === impl Logs ===

impl Logs {
    /// Opens them; from now on nobody waits for their readers.
    /// What the apps write goes to `app`.
    pub(super) fn open(
        config: &LogConfig,
        app: Arc<dyn OutputSink>,
        workers: usize,
    ) -> anyhow::Result<Self> {
        log::detach().context("cannot start the thread that writes the log")?;
        let log = AccessLog::open(&config.access, config.format, workers)?;
        let access = Access {
            log,
            dropped_before: 0,
        };
        Ok(Self {
            access: Arc::new(Mutex::new(access)),
            app,
            told: Arc::default(),
        })
    }

    /// The log of requests; none where it is off.
    pub(super) fn access(&self) -> Option<AccessLog> {
        self.with_access(|access| access.log.clone())
    }

    /// From now on this is the log of requests. What was handed to the one before is still written there.
    pub(super) fn replace_access(&self, log: Option<AccessLog>) {
        self.with_access(|access| {
            let before = std::mem::replace(&mut access.log, log);
            access.dropped_before += before.as_ref().map_or(0, AccessLog::dropped);
        });
    }

    /// From now on lines have the level and the shape that this says.
    pub(super) fn reshape(&self, config: &LogConfig) {
        log::change(config);
        self.app.reshape(config.app);
    }

    /// Has what is a file opened anew.
    pub(super) fn reopen(&self) {
        if let Some(access) = self.access() {
            access.reopen();
        }
    }

    fn with_access<T>(&self, with: impl FnOnce(&mut Access) -> T) -> T {
        with(&mut self.access.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts the lines that are dropped.
    pub(super) fn count(&self, metrics: &Metrics) {
        let logs = self.clone();
        metrics.count_lines_dropped(move || logs.dropped());
    }

    /// Tells of dropped lines, for as long as it is polled. Not by whoever drops them: that one may be stuck.
    pub(super) async fn tell_dropped(self) {
        let mut ticks = interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tell();
        }
    }

    /// Tells what was dropped since the last time.
    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.dropped();
        if now != *told {
            warn!(
                access = now.access - told.access,
                app = now.app - told.app,
                hitless = now.hitless - told.hitless,
                "lines of these logs were dropped: whoever reads or stores them is too slow, or cannot"
            );
            *told = now;
        }
    }

    /// Waits a moment until everything has been written. Blocks the thread; for the end of the process.
    pub(super) fn flush(&self) {
        if let Some(access) = self.access() {
            access.flush(LAST_WORDS_MAX);
        }
        self.app.flush(LAST_WORDS_MAX);
        self.tell();
        log::flush(LAST_WORDS_MAX);
    }

    fn dropped(&self) -> LinesDropped {
        LinesDropped {
            access: self.with_access(|access| {
                access.dropped_before + access.log.as_ref().map_or(0, AccessLog::dropped)
            }),
            app: self.app.dropped(),
            hitless: log::dropped(),
        }
    }
}
