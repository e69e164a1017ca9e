//! What is true of the whole: which apps there are, where it listens, and which configuration is in force. Whoever reads
//! the configuration anew publishes it; all others look.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::control_plane::driver::{Handle, Origin, ReloadOptions, Settings};
use crate::control_plane::progress::Updates;
use crate::control_plane::status;
use crate::generation::AppName;

/// The whole at one moment.
#[derive(Clone, Debug)]
pub struct Whole {
    /// What is said about this hitless.
    pub about: About,
    /// The ways to every driver, in the order of the configuration.
    pub handles: Arc<[Handle]>,
    /// Which configuration is in force.
    pub configuration: Configuration,
}

/// What is said about this hitless.
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

/// Which configuration is in force, and what is between it and the one that is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// When what is in force was read.
    #[serde(with = "status::seconds")]
    pub read: SystemTime,
    /// A later reading that was refused: what is in force is not what is written.
    pub refused: Option<Refusal>,
    /// The keys that have changed since hitless was started, and need a restart.
    pub needs_restart: Vec<String>,
    /// The new apps that have not been live yet. Until they are, requests go where they went before.
    pub awaited: Vec<AppName>,
}

/// A reading of the configuration that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When it was.
    #[serde(with = "status::seconds")]
    pub at: SystemTime,
    /// What is wrong, in the words of `hitless check`, or of the system.
    pub problem: String,
    /// It is as it should be, and the system refused what it needs.
    #[serde(default)]
    pub valid: bool,
}

/// Which part of the configuration is wanted anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    All,
    /// What it says of this app, and nothing else.
    App(AppName),
}

/// What came of reading the configuration anew.
#[derive(Debug)]
pub struct Reread {
    /// What is different from now on.
    pub changes: Changes,
    /// The apps that it speaks of.
    pub apps: Vec<Fresh>,
}

/// What a new configuration has changed beside what its apps are started with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The keys that have changed and are in force.
    pub in_force: Vec<String>,
    /// The apps that are new.
    pub added: Vec<AppName>,
    /// The apps that are gone.
    pub removed: Vec<AppName>,
    /// The keys that have changed since hitless was started, and need a restart.
    pub needs_restart: Vec<String>,
    /// What the file says otherwise and only a reload of the whole puts in force, where one app was meant.
    #[serde(default)]
    pub left: Vec<String>,
}

/// An app of a configuration that was read anew.
#[derive(Debug)]
pub struct Fresh {
    /// The way to its driver.
    pub handle: Handle,
    /// What it says of the app.
    pub settings: Settings,
    /// Whether a fresh generation is needed for it to be in force.
    pub differs: bool,
    /// How its start goes, if it is new: it is under way.
    pub start: Option<Updates>,
}

/// Why a configuration that was to be read anew is not in force. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It has problems, in the words of `hitless check`.
    Invalid(String),
    /// It is valid, and the system refused what it needs: an address, a file.
    Refused(String),
    /// It speaks of this app no more.
    Gone(AppName),
}

/// Reads the configuration anew, and puts in force what needs no fresh generation.
pub trait Configure: Send + Sync {
    /// Nothing has changed where this fails. New apps are started for `origin`, and whoever dropped the
    /// future would leave that half-way.
    fn reread<'a>(
        &'a self,
        scope: Scope,
        origin: &'a Origin,
        options: &'a ReloadOptions,
    ) -> Pin<Box<dyn Future<Output = Result<Reread, Unread>> + Send + 'a>>;

    /// Whether the configuration as it is written has this app, which need not be in force.
    fn would_add(&self, app: &str) -> bool;
}

// === impl Configuration ===

impl Configuration {
    /// Read now, and all of it in force.
    pub fn new() -> Self {
        Self {
            read: SystemTime::now(),
            refused: None,
            needs_restart: Vec::new(),
            awaited: Vec::new(),
        }
    }

    /// Takes out what stands in the file.
    pub fn hide_text(&mut self) {
        if let Some(refused) = &mut self.refused {
            refused.problem = "shown on this machine only".to_owned();
        }
    }
}

impl Refusal {
    /// What to do about it.
    pub fn next(&self) -> &'static str {
        match self.valid {
            true => "mend that, then `hitless reload --changed`",
            false => "mend it (`hitless check`), then `hitless reload --changed`",
        }
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self::new()
    }
}
