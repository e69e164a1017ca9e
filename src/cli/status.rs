//! `hitless status`: what serves, since when, what is wrong, and what to do next.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::args::StatusArgs;
use super::{client, complain, exit, print};
use crate::config::units::show_duration;
use crate::control_plane::api::client::Client;
use crate::control_plane::apps::{Configuration, Status};
use crate::control_plane::status::{
    AppState, AppStatus, FailoverStatus, GenerationStatus, StandingWord, TriggerSource,
    TriggerStatus, VerdictWord,
};
use crate::generation::AppName;

/// How often `--watch` looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Clears a terminal, and begins at its top.
const HOME: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Prints it once, or again and again.
pub(super) async fn status(args: &StatusArgs) -> ExitCode {
    let path = match client::find(&args.control) {
        Ok(path) => path,
        Err(code) => return code,
    };
    let client = Client::new(&path);
    let code = match asked(&client, args).await {
        Ok(status) => {
            show(&status, args);
            well(&status)
        }
        Err(code) => return code,
    };
    match args.watch {
        true => watch(&client, args).await,
        false => code,
    }
}

/// The whole, or the app that is named.
async fn asked(client: &Client, args: &StatusArgs) -> Result<Status, ExitCode> {
    let mut status = client
        .status()
        .await
        .map_err(|error| client::failed(&error))?;
    if let Some(name) = &args.app {
        let known: Vec<_> = status.apps.iter().map(|app| app.name.to_string()).collect();
        status.apps.retain(|app| app.name.as_str() == name);
        if status.apps.is_empty() {
            let known = known.join(", ");
            complain(&format!("there is no app {name}; there is {known}"));
            return Err(ExitCode::from(exit::USAGE));
        }
    }
    Ok(status)
}

fn show(status: &Status, args: &StatusArgs) {
    if args.json {
        print(&serde_json::to_string(status).expect("every key of a status is a string"));
    } else {
        print(&table(status, args.app.is_some()));
    }
}

fn well(status: &Status) -> ExitCode {
    ExitCode::from(match status.is_well() {
        true => exit::DONE,
        false => exit::FAILED,
    })
}

/// Shows it again and again: on a terminal in place, for ages change by themselves; elsewhere whenever it has changed.
async fn watch(client: &Client, args: &StatusArgs) -> ExitCode {
    let in_place = io::stdout().is_terminal() && !args.json;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut shown = None;
    loop {
        ticks.tick().await;
        let status = match asked(client, args).await {
            Ok(status) => status,
            Err(code) => return code,
        };
        let is_first = shown.is_none();
        if in_place {
            let _ = write!(io::stdout(), "{HOME}");
            show(&status, args);
        } else if !is_first && shown.as_ref() != Some(&status) {
            if !args.json {
                print("");
            }
            show(&status, args);
        }
        shown = Some(status);
    }
}

/// In short, or with what each generation was started from.
fn table(status: &Status, in_full: bool) -> String {
    let about = &status.about;
    let admin = about
        .admin
        .as_ref()
        .map_or_else(String::new, |admin| format!(", admin {admin}"));
    let stopping = if status.stopping { ", stopping" } else { "" };
    let listen = about.listen.join(" ");
    let since = age(about.since);
    let mut lines = vec![format!(
        "hitless {}{} (process {}, {since}) on {listen}{admin}{stopping}",
        about.version,
        match about.name.as_str() {
            "hitless" => String::new(),
            name => format!(" {name}"),
        },
        about.pid
    )];
    lines.extend(configuration(&status.configuration));
    lines.extend(status.apps.iter().flat_map(|status| app(status, in_full)));
    lines.join("\n")
}

/// What is between the configuration in force and the one that is written, unless there is nothing.
fn configuration(status: &Configuration) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(refused) = &status.refused {
        let (ago, since) = (age(refused.at), age(status.read));
        lines.push(format!(
            "configuration: REFUSED {ago} ago; in force is what was read {since} ago"
        ));
        lines.extend(refused.problem.lines().map(|line| format!("  | {line}")));
        lines
            .push("  Next: mend it (`hitless check`), then `hitless reload --changed`.".to_owned());
    }
    if !status.awaited.is_empty() {
        let names: Vec<_> = status.awaited.iter().map(AppName::as_str).collect();
        lines.push(format!(
            "configuration: requests go where they went before: the new routing waits for {} to be live",
            names.join(", ")
        ));
    }
    if !status.needs_restart.is_empty() {
        lines.push(format!(
            "configuration: needs a restart of hitless to be in force: {}",
            status.needs_restart.join(", ")
        ));
    }
    lines
}

fn app(status: &AppStatus, in_full: bool) -> Vec<String> {
    let mut lines = vec![String::new(), headline(status)];
    lines.extend(standing(status));
    if let Some(why) = &status.stale_reason {
        lines.push(format!("  stale: {why}"));
    }
    if let Some(moved) = &status.moved {
        let (to, from) = (moved.addresses.join(","), moved.configured.join(","));
        lines.push(format!(
            "  moved to {to} by `hitless reload --addresses`, until the configuration names others than {from}"
        ));
    }
    lines.extend(status.notes.iter().map(|note| format!("  note: {note}")));
    lines.extend(next(status).map(|next| format!("  Next: {next}")));
    for known in &status.generations {
        lines.push(generation(known));
        lines.extend(in_full.then(|| made_of(known)).into_iter().flatten());
    }
    lines.extend(status.last_trigger.iter().flat_map(trigger));
    lines.extend(status.last_failover.iter().flat_map(failover));
    if status.restarts > 0 {
        lines.push(format!("  restarts   {}", status.restarts));
    }
    if status.failovers > 0 {
        lines.push(format!("  failovers  {}", status.failovers));
    }
    lines
}

/// How well the live generation stands, unless there is nothing to say.
fn standing(status: &AppStatus) -> Vec<String> {
    let mut lines = Vec::new();
    match status.standing {
        // Who stands in is stale, and that line says why.
        None | Some(StandingWord::Proven | StandingWord::StandIn) => {}
        Some(StandingWord::Probation) => lines.extend(probation(status)),
        Some(StandingWord::Bad) => {
            lines.push(
                "  it was found bad, and serves until the version before it is up".to_owned(),
            );
        }
    }
    lines
}

fn probation(status: &AppStatus) -> Vec<String> {
    let Some(probation) = &status.probation else {
        return Vec::new();
    };
    let left = match probation.until {
        Some(until) => format!("{} left", age_until(until)),
        None => "its clock stands still".to_owned(),
    };
    let back = match probation.standby {
        Some(standby) => format!("generation {standby} stands by"),
        None => "nothing stands by: going back means starting the version before".to_owned(),
    };
    let mut lines = vec![format!("  on probation, {left}; {back}")];
    lines.extend(probation.remark.iter().map(|remark| format!("  {remark}")));
    lines
}

/// What whoever looks should do now.
fn next(status: &AppStatus) -> Option<&'static str> {
    if status.paused {
        return Some("`hitless resume` when requests may go on.");
    }
    match (status.state, status.standing) {
        (AppState::Stopping, _) => None,
        (AppState::Down, _) => Some(
            "read the output below, fix the app, then `hitless reload`; it is tried again meanwhile.",
        ),
        (_, Some(StandingWord::Bad)) => {
            Some("wait for the version before, or fix the app and `hitless reload`.")
        }
        (_, Some(StandingWord::StandIn)) => Some(
            "nothing; if the wanted version does not come up, fix the app and `hitless reload`.",
        ),
        _ if status.stale => Some("fix the app, then `hitless reload`."),
        _ if has_remark(status) => {
            Some("look at its errors; `hitless rollback` takes it back now.")
        }
        _ => None,
    }
}

fn has_remark(status: &AppStatus) -> bool {
    let probation = status.probation.as_ref();
    probation.is_some_and(|probation| probation.remark.is_some())
}

fn failover(status: &FailoverStatus) -> Vec<String> {
    let to = status.to.map_or_else(
        || "nothing else was alive".to_owned(),
        |to| format!("generation {to} took over"),
    );
    let mut lines = vec![format!(
        "  last failover, {} ago: generation {} {}; {to}",
        age(status.at),
        status.from,
        status.reason
    )];
    lines.extend(status.output.iter().map(|line| format!("    | {line}")));
    lines
}

fn headline(status: &AppStatus) -> String {
    let what = match (status.state, status.live) {
        (_, Some(live)) if status.paused => format!(
            "paused{}; generation {live} waits, requests are held",
            status.paused_until.map_or_else(
                || " until `hitless resume`".to_owned(),
                |until| format!(" for {}", age_until(until))
            )
        ),
        (AppState::Stopping, _) => "stopping".to_owned(),
        (_, Some(live)) => format!("generation {live} serves"),
        (AppState::Starting, None) => "is being started; requests are held".to_owned(),
        (AppState::Live | AppState::Down, None) => {
            "NOTHING IS LIVE; requests are held while it is started again".to_owned()
        }
    };
    format!("{}: {what}", status.name)
}

/// What it was started from.
fn made_of(status: &GenerationStatus) -> Vec<String> {
    let directory = status.directory.as_ref();
    let directory = directory.map(|path| format!("        in {}", path.display()));
    let names = (!status.environment.is_empty()).then(|| status.environment.join(" "));
    let names = names.map(|names| format!("        with {names}"));
    directory.into_iter().chain(names).collect()
}

fn generation(status: &GenerationStatus) -> String {
    let pids: Vec<_> = status.pids.iter().map(ToString::to_string).collect();
    // Addresses that somebody else serves have none.
    let pids = match pids.is_empty() {
        true => String::new(),
        false => format!("pid {}  ", pids.join(" ")),
    };
    format!(
        "  {:>4}  {:<9} {:>8}  {}{}  {} requests, {} streams",
        status.generation,
        status.state.as_str(),
        age(status.since),
        pids,
        status.addresses.join(" "),
        status.requests,
        status.streams,
    )
}

fn trigger(status: &TriggerStatus) -> Vec<String> {
    let what = match status.source {
        TriggerSource::Rollback => "rollback",
        _ => "reload",
    };
    let cause = status
        .cause
        .as_ref()
        .map_or_else(String::new, |files| format!(": {files}"));
    let mut line = format!(
        "  last {what} {} ({}{cause}), {} ago: {}",
        status.trigger,
        status.source.as_str(),
        age(status.at),
        status.verdict.as_str()
    );
    if let Some(reason) = &status.reason {
        line = format!("{line}, {reason}");
    }
    if status.changed_files {
        line.push_str(", started again from changed files");
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

/// How long it is until then, to the second.
fn age_until(until: SystemTime) -> String {
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    show_duration(Duration::from_secs(left.as_secs_f64().ceil() as u64))
}

/// How long ago, to the second.
fn age(since: SystemTime) -> String {
    let age = SystemTime::now().duration_since(since).unwrap_or_default();
    match age.as_secs() {
        0 => "0s".to_owned(),
        seconds => show_duration(Duration::from_secs(seconds)),
    }
}
