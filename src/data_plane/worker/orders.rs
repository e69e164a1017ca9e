//! What a worker is told to serve, at its start and whenever the configuration changes: put in force between two polls,
//! so that each request finds all of the old or all of the new.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, sleep};

use super::gate::Table;
use super::{Desk, Gate, Worker};
use crate::data_plane::listen::{self, Listener};
use crate::data_plane::route::Routes;
use crate::data_plane::site::Site;
use crate::data_plane::{App, GateId, Phase, Settings};
use crate::telemetry::access::AccessLog;

/// All that a worker is to serve from now on.
#[derive(Debug)]
pub(in crate::data_plane) struct Order {
    /// Every app; routes name them by their places here.
    pub(in crate::data_plane) apps: Arc<[Arc<App>]>,
    /// What leads to them, for each listening address. One that is not named is served no more.
    pub(in crate::data_plane) gates: Arc<[(GateId, Arc<Routes>)]>,
    /// The worker's part of each address that is new.
    pub(in crate::data_plane) opened: Vec<(GateId, Listener)>,
    pub(in crate::data_plane) settings: Settings,
    /// How long after an address is served no more the idle connections are closed that came in by it.
    pub(in crate::data_plane) idle: Duration,
    /// Told when it is in force.
    pub(in crate::data_plane) done: oneshot::Sender<()>,
}

// === impl Worker ===

impl Worker {
    /// Puts an order in force. Nothing else runs on this worker meanwhile.
    pub(super) fn obey(
        self: &Rc<Self>,
        order: Order,
        accepting: &mut JoinSet<()>,
        phase: &watch::Receiver<Phase>,
    ) {
        self.write_with(order.settings.access.as_ref());
        self.settings.set(order.settings);
        self.serve_apps(&order.apps);
        let mut opened = order.opened;
        for (id, routes) in order.gates.iter() {
            let table = Table::new(Arc::clone(routes), &self.sites(), &self.strays);
            let known = self.gates.borrow().iter().position(|(own, _)| own == id);
            if let Some(place) = known {
                self.gates.borrow()[place].1.lead(table);
            } else if let Some(place) = opened.iter().position(|(own, _)| own == id) {
                let gate = Rc::new(Gate::new(table));
                self.gates.borrow_mut().push((*id, Rc::clone(&gate)));
                let (_, listener) = opened.swap_remove(place);
                let accept = listen::accept(listener, gate, Rc::clone(self), phase.clone());
                accepting.spawn_local(accept);
            }
        }
        self.leave_others(&order.gates, order.idle);
        // Whoever ordered it may have stopped waiting.
        let _ = order.done.send(());
    }

    /// Apps that are known already keep all that they have: their connections, and who waits.
    fn serve_apps(self: &Rc<Self>, apps: &[Arc<App>]) {
        let before = self.sites();
        let site = |app: &Arc<App>| {
            if let Some(known) = before.iter().find(|site| site.app.is(app)) {
                known.configure(&app.config);
                return Rc::clone(known);
            }
            let site = Rc::new(Site::new(Arc::clone(app), self.index));
            Site::attend(&site);
            site
        };
        let after: Rc<[_]> = apps.iter().map(site).collect();
        for site in before.iter() {
            if !after.iter().any(|other| Rc::ptr_eq(site, other)) {
                site.leave();
                self.leaving.borrow_mut().push(Rc::clone(site));
            }
        }
        self.sites.replace(after);
    }

    /// Addresses that are not named: what is queued is accepted, and the socket closed. Connections that came in by one
    /// end with their next answer, or once they are idle.
    fn leave_others(self: &Rc<Self>, gates: &[(GateId, Arc<Routes>)], idle: Duration) {
        let named = |id: GateId| gates.iter().any(|(own, _)| *own == id);
        let mut known = self.gates.borrow_mut();
        let gone: Vec<_> = known.extract_if(.., |(id, _)| !named(*id)).collect();
        for (_, gate) in gone {
            gate.enter(Phase::Closing);
            let worker = Rc::clone(self);
            spawn_local(async move {
                sleep(idle).await;
                gate.enter(Phase::ClosingIdle);
                worker.roster.wake_all();
            });
        }
    }

    /// From now on lines go there. Those under way go where they were begun for.
    fn write_with(&self, log: Option<&AccessLog>) {
        let mut desk = self.pen.borrow_mut();
        if desk.as_ref().map(|desk| &desk.log) == log {
            return;
        }
        *desk = log.map(|log| {
            let pen = Rc::new(log.pen());
            let timely = {
                let pen = Rc::clone(&pen);
                spawn_local(async move { pen.hand_over_in_time().await }).abort_handle()
            };
            Desk {
                log: log.clone(),
                pen,
                timely,
            }
        });
    }

    /// Looks at the deadlines of what apps that are served no more have left, and forgets them after that.
    pub(super) fn sweep_leaving(&self, now: Instant) {
        let leaving = self.leaving.borrow().clone();
        for site in leaving {
            site.sweep(now);
        }
        self.leaving.borrow_mut().retain(|site| !site.is_deserted());
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // It keeps the pen, whose last lines are handed over when nobody has it any more.
        self.timely.abort();
    }
}
