//! What the planes tell each other about a generation, beside who uses it: where its instances listen, and what the
//! control plane orders about the exchanges that are under way.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Outcomes;
use crate::generation::Address;

/// One generation's instances, orders and outcomes.
#[derive(Debug)]
pub struct Backend {
    /// How its requests end.
    pub outcomes: Outcomes,
    instances: ArcSwap<Vec<Instance>>,
    orders: watch::Sender<Orders>,
}

/// One instance in the balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its number within the generation, from 1.
    pub number: u32,
    /// Where it listens.
    pub address: Address,
}

/// What the control plane has ordered so far. Counts, not states: a generation may serve again after an order, and an
/// order speaks only of the exchanges that were under way when it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Whether it is retired: idle upstream connections are closed and none is kept.
    pub retired: bool,
    /// How often requests were cut: one without an answer head is broken off, an answer under way becomes a stream.
    pub cuts: u32,
    /// How often streams were told to close in their own manner.
    pub closes: u32,
    /// Over how long that is spread, as of the last time: each stream has a moment of its own, taken at random.
    pub close_spread: Duration,
    /// How often streams were broken off.
    pub breaks: u32,
    /// How often it was failed over: a safe request without an answer head is broken off, to be sent to the live one.
    pub recalls: u32,
}

impl Backend {
    /// A generation whose instances listen there, for so many workers. `alarm` is called on a worker's thread at each
    /// bad answer and each refused connection on probation; it must neither block nor be slow.
    pub fn new(
        instances: Vec<Instance>,
        workers: usize,
        alarm: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            outcomes: Outcomes::new(workers, alarm),
            instances: ArcSwap::from_pointee(instances),
            orders: watch::Sender::new(Orders::default()),
        }
    }

    /// The instances that may get requests now.
    pub fn instances(&self) -> arc_swap::Guard<Arc<Vec<Instance>>> {
        self.instances.load()
    }

    /// How many new connections in a row every instance in the balance refused or reset, over all workers.
    pub fn refused_in_a_row(&self) -> u32 {
        let instances = self.instances();
        self.outcomes
            .refused_in_a_row(instances.iter().map(|instance| instance.number))
    }

    /// Replaces the instances that may get requests.
    pub fn balance(&self, instances: Vec<Instance>) {
        self.instances.store(Arc::new(instances));
    }

    /// Gives an order by changing what has been ordered so far.
    pub fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.orders.send_modify(change);
    }

    /// Tells of each order from now on.
    pub fn orders(&self) -> watch::Receiver<Orders> {
        self.orders.subscribe()
    }
}
