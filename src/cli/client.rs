//! What the commands that talk to a running hitless share: finding it, and saying why that did not work.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::args::ControlArgs;
use super::{complain, exit, print};
use crate::control_plane::api::client::{Client, Error};
use crate::control_plane::api::socket;
use crate::control_plane::apps::Status;
use crate::units::show_duration;

/// How long each of several is asked who it is.
const ASKED_FOR: Duration = Duration::from_secs(1);

/// The control socket of the hitless that is meant.
pub(super) async fn find(args: &ControlArgs) -> Result<PathBuf, ExitCode> {
    let found = socket::find(args.name.as_deref(), args.control.as_deref());
    let error = match found {
        Ok(path) => return Ok(path),
        Err(error) => error,
    };
    complain(&match &error {
        socket::Error::Several(paths) => choices(paths).await,
        error => error.to_string(),
    });
    Err(ExitCode::from(match error {
        socket::Error::NotRunning(_) => exit::NOT_RUNNING,
        socket::Error::Folder { .. }
        | socket::Error::Unsafe { .. }
        | socket::Error::Long(_)
        | socket::Error::Several(_) => exit::USAGE,
    }))
}

/// Each that lives, by the flag that picks it, and with what tells them apart.
async fn choices(paths: &[PathBuf]) -> String {
    let mut lines = vec!["several hitless are running; say which one is meant:".to_owned()];
    for path in paths {
        let asked = tokio::time::timeout(ASKED_FOR, Client::new(path).status()).await;
        let about = asked.ok().and_then(Result::ok);
        lines.push(format!("  {}", socket::flag(path)));
        lines.push(match about {
            Some(status) => format!("      {}", described(&status)),
            None => "      it does not say who it is".to_owned(),
        });
    }
    let first = paths
        .first()
        .map_or_else(String::new, |path| socket::flag(Path::new(path)));
    lines.push(format!("for example: hitless status {first}"));
    lines.join("\n")
}

fn described(status: &Status) -> String {
    let about = &status.about;
    let age = SystemTime::now()
        .duration_since(about.since)
        .unwrap_or_default();
    let age = show_duration(Duration::from_secs(age.as_secs().max(1)));
    let apps: Vec<_> = status.apps.iter().map(|app| app.name.as_str()).collect();
    let noun = match apps.len() {
        1 => "app",
        _ => "apps",
    };
    format!(
        "process {}, for {age}, on {}; {noun} {}",
        about.pid,
        about.listen.join(" "),
        apps.join(", ")
    )
}

/// The same for whoever asked for JSON: what hitless refuses is a value as well, in the words that a person reads.
pub(super) fn failed_as_json(error: &Error) -> ExitCode {
    if let Error::Refused { status, detail } = error {
        let line = serde_json::json!({
            "event": "refused",
            "status": status.as_u16(),
            "problem": detail,
        });
        print(&line.to_string());
    }
    failed(error)
}

/// Says why there is no answer.
pub(super) fn failed(error: &Error) -> ExitCode {
    let others = match error {
        Error::NotRunning(path) => socket::live_beside(path),
        _ => Vec::new(),
    };
    complain(&match others.is_empty() {
        true => error.to_string(),
        false => format!("{error}; running are: {}", others.join(", ")),
    });
    ExitCode::from(match error {
        Error::NotRunning(_) => exit::NOT_RUNNING,
        Error::NoSocket { .. } => exit::USAGE,
        Error::Refused { status, .. } if status.as_u16() == 404 => exit::USAGE,
        Error::Refused { status, .. } if status.as_u16() == 422 => exit::CONFIG,
        Error::Permission(_) | Error::Broken(_) | Error::Refused { .. } => exit::FAILED,
    })
}
