//! The control socket and the admin address, served beside the clients. Where the admin address is, and who may ask there,
//! can change while hitless runs.

use std::os::unix::net::UnixListener;
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::warn;

use crate::admin::{self, Admin};
use crate::control_plane::api;
use crate::control_plane::apps::Apps;
use crate::data_plane::listen::{Accepting, ListenAddress, SingleListener};
use crate::descriptors::Reserve;
use crate::telemetry::metrics::Metrics;

/// Answers scrapers, at one address at a time or none.
#[derive(Debug)]
pub(super) struct Scraping {
    metrics: Metrics,
    reserve: Reserve,
    hosts: watch::Sender<Vec<String>>,
    apps: OnceLock<Apps>,
    serving: Mutex<Option<Serving>>,
}

#[derive(Debug)]
struct Serving {
    address: ListenAddress,
    task: AbortHandle,
}

/// A listening socket that can be answered at.
#[derive(Debug)]
pub(super) struct Ready {
    address: ListenAddress,
    accepting: Accepting,
}

/// Serves the control socket from now on.
pub(super) fn serve_control(listener: UnixListener, apps: &Apps, reserve: Reserve) {
    let apps = apps.clone();
    tokio::spawn(async move {
        if let Err(error) = api::serve(listener, apps, reserve).await {
            warn!(%error, "the control socket is not served");
        }
    });
}

// === impl Ready ===

impl Ready {
    /// On the runtime that this is called in.
    pub(super) fn new(listener: SingleListener) -> std::io::Result<Self> {
        Ok(Self {
            address: listener.address().clone(),
            accepting: listener.accepting()?,
        })
    }

    /// Where it is, with the real port.
    pub(super) fn address(&self) -> &ListenAddress {
        &self.address
    }
}

// === impl Scraping ===

impl Scraping {
    pub(super) fn new(metrics: Metrics, reserve: Reserve, hosts: Vec<String>) -> Self {
        Self {
            metrics,
            reserve,
            hosts: watch::Sender::new(hosts),
            apps: OnceLock::new(),
            serving: Mutex::new(None),
        }
    }

    /// What is told about, from the start on.
    pub(super) fn tell_of(&self, apps: &Apps) {
        // Set once: there is one start.
        let _ = self.apps.set(apps.clone());
    }

    /// From now on these names may be asked for.
    pub(super) fn answer_to(&self, hosts: &[String]) {
        self.hosts.send_replace(hosts.to_vec());
    }

    /// Answers there from now on and nowhere else; who is connected elsewhere may stay.
    pub(super) fn serve(&self, ready: Option<Ready>) {
        let serving = ready.zip(self.apps.get()).map(|(ready, apps)| {
            let admin = Admin {
                apps: apps.clone(),
                metrics: self.metrics.clone(),
                hosts: self.hosts.subscribe(),
                is_local: is_local(&ready.address),
            };
            let served = admin::serve(ready.accepting, admin, self.reserve.clone());
            Serving {
                address: ready.address,
                task: tokio::spawn(served).abort_handle(),
            }
        });
        let mut current = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, serving);
        if let Some(before) = before {
            before.task.abort();
        }
    }

    /// Where it is, with the real port.
    pub(super) fn address(&self) -> Option<String> {
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.as_ref().map(|serving| serving.address.to_string())
    }
}

fn is_local(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Tcp(address) => address.ip().is_loopback(),
        ListenAddress::Unix(_) => true,
    }
}
