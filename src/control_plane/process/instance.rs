//! One running instance of a generation, as the rest of the control plane holds it.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::Socket;
use tokio::sync::{mpsc, watch};

use super::link::{Life, Order};
use super::listeners::Kin;
use super::notify::Notify;
use super::output::{self, Output};
use super::port::PrivateFolder;
use super::protocol::{Exit, Signal};
use crate::generation::{Address, AppName, GenerationId};

/// One process of a generation with all that hitless holds for it. Dropped while it runs, it is killed.
pub struct Instance {
    pub(super) app: AppName,
    pub(super) generation: GenerationId,
    pub(super) number: u32,
    pub(super) pid: u32,
    pub(super) address: Address,
    pub(super) port: u16,
    pub(super) line: Line,
    pub(super) output: Arc<Output>,
    pub(super) pipes: watch::Receiver<usize>,
    pub(super) reservation: Mutex<Option<Socket>>,
    pub(super) reserves_port: bool,
    pub(super) notify: Option<Notify>,
    pub(super) folder: Option<PrivateFolder>,
}

/// The way to the keeper for one instance, from before it is spawned: dropped, it kills.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: u64,
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) life: watch::Receiver<Life>,
    terminated: AtomicBool,
    killed: AtomicBool,
}

// === impl Instance ===

impl Instance {
    /// The number of its first process, which is also that of its group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its number within the generation, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The generation it belongs to.
    pub fn generation(&self) -> GenerationId {
        self.generation
    }

    /// The app it belongs to.
    pub fn app(&self) -> &AppName {
        &self.app
    }

    /// Where it was told to listen: 127.0.0.1 with its port, or a unix socket. The readiness check says where it does.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The output of its generation.
    pub fn output(&self) -> &Arc<Output> {
        &self.output
    }

    /// Asks its group to end, with SIGTERM. Once: again, or after its exit, does nothing.
    pub fn terminate(&self) {
        self.line.terminate();
    }

    /// Ends its group, with SIGKILL. Once: again, or after its exit, does nothing.
    pub fn kill(&self) {
        self.line.kill();
    }

    /// Waits for its exit; at once if it has exited. Any number may wait. Cancel safe.
    pub fn exited(&self) -> impl Future<Output = Exit> + Send + use<> {
        let mut life = self.line.life.clone();
        async move {
            let exited = life
                .wait_for(|life| matches!(life, Life::Exited { .. }))
                .await;
            match exited.as_deref() {
                Ok(Life::Exited { exit, .. }) => *exit,
                // The link to the keeper was dropped, upon which the keeper ends everything.
                _ => Exit::Keeper,
            }
        }
    }

    /// Waits until this instance can write no more. A process that has left its group may keep a pipe open for ever:
    /// wait with a limit. Cancel safe.
    pub fn last_words(&self) -> impl Future<Output = ()> + Send + use<> {
        output::closed(self.pipes.clone())
    }

    /// Lets go of the port that was kept free for it, once it listens there.
    pub(crate) fn release_port(&self) {
        self.reservation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Whether its port is kept free for it until it listens.
    pub(crate) fn reserves_port(&self) -> bool {
        self.reserves_port
    }

    /// Waits until it has said `READY=1`; for ever, when it has no socket to say so. Cancel safe.
    pub(crate) async fn notified(&self) {
        match &self.notify {
            Some(notify) => notify.ready().await,
            None => std::future::pending().await,
        }
    }

    /// How its processes are known.
    pub(crate) fn kin(&self) -> Kin {
        Kin {
            pid: self.pid,
            marks: vec![
                format!("HITLESS_APP={}", self.app),
                format!("HITLESS_GENERATION={}", self.generation),
                format!("HITLESS_INSTANCE={}", self.number),
                format!("PORT={}", self.port),
            ],
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("app", &self.app)
            .field("generation", &self.generation)
            .field("number", &self.number)
            .field("pid", &self.pid)
            .field("address", &self.address)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

// === impl Line ===

impl Line {
    pub(super) fn new(
        id: u64,
        orders: mpsc::UnboundedSender<Order>,
        life: watch::Receiver<Life>,
    ) -> Self {
        Self {
            id,
            orders,
            life,
            terminated: AtomicBool::new(false),
            killed: AtomicBool::new(false),
        }
    }

    fn terminate(&self) {
        if !self.terminated.swap(true, Ordering::Relaxed) {
            self.signal(Signal::Terminate);
        }
    }

    fn kill(&self) {
        if !self.killed.swap(true, Ordering::Relaxed) {
            self.signal(Signal::Kill);
        }
    }

    /// At most two a life, so that the queue of orders is bounded by the instances. Without a link nothing runs.
    fn signal(&self, signal: Signal) {
        if !matches!(*self.life.borrow(), Life::Exited { .. } | Life::Failed(_)) {
            let _ = self.orders.send(Order::Signal {
                id: self.id,
                signal,
            });
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.kill();
    }
}
