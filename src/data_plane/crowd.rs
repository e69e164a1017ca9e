//! How many client connections there may be, over all workers and from one address, and who waits for room.
//!
//! Nothing here is touched by a request: only by connections that come and go, and a lock only where the number from one
//! address is limited.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::connection::Config;

/// What all workers know about the number of their connections.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Zero: no limit.
    max: AtomicUsize,
    /// How many one address may have. Zero: no limit, and nobody counts.
    per_address_max: AtomicUsize,
    /// How many listeners wait for room.
    waiting: AtomicUsize,
    freed: Notify,
    /// Those that were counted when they came. No larger than the number of connections.
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// Whether a connection may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may, and is one of its address until it is [dismissed](Crowd::dismiss).
    Counted,
    /// It may, and nobody counts.
    Uncounted,
    /// Its address has as many as it may have.
    Refused,
}

/// Somebody waits for room, for as long as this lives.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Crowd);

// === impl Crowd ===

impl Crowd {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            max: AtomicUsize::new(config.connections_max),
            per_address_max: AtomicUsize::new(config.connections_per_address_max),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            addresses: Mutex::default(),
        }
    }

    /// From now on these limits are in force. Nobody is closed who is there already, but by the sweeps that make room.
    pub(super) fn configure(&self, config: &Config) {
        let per_address = config.connections_per_address_max;
        self.max.store(config.connections_max, Ordering::SeqCst);
        self.per_address_max.store(per_address, Ordering::SeqCst);
        // Those that wait look again.
        self.freed.notify_waiters();
    }

    fn max(&self) -> Option<usize> {
        Some(self.max.load(Ordering::Relaxed)).filter(|max| *max > 0)
    }

    fn per_address_max(&self) -> Option<usize> {
        Some(self.per_address_max.load(Ordering::Relaxed)).filter(|max| *max > 0)
    }

    /// Whether so many are as many as there may be.
    pub(super) fn is_full(&self, open: usize) -> bool {
        self.max().is_some_and(|max| open >= max)
    }

    /// How many of so many are too many for there to be room for a rush.
    pub(super) fn excess(&self, open: usize) -> usize {
        self.max().map_or(0, |max| {
            let comfortable = (max - max.div_ceil(10)).max(1);
            open.saturating_sub(comfortable)
        })
    }

    /// From now on it is known that somebody waits.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    /// A connection is gone.
    pub(super) fn left(&self) {
        // The waiting one counts itself first and then looks; whoever leaves is gone first and then looks here.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    /// Counts one more connection from an address, where that is limited.
    pub(super) fn admit(&self, address: IpAddr) -> Admission {
        let Some(max) = self.per_address_max() else {
            return Admission::Uncounted;
        };
        let mut counts = self.addresses();
        let count = counts.entry(address).or_insert(0);
        if *count >= max {
            return Admission::Refused;
        }
        *count += 1;
        Admission::Counted
    }

    /// Counts one more in any case, where that is limited: it takes the place of one that is about to leave. Says whether
    /// it is counted.
    pub(super) fn succeed(&self, address: IpAddr) -> bool {
        let counts = self.per_address_max().is_some();
        if counts {
            *self.addresses().entry(address).or_insert(0) += 1;
        }
        counts
    }

    /// A connection from an address that was counted is gone.
    pub(super) fn dismiss(&self, address: IpAddr) {
        if let Entry::Occupied(mut count) = self.addresses().entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Every change is a single step.
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Waiting ===

impl Waiting<'_> {
    /// A connection leaves after this was called.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.0.freed.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_a_rush_below_the_limit() {
        let crowd = |connections_max| {
            Crowd::new(&Config {
                connections_max,
                ..Config::default()
            })
        };
        let many = crowd(10_000);
        assert_eq!((many.excess(9_000), many.excess(9_001)), (0, 1));
        assert!(!many.is_full(9_999) && many.is_full(10_000));
        let few = crowd(2);
        assert_eq!((few.excess(1), few.excess(2)), (0, 1));
        let endless = crowd(0);
        assert!(!endless.is_full(usize::MAX) && endless.excess(usize::MAX) == 0);
    }

    #[test]
    fn an_address_that_left_is_forgotten() {
        let crowd = Crowd::new(&Config {
            connections_per_address_max: 2,
            ..Config::default()
        });
        let address = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(crowd.admit(address), Admission::Counted);
        assert_eq!(crowd.admit(address), Admission::Counted);
        assert_eq!(crowd.admit(address), Admission::Refused);
        let other = IpAddr::from([192, 0, 2, 2]);
        assert_eq!(crowd.admit(other), Admission::Counted);
        crowd.dismiss(address);
        assert_eq!(crowd.admit(address), Admission::Counted);
        for gone in [address, address, other] {
            crowd.dismiss(gone);
        }
        assert!(crowd.addresses().is_empty());
    }

    #[test]
    fn a_limit_that_comes_later_counts_those_who_come_later() {
        let mut config = Config::default();
        let crowd = Crowd::new(&config);
        let address = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(crowd.admit(address), Admission::Uncounted);
        config.connections_per_address_max = 1;
        crowd.configure(&config);
        assert_eq!(crowd.admit(address), Admission::Counted);
        assert_eq!(crowd.admit(address), Admission::Refused);
        config.connections_per_address_max = 0;
        crowd.configure(&config);
        assert_eq!(crowd.admit(address), Admission::Uncounted);
        crowd.dismiss(address);
        assert!(crowd.addresses().is_empty());
    }
}
