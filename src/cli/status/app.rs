//! One app as lines of `hitless status`: first what is wrong, then what serves and why, then everything else.

use std::time::{Duration, SystemTime};

use super::{age, age_until};
use crate::cli::paper::Ink;
use crate::control_plane::status::{
    AppState, AppStatus, CrashStatus, FailoverStatus, FirstStart, GenerationStatus, ServingBy,
    ServingStatus, StandingWord, TriggerSource, TriggerStatus, VerdictWord,
};

/// So many crashes without a minute of good service are no accident.
const LOOP_MIN: u32 = 3;

/// An app that has served for so long does not die in a loop.
const GOOD_SERVICE: Duration = Duration::from_secs(60);

/// What an app is doing, in the words that come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// hitless is stopping.
    Stopping,
    /// Requests are held because somebody asked for it.
    Paused,
    /// It has never been live, and its start has failed.
    NeverStarted,
    /// It dies again and again.
    Crashing,
    /// Nothing is live.
    Down,
    /// An older version than the wanted one serves.
    Stale,
    /// It is being started for the first time.
    Starting,
    /// What serves may still be taken back.
    OnProbation,
    /// The wanted version serves.
    Well,
}

// === impl Condition ===

impl Condition {
    pub(super) fn of(status: &AppStatus) -> Self {
        let lived = status.first_start == FirstStart::Live || status.serving.is_some();
        let serves_well = |serving: &ServingStatus| {
            elapsed(serving.since).is_some_and(|since| since >= GOOD_SERVICE)
        };
        let crashing =
            status.crashes >= LOOP_MIN && !status.serving.as_ref().is_some_and(serves_well);
        match (status.state, status.live) {
            (AppState::Stopping, _) => Self::Stopping,
            _ if status.paused => Self::Paused,
            (AppState::Starting, None) => Self::Starting,
            (_, None) if !lived && status.first_start == FirstStart::Failed => Self::NeverStarted,
            _ if crashing => Self::Crashing,
            (_, None) => Self::Down,
            _ if status.stale => Self::Stale,
            _ if status.probation.is_some() => Self::OnProbation,
            _ => Self::Well,
        }
    }

    /// In a word, loud where somebody has to do something.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::Paused => "PAUSED",
            Self::NeverStarted => "FAILED TO START",
            Self::Crashing => "CRASH LOOP",
            Self::Down => "DOWN",
            Self::Stale => "STALE",
            Self::Starting => "starting",
            Self::OnProbation => "on probation",
            Self::Well => "ok",
        }
    }

    pub(super) fn ink(self) -> Ink {
        match self {
            Self::NeverStarted | Self::Crashing | Self::Down | Self::Stale => Ink::Alarm,
            Self::Stopping | Self::Paused => Ink::Notice,
            Self::Starting | Self::OnProbation | Self::Well => Ink::Plain,
        }
    }
}

/// Behind the name: what it is doing, the loud word first.
pub(super) fn headline(status: &AppStatus) -> (Condition, String) {
    let condition = Condition::of(status);
    let live = status.live.map(|live| format!("generation {live}"));
    let rest = match (condition, live) {
        (Condition::Stopping, _) => "requests under way are finished".to_owned(),
        (Condition::Paused, live) => {
            let until = match status.paused_until {
                Some(until) => format!("for another {}", age_until(until)),
                None => "until `hitless resume`".to_owned(),
            };
            let waits = live.map_or_else(
                || "nothing is live".to_owned(),
                |live| format!("{live} waits"),
            );
            format!("{until}; requests are held, {waits}")
        }
        (Condition::NeverStarted | Condition::Down | Condition::Crashing, None) => {
            "nothing is live; requests are held while it is started again".to_owned()
        }
        (Condition::Starting, _) => "requests are held until it is ready".to_owned(),
        (Condition::Crashing, Some(live)) => format!("{live} serves until it dies again"),
        (_, Some(live)) => format!("{live} serves"),
        (_, None) => String::new(),
    };
    (condition, rest)
}

/// What stands below the headline: a label, and what is to be said of it.
pub(super) fn facts(status: &AppStatus, several: bool) -> Vec<(&'static str, String)> {
    let condition = Condition::of(status);
    let mut facts = Vec::new();
    let mut fact = |label, text: String| facts.push((label, text));
    for wrong in wrong(status, condition) {
        fact("wrong", wrong);
    }
    if let Some(at) = status.next_start.filter(|_| status.live.is_none()) {
        let times = match status.crashes {
            0 | 1 => String::new(),
            times => format!("; it failed {times} times in a row"),
        };
        fact("again", format!("in {}{times}", age_until(at)));
    }
    if let Some(next) = next(status, condition, several) {
        fact("next", next);
    }
    if let Some(serving) = &status.serving {
        fact("serves", served(serving));
    }
    if let Some(probation) = probation(status) {
        fact("probation", probation);
    }
    if let Some(moved) = &status.moved {
        let (to, from) = (moved.addresses.join(","), moved.configured.join(","));
        fact(
            "note",
            format!(
                "moved to {to} by `hitless reload --addresses`, until the configuration names others than {from}"
            ),
        );
    }
    for note in &status.notes {
        fact("note", note.clone());
    }
    facts
}

fn wrong(status: &AppStatus, condition: Condition) -> Vec<String> {
    let mut wrong: Vec<_> = status.stale_reason.iter().cloned().collect();
    if status.standing == Some(StandingWord::Bad) {
        wrong.push("it was found bad, and serves until the version before it is up".to_owned());
    }
    if matches!(
        condition,
        Condition::NeverStarted | Condition::Down | Condition::Crashing
    ) {
        let told = |crash: &&CrashStatus| {
            let stale = status.stale_reason.as_ref();
            !stale.is_some_and(|stale| stale.ends_with(&crash.reason))
        };
        wrong.extend(status.last_crash.iter().filter(told).map(crash));
    }
    let remark = status.probation.as_ref();
    wrong.extend(remark.and_then(|probation| probation.remark.clone()));
    wrong
}

fn crash(crash: &CrashStatus) -> String {
    let CrashStatus {
        generation,
        reason,
        at,
    } = crash;
    format!("generation {generation} {reason}, {} ago", age(*at))
}

/// What whoever looks should do now: something to type, where there is.
fn next(status: &AppStatus, condition: Condition, several: bool) -> Option<String> {
    let name = match several {
        true => format!(" {}", status.name),
        false => String::new(),
    };
    let reload = format!("`hitless reload{name}`");
    let read = match last_words(status) {
        true => "read its last words below".to_owned(),
        false => format!("read `hitless logs{name}`"),
    };
    match condition {
        Condition::Paused => Some(format!("`hitless resume{name}` when requests may go on")),
        Condition::NeverStarted | Condition::Down | Condition::Crashing => {
            Some(format!("{read}, fix the app, then {reload}"))
        }
        Condition::Stale if status.standing == Some(StandingWord::StandIn) => Some(format!(
            "nothing; if the wanted version does not come up, fix the app, then {reload}"
        )),
        Condition::Stale => Some(format!("{read}, fix the app, then {reload}")),
        _ if remarked(status) => Some(format!(
            "look at its errors; `hitless rollback{name}` takes it back now"
        )),
        _ => None,
    }
}

fn remarked(status: &AppStatus) -> bool {
    let probation = status.probation.as_ref();
    probation.is_some_and(|probation| probation.remark.is_some())
}

/// Whether what the app wrote last stands below.
fn last_words(status: &AppStatus) -> bool {
    let trigger = status.last_trigger.as_ref();
    let failover = status.last_failover.as_ref();
    trigger
        .is_some_and(|trigger| trigger.verdict == VerdictWord::Failed && !trigger.output.is_empty())
        || failover.is_some_and(|failover| !failover.output.is_empty())
}

fn served(serving: &ServingStatus) -> String {
    let trigger = serving
        .trigger
        .map(|id| format!(" {id}"))
        .unwrap_or_default();
    let cause = serving.cause.as_ref();
    let cause = cause.map_or_else(String::new, |files| format!(": {files}"));
    let why = match serving.by {
        ServingBy::Failover => "it took over from one that failed".to_owned(),
        ServingBy::Restart => "it was started again, for nothing was live".to_owned(),
        ServingBy::Trigger(TriggerSource::Start) => "the start of hitless".to_owned(),
        ServingBy::Trigger(TriggerSource::Rollback) => format!("rollback{trigger}"),
        ServingBy::Trigger(source) => format!("reload{trigger} ({}{cause})", source.as_str()),
    };
    format!("for {}, since {why}", age(serving.since))
}

fn probation(status: &AppStatus) -> Option<String> {
    if status.standing != Some(StandingWord::Probation) {
        return None;
    }
    let probation = status.probation.as_ref()?;
    let left = match probation.until {
        Some(until) => format!("{} left", age_until(until)),
        None => "its clock stands still".to_owned(),
    };
    let back = match probation.standby {
        Some(standby) => format!("generation {standby} stands by"),
        None => "nothing stands by: going back means starting the version before".to_owned(),
    };
    Some(format!("{left}; {back}"))
}

/// What it was started from.
pub(super) fn made_of(status: &GenerationStatus) -> Vec<String> {
    let directory = status.directory.as_ref();
    let directory = directory.map(|path| format!("in {}", path.display()));
    let names = (!status.environment.is_empty()).then(|| status.environment.join(" "));
    let names = names.map(|names| format!("with {names}"));
    directory.into_iter().chain(names).collect()
}

/// A row of the table of generations.
pub(super) fn generation(status: &GenerationStatus) -> String {
    let pids: Vec<_> = status.pids.iter().map(ToString::to_string).collect();
    // Addresses that somebody else serves have none.
    let pids = match pids.is_empty() {
        true => String::new(),
        false => format!("pid {}  ", pids.join(" ")),
    };
    let counted = |count: u32, noun: &str| match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    };
    format!(
        "  {:>4}  {:<9} {:>8}  {}{}  {}, {}",
        status.generation,
        status.state.as_str(),
        age(status.since),
        pids,
        status.addresses.join(" "),
        counted(status.requests, "request"),
        counted(status.streams, "stream"),
    )
}

/// How the newest trigger ended: what failed with what it rests on.
pub(super) fn trigger(status: &TriggerStatus) -> (String, Vec<String>) {
    let what = match status.source {
        TriggerSource::Rollback => "rollback",
        _ => "reload",
    };
    let cause = status.cause.as_ref();
    let cause = cause.map_or_else(String::new, |files| format!(": {files}"));
    let mut line = format!(
        "last {what} {} ({}{cause}), {} ago: {}",
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
    let mut below = Vec::new();
    if status.verdict == VerdictWord::Failed {
        let probe = status.probe.iter();
        below.extend(probe.map(|probe| format!("last check: {probe}")));
        below.extend(status.output.iter().map(|line| format!("| {line}")));
    }
    (line, below)
}

pub(super) fn failover(status: &FailoverStatus) -> (String, Vec<String>) {
    let to = status.to.map_or_else(
        || "nothing else was alive".to_owned(),
        |to| format!("generation {to} took over"),
    );
    let line = format!(
        "last failover, {} ago: generation {} {}; {to}",
        age(status.at),
        status.from,
        status.reason
    );
    let output = status.output.iter().map(|line| format!("| {line}"));
    (line, output.collect())
}

fn elapsed(since: SystemTime) -> Option<Duration> {
    SystemTime::now().duration_since(since).ok()
}
