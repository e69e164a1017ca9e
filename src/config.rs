//! What a person writes: the file, read into values that are all valid, or into problems that name line and column.
//!
//! `raw` mirrors the file, `read` reads it, `build` turns it into a [`Config`] together with what was said by flags and
//! variables ([`Overrides`]). Nothing here starts anything, or opens anything but the file and the pages that it names.

mod build;
mod kind;
mod problem;
mod raw;
mod read;
mod reference;
mod schema;
mod shown;
mod shutdown;
pub mod words;

pub use self::problem::{Problem, Report, Source};
pub use self::shown::{Shown, Spoken};
pub use self::shutdown::ShutdownConfig;
pub use self::words::ReadyCheck;
pub use crate::units;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;

use self::read::{Kind, Table};
use crate::control_plane::instances::Backing;
use crate::control_plane::trigger::files;
use crate::control_plane::{driver, instances, readiness};
use crate::data_plane::listen::{Listen, ListenAddress};
use crate::data_plane::pages::Pages;
use crate::data_plane::route::Route;
use crate::data_plane::{AppConfig, ClientConfig, TrustedProxies};
use crate::generation::AppName;
use crate::paths;
use crate::telemetry::access::Destination;
use crate::telemetry::log::{self, LogConfig};

/// How many files are named in place of one that is missing.
const NAMED_MAX: usize = 5;

/// Everything that can be configured. Only valid values.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients come in; at least one, no two of which overlap.
    pub listen: Vec<Listen>,
    /// The read-only HTTP address; none where it is turned off.
    pub admin: Option<ListenAddress>,
    /// Further names that a Host header to `admin` may carry, in lower case.
    pub admin_hosts: Vec<String>,
    /// The name of this hitless, which is that of its control socket.
    pub name: String,
    /// The path of the control socket; none: by `name`, in the folder that is meant for it.
    pub control: Option<PathBuf>,
    /// How many workers forward requests; 0: as many as this process may use.
    pub threads: usize,
    /// How many apps may be starting at once; 0: as many as there are workers.
    pub starts_max: usize,
    /// Whether hitless exits when an app's first start fails, instead of trying again.
    pub exit_on_failed_start: bool,
    /// Who may say on whose behalf they ask.
    pub trusted_proxies: TrustedProxies,
    /// The times and limits towards clients.
    pub client: ClientConfig,
    /// The times of a graceful stop.
    pub shutdown: ShutdownConfig,
    /// The operator's pages for what hitless answers by itself, as they were when the file was read.
    pub pages: Arc<Pages>,
    /// What hitless writes: its own log, the access log, and the apps' output.
    pub log: LogConfig,
    /// The apps in the order of the file; at least one.
    pub apps: Vec<App>,
    /// What is allowed and yet surely not what was meant, a sentence each, with its place.
    pub warnings: Vec<String>,
}

/// One app.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// What to start, or where it runs already.
    pub backing: Backing,
    /// How an instance shows that it is ready.
    pub ready: readiness::Config,
    /// How many processes a generation has, and how they are watched.
    pub instances: instances::Config,
    /// How long its generations may take.
    pub driver: driver::Config,
    /// The times and limits of its requests.
    pub traffic: AppConfig,
    /// Which requests are for it; at least one.
    pub routes: Vec<Route>,
    /// Which files are watched.
    pub watch: files::Config,
}

/// What flags and variables say; each beats the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Replaces the whole list, unless empty.
    pub listen: Vec<ListenAddress>,
    /// Inner none: no admin address.
    pub admin: Option<Option<ListenAddress>>,
    /// The name of this hitless.
    pub name: Option<String>,
    /// The path of the control socket.
    pub control: Option<PathBuf>,
    /// Replaces all checks of the app by this one.
    pub ready: Option<ReadyCheck>,
    /// The app's file of variables.
    pub env_file: Option<PathBuf>,
    /// The app's `ready.start_timeout`; more than 0.
    pub start_timeout: Option<Duration>,
    /// The app's `drain.timeout`; more than 0.
    pub drain_timeout: Option<Duration>,
    /// How many processes each generation of the app has.
    pub instances: Option<u32>,
    /// The app's `failover.probation`.
    pub probation: Option<Duration>,
    /// How many workers forward requests.
    pub threads: Option<usize>,
    /// The shape of log lines.
    pub log_format: Option<log::Format>,
    /// Where the line of each request goes.
    pub access_log: Option<Destination>,
    /// Whether hitless exits when an app's first start fails.
    pub exit_on_failed_start: Option<bool>,
    /// Replaces the app's `watch.paths`, unless empty.
    pub watch: Vec<PathBuf>,
    /// The app's program and arguments, unless empty.
    pub command: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a file nor a command was named.
    #[error(
        "nothing to run: name a file or a command\n\n  \
         hitless run --config hitless.toml\n  \
         hitless run --listen :8080 -- python3 app.py"
    )]
    NothingToRun,
    /// The file cannot be read.
    #[error("cannot read {}: {source}{}", paths::whole(path).display(), beside(path, source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was written is not valid.
    #[error("{0}")]
    Invalid(Report),
    /// A flag speaks of an app, and there are several.
    #[error(
        "{} can be said of a single app only (as can its variable), and {} has {}: {}\n\n  \
         write it into the file, below the app that is meant",
        flags.join(", "),
        path.display(),
        apps.len(),
        apps.join(", ")
    )]
    WhichApp {
        /// The flags.
        flags: Vec<&'static str>,
        /// The file.
        path: PathBuf,
        /// Its apps.
        apps: Vec<String>,
    },
}

// === impl Config ===

impl Config {
    /// The file with what the overrides replace.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or everything that is wrong with it.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, Error> {
        Self::parse(path, text(path)?, overrides)
    }

    /// The same for a hitless that runs already, from a file or from flags alone. A watched path may be away for a while
    /// then, which is no more than a warning.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load) and [`from_flags`](Self::from_flags).
    pub fn load_again(path: Option<&Path>, overrides: &Overrides) -> Result<Self, Error> {
        match path {
            Some(path) => read(path, text(path)?, overrides, Absent::Warned),
            None => flags(overrides, Absent::Warned),
        }
    }

    /// The text of a file, which is named `path` in problems, with what the overrides replace.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(path: &Path, source: String, overrides: &Overrides) -> Result<Self, Error> {
        read(path, source, overrides, Absent::Refused)
    }

    /// One app, named `app`, that flags alone describe.
    ///
    /// # Errors
    ///
    /// There is no command, or the flags contradict each other.
    pub fn from_flags(overrides: &Overrides) -> Result<Self, Error> {
        flags(overrides, Absent::Refused)
    }

    /// The JSON schema of a file, for editors.
    pub fn schema() -> serde_json::Value {
        schema::whole()
    }

    /// The full path of each key that a file can have, such as `app.NAME.drain.timeout`.
    pub fn keys() -> Vec<String> {
        let mut keys = Vec::new();
        raw::File::keys("", &mut keys);
        keys
    }
}

/// What it means that a watched path is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    /// It was never there: it is misspelt.
    Refused,
    /// It is away for now.
    Warned,
}

fn text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn read(
    path: &Path,
    source: String,
    overrides: &Overrides,
    absent: Absent,
) -> Result<Config, Error> {
    // Some editors put a mark of the byte order there, which would shift the columns of the first line.
    let source = match source.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => source,
    };
    let mut problems = Vec::new();
    let (table, errors) = DeTable::parse_recoverable(&source);
    let file = raw::File::read_table(table.get_ref(), "", &mut problems);
    let config = build::config(file, overrides, &mut problems);
    problem::add_syntax(&mut problems, &errors, &source);
    let flags = overrides.of_one_app();
    if !flags.is_empty() && config.0.apps.len() > 1 {
        let apps = config.0.apps.iter();
        return Err(Error::WhichApp {
            flags,
            path: path.to_owned(),
            apps: apps.map(|app| app.name.to_string()).collect(),
        });
    }
    finish(config, Some(path.to_owned()), source, problems, absent)
}

fn flags(overrides: &Overrides, absent: Absent) -> Result<Config, Error> {
    if overrides.command.is_empty() {
        return Err(Error::NothingToRun);
    }
    let mut problems = Vec::new();
    let config = build::config(raw::File::default(), overrides, &mut problems);
    finish(config, None, String::new(), problems, absent)
}

/// The configuration, unless there is a problem with it.
fn finish(
    (mut config, mut warnings): (Config, Vec<Problem>),
    file: Option<PathBuf>,
    source: String,
    mut problems: Vec<Problem>,
    absent: Absent,
) -> Result<Config, Error> {
    if absent == Absent::Refused {
        // Only a path that is not there is warned of by its key.
        problems.extend(warnings.extract_if(.., |warning| warning.key.is_some()));
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(Report::new(file, source, problems)));
    }
    config.warnings = Report::new(file, source, warnings).lines().collect();
    Ok(config)
}

/// The files that may be meant instead of one that is missing.
fn beside(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::NotFound {
        return String::new();
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or_else(|| Path::new(".")));
    let mut names: Vec<_> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "toml"))
        .collect();
    names.sort();
    names.truncate(NAMED_MAX);
    match names.is_empty() {
        true => String::new(),
        false => format!("; there is {}", names.join(", ")),
    }
}

// === impl Overrides ===

impl Overrides {
    /// The flags that speak of one app, and were given.
    fn of_one_app(&self) -> Vec<&'static str> {
        let given = [
            ("--ready", self.ready.is_some()),
            ("--watch", !self.watch.is_empty()),
            ("--env-file", self.env_file.is_some()),
            ("--instances", self.instances.is_some()),
            ("--start-timeout", self.start_timeout.is_some()),
            ("--drain-timeout", self.drain_timeout.is_some()),
            ("--probation", self.probation.is_some()),
            ("-- COMMAND", !self.command.is_empty()),
        ];
        let given = given.into_iter().filter(|(_, given)| *given);
        given.map(|(flag, _)| flag).collect()
    }
}

// === impl Error ===

impl Error {
    /// Whether the command line is at fault and not the file.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::NothingToRun | Self::WhichApp { .. } => true,
            Self::Unreadable { .. } => false,
            Self::Invalid(report) => report.is_usage(),
        }
    }
}
