//! `hitless reload` and `hitless rollback`: ask a running hitless to go forward or back, and end as it ended.

use std::process::ExitCode;

use super::args::{Addresses, ReloadArgs, RollbackArgs};
use super::client;
use super::follow::{Waiting, follow};
use crate::control_plane::api::client::Client;
use crate::control_plane::driver::{ReloadOptions, Wish};

/// Returns when every verdict is in, or the time to wait is over.
pub(super) async fn reload(args: &ReloadArgs) -> ExitCode {
    let path = match client::find(&args.control).await {
        Ok(path) => path,
        Err(code) => return code,
    };
    let options = ReloadOptions {
        wish: Wish {
            probation: args.probation,
            addresses: args.addresses.as_ref().map(|Addresses(list)| list.clone()),
        },
        through_probation: args.through_probation,
        only_changed: args.changed,
    };
    let waiting = Waiting {
        timeout: args.timeout,
        only_accepted: args.no_wait,
        through_probation: args.through_probation,
        json: args.json,
    };
    let client = Client::new(&path);
    match client.reload(args.app.as_deref(), options).await {
        Ok(lines) => follow(&client, lines, waiting).await,
        Err(error) if args.json => client::failed_as_json(&error),
        Err(error) => client::failed(&error),
    }
}

/// The same, backwards.
pub(super) async fn rollback(args: &RollbackArgs) -> ExitCode {
    let path = match client::find(&args.control).await {
        Ok(path) => path,
        Err(code) => return code,
    };
    let waiting = Waiting {
        timeout: args.timeout,
        only_accepted: false,
        through_probation: false,
        json: args.json,
    };
    let client = Client::new(&path);
    match client.rollback(args.app.as_deref()).await {
        Ok(lines) => follow(&client, lines, waiting).await,
        Err(error) if args.json => client::failed_as_json(&error),
        Err(error) => client::failed(&error),
    }
}
