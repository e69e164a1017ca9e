//! Stopping without losing a request: in which order, and by when.

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::config::ShutdownConfig;
use crate::control_plane::apps::Apps;
use crate::control_plane::driver::{Handle, STOP_RESERVE};
use crate::control_plane::trigger::{Signals, Wish};
use crate::data_plane::{Phase, Workers};

/// Everything that has to end.
#[derive(Debug)]
pub(super) struct Stop<'a> {
    pub(super) apps: &'a Apps,
    /// What is not among the apps any more, and has not ended yet.
    pub(super) parting: &'a [Handle],
    pub(super) workers: &'a Workers,
    pub(super) phase: &'a watch::Sender<Phase>,
    pub(super) config: &'a ShutdownConfig,
}

impl Stop<'_> {
    /// Stops in order, at once when a second signal comes. Returns when the last process of the apps is gone.
    pub(super) async fn perform(&self, signals: &mut Signals, drivers: &mut Vec<JoinHandle<()>>) {
        let end = Instant::now() + self.config.timeout;
        info!(timeout = ?self.config.timeout, "stopping");
        let graceful = async {
            self.clients_leave(end).await;
            join(drivers).await;
        };
        tokio::select! {
            () = graceful => return,
            () = second_stop(signals) => {}
        }
        warn!("stopping at once");
        self.apps.stop();
        self.enter(Phase::BreakingOff);
        self.ask_apps(end).await;
        // The second request is what makes it hurry; the first may not have been made yet.
        self.ask_apps(end).await;
        self.say_clients_gone().await;
        join(drivers).await;
    }

    async fn clients_leave(&self, end: Instant) {
        self.apps.stop();
        tokio::time::sleep(self.config.delay).await;
        self.enter(Phase::Closing);
        self.ask_apps(end).await;
        let last_call = end.checked_sub(STOP_RESERVE).unwrap_or(end);
        let close_idle = async {
            tokio::time::sleep(self.config.idle).await;
            self.enter(Phase::ClosingIdle);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.workers.idle() => {}
            () = close_idle => {}
            () = sleep_until(last_call) => self.break_off().await,
        }
        self.say_clients_gone().await;
    }

    async fn break_off(&self) {
        self.enter(Phase::BreakingOff);
        self.workers.idle().await;
        warn!(
            connections = self.workers.broken_off(),
            "broken off: they did not end in time"
        );
    }

    fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let later = *current < phase;
            *current = phase.max(*current);
            later
        });
    }

    async fn ask_apps(&self, end: Instant) {
        for handle in self.apps.handles().iter().chain(self.parting) {
            handle.shut_down(end).await;
        }
    }

    async fn say_clients_gone(&self) {
        for handle in self.apps.handles().iter().chain(self.parting) {
            handle.clients_gone().await;
        }
    }
}

async fn second_stop(signals: &mut Signals) {
    while signals.next().await != Wish::Stop {}
}

/// Takes out each that has ended: broken off half-way, it is called again.
async fn join(drivers: &mut Vec<JoinHandle<()>>) {
    while let Some(driver) = drivers.last_mut() {
        if let Err(error) = driver.await {
            warn!(%error, "a driver ended badly");
        }
        drivers.pop();
    }
}
