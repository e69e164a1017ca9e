//! What the commands share that ask for something and wait for its verdict: following the way, and telling it.

use std::process::ExitCode;
use std::time::Duration;

use super::screen::{self, Screen};
use super::{client, complain, exit, print};
use crate::control_plane::api::client::{Error, Lines};
use crate::control_plane::apps::Changes;
use crate::control_plane::progress::{Progress, SettledWord};
use crate::control_plane::status::{TriggerSource, TriggerStatus, VerdictWord};
use crate::generation::{AppName, GenerationId};
use crate::units::show_duration;

/// How to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// How long; none: until the end.
    pub(super) timeout: Option<Duration>,
    /// Not for the verdict, only until what was asked for has arrived.
    pub(super) only_accepted: bool,
    /// For the end of probation, too.
    pub(super) through_probation: bool,
    /// Tell it as JSON.
    pub(super) json: bool,
}

/// What was seen of each app.
#[derive(Debug, Default)]
struct Seen {
    verdicts: usize,
    live: usize,
    settled: usize,
    well: usize,
    /// There is nothing to wait for.
    nothing: bool,
}

/// Follows to the end, and says by the exit status how it was.
pub(super) async fn follow(mut lines: Lines, waiting: Waiting) -> ExitCode {
    let followed = to_end(&mut lines, waiting);
    let followed = match waiting.timeout {
        Some(timeout) => match tokio::time::timeout(timeout, followed).await {
            Ok(followed) => followed,
            Err(_) => return too_late(timeout, waiting),
        },
        None => followed.await,
    };
    match followed {
        Ok(seen) if waiting.only_accepted || seen.is_good(waiting) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(exit::FAILED),
        Err(error) => client::failed(&error),
    }
}

async fn to_end(lines: &mut Lines, waiting: Waiting) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    let mut screen = Screen::new();
    let mut ticks = tokio::time::interval(screen::EVERY);
    loop {
        let next = tokio::select! {
            next = lines.next() => next?,
            _ = ticks.tick() => {
                screen.tick();
                continue;
            }
        };
        let Some(update) = next else { break };
        show(&update, waiting.json, &mut screen);
        seen.see(&update);
        let is_asked = seen.nothing || !matches!(update, Progress::Configured { .. });
        if waiting.only_accepted && is_asked {
            return Ok(seen);
        }
    }
    drop(screen);
    if seen.verdicts == 0 && !seen.nothing {
        complain("hitless ended before the verdict; what serves now shows: hitless status");
    } else if waiting.through_probation && seen.settled < seen.live {
        complain("hitless ended before its probation did; what serves now shows: hitless status");
    }
    Ok(seen)
}

impl Seen {
    fn see(&mut self, update: &Progress) {
        match update {
            Progress::Configured { apps, .. } => self.nothing = apps.is_empty(),
            Progress::Verdict { status, .. } => {
                self.verdicts += 1;
                self.live += usize::from(status.verdict == VerdictWord::Live);
            }
            Progress::Settled { settled, .. } => {
                self.settled += 1;
                let well = matches!(settled, SettledWord::Proven | SettledWord::Replaced);
                self.well += usize::from(well);
            }
            _ => {}
        }
    }

    fn is_good(&self, waiting: Waiting) -> bool {
        let live = (self.nothing || self.verdicts > 0) && self.live == self.verdicts;
        live && (!waiting.through_probation || self.well == self.live)
    }
}

fn too_late(timeout: Duration, waiting: Waiting) -> ExitCode {
    let waited = show_duration(timeout);
    let end = match waiting.through_probation {
        true => "no end of probation",
        false => "no verdict",
    };
    complain(&format!(
        "{end} after {waited}; it goes on, and hitless status shows how it ends"
    ));
    ExitCode::from(exit::FAILED)
}

/// What a program reads goes to stdout, what a person reads to stderr.
fn show(update: &Progress, as_json: bool, screen: &mut Screen) {
    if as_json {
        let line = serde_json::to_string(update).expect("every key of an update is a string");
        print(&line);
    } else if is_matter_of_course(update) {
        // Apps say what they do by themselves.
    } else if matches!(update, Progress::Starting { .. } | Progress::Probe { .. }) {
        screen.now(&sentence(update));
    } else {
        screen.say(&sentence(update));
    }
}

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

/// The configuration is as it was, and apps are reloaded, which they say by themselves.
fn is_matter_of_course(update: &Progress) -> bool {
    matches!(update, Progress::Configured { changes, apps } if *changes == Changes::default() && !apps.is_empty())
}

fn sentence(update: &Progress) -> String {
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
        Progress::Superseded { .. } => superseded(update),
        Progress::Verdict {
            app,
            status,
            elapsed,
        } => verdict(app, status, *elapsed),
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
    format!("configuration read; {}", parts.join("; "))
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

fn verdict(app: &AppName, status: &TriggerStatus, elapsed: f64) -> String {
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
        VerdictWord::Failed => failure(app, &generation, status, elapsed),
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
    lines.push(format!(
        "{app}: what served before, if anything, is untouched: see hitless status"
    ));
    lines.join("\n")
}
