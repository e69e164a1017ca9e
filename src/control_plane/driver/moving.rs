//! Which addresses the next generation is to have: those of the configuration, or those that somebody asked for instead.
//!
//! What was asked for is part of the version that it made, so that it lasts as long as that version is the wanted one,
//! and goes with it when that is taken back. It ends as soon as the configuration names other addresses than it did then.

use std::sync::Arc;

use super::Driver;
use crate::control_plane::endpoint::Endpoint;
use crate::control_plane::instances::{Addressed, Backing};
use crate::control_plane::status::MovedStatus;

impl Driver {
    /// What the generation that is about to be started is made of.
    pub(super) fn backing(&self) -> (Backing, Option<Arc<[Endpoint]>>) {
        let configured = &self.settings.backing;
        let Some(named) = configured.addresses() else {
            return (configured.clone(), None);
        };
        let asked = self.core.owner().and_then(|id| self.triggers.addresses(id));
        match asked.or_else(|| self.moved().map(|moved| &moved.list)) {
            Some(list) if list != named => {
                let list = Arc::clone(list);
                (Backing::Addresses(list), Some(Arc::clone(named)))
            }
            _ => (configured.clone(), None),
        }
    }

    /// The addresses of the wanted version, if somebody asked for them and the configuration has not changed since.
    fn moved(&self) -> Option<&Addressed> {
        let record = self.generations.record(self.core.base()?)?;
        let addressed = record.made.addressed()?;
        let instead_of = addressed.instead_of.as_ref()?;
        (Some(instead_of) == self.settings.backing.addresses()).then_some(addressed)
    }

    pub(super) fn moved_status(&self) -> Option<MovedStatus> {
        let moved = self.moved()?;
        let shown = |list: &[Endpoint]| list.iter().map(ToString::to_string).collect();
        Some(MovedStatus {
            addresses: shown(&moved.list),
            configured: moved.instead_of.as_deref().map(shown).unwrap_or_default(),
        })
    }
}
