//! What makes a version: the command, the resolved directory and the environment, kept so that the same can be started
//! again. No copy of the code: the directory may have changed since, and says so.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Config;
use super::environment::{self, Environment};
use super::port::Filler;
use crate::generation::{Reason, ReasonKind};
use crate::paths;

/// A version's record. Two that are equal start the same.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipe {
    pub(super) command: Vec<String>,
    pub(super) directory: PathBuf,
    /// The device and inode of the directory when it was resolved.
    identity: (u64, u64),
    pub(super) environment: Environment,
    /// The names of its variables.
    names: Arc<[String]>,
    pub(super) reserve_port: bool,
    pub(super) notify: bool,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    /// How often its files had changed by then.
    files: Seen,
}

/// How often the files of an app were seen to change; all clones count together. Stays at 0 where nobody watches them.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<AtomicU64>);

/// A count of changes at one moment.
#[derive(Clone, Debug, Default)]
struct Seen {
    changes: Changes,
    count: u64,
}

// === impl Changes ===

impl Changes {
    /// They changed once more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Seen ===

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count
    }
}

impl Eq for Seen {}

// === impl Config ===

impl Config {
    /// Makes the record of a version out of what is there now: the directory is resolved through symlinks, `env_file`
    /// read. `base_environment` is hitless's own environment; what is meant for hitless is taken out of it.
    ///
    /// # Errors
    ///
    /// [`ReasonKind::Spawn`] when there is no command or directory, or when `env_file` cannot be read or has a bad
    /// line, which is named.
    pub fn resolve(
        &self,
        base_environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Recipe, Reason> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err(cannot("there is no command to start"));
        }
        let directory = self.directory.as_deref().unwrap_or_else(|| Path::new("."));
        let (directory, identity) = resolve(directory)?;
        let mut environment = environment::inherited(base_environment);
        // Else the last words of a crashing Python program are lost in its buffer.
        environment
            .entry("PYTHONUNBUFFERED".into())
            .or_insert_with(|| "1".into());
        if let Some(path) = &self.env_file {
            let variables =
                environment::read_file(path).map_err(|error| cannot(&error.to_string()))?;
            environment.extend(variables.into_iter().map(|(k, v)| (k.into(), v.into())));
        }
        environment.extend(self.env.iter().map(|(k, v)| (k.into(), v.into())));
        let names = environment
            .keys()
            .map(|name| name.to_string_lossy().into_owned());
        Ok(Recipe {
            command: self.command.clone(),
            directory,
            identity,
            names: names.collect(),
            environment,
            reserve_port: self.reserve_port,
            notify: false,
            user: None,
            group: None,
            files: Seen::default(),
        })
    }
}

fn resolve(directory: &Path) -> Result<(PathBuf, (u64, u64)), Reason> {
    let cannot_resolve = |error: std::io::Error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "no such directory".to_owned(),
            _ => error.to_string(),
        };
        cannot(&format!(
            "cannot start in {}: {why}",
            paths::whole(directory).display()
        ))
    };
    let resolved = directory.canonicalize().map_err(cannot_resolve)?;
    let found = fs::metadata(&resolved).map_err(cannot_resolve)?;
    if !found.is_dir() {
        return Err(cannot(&format!(
            "{} is not a directory",
            paths::whole(directory).display()
        )));
    }
    Ok((resolved, (found.dev(), found.ino())))
}

fn cannot(why: &str) -> Reason {
    Reason::new(ReasonKind::Spawn, why)
}

// === impl Recipe ===

impl Recipe {
    /// Whether the app gets a private socket in `NOTIFY_SOCKET`, for a readiness check that asks for `READY=1`.
    #[must_use]
    pub fn notifying(self, notify: bool) -> Self {
        Self { notify, ..self }
    }

    /// Who the app runs as, by number; `None`: as hitless does. A user without a group keeps hitless's group.
    #[must_use]
    pub fn running_as(self, user: Option<u32>, group: Option<u32>) -> Self {
        Self {
            user,
            group,
            ..self
        }
    }

    /// Its files are as they are now; `changes` counts how often they change from now on.
    #[must_use]
    pub fn of_files(self, changes: &Changes) -> Self {
        let files = Seen {
            changes: changes.clone(),
            count: changes.count(),
        };
        Self { files, ..self }
    }

    /// The directory it starts in, without symlinks.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The names of the variables that it is started with. Their values are nobody's business.
    pub fn names(&self) -> &Arc<[String]> {
        &self.names
    }

    /// Whether it would be started from other files now than when it was recorded: another directory stands there, or
    /// none, or a file changed that is watched.
    pub fn files_changed(&self) -> bool {
        self.files.changes.count() != self.files.count || self.directory_changed()
    }

    fn directory_changed(&self) -> bool {
        !fs::metadata(&self.directory)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }

    /// Whether the command speaks of `{socket}`, so that the app listens there and on no port.
    pub(super) fn wants_socket(&self) -> bool {
        self.command
            .iter()
            .any(|part| Filler::mentions_socket(part))
    }
}

impl fmt::Debug for Recipe {
    /// Without the values of the environment, which hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipe")
            .field("command", &self.command)
            .field("directory", &self.directory)
            .field("reserve_port", &self.reserve_port)
            .field("notify", &self.notify)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn config() -> Config {
        Config {
            command: vec!["serve".to_owned()],
            directory: None,
            env_file: None,
            env: BTreeMap::new(),
            reserve_port: true,
        }
    }

    #[track_caller]
    fn check(recipe: &Recipe, name: &str, value: Option<&str>) {
        let found = recipe.environment.get(std::ffi::OsStr::new(name));
        assert_eq!(found.and_then(|found| found.to_str()), value, "{name}");
    }

    #[test]
    fn env_wins_over_env_file_and_that_over_hitless_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        fs::write(&file, "A=file\nB=file\nPYTHONUNBUFFERED=\n").unwrap();
        let config = Config {
            env_file: Some(file),
            env: [("A".to_owned(), "env".to_owned())].into(),
            ..config()
        };
        let own = ["A", "B", "C", "LISTEN_PID"].map(|name| (name.into(), "own".into()));
        let recipe = config.resolve(own).unwrap();
        check(&recipe, "A", Some("env"));
        check(&recipe, "B", Some("file"));
        check(&recipe, "C", Some("own"));
        check(&recipe, "LISTEN_PID", None);
        check(&recipe, "PYTHONUNBUFFERED", Some(""));
        check(
            &self::config().resolve([]).unwrap(),
            "PYTHONUNBUFFERED",
            Some("1"),
        );
    }

    #[test]
    fn a_bad_env_file_fails_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.env");
        fs::write(&file, "A=1\nwhat\n").unwrap();
        let config = Config {
            env_file: Some(file),
            ..config()
        };
        let reason = config.resolve([]).unwrap_err();
        assert_eq!(reason.kind, ReasonKind::Spawn);
        assert!(
            reason
                .message
                .ends_with("app.env:2: not KEY=value: there is no ="),
            "{reason}"
        );
    }

    #[test]
    fn the_directory_is_resolved_anew_through_symlinks() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let current = root.join("current");
        for release in ["1", "2"] {
            fs::create_dir(root.join(release)).unwrap();
        }
        let config = Config {
            directory: Some(current.clone()),
            ..config()
        };
        assert!(config.resolve([]).is_err());
        std::os::unix::fs::symlink("1", &current).unwrap();
        let first = config.resolve([]).unwrap();
        fs::remove_file(&current).unwrap();
        std::os::unix::fs::symlink("2", &current).unwrap();
        let second = config.resolve([]).unwrap();
        assert_eq!(first.directory(), root.join("1"));
        assert_eq!(second.directory(), root.join("2"));
        assert!(!first.files_changed());
        fs::remove_dir(root.join("1")).unwrap();
        assert!(first.files_changed());
    }

    #[test]
    fn a_watched_file_that_changed_since_makes_other_files_of_it() {
        let changes = Changes::default();
        changes.add();
        let first = config().resolve([]).unwrap().of_files(&changes);
        assert!(!first.files_changed());
        changes.add();
        assert!(first.files_changed());
        let second = config().resolve([]).unwrap().of_files(&changes);
        assert!(!second.files_changed());
    }

    #[test]
    fn no_command_is_a_reason_and_no_panic() {
        let config = Config {
            command: Vec::new(),
            ..config()
        };
        assert_eq!(config.resolve([]).unwrap_err().kind, ReasonKind::Spawn);
    }
}
