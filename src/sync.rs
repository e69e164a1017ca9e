//! The synchronisation that `live` is built of, behind names of our own, so that its loom test can put loom's types
//! in their place.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

/// A shared pointer that one side replaces and many sides read without a lock.
#[derive(Debug)]
pub(crate) struct Slot<T>(ArcSwap<T>);

impl<T> Slot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(ArcSwap::from_pointee(value))
    }

    /// What is there now, without touching its reference count.
    pub(crate) fn load(&self) -> Guard<Arc<T>> {
        self.0.load()
    }

    pub(crate) fn store(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

/// Wakes whoever waits for a change.
#[derive(Debug)]
pub(crate) struct Bell(watch::Sender<()>);

impl Bell {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    pub(crate) fn ring(&self) {
        self.0.send_replace(());
    }

    pub(crate) fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
