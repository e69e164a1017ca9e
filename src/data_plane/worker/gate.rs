//! One listening address on one worker: where what comes in by it may go, for as long as a connection is left that did.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::data_plane::Phase;
use crate::data_plane::route::Routes;
use crate::data_plane::site::{Ledger, Site};
use crate::generation::AppName;

/// One listening address on one worker.
#[derive(Debug)]
pub(in crate::data_plane) struct Gate {
    table: RefCell<Rc<Table>>,
    phase: Cell<Phase>,
    left: Notify,
}

/// What leads where: the routes, and the apps that they name by their places.
#[derive(Debug)]
pub(super) struct Table {
    routes: Arc<Routes>,
    sites: Rc<[Rc<Site>]>,
    strays: Strays,
}

/// What never became a request, or no app is found for.
#[derive(Clone, Debug)]
pub(in crate::data_plane) struct Strays {
    /// Where that is counted.
    pub(in crate::data_plane) ledger: Rc<Ledger>,
    /// The app that is named for it; none: it could have been for several.
    pub(in crate::data_plane) app: Option<AppName>,
}

// === impl Gate ===

impl Gate {
    pub(super) fn new(table: Table) -> Self {
        Self {
            table: RefCell::new(Rc::new(table)),
            phase: Cell::new(Phase::Serving),
            left: Notify::new(),
        }
    }

    /// From now on it leads there.
    pub(super) fn lead(&self, table: Table) {
        self.table.replace(Rc::new(table));
    }

    /// Where a request goes that is for this host, if anybody asks for the host, and for this path; and how many bytes at
    /// the start of the path are not for the app.
    pub(in crate::data_plane) fn route<'a>(
        &self,
        host: impl FnOnce() -> Option<&'a [u8]>,
        path: &str,
    ) -> Option<(Rc<Site>, usize)> {
        let table = self.table.borrow();
        let host = if table.routes.are_by_host() {
            host()
        } else {
            None
        };
        let target = table.routes.find(host, path)?;
        let site = &table.sites[target.app];
        // An address that is served no more goes on leading where it did.
        site.is_served().then(|| (Rc::clone(site), target.stripped))
    }

    /// Where what belongs to no request is counted, and who is named for it.
    pub(in crate::data_plane) fn strays(&self) -> Strays {
        self.table.borrow().strays.clone()
    }

    /// Where that is counted. Each request asks; the name would be a count that all workers share.
    pub(in crate::data_plane) fn stray_ledger(&self) -> Rc<Ledger> {
        Rc::clone(&self.table.borrow().strays.ledger)
    }

    /// How far it is on its way to the end.
    pub(in crate::data_plane) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.left.notify_one();
    }

    /// Waits until the address is served no more; for the one who accepts from it. Cancel safe.
    pub(in crate::data_plane) async fn is_left(&self) {
        while self.phase.get() == Phase::Serving {
            self.left.notified().await;
        }
    }
}

// === impl Table ===

impl Table {
    /// Where everything leads to one app, that one is blamed for what never became a request; else it is counted in
    /// `strays`.
    pub(super) fn new(routes: Arc<Routes>, sites: &Rc<[Rc<Site>]>, strays: &Rc<Ledger>) -> Self {
        let sole = routes.sole().map(|app| &sites[app]);
        let ledger = sole.map_or(strays, |site| site.ledger());
        Self {
            strays: Strays {
                ledger: Rc::clone(ledger),
                app: sole.map(|site| site.app.name.clone()),
            },
            routes,
            sites: Rc::clone(sites),
        }
    }
}
