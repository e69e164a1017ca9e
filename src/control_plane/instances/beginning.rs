//! What comes before the first instance: the record of what is to be started, and the turn to start it.

use std::sync::Arc;

use super::{Addressed, Backing, Plan, Record};
use crate::control_plane::process;
use crate::control_plane::starts::Turn;
use crate::generation::{Reason, ReasonKind};

/// Finds out what is to be started, and waits for the turn to start it.
pub(super) async fn begin(plan: &Plan) -> Result<(Record, Option<Turn>), Reason> {
    match (&plan.record, &plan.backing) {
        (Some(record @ Record::Addresses(_)), _) => Ok((record.clone(), None)),
        (Some(record @ Record::Processes(_)), _) => {
            Ok((record.clone(), Some(plan.starts.turn().await)))
        }
        (None, Backing::Addresses(list)) => {
            let addressed = Addressed {
                list: Arc::clone(list),
                instead_of: plan.instead_of.clone(),
            };
            Ok((Record::Addresses(addressed), None))
        }
        (None, Backing::Command(process)) => {
            let turn = plan.starts.turn().await;
            Ok((resolve(process, plan).await?, Some(turn)))
        }
    }
}

/// Reads the environment file and the directory anew. On a thread of its own: a file system may hang.
async fn resolve(process: &process::Config, plan: &Plan) -> Result<Record, Reason> {
    let (process, changes) = (process.clone(), plan.changes.clone());
    let resolved = tokio::task::spawn_blocking(move || {
        let recipe = process.resolve(std::env::vars_os());
        recipe.map(|recipe| recipe.of_files(&changes))
    });
    let panicked = |error| {
        Reason::new(
            ReasonKind::Spawn,
            format!("cannot prepare the start: {error}"),
        )
    };
    let recipe = resolved
        .await
        .unwrap_or_else(|error| Err(panicked(error)))?;
    Ok(Record::Processes(Arc::new(
        recipe.notifying(plan.readiness.notify),
    )))
}
