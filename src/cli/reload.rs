//! `hitless reload`: ask a running hitless for a fresh generation, show the way, and end as it ended.

use std::process::ExitCode;
use std::time::Duration;

use super::args::ReloadArgs;
use super::{client, complain, exit, print, say};
use crate::control_plane::api::client::{Client, Error, Lines};
use crate::control_plane::progress::Progress;
use crate::control_plane::status::{TriggerStatus, VerdictWord};
use crate::generation::AppName;

/// How the waiting ended.
enum Outcome {
    AllLive,
    NotLive,
    NotWaited,
}

/// Returns when every verdict is in, or the time to wait is over.
pub(super) async fn reload(args: &ReloadArgs) -> ExitCode {
    let path = match client::find(&args.control) {
        Ok(path) => path,
        Err(code) => return code,
    };
    let asked = Client::new(&path).reload(args.app.as_deref()).await;
    let mut lines = match asked {
        Ok(lines) => lines,
        Err(error) => return client::failed(&error),
    };
    let followed = match args.timeout {
        _ if args.no_wait => accepted(&mut lines, args.json).await,
        Some(timeout) => match tokio::time::timeout(timeout, follow(&mut lines, args.json)).await {
            Ok(followed) => followed,
            Err(_) => return too_late(timeout),
        },
        None => follow(&mut lines, args.json).await,
    };
    match followed {
        Ok(Outcome::AllLive | Outcome::NotWaited) => ExitCode::SUCCESS,
        Ok(Outcome::NotLive) => ExitCode::from(exit::FAILED),
        Err(error) => client::failed(&error),
    }
}

/// The first line says that the trigger has arrived.
async fn accepted(lines: &mut Lines, as_json: bool) -> Result<Outcome, Error> {
    if let Some(update) = lines.next().await? {
        show(&update, as_json);
    }
    Ok(Outcome::NotWaited)
}

async fn follow(lines: &mut Lines, as_json: bool) -> Result<Outcome, Error> {
    let (mut verdicts, mut live) = (0, 0);
    while let Some(update) = lines.next().await? {
        show(&update, as_json);
        if let Progress::Verdict { status, .. } = &update {
            verdicts += 1;
            live += usize::from(status.verdict == VerdictWord::Live);
        }
    }
    if verdicts == 0 {
        complain("hitless ended before the verdict; what serves now shows: hitless status");
    }
    Ok(if verdicts > 0 && live == verdicts {
        Outcome::AllLive
    } else {
        Outcome::NotLive
    })
}

fn too_late(timeout: Duration) -> ExitCode {
    let waited = crate::config::units::show_duration(timeout);
    complain(&format!(
        "no verdict after {waited}; the reload goes on, and hitless status shows how it ends"
    ));
    ExitCode::from(exit::FAILED)
}

/// What a program reads goes to stdout, what a person reads to stderr.
fn show(update: &Progress, as_json: bool) {
    if as_json {
        let line = serde_json::to_string(update).expect("every key of an update is a string");
        print(&line);
    } else {
        say(&sentence(update));
    }
}

fn sentence(update: &Progress) -> String {
    match update {
        Progress::Accepted { app, trigger } => format!("{app}: reload {trigger} asked for"),
        Progress::Starting { app, generation } => {
            format!("{app}: generation {generation} is starting")
        }
        Progress::Probe {
            app,
            generation,
            probe,
            output,
        } => {
            let output = output
                .as_ref()
                .map_or_else(String::new, |line| format!(" (it says: {line})"));
            format!("{app}: generation {generation}: {probe}{output}")
        }
        Progress::Superseded { app, trigger, by } => {
            format!(
                "{app}: reload {trigger} was superseded by reload {by}, which is waited for now"
            )
        }
        Progress::Verdict {
            app,
            status,
            elapsed,
        } => verdict(app, status, *elapsed),
    }
}

fn verdict(app: &AppName, status: &TriggerStatus, elapsed: f64) -> String {
    let generation = status
        .generation
        .map_or_else(String::new, |id| format!(" generation {id}"));
    match status.verdict {
        VerdictWord::Live => format!("{app}:{generation} is live after {elapsed:.2} s"),
        VerdictWord::Superseded => format!("{app}: superseded by a newer reload"),
        VerdictWord::Cancelled => format!("{app}: cancelled, hitless is stopping"),
        VerdictWord::Failed => failure(app, &generation, status, elapsed),
    }
}

fn failure(app: &AppName, generation: &str, status: &TriggerStatus, elapsed: f64) -> String {
    let reason = status.reason.as_deref().unwrap_or("no reason is known");
    let mut lines = vec![format!(
        "{app}:{generation} did not go live ({elapsed:.2} s): {reason}"
    )];
    if let Some(probe) = &status.probe {
        lines.push(format!("  last check: {probe}"));
    }
    if !status.output.is_empty() {
        lines.push("  last output:".to_owned());
        lines.extend(status.output.iter().map(|line| format!("    {line}")));
    }
    lines.push(format!(
        "{app}: what served before, if anything, is untouched: see hitless status"
    ));
    lines.join("\n")
}
