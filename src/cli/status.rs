//! `hitless status`: what serves, since when, what is wrong, and what to do next.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::args::StatusArgs;
use super::{client, complain, exit, print};
use crate::config::units::show_duration;
use crate::control_plane::api::client::Client;
use crate::control_plane::apps::Status;
use crate::control_plane::status::{
    AppState, AppStatus, GenerationStatus, TriggerStatus, VerdictWord,
};

/// Prints it once.
pub(super) async fn status(args: &StatusArgs) -> ExitCode {
    let path = match client::find(&args.control) {
        Ok(path) => path,
        Err(code) => return code,
    };
    let mut status = match Client::new(&path).status().await {
        Ok(status) => status,
        Err(error) => return client::failed(&error),
    };
    if let Some(name) = &args.app {
        status.apps.retain(|app| app.name.as_str() == name);
        if status.apps.is_empty() {
            complain(&format!("there is no app {name}"));
            return ExitCode::from(exit::USAGE);
        }
    }
    if args.json {
        print(&serde_json::to_string(&status).expect("every key of a status is a string"));
    } else {
        print(&table(&status));
    }
    ExitCode::from(if status.is_well() {
        exit::DONE
    } else {
        exit::FAILED
    })
}

fn table(status: &Status) -> String {
    let about = &status.about;
    let admin = about
        .admin
        .as_ref()
        .map_or_else(String::new, |admin| format!(", admin {admin}"));
    let stopping = if status.stopping { ", stopping" } else { "" };
    let listen = about.listen.join(" ");
    let since = age(about.since);
    let mut lines = vec![format!(
        "hitless {} (process {}, {since}) on {listen}{admin}{stopping}",
        about.version, about.pid
    )];
    lines.extend(status.apps.iter().flat_map(app));
    lines.join("\n")
}

fn app(status: &AppStatus) -> Vec<String> {
    let mut lines = vec![String::new(), headline(status)];
    if let Some(why) = &status.stale_reason {
        lines.push(format!("  stale: {why}"));
        lines.push("  Next: fix the app, then `hitless reload`.".to_owned());
    }
    lines.extend(status.generations.iter().map(generation));
    lines.extend(status.last_trigger.iter().flat_map(trigger));
    if status.restarts > 0 {
        lines.push(format!("  restarts   {}", status.restarts));
    }
    lines
}

fn headline(status: &AppStatus) -> String {
    let what = match (status.state, status.live) {
        (_, Some(live)) if status.paused => {
            format!("paused; generation {live} waits, requests are held")
        }
        (AppState::Stopping, _) => "stopping".to_owned(),
        (_, Some(live)) => format!("generation {live} serves"),
        (AppState::Starting, None) => "is being started; requests are held".to_owned(),
        (AppState::Live | AppState::Down, None) => {
            "NOTHING IS LIVE; requests are held while it is started again".to_owned()
        }
    };
    format!("{}: {what}", status.name)
}

fn generation(status: &GenerationStatus) -> String {
    let pids: Vec<_> = status.pids.iter().map(ToString::to_string).collect();
    format!(
        "  {:>4}  {:<9} {:>8}  pid {}  {}  {} requests, {} streams",
        status.generation,
        status.state.as_str(),
        age(status.since),
        pids.join(" "),
        status.addresses.join(" "),
        status.requests,
        status.streams,
    )
}

fn trigger(status: &TriggerStatus) -> Vec<String> {
    let mut line = format!(
        "  last reload {} ({}), {} ago: {}",
        status.trigger,
        status.source.as_str(),
        age(status.at),
        status.verdict.as_str()
    );
    if let Some(reason) = &status.reason {
        line = format!("{line}, {reason}");
    }
    let mut lines = vec![line];
    if status.verdict == VerdictWord::Failed {
        lines.extend(
            status
                .probe
                .iter()
                .map(|probe| format!("    last check: {probe}")),
        );
        lines.extend(status.output.iter().map(|line| format!("    | {line}")));
    }
    lines
}

/// How long ago, to the second.
fn age(since: SystemTime) -> String {
    let age = SystemTime::now().duration_since(since).unwrap_or_default();
    match age.as_secs() {
        0 => "0s".to_owned(),
        seconds => show_duration(Duration::from_secs(seconds)),
    }
}
