//! The acts: what is deployed, what is asked of hitless, what it says, and whether that is what it should say.
//!
//! They speak with hitless as its commands do, over the control socket, and never look at a client.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::ledger::{Ledger, Suspect};
use super::stage::Stage;
use super::telling::{seconds, took};
use crate::control_plane::api::client::{Client, Error, Lines};
use crate::control_plane::apps::Status;
use crate::control_plane::driver::ReloadOptions;
use crate::control_plane::progress::{Progress, SettledWord};
use crate::control_plane::status::{TriggerStatus, VerdictWord};

/// How long hitless may take to say how it ended: longer than start time-out and probation.
const SAID_WITHIN: Duration = Duration::from_secs(20);

/// How long clients use a good version before the rollback takes it from them.
const USED_FOR: Duration = Duration::from_secs(1);

/// The version that the first act brings, and that every other act must leave where it is.
const GOOD: u64 = 2;

/// One act.
#[derive(Debug)]
pub(super) struct Act {
    /// In a line of the table.
    pub(super) title: &'static str,
    /// What is done, in a sentence.
    pub(super) done: &'static str,
    version: u64,
    faults: &'static [&'static str],
    ends: Ends,
    /// How long clients are watched afterwards.
    pub(super) aftermath: Duration,
    /// How long it takes in all, roughly: for the progress.
    pub(super) lasts: Duration,
}

/// How an act is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// The new version serves.
    Live,
    /// The new version never gets a request.
    Failed,
    /// The new version crashes, and is taken back.
    Crashed,
    /// The new version answers with 500, and is taken back.
    Refused,
    /// The new version is good, and is taken back because somebody asks.
    RolledBack,
}

/// The acts in their order. A version's number is that of its act and one; that of its generation is the same.
pub(super) const ACTS: [Act; 6] = [
    Act {
        title: "a good reload",
        done: "version 2 is deployed, hitless reload",
        version: GOOD,
        faults: &[],
        ends: Ends::Live,
        aftermath: Duration::from_millis(2200),
        lasts: Duration::from_millis(2500),
    },
    Act {
        title: "a version that dies at start",
        done: "version 3 is deployed, hitless reload",
        version: 3,
        faults: &["--die-at-start=3"],
        ends: Ends::Failed,
        aftermath: Duration::from_millis(1300),
        lasts: Duration::from_millis(1400),
    },
    Act {
        title: "a version that never gets ready",
        done: "version 4 is deployed, hitless reload",
        version: 4,
        faults: &["--never-listen"],
        ends: Ends::Failed,
        aftermath: Duration::from_millis(500),
        lasts: Duration::from_millis(3600),
    },
    Act {
        title: "one that goes live and crashes",
        done: "version 5 is deployed, hitless reload",
        version: 5,
        faults: &["--exit-after=1s", "--exit-status=5"],
        ends: Ends::Crashed,
        aftermath: Duration::from_millis(1500),
        lasts: Duration::from_millis(2700),
    },
    Act {
        title: "one that goes live and answers 500",
        done: "version 6 is deployed, hitless reload",
        version: 6,
        faults: &["--fail-traffic=500"],
        ends: Ends::Refused,
        aftermath: Duration::from_millis(1500),
        lasts: Duration::from_millis(2000),
    },
    Act {
        title: "a good one, and a rollback",
        done: "version 7 is deployed, hitless reload; 1 s later hitless rollback",
        version: 7,
        faults: &[],
        ends: Ends::RolledBack,
        aftermath: Duration::from_millis(1500),
        lasts: Duration::from_millis(2800),
    },
];

/// What became of an act.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// What hitless said: the verdict with its reason, and then what else it knows.
    pub(super) said: Vec<String>,
    /// What serves now; as an error, if that is not what should.
    pub(super) result: Result<String, String>,
}

/// Whoever performs an act.
#[derive(Debug)]
pub(super) struct Stagehand<'a> {
    pub(super) stage: &'a Stage,
    pub(super) client: &'a Client,
    pub(super) ledger: &'a Ledger,
    /// What hitless does at this moment.
    pub(super) now: &'a RefCell<String>,
}

/// Why an act cannot be performed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mishap {
    #[error("cannot deploy: {0}")]
    Deploy(#[from] io::Error),
    #[error(transparent)]
    Control(#[from] Error),
    #[error("hitless did not say within {} how it ended", took(SAID_WITHIN))]
    Late,
    #[error("hitless ended before the verdict")]
    Ended,
    #[error("no client met version {0}, although it is live")]
    Unmet(u64),
}

/// What hitless said about a reload or rollback.
#[derive(Debug)]
struct Heard {
    verdict: TriggerStatus,
    elapsed: f64,
    settled: Option<(SettledWord, Option<String>, f64)>,
}

// === impl Act ===

impl Act {
    /// What clients may suffer from it.
    pub(super) fn suspect(&self) -> Option<Suspect> {
        let version = self.version;
        match self.ends {
            Ends::Crashed => Some(Suspect::Crashes {
                version,
                live: None,
            }),
            Ends::Refused => Some(Suspect::Fails { version }),
            Ends::Live | Ends::Failed | Ends::RolledBack => None,
        }
    }
}

// === impl Stagehand ===

impl Stagehand<'_> {
    /// Performs an act up to what hitless says.
    pub(super) async fn perform(&self, act: &Act) -> Result<Scene, Mishap> {
        self.stage.deploy(act.version, act.faults)?;
        let options = ReloadOptions {
            through_probation: matches!(act.ends, Ends::Crashed | Ends::Refused),
            ..ReloadOptions::default()
        };
        let heard = self
            .follow(self.client.reload(None, options).await?)
            .await?;
        let mut said = heard.said();
        let mut back = None;
        if act.ends == Ends::RolledBack && heard.verdict.verdict == VerdictWord::Live {
            self.used(act.version).await?;
            let heard = self.follow(self.client.rollback(None).await?).await?;
            said[0] = format!("{}; {}", said[0], heard.said_of_rollback());
            back = Some(heard);
        }
        let status = self.client.status().await?;
        let result = result(act, &heard, back.as_ref(), &status);
        Ok(Scene { said, result })
    }

    /// Until clients have used a version for a while.
    async fn used(&self, version: u64) -> Result<(), Mishap> {
        let met = timeout(SAID_WITHIN, self.ledger.met(version)).await;
        met.map_err(|_| Mishap::Unmet(version))?;
        tokio::time::sleep(USED_FOR).await;
        Ok(())
    }

    async fn follow(&self, lines: Lines) -> Result<Heard, Mishap> {
        let heard = timeout(SAID_WITHIN, self.to_end(lines)).await;
        heard.map_err(|_| Mishap::Late)?
    }

    async fn to_end(&self, mut lines: Lines) -> Result<Heard, Mishap> {
        let mut heard = None;
        while let Some(update) = lines.next().await? {
            match update {
                Progress::Starting { generation, .. } => {
                    self.now(format!("generation {generation} is starting"));
                }
                Progress::Probe {
                    generation, probe, ..
                } => self.now(format!("generation {generation}: {probe}")),
                Progress::Verdict {
                    status, elapsed, ..
                } => {
                    if status.verdict == VerdictWord::Live {
                        self.ledger.went_live();
                    }
                    let verdict = Heard {
                        verdict: status,
                        elapsed,
                        settled: None,
                    };
                    self.now(verdict.main());
                    heard = Some(verdict);
                }
                Progress::Settled {
                    settled,
                    reason,
                    elapsed,
                    ..
                } => {
                    if let Some(heard) = &mut heard {
                        heard.settled = Some((settled, reason, elapsed));
                        self.now(heard.main());
                    }
                }
                Progress::Configured { .. }
                | Progress::Accepted { .. }
                | Progress::GoingBack { .. }
                | Progress::Ready { .. }
                | Progress::Live { .. }
                | Progress::Draining { .. }
                | Progress::Superseded { .. } => {}
            }
        }
        heard.ok_or(Mishap::Ended)
    }

    fn now(&self, what: String) {
        self.now.replace(what);
    }
}

// === impl Heard ===

impl Heard {
    /// The verdict with its reason.
    fn main(&self) -> String {
        let generation = self
            .verdict
            .generation
            .map_or_else(String::new, |id| format!("generation {id} "));
        let reason = self
            .verdict
            .reason
            .as_deref()
            .unwrap_or("no reason is known");
        let elapsed = seconds(self.elapsed);
        let verdict = match self.verdict.verdict {
            VerdictWord::Live => format!("{generation}is live after {elapsed}"),
            VerdictWord::Failed => format!("{generation}did not go live: {reason}"),
            VerdictWord::Superseded => "superseded by a newer reload".to_owned(),
            VerdictWord::Cancelled => "cancelled, hitless is stopping".to_owned(),
        };
        match &self.settled {
            Some((SettledWord::FailedOver, reason, after)) => {
                let reason = reason.as_deref().unwrap_or("no reason is known");
                let after = seconds(*after);
                format!("{verdict}; taken back after {after}: {reason}")
            }
            Some((SettledWord::Proven, ..)) => format!("{verdict}; it has proved itself"),
            Some((SettledWord::Replaced, ..)) => format!("{verdict}; replaced by a newer one"),
            Some((SettledWord::Cancelled, ..)) => format!("{verdict}; hitless is stopping"),
            None => verdict,
        }
    }

    fn said(&self) -> Vec<String> {
        let mut said = vec![self.main()];
        let failed = self.verdict.verdict == VerdictWord::Failed;
        if let Some(probe) = self.verdict.probe.as_ref().filter(|_| failed) {
            said.push(format!("last check: {probe}"));
        }
        if let Some(last) = self.verdict.output.last() {
            said.push(format!("last output: {last}"));
        }
        said
    }

    fn said_of_rollback(&self) -> String {
        let after = seconds(self.elapsed);
        let reason = self
            .verdict
            .reason
            .as_deref()
            .unwrap_or("no reason is known");
        match (self.verdict.verdict, self.verdict.generation) {
            (VerdictWord::Live, Some(id)) => {
                format!("rollback: generation {id} serves again after {after}")
            }
            (verdict, _) => format!("rollback: {}, {reason}", verdict.as_str()),
        }
    }
}

/// What serves now, if all went as it should.
fn result(
    act: &Act,
    heard: &Heard,
    back: Option<&Heard>,
    status: &Status,
) -> Result<String, String> {
    let version = act.version;
    let verdict = heard.verdict.verdict;
    let settled = heard.settled.as_ref().map(|(word, ..)| *word);
    let back = back.map(|heard| heard.verdict.verdict);
    let Some(app) = status.apps.first() else {
        return Err("hitless knows no app".to_owned());
    };
    let as_wanted = match act.ends {
        Ends::Live => verdict == VerdictWord::Live,
        Ends::Failed => verdict == VerdictWord::Failed,
        Ends::Crashed | Ends::Refused => settled == Some(SettledWord::FailedOver),
        Ends::RolledBack => back == Some(VerdictWord::Live),
    };
    let live = app.live.map(|id| id.get());
    if !as_wanted || live != Some(GOOD) {
        let live = live.map_or_else(|| "nothing".to_owned(), |id| format!("version {id}"));
        return Err(format!("{live} serves, and not as it should have come"));
    }
    let stale = matches!(act.ends, Ends::Failed | Ends::Crashed | Ends::Refused);
    if app.stale != stale {
        let not = if stale { "not " } else { "" };
        return Err(format!("version {GOOD} serves, but is {not}called stale"));
    }
    Ok(match act.ends {
        Ends::Live => {
            format!("version {GOOD} serves; version 1 is kept running, to go back to")
        }
        Ends::Failed => {
            format!("version {GOOD} serves on, untouched; hitless status says \"STALE\"")
        }
        Ends::Crashed | Ends::Refused => {
            format!("version {GOOD} serves again; version {version} is not started again")
        }
        Ends::RolledBack => format!("version {GOOD} serves again: it had been kept running"),
    })
}
