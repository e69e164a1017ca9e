//! The control socket and the admin address, served beside the clients.

use std::os::unix::net::UnixListener;

use tracing::warn;

use crate::admin::{self, Admin};
use crate::control_plane::api;
use crate::control_plane::apps::Apps;
use crate::data_plane::listen::{ListenAddress, SingleListener};
use crate::descriptors::Reserve;
use crate::telemetry::metrics::Metrics;

pub(super) fn serve_control(listener: UnixListener, apps: &Apps, reserve: Reserve) {
    let apps = apps.clone();
    tokio::spawn(async move {
        if let Err(error) = api::serve(listener, apps, reserve).await {
            warn!(%error, "the control socket is not served");
        }
    });
}

pub(super) fn serve_admin(
    listener: SingleListener,
    hosts: Vec<String>,
    apps: &Apps,
    metrics: &Metrics,
    reserve: Reserve,
) -> anyhow::Result<()> {
    let admin = Admin {
        apps: apps.clone(),
        metrics: metrics.clone(),
        hosts,
        is_local: is_local(listener.address()),
    };
    tokio::spawn(admin::serve(listener.accepting()?, admin, reserve));
    Ok(())
}

fn is_local(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Tcp(address) => address.ip().is_loopback(),
        ListenAddress::Unix(_) => true,
    }
}
