//! Where the show is played: a private folder with the configuration, the app's file of options and the control socket.
//!
//! It writes files and nothing else. To change the options is to deploy a version. Dropped, the folder goes.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How often another name is tried for the folder.
const TRIES_MAX: usize = 16;

/// The name of the app.
pub(super) const APP: &str = "demo";

/// How long the app may take to become ready: the version that never does is to be told before anybody is bored.
const START_TIMEOUT: &str = "3s";

/// How long a new version can be sent back: longer than any act.
const PROBATION: &str = "10s";

/// The folder, and what is in it.
#[derive(Debug)]
pub struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// A stage with version 1 of the app.
    ///
    /// # Errors
    ///
    /// The folder cannot be made, or its path or that of this program is not UTF-8, as a configuration must be.
    pub fn set() -> io::Result<Self> {
        let stage = Self { folder: make()? };
        stage.deploy(1, &[])?;
        fs::write(stage.config(), stage.settings()?)?;
        Ok(stage)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("hitless.toml")
    }

    /// The control socket.
    pub(super) fn control(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// The app's file of options.
    pub(super) fn options(&self) -> PathBuf {
        self.folder.join("options")
    }

    /// Deploys a version with these faults: the next start of the app reads it.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn deploy(&self, version: u64, faults: &[&str]) -> io::Result<()> {
        let mut lines = vec![format!("--version={version}")];
        lines.extend(faults.iter().map(|&fault| fault.to_owned()));
        // In one step, as every deploy should be: nobody reads half of it.
        let written = self.folder.join("options.new");
        fs::write(&written, lines.join("\n") + "\n")?;
        fs::rename(written, self.options())
    }

    fn settings(&self) -> io::Result<String> {
        let program = std::env::current_exe()?;
        let (control, options) = (self.control(), self.options());
        let [program, control, options] = [&program, &control, &options].map(|path| quoted(path));
        let (program, control, options) = (program?, control?, options?);
        Ok(format!(
            "# The configuration of `hitless demo`. Each reload reads it anew.\n\
             listen = [\"127.0.0.1:0\"]\n\
             admin = \"127.0.0.1:0\"\n\
             control = {control}\n\
             \n\
             [log]\n\
             access = \"off\"\n\
             \n\
             [app.{APP}]\n\
             command = [{program}, \"demo-app\", \"--options\", {options}]\n\
             \n\
             [app.{APP}.ready]\n\
             start_timeout = \"{START_TIMEOUT}\"\n\
             \n\
             [app.{APP}.failover]\n\
             probation = \"{PROBATION}\"\n"
        ))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A folder of the system's temporary ones that cannot be removed harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn make() -> io::Result<PathBuf> {
    let base = std::env::temp_dir();
    let mut random = fastrand::Rng::new();
    for _ in 0..TRIES_MAX {
        let mark: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(8)
            .collect();
        let folder = base.join(format!("hitless-demo-{mark}"));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                let what = format!(
                    "cannot make a folder in {} ({error}): name another one in TMPDIR",
                    base.display()
                );
                return Err(io::Error::new(error.kind(), what));
            }
        }
    }
    let what = format!("no free name for a folder in {}", base.display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, what))
}

/// A path as a string of TOML, whose escapes are those of JSON.
fn quoted(path: &Path) -> io::Result<String> {
    let not_text = || io::Error::other(format!("{}: its path is not UTF-8", path.display()));
    let text = path.to_str().ok_or_else(not_text)?;
    serde_json::to_string(text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::config::{Config, Overrides};

    #[test]
    fn the_configuration_is_valid_and_the_folder_private_while_it_lasts() {
        let stage = Stage::set().unwrap();
        let mode = fs::metadata(&stage.folder).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        let config = Config::load(&stage.config(), &Overrides::default()).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert_eq!(config.control, Some(stage.control()));
        let folder = stage.folder.clone();
        drop(stage);
        assert!(!folder.exists());
    }

    #[test]
    fn a_deploy_replaces_the_options() {
        let stage = Stage::set().unwrap();
        stage.deploy(3, &["--die-at-start=3"]).unwrap();
        let options = fs::read_to_string(stage.options()).unwrap();
        assert_eq!(options, "--version=3\n--die-at-start=3\n");
    }
}
