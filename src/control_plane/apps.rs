//! All apps of this hitless: what is asked of each or of all of them, and what is told about the whole.

mod newest;
mod reloading;
mod underway;
mod whole;

pub use self::underway::Reloads;
pub use self::whole::{
    About, Changes, Configuration, Configure, Fresh, Refusal, Reread, Scope, Unread, Whole,
};

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use self::newest::Newest;
use self::reloading::pass_on;
use self::underway::Register;
use crate::control_plane::driver::Handle;
use crate::control_plane::process::{Journals, Selection};
use crate::control_plane::progress::Updates;
use crate::control_plane::status::{AppState, AppStatus};
use crate::generation::{AppName, GenerationId};

/// How long a change may take until the status shows it.
const VISIBLE_WITHIN: Duration = Duration::from_secs(5);

/// How far the clock of the wall and the one that measures may go apart meanwhile.
const CLOCKS_APART: Duration = Duration::from_millis(500);

/// The ways to every driver, and to the configuration that a reload reads anew.
#[derive(Clone)]
pub struct Apps(Arc<Inner>);

struct Inner {
    whole: watch::Receiver<Whole>,
    configure: Arc<dyn Configure>,
    reloads: Register,
    newest: Newest,
    journals: Arc<Journals>,
    stopping: AtomicBool,
    /// The first start of every app has ended. An app that is added later makes the whole no less ready.
    started: AtomicBool,
}

/// The whole at one moment: the JSON of `hitless status --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What is said about this hitless.
    #[serde(flatten)]
    pub about: About,
    /// Which configuration is in force.
    #[serde(default)]
    pub configuration: Configuration,
    /// Whether it is on its way to stop.
    pub stopping: bool,
    /// Each app.
    pub apps: Vec<AppStatus>,
}

/// Why a reload was not even tried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no app of that name.
    #[error("there is no app {name}; there is {}{}", known.join(", "), in_file(*written))]
    UnknownApp {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
        /// The configuration has it, and was not put in force since.
        written: bool,
    },
    /// It was to be moved to other addresses, and has none.
    #[error("{0} runs a command: only an app with `addresses` can be moved to others")]
    NoAddresses(AppName),
    /// The configuration has problems, and nothing was changed.
    #[error("the configuration is invalid, nothing was changed:\n{0}")]
    Configuration(String),
    /// The configuration is valid, and the system refused what it needs. Nothing was changed.
    #[error(
        "the configuration is valid, but could not be put in force, and nothing was changed:\n{0}\nNext: mend that, then \
         `hitless reload` again"
    )]
    Refused(String),
    /// The configuration speaks of this app no more.
    #[error(
        "nothing was changed: the file speaks of {0} no more, and what served it before still does; `hitless reload \
         --changed` stops what the file does not speak of"
    )]
    Gone(AppName),
    /// The newest reload changed no app.
    #[error(
        "nothing was rolled back: no reload so far, or the newest one, has put an app onto another version; `hitless rollback \
         APP` takes one app back to its version before"
    )]
    NothingToUndo,
    /// Nothing is kept of that generation.
    #[error(
        "no output of generation {generation} is kept; there is {}",
        shown(known)
    )]
    UnknownGeneration {
        /// What was asked for.
        generation: GenerationId,
        /// What there is.
        known: Vec<GenerationId>,
    },
}

// === impl Apps ===

impl Apps {
    /// These apps, and what they write. `configure` reads the configuration anew, and publishes the `whole`.
    pub fn new(
        whole: watch::Receiver<Whole>,
        configure: Arc<dyn Configure>,
        journals: Arc<Journals>,
    ) -> Self {
        Self(Arc::new(Inner {
            whole,
            configure,
            reloads: Register::default(),
            newest: Newest::default(),
            journals,
            stopping: AtomicBool::new(false),
            started: AtomicBool::new(false),
        }))
    }

    /// Undoes the newest reload of one app, or of all of them: only those go back then that it has led elsewhere, or is
    /// about to. The updates end with a verdict for each.
    ///
    /// # Errors
    ///
    /// An unknown app; the newest reload has led none of several elsewhere.
    pub async fn rollback(&self, app: Option<&str>) -> Result<Updates, Error> {
        let (sender, updates) = mpsc::unbounded_channel();
        for handle in self.to_go_back(app)? {
            tokio::spawn(pass_on(handle.rollback().await, sender.clone(), None));
        }
        Ok(updates)
    }

    /// Asks one app, or every one, to hold its requests, for so long or until [`resume`](Self::resume). Returns when they
    /// are held.
    ///
    /// # Errors
    ///
    /// An unknown app.
    pub async fn pause(&self, app: Option<&str>, lasting: Option<Duration>) -> Result<(), Error> {
        for handle in self.chosen(app)?.iter() {
            let asked = SystemTime::now();
            handle.pause(lasting).await;
            until_seen(handle, |status| {
                status.paused && ends_as_asked(status.paused_until, asked, lasting)
            })
            .await;
        }
        Ok(())
    }

    /// Asks one app, or every one, to let its requests go on. Returns when they do.
    ///
    /// # Errors
    ///
    /// An unknown app.
    pub async fn resume(&self, app: Option<&str>) -> Result<(), Error> {
        for handle in self.chosen(app)?.iter() {
            handle.resume().await;
            until_seen(handle, |status| !status.paused).await;
        }
        Ok(())
    }

    /// How many reloads there were so far, for whoever tells of them.
    pub fn reloads(&self) -> watch::Receiver<Reloads> {
        self.0.reloads.watch()
    }

    /// What one app, or every one, has written last: of all generations that are kept, or of one.
    ///
    /// # Errors
    ///
    /// An unknown app, or a generation that nothing is kept of.
    pub fn logs(
        &self,
        app: Option<&str>,
        generation: Option<GenerationId>,
    ) -> Result<(Arc<Journals>, Selection), Error> {
        let chosen = self.chosen(app)?;
        let journals = &self.0.journals;
        if let Some(generation) = generation {
            let of_app = |handle: &Handle| journals.generations(handle.name());
            let mut known: Vec<_> = chosen.iter().flat_map(of_app).collect();
            if !known.contains(&generation) {
                known.sort();
                known.dedup();
                return Err(Error::UnknownGeneration { generation, known });
            }
        }
        let selection = Selection {
            app: app.map(AppName::new),
            generation,
        };
        Ok((Arc::clone(journals), selection))
    }

    /// The handle of every app that there is now.
    pub fn handles(&self) -> Arc<[Handle]> {
        Arc::clone(&self.0.whole.borrow().handles)
    }

    /// Tells when apps come and go, or another configuration is in force.
    pub fn changes(&self) -> watch::Receiver<Whole> {
        self.0.whole.clone()
    }

    /// The whole as it is now.
    pub fn status(&self) -> Status {
        let whole = self.0.whole.borrow().clone();
        let handles = whole.handles.iter();
        Status {
            about: whole.about,
            configuration: whole.configuration,
            stopping: self.is_stopping(),
            apps: handles
                .map(|handle| AppStatus::clone(&handle.status()))
                .collect(),
        }
    }

    /// From now on nothing is ready any more.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// Why a balancer should not send requests: to any app, or to one. None: it should.
    ///
    /// # Errors
    ///
    /// There is no app of that name.
    pub fn unready(&self, app: Option<&str>) -> Result<Option<String>, Error> {
        let chosen = self.chosen(app)?;
        if self.is_stopping() {
            return Ok(Some("hitless is stopping".to_owned()));
        }
        let statuses: Vec<_> = chosen.iter().map(Handle::status).collect();
        let starting = statuses.iter().find(|status| !status.has_started());
        match starting {
            Some(starting) if app.is_some() || !self.0.started.load(Ordering::Relaxed) => {
                return Ok(Some(format!("{} is being started", starting.name)));
            }
            None if app.is_none() => self.0.started.store(true, Ordering::Relaxed),
            _ => {}
        }
        let serves = |status: &&Arc<AppStatus>| status.live.is_some() || status.paused;
        if statuses.iter().any(|status| serves(&status)) {
            return Ok(None);
        }
        Ok(Some(
            statuses
                .iter()
                .map(|status| why_down(status))
                .collect::<Vec<_>>()
                .join("; "),
        ))
    }

    /// Of a single app its driver knows by itself what there is to undo.
    fn to_go_back(&self, app: Option<&str>) -> Result<Vec<Handle>, Error> {
        let mut chosen = self.chosen(app)?.to_vec();
        if app.is_none() && chosen.len() > 1 {
            let led = self.0.newest.led();
            chosen.retain(|handle| led.contains(handle.name()));
            if chosen.is_empty() {
                return Err(Error::NothingToUndo);
            }
        }
        Ok(chosen)
    }

    fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    fn chosen(&self, app: Option<&str>) -> Result<Arc<[Handle]>, Error> {
        let handles = self.handles();
        let Some(app) = app else { return Ok(handles) };
        let named = handles.iter().find(|handle| handle.name().as_str() == app);
        named
            .map(|handle| Arc::from([handle.clone()]))
            .ok_or_else(|| Error::UnknownApp {
                name: app.to_owned(),
                known: handles
                    .iter()
                    .map(|handle| handle.name().to_string())
                    .collect(),
                written: false,
            })
    }
}

impl fmt::Debug for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apps")
            .field("whole", &*self.0.whole.borrow())
            .finish_non_exhaustive()
    }
}

// === impl Status ===

impl Status {
    /// Whether every app serves the wanted version, none is held back, and what is written is in force.
    pub fn is_well(&self) -> bool {
        self.configuration.refused.is_none() && self.apps.iter().all(AppStatus::is_well)
    }
}

fn in_file(written: bool) -> &'static str {
    match written {
        true => "; the file has it: `hitless reload --changed` starts it",
        false => "",
    }
}

fn shown(generations: &[GenerationId]) -> String {
    if generations.is_empty() {
        return "none".to_owned();
    }
    let numbers: Vec<_> = generations.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

fn why_down(status: &AppStatus) -> String {
    let reason = status
        .last_trigger
        .as_ref()
        .and_then(|trigger| trigger.reason.as_deref());
    match (status.state, reason) {
        (AppState::Stopping, _) => format!("{} is stopping", status.name),
        (_, Some(reason)) => format!("{} has nothing live: {reason}", status.name),
        (_, None) => format!("{} has nothing live", status.name),
    }
}

/// Waits until the status shows it, but not for a driver that has other work: it will come to it.
async fn until_seen(handle: &Handle, done: impl Fn(&AppStatus) -> bool) {
    let mut changes = handle.changes();
    let seen = |status: &Arc<AppStatus>| done(status) || status.state == AppState::Stopping;
    // Past the time the answer shows the app as it is.
    let _ = tokio::time::timeout(VISIBLE_WITHIN, changes.wait_for(seen)).await;
}

/// Whether a pause that ends then is the one that was asked for, and not an older one that it replaces.
fn ends_as_asked(until: Option<SystemTime>, asked: SystemTime, lasting: Option<Duration>) -> bool {
    let Some(lasting) = lasting else {
        return until.is_none();
    };
    let earliest = asked + lasting.saturating_sub(CLOCKS_APART);
    let latest = asked + lasting + VISIBLE_WITHIN;
    until.is_some_and(|until| (earliest..=latest).contains(&until))
}
