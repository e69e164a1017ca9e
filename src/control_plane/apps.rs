//! All apps of this hitless: what is asked of each or of all of them, and what is told about the whole.

mod underway;

pub use self::underway::Reloads;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use self::underway::{Register, Underway};
use crate::control_plane::driver::{Handle, Origin, ReloadOptions, Settings};
use crate::control_plane::process::{Journals, Selection};
use crate::control_plane::progress::{Progress, Updates};
use crate::control_plane::status::{self, AppState, AppStatus};
use crate::generation::{AppName, GenerationId};

/// How long a change may take until the status shows it.
const VISIBLE_WITHIN: Duration = Duration::from_secs(5);

/// How far the clock of the wall and the one that measures may go apart meanwhile.
const CLOCKS_APART: Duration = Duration::from_millis(500);

/// The ways to every driver, and to the configuration that a reload reads anew.
#[derive(Clone)]
pub struct Apps(Arc<Inner>);

struct Inner {
    about: About,
    handles: Vec<Handle>,
    reread: Box<Reread>,
    reloads: Register,
    journals: Arc<Journals>,
    stopping: AtomicBool,
}

/// Reads the configuration anew: the settings of every app, or the problems as one text.
pub type Reread = dyn Fn() -> Result<Vec<(AppName, Settings)>, String> + Send + Sync;

/// What does not change while hitless runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The version of hitless.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its name among those on this machine.
    pub name: String,
    /// When it was started.
    #[serde(with = "status::seconds")]
    pub since: SystemTime,
    /// Where it listens, with the real ports.
    pub listen: Vec<String>,
    /// Where it answers scrapers.
    pub admin: Option<String>,
}

/// The whole at one moment: the JSON of `hitless status --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What does not change.
    #[serde(flatten)]
    pub about: About,
    /// Whether it is on its way to stop.
    pub stopping: bool,
    /// Each app.
    pub apps: Vec<AppStatus>,
}

/// Why a reload was not even tried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no app of that name.
    #[error("there is no app {name}; there is {}", known.join(", "))]
    UnknownApp {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It was to be moved to other addresses, and has none.
    #[error("{0} runs a command: only an app with `addresses` can be moved to others")]
    NoAddresses(AppName),
    /// The configuration has problems, and nothing was changed.
    #[error("the configuration is invalid, nothing was changed:\n{0}")]
    Configuration(String),
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
    /// These apps, told about with these facts, and what they write.
    pub fn new(
        about: About,
        handles: Vec<Handle>,
        reread: Box<Reread>,
        journals: Arc<Journals>,
    ) -> Self {
        Self(Arc::new(Inner {
            about,
            handles,
            reread,
            reloads: Register::default(),
            journals,
            stopping: AtomicBool::new(false),
        }))
    }

    /// Reads the configuration anew and asks one app, or every one, for a fresh generation. The updates end with a
    /// verdict for each.
    ///
    /// # Errors
    ///
    /// An unknown app, or one that has no addresses and was to get others; a configuration with problems. Then nothing was
    /// asked of anybody.
    pub async fn reload(
        &self,
        app: Option<&str>,
        origin: impl Into<Origin>,
        options: ReloadOptions,
    ) -> Result<Updates, Error> {
        let (chosen, origin) = (self.chosen(app)?, origin.into());
        let underway = self.0.reloads.begin();
        let mut settings = (self.0.reread)().map_err(Error::Configuration)?;
        if options.wish.addresses.is_some() {
            let commands = settings
                .iter()
                .filter(|(_, own)| own.backing.addresses().is_none());
            let mut commands = commands.map(|(name, _)| name);
            if let Some(name) = commands.find(|name| chosen.iter().any(|one| one.name() == *name)) {
                return Err(Error::NoAddresses(name.clone()));
            }
        }
        let (sender, updates) = mpsc::unbounded_channel();
        for handle in chosen {
            let own = settings.iter().position(|(name, _)| name == handle.name());
            let own = own.map(|index| settings.swap_remove(index).1);
            let updates = handle.reload(origin.clone(), own, options.clone()).await;
            tokio::spawn(pass_on(updates, sender.clone(), Some(underway.clone())));
        }
        Ok(updates)
    }

    /// Asks one app, or every one, to undo its newest reload. The updates end with a verdict for each.
    ///
    /// # Errors
    ///
    /// An unknown app.
    pub async fn rollback(&self, app: Option<&str>) -> Result<Updates, Error> {
        let (sender, updates) = mpsc::unbounded_channel();
        for handle in self.chosen(app)? {
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
        for handle in self.chosen(app)? {
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
        for handle in self.chosen(app)? {
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

    /// Every app's handle.
    pub fn handles(&self) -> &[Handle] {
        &self.0.handles
    }

    /// The whole as it is now.
    pub fn status(&self) -> Status {
        let apps = self
            .0
            .handles
            .iter()
            .map(|handle| AppStatus::clone(&handle.status()));
        Status {
            about: self.0.about.clone(),
            stopping: self.is_stopping(),
            apps: apps.collect(),
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
        if let Some(starting) = statuses.iter().find(|status| !status.has_started()) {
            return Ok(Some(format!("{} is being started", starting.name)));
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

    fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    fn chosen(&self, app: Option<&str>) -> Result<&[Handle], Error> {
        let handles = &self.0.handles;
        let Some(app) = app else { return Ok(handles) };
        match handles
            .iter()
            .position(|handle| handle.name().as_str() == app)
        {
            Some(index) => Ok(&handles[index..=index]),
            None => {
                let known = handles
                    .iter()
                    .map(|handle| handle.name().to_string())
                    .collect();
                Err(Error::UnknownApp {
                    name: app.to_owned(),
                    known,
                })
            }
        }
    }
}

impl fmt::Debug for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apps")
            .field("about", &self.0.about)
            .field("handles", &self.0.handles)
            .finish_non_exhaustive()
    }
}

// === impl Status ===

impl Status {
    /// Whether every app serves the wanted version, and none is held back.
    pub fn is_well(&self) -> bool {
        self.apps.iter().all(AppStatus::is_well)
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

/// Nobody listening any more does not interrupt a reload, which is under way until its verdict.
async fn pass_on(
    mut updates: Updates,
    to: mpsc::UnboundedSender<Progress>,
    mut underway: Option<Underway>,
) {
    while let Some(update) = updates.recv().await {
        if matches!(update, Progress::Verdict { .. }) {
            underway = None;
        }
        if to.send(update).is_err() && underway.is_none() {
            return;
        }
    }
}
