//! How many client connections there may be, over all workers and from one address, and who waits for room.
//!
//! Nothing here is touched by a request: only by connections that come and go, and a lock only where the number from one
//! address is limited.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::connection::Config;

/// What all workers know about the number of their connections.
#[derive(Debug)]
pub(super) struct Crowd {
    /// None: no limit.
    max: Option<usize>,
    /// How many listeners wait for room.
    waiting: AtomicUsize,
    freed: Notify,
    addresses: Option<Addresses>,
}

/// Somebody waits for room, for as long as this lives.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Crowd);

#[derive(Debug)]
struct Addresses {
    max: usize,
    /// No larger than the number of connections.
    counts: Mutex<HashMap<IpAddr, usize>>,
}

// === impl Crowd ===

impl Crowd {
    pub(super) fn new(config: &Config) -> Self {
        let addresses = (config.connections_per_address_max > 0).then(|| Addresses {
            max: config.connections_per_address_max,
            counts: Mutex::default(),
        });
        Self {
            max: (config.connections_max > 0).then_some(config.connections_max),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            addresses,
        }
    }

    /// Whether so many are as many as there may be.
    pub(super) fn is_full(&self, open: usize) -> bool {
        self.max.is_some_and(|max| open >= max)
    }

    /// How many of so many are too many for there to be room for a rush.
    pub(super) fn excess(&self, open: usize) -> usize {
        self.max.map_or(0, |max| {
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

    /// Counts one more connection from an address. Says no where there are as many as there may be.
    pub(super) fn admit(&self, address: IpAddr) -> bool {
        let Some(addresses) = &self.addresses else {
            return true;
        };
        let mut counts = addresses.lock();
        let count = counts.entry(address).or_insert(0);
        let admitted = *count < addresses.max;
        if admitted {
            *count += 1;
        }
        admitted
    }

    /// Counts one more in any case: it takes the place of one that is about to leave.
    pub(super) fn succeed(&self, address: IpAddr) {
        if let Some(addresses) = &self.addresses {
            *addresses.lock().entry(address).or_insert(0) += 1;
        }
    }

    /// A connection from an address that was counted is gone.
    pub(super) fn dismiss(&self, address: IpAddr) {
        if let Some(addresses) = &self.addresses
            && let Entry::Occupied(mut count) = addresses.lock().entry(address)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
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

// === impl Addresses ===

impl Addresses {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Every change is a single step.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert!(crowd.admit(address) && crowd.admit(address));
        assert!(!crowd.admit(address));
        assert!(crowd.admit(IpAddr::from([192, 0, 2, 2])));
        crowd.dismiss(address);
        assert!(crowd.admit(address));
        for _ in 0..2 {
            crowd.dismiss(address);
        }
        crowd.dismiss(IpAddr::from([192, 0, 2, 2]));
        assert!(crowd.addresses.as_ref().unwrap().lock().is_empty());
    }
}
