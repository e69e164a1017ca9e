//! What leads where: the listening addresses, and for each the routes to the apps behind it.

use std::sync::Arc;

use super::members::Member;
use crate::config;
use crate::data_plane::GateId;
use crate::data_plane::listen::{Listen, ListenAddress};
use crate::data_plane::route::{Route, Routes};
use crate::generation::AppName;

/// One listening address that is served.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) id: GateId,
    /// As it is configured.
    pub(super) listen: Listen,
    /// With its real port.
    pub(super) address: ListenAddress,
    /// As it was when routes were last put in force; none: it is newer than they are.
    before: Option<Listen>,
}

/// What leads to each app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Routing(Vec<(AppName, Vec<Route>)>);

// === impl Gate ===

impl Gate {
    pub(super) fn new(id: GateId, listen: Listen, address: ListenAddress) -> Self {
        Self {
            id,
            listen,
            address,
            before: None,
        }
    }

    /// The same address, served as this says.
    pub(super) fn serving(self, listen: &Listen) -> Self {
        Self {
            listen: listen.clone(),
            ..self
        }
    }

    /// What leads from there to which app, by the places of the members: by the routes of before, or where it is newer
    /// than those, by the wanted ones.
    pub(super) fn table(
        &self,
        members: &[Member],
        before: &Routing,
        wanted: &Routing,
    ) -> (GateId, Arc<Routes>) {
        let routes = match &self.before {
            Some(listen) => before.of(listen, members),
            None => wanted.of(&self.listen, members),
        };
        (self.id, Arc::new(routes))
    }

    /// Whether another one is wanted than is in force.
    pub(super) fn is_behind(&self) -> bool {
        self.before.as_ref() != Some(&self.listen)
    }

    /// The routes of before are now those that are wanted.
    pub(super) fn settle(&mut self) {
        self.before = Some(self.listen.clone());
    }
}

// === impl Routing ===

impl Routing {
    pub(super) fn new(apps: &[config::App]) -> Self {
        let routes = apps
            .iter()
            .map(|app| (app.name.clone(), app.routes.clone()));
        Self(routes.collect())
    }

    /// Whether anything leads to this app.
    pub(super) fn leads_to(&self, app: &AppName) -> bool {
        self.0.iter().any(|(name, _)| name == app)
    }

    fn of(&self, listen: &Listen, members: &[Member]) -> Routes {
        let served = self.0.iter().filter(|(name, _)| listen.serves(name));
        Routes::new(served.flat_map(|(name, routes)| {
            let place = members.iter().position(|member| member.name == *name);
            place
                .into_iter()
                .flat_map(move |place| routes.iter().map(move |route| (place, route)))
        }))
    }
}
