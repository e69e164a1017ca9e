//! `hitless status`: what serves, since when, what is wrong, and what to do next.

mod app;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::args::StatusArgs;
use super::paper::{Ink, Paper};
use super::{client, complain, exit, print};
use crate::config::units::show_duration;
use crate::control_plane::api::client::Client;
use crate::control_plane::apps::{Configuration, Status};
use crate::control_plane::status::AppStatus;
use crate::generation::AppName;

/// How often `--watch` looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How wide the labels of an app are.
const LABEL: usize = 9;

/// Clears a terminal, and begins at its top.
const HOME: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Prints it once, or again and again.
pub(super) async fn status(args: &StatusArgs) -> ExitCode {
    let path = match client::find(&args.control).await {
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
        print(&table(status, args.app.is_some(), Paper::of_stdout()));
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

/// In short, or with what each generation was started from. What somebody has to look at comes first.
fn table(status: &Status, in_full: bool, paper: Paper) -> String {
    let about = &status.about;
    let admin = about
        .admin
        .as_ref()
        .map_or_else(String::new, |admin| format!(", admin {admin}"));
    let stopping = if status.stopping { ", stopping" } else { "" };
    let listen = about.listen.join(" ");
    let since = age(about.since);
    let name = match about.name.as_str() {
        "hitless" => String::new(),
        name => format!(" {name}"),
    };
    let header = format!(
        "hitless {}{name} (process {}, {since}) on {listen}{admin}{stopping}",
        about.version, about.pid
    );
    let mut lines = paper.wrapped(&header, 2);
    for line in configuration(&status.configuration) {
        lines.extend(paper.wrapped(&line, 4));
    }
    let several = status.apps.len() > 1;
    let (well, ill): (Vec<_>, Vec<_>) = status.apps.iter().partition(|app| app.is_well());
    if several && !ill.is_empty() && !status.stopping {
        let names: Vec<_> = ill.iter().map(|app| app.name.as_str()).collect();
        let count = format!("{} of {} apps", ill.len(), status.apps.len());
        let line = format!("LOOK AT {count}: {}", names.join(", "));
        let line = paper.wrapped(&line, 2);
        lines.extend(line.iter().map(|line| paper.inked(line, Ink::Alarm)));
    }
    for app in ill.into_iter().chain(well) {
        lines.extend(of_app(app, in_full, several, paper));
    }
    lines.join("\n")
}

fn of_app(status: &AppStatus, in_full: bool, several: bool, paper: Paper) -> Vec<String> {
    let (condition, rest) = app::headline(status);
    let word = condition.word();
    let ink = condition.ink();
    let headline = match ink {
        Ink::Plain if condition != app::Condition::Starting => format!("{}: {rest}", status.name),
        _ if condition == app::Condition::Paused => format!("{}: {word} {rest}", status.name),
        _ => format!("{}: {word}; {rest}", status.name),
    };
    let headline = paper.wrapped(&headline, 2);
    let mut lines = vec![String::new()];
    lines.extend(headline.iter().map(|line| paper.inked(line, ink)));
    let mut say = |line: &str, indent| lines.extend(paper.wrapped(line, indent));
    for (label, text) in app::facts(status, several) {
        say(&format!("  {label:<LABEL$}  {text}"), LABEL + 4);
    }
    for known in &status.generations {
        say(&app::generation(known), 8);
        for line in in_full.then(|| app::made_of(known)).into_iter().flatten() {
            say(&format!("        {line}"), 10);
        }
    }
    let trigger = status.last_trigger.as_ref().map(app::trigger);
    let failover = status.last_failover.as_ref().map(app::failover);
    for (line, below) in trigger.into_iter().chain(failover) {
        say(&format!("  {line}"), 4);
        below.iter().for_each(|line| say(&format!("    {line}"), 6));
    }
    if status.restarts > 0 {
        say(&format!("  restarts   {}", status.restarts), 4);
    }
    if status.failovers > 0 {
        say(&format!("  failovers  {}", status.failovers), 4);
    }
    lines
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
        lines.push(format!("  Next: {}.", refused.next()));
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
