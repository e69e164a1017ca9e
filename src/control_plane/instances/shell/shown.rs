//! Who gets requests of a generation's instances, and what can be looked at of them.

use std::sync::{Arc, PoisonError};

use super::{Shell, outside};
use crate::control_plane::instances::place::Place;
use crate::control_plane::instances::{Member, Shown, Told};
use crate::live::{self, Backend};

impl<T: From<Told> + Send + 'static> Shell<T> {
    pub(super) fn balance(&self) {
        if let Some(published) = &self.published {
            published.payload.balance(self.in_balance());
        }
    }

    fn in_balance(&self) -> Vec<live::Instance> {
        let instances = |number: usize| {
            let addresses = self.places[number].addresses.iter();
            addresses.map(move |address| live::Instance {
                number: outside(number),
                address: address.clone(),
            })
        };
        self.machine.balance().flat_map(instances).collect()
    }

    pub(super) fn publish(&mut self) -> Arc<live::Generation<Backend>> {
        let (nudge, alarm) = (Arc::clone(&self.plan.nudge), Arc::clone(&self.plan.alarm));
        let workers = self.plan.workers;
        let backend = Backend::new(self.in_balance(), workers, move || alarm.notify_one());
        let generation = live::Generation::new(self.plan.generation, backend, workers, move |_| {
            nudge.notify_one();
        });
        self.turn = None;
        Arc::clone(self.published.insert(Arc::new(generation)))
    }

    pub(super) fn show(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn show_members(&self) {
        let balance: Vec<_> = self.machine.balance().collect();
        let members = |(number, place): (usize, &Place)| {
            let ready = balance.contains(&number);
            let pid = place.process.as_ref().map(|process| process.pid());
            let addresses = self.tasks.shown(number, place);
            addresses.into_iter().map(move |address| Member {
                number: outside(number),
                pid,
                address,
                ready,
            })
        };
        let members = self.places.iter().enumerate().flat_map(members).collect();
        self.show(|shown| shown.members = members);
    }
}
