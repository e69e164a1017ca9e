//! What another configuration needs of the system, taken before anything is changed: the system may refuse.

use super::State;
use crate::config::Config;
use crate::data_plane::GateId;
use crate::data_plane::listen::{self, Bound, Listen, ListenAddress, SingleListener};
use crate::server::operators::Ready;
use crate::server::sockets::explained;
use crate::server::tables::Gate;
use crate::telemetry::access::AccessLog;

/// New addresses, and what each is called.
pub(super) type Opened = (Bound, Vec<GateId>);

/// What is ready to be put in force. Dropped, it is closed again.
pub(super) struct Prepared {
    /// Every address that is to be served.
    pub(super) gates: Vec<Gate>,
    pub(super) opened: Opened,
    /// Where scrapers are to be answered, if anywhere; none: where they are now.
    pub(super) admin: Option<Option<Ready>>,
    /// The log of requests, if there is to be one; none: as it is now.
    pub(super) access: Option<Option<AccessLog>>,
}

// === impl Prepared ===

impl Prepared {
    /// # Errors
    ///
    /// The first thing that the system refuses. Then nothing was changed.
    pub(super) fn new(state: &State, config: &Config, workers: usize) -> anyhow::Result<Self> {
        let mut known = state.gates.clone();
        let gates: Vec<_> = config
            .listen
            .iter()
            .map(|listen| take(&mut known, listen))
            .collect();
        let leaving: Vec<_> = known.into_iter().map(|gate| gate.address).collect();
        let added = config.listen.iter().zip(&gates);
        let added: Vec<_> = added
            .filter(|(_, gate)| gate.is_none())
            .map(|(listen, _)| listen.clone())
            .collect();
        let bound = listen::bind_beside(&added, workers, &leaving).map_err(explained)?;
        let admin = match config.admin != state.config.admin {
            true => Some(admin(config)?),
            false => None,
        };
        let (new, old) = (&config.log, &state.config.log);
        let access = match new.access != old.access || new.format != old.format {
            true => Some(AccessLog::open(&new.access, new.format, workers)?),
            false => None,
        };
        for (listen, gate) in config.listen.iter().zip(&gates) {
            if let Some(gate) = gate
                && gate.listen.access != listen.access
                && let ListenAddress::Unix(path) = &listen.address
            {
                listen.access.apply(path)?;
            }
        }
        let mut addresses = bound.addresses().into_iter();
        let mut ids = (state.next_gate..).map(GateId);
        let mut names = Vec::new();
        let gates = config
            .listen
            .iter()
            .zip(gates)
            .map(|(listen, gate)| match gate {
                Some(gate) => gate.serving(listen),
                None => {
                    let id = ids.next().expect("there are numbers without end");
                    let address = addresses.next().expect("each that was new was bound");
                    names.push(id);
                    Gate::new(id, listen.clone(), address)
                }
            });
        Ok(Self {
            gates: gates.collect(),
            opened: (bound, names),
            admin,
            access,
        })
    }
}

fn admin(config: &Config) -> anyhow::Result<Option<Ready>> {
    let Some(address) = &config.admin else {
        return Ok(None);
    };
    let listener = SingleListener::bind(address).map_err(explained)?;
    Ok(Some(Ready::new(listener)?))
}

/// The gate that listens there, taken out.
fn take(known: &mut Vec<Gate>, listen: &Listen) -> Option<Gate> {
    let same = |gate: &Gate| gate.listen.address == listen.address;
    let place = known.iter().position(same)?;
    Some(known.remove(place))
}

/// No new address.
///
/// # Panics
///
/// Never: nothing is bound.
pub(super) fn nothing(workers: usize) -> Opened {
    let bound = listen::bind(&[], workers).expect("nothing is bound, so nothing is refused");
    (bound, Vec::new())
}
