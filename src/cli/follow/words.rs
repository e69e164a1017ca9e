//! What is told on the way to a verdict, in sentences for people.

use crate::control_plane::apps::Changes;
use crate::control_plane::progress::{Progress, SettledWord};
use crate::control_plane::status::{TriggerSource, TriggerStatus, VerdictWord};
use crate::generation::{AppName, GenerationId};

/// The one that lost, and the newer one.
fn superseded(update: &Progress) -> String {
    let Progress::Superseded {
        app,
        trigger,
        by,
        source,
        joined,
        cause,
    } = update
    else {
        return String::new();
    };
    let cause = cause.as_ref();
    let cause = cause.map_or_else(String::new, |files| format!(" ({files} changed)"));
    let (noun, newer) = (noun(*source), format!("{by}{cause}"));
    match (*joined, *source) {
        (true, _) => format!(
            "{app}: {noun} {trigger} was superseded by {noun} {newer}, which is waited for now"
        ),
        (false, TriggerSource::Rollback) => {
            format!("{app}: reload {trigger} was given up: rollback {newer} was asked for")
        }
        (false, _) => {
            format!("{app}: rollback {trigger} was given up: reload {newer} was asked for")
        }
    }
}

/// Whether people need not be told: the verdict says it, or the apps do that are reloaded.
pub(super) fn is_matter_of_course(update: &Progress) -> bool {
    match update {
        Progress::Configured { changes, apps } => {
            *changes == Changes::default() && !apps.is_empty()
        }
        Progress::Live { .. } => true,
        Progress::Draining {
            requests, streams, ..
        } => *requests == 0 && *streams == 0,
        _ => false,
    }
}

/// An update in a sentence, a failed verdict in several lines.
pub(super) fn sentence(update: &Progress) -> String {
    match update {
        Progress::Configured { changes, apps } => configured(changes, apps),
        Progress::Accepted {
            app,
            trigger,
            source,
        } => format!("{app}: {} {trigger} asked for", noun(*source)),
        Progress::GoingBack {
            app, to: Some(to), ..
        } => {
            format!("{app}: rolling back to version {to} (what generation {to} ran)")
        }
        Progress::GoingBack { app, to: None, .. } => {
            format!("{app}: rollback asked for; there is no version before this one")
        }
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
        Progress::Ready { app, generation } => format!("{app}: generation {generation} is ready"),
        Progress::Live { app, generation } => format!("{app}: generation {generation} is live"),
        Progress::Draining {
            app,
            generation,
            requests,
            streams,
        } => format!(
            "{app}: generation {generation} finishes {}",
            under_way(*requests, *streams)
        ),
        Progress::Superseded { .. } => superseded(update),
        Progress::Verdict {
            app,
            status,
            elapsed,
            awaited,
        } => verdict(app, status, *elapsed, *awaited),
        Progress::Settled {
            app,
            settled,
            reason,
            elapsed,
            ..
        } => format!(
            "{app}: {} ({elapsed:.2} s)",
            settled_words(*settled, reason.as_deref())
        ),
    }
}

fn configured(changes: &Changes, apps: &[AppName]) -> String {
    let names = |apps: &[AppName]| {
        let names: Vec<_> = apps.iter().map(AppName::as_str).collect();
        names.join(", ")
    };
    let mut parts = Vec::new();
    if !changes.in_force.is_empty() {
        parts.push(format!("in force: {}", changes.in_force.join(", ")));
    }
    if !changes.added.is_empty() {
        parts.push(format!("new: {}", names(&changes.added)));
    }
    if !changes.removed.is_empty() {
        parts.push(format!("gone: {}", names(&changes.removed)));
    }
    if parts.is_empty() {
        parts.push("nothing changed in place".to_owned());
    }
    if !changes.needs_restart.is_empty() {
        let keys = changes.needs_restart.join(", ");
        parts.push(format!("needs a restart of hitless: {keys}"));
    }
    parts.push(match apps.is_empty() {
        true => "no app is started anew".to_owned(),
        false => format!("started anew: {}", names(apps)),
    });
    let told = format!("configuration read; {}", parts.join("; "));
    match changes.left.is_empty() {
        true => told,
        false => format!(
            "{told}\nthe file also changes: {}; not in force until `hitless reload --changed`",
            changes.left.join(", ")
        ),
    }
}

fn noun(source: TriggerSource) -> &'static str {
    match source {
        TriggerSource::Rollback => "rollback",
        TriggerSource::Start
        | TriggerSource::Signal
        | TriggerSource::Command
        | TriggerSource::File => "reload",
    }
}

fn settled_words(settled: SettledWord, reason: Option<&str>) -> String {
    let reason = reason.unwrap_or("no reason is known");
    match settled {
        SettledWord::Proven => "it has proved itself, and stays".to_owned(),
        SettledWord::FailedOver => format!("it was taken back: {reason}"),
        SettledWord::Replaced => "a newer version went live before its probation ended".to_owned(),
        SettledWord::Cancelled => "cancelled, hitless is stopping".to_owned(),
    }
}

fn verdict(app: &AppName, status: &TriggerStatus, elapsed: f64, awaited: bool) -> String {
    let named = |id: GenerationId| format!(" generation {id}");
    let generation = status.generation.map_or_else(String::new, named);
    match status.verdict {
        VerdictWord::Live if status.already => {
            format!("{app}: already there:{generation} serves, and nothing was changed")
        }
        VerdictWord::Live => format!(
            "{app}:{generation} is live after {elapsed:.2} s{}",
            if status.changed_files {
                ", started again from changed files: what is on disk is not what ran before"
            } else {
                ""
            }
        ),
        VerdictWord::Superseded => {
            format!("{app}: superseded by what was asked for later: see hitless status")
        }
        VerdictWord::Cancelled => format!("{app}: cancelled, hitless is stopping"),
        VerdictWord::Failed => {
            let failed = failure(app, &generation, status, elapsed);
            format!("{failed}\n{app}: {}", serving(status, awaited))
        }
    }
}

fn failure(app: &AppName, generation: &str, status: &TriggerStatus, elapsed: f64) -> String {
    let reason = status.reason.as_deref().unwrap_or("no reason is known");
    let failed = match (status.source, status.generation) {
        (TriggerSource::Rollback, None) => " the rollback failed",
        _ => " did not go live",
    };
    let mut lines = vec![format!(
        "{app}:{generation}{failed} ({elapsed:.2} s): {reason}"
    )];
    if let Some(probe) = &status.probe {
        lines.push(format!("  last check: {probe}"));
    }
    if !status.output.is_empty() {
        lines.push("  last output:".to_owned());
        lines.extend(status.output.iter().map(|line| format!("    {line}")));
    }
    lines.join("\n")
}

/// Who serves, now that it has failed. `awaited`: no request is routed to it.
fn serving(status: &TriggerStatus, awaited: bool) -> String {
    match status.serving {
        _ if awaited => {
            "its routes are not in force until it is live; requests go where they went before"
                .to_owned()
        }
        Some(serving) => format!("generation {serving} serves on, untouched"),
        None => "nothing is live; requests are held, and it is tried again: see hitless status"
            .to_owned(),
    }
}

/// `3 requests and 1 stream`.
pub(super) fn under_way(requests: u32, streams: u32) -> String {
    let counted = |count: u32, noun: &str| match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    };
    match (requests, streams) {
        (0, streams) if streams > 0 => counted(streams, "stream"),
        (requests, 0) => counted(requests, "request"),
        _ => format!(
            "{} and {}",
            counted(requests, "request"),
            counted(streams, "stream")
        ),
    }
}
