//! Where the control socket is: the rule by which a name becomes a path, the folder that keeps others out, and which
//! hitless a client means that names none.
//!
//! Makes the folder, and connects to sockets to see who lives. Never listens and never removes anything.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, geteuid};
use socket2::{Domain, SockAddr, Socket, Type};

/// `sun_path` less its NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// What decides about the folder of the control sockets.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// `$RUNTIME_DIRECTORY`, where systemd names the folders it has made for a unit, with colons between them.
    pub runtime_directory: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// The system's folder for temporary files.
    pub temporary: PathBuf,
    /// The effective user.
    pub user: u32,
}

/// Who is at a control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A process accepts connections, the one of this number where the system tells.
    Live(Option<Pid>),
    /// The socket is there, and nobody listens.
    Stale,
    /// Something that is no socket, and so not ours to replace.
    Foreign,
    /// Nothing is there.
    Missing,
}

/// Why there is no path of a control socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made or looked at.
    #[error("cannot use {} for control sockets: {source}{}", folder.display(), whose(source))]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can get at what is in the folder, or the folder is theirs.
    #[error("{} is not safe for control sockets: {what}; name another path with --control", folder.display())]
    Unsafe {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The path is longer than that of a socket can be.
    #[error("{} is too long for a socket: at most {UNIX_PATH_BYTES_MAX} bytes", .0.display())]
    Long(PathBuf),
    /// No hitless of this user runs.
    #[error(
        "no hitless of this user is running: there is no live control socket in {}; `hitless run` starts one, and one of another \
         user is asked as that user, or as root with --control PATH",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// More than one runs, and none was named.
    #[error("several hitless are running, choose one:{}", choices(.0))]
    Several(Vec<PathBuf>),
}

/// The path at which hitless is to listen: `explicit`, else by `name` in the folder that is meant for it, which is made
/// if it is missing.
///
/// # Errors
///
/// The path is too long; or, unless it is explicit, the folder cannot be made, is not ours, or is open to others.
pub fn control_path(name: &str, explicit: Option<&Path>) -> Result<PathBuf, Error> {
    Surroundings::of_process().control_path(name, explicit)
}

/// The path at which the hitless is to be found that a client means: `explicit`, else by `name`, else the only one
/// that lives in the folder. What is named need not live.
///
/// # Errors
///
/// The folder is not safe; without a name, none lives there, or several do.
pub fn find(name: Option<&str>, explicit: Option<&Path>) -> Result<PathBuf, Error> {
    Surroundings::of_process().find(name, explicit)
}

/// Who is at this path. Never waits.
///
/// # Errors
///
/// The system's, other than that nobody listens or nothing is there.
pub fn presence(path: &Path) -> io::Result<Presence> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => {
            let peer = rustix::net::sockopt::socket_peercred(socket.as_fd()).ok();
            Ok(Presence::Live(peer.map(|peer| peer.pid)))
        }
        // Its queue is full, so somebody listens.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Presence::Live(None)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            match fs::symlink_metadata(path)?.file_type().is_socket() {
                true => Ok(Presence::Stale),
                false => Ok(Presence::Foreign),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Presence::Missing),
        Err(error) => Err(error),
    }
}

// === impl Surroundings ===

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let folder = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            runtime_directory: folder("RUNTIME_DIRECTORY"),
            xdg_runtime_dir: folder("XDG_RUNTIME_DIR"),
            temporary: env::temp_dir(),
            user: geteuid().as_raw(),
        }
    }

    /// The folder of the control sockets.
    pub fn folder(&self) -> PathBuf {
        if let Some(folders) = &self.runtime_directory
            && let Some(first) = env::split_paths(folders).next()
        {
            return first;
        }
        match &self.xdg_runtime_dir {
            _ if self.user == 0 => "/run/hitless".into(),
            Some(folder) => folder.join("hitless"),
            None => self.temporary.join(format!("hitless-{}", self.user)),
        }
    }

    /// See the function [`control_path`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn control_path(&self, name: &str, explicit: Option<&Path>) -> Result<PathBuf, Error> {
        if let Some(path) = explicit {
            return short(path.to_owned());
        }
        let folder = self.folder();
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::Folder { folder, source }),
        }
        self.safe(&folder, false)?;
        short(folder.join(file_name(name)))
    }

    /// See the function [`find`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn find(&self, name: Option<&str>, explicit: Option<&Path>) -> Result<PathBuf, Error> {
        if let Some(path) = explicit {
            return short(path.to_owned());
        }
        let folder = self.folder();
        match fs::symlink_metadata(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotRunning(folder));
            }
            _ => self.safe(&folder, self.user == 0)?,
        }
        match name {
            Some(name) => short(folder.join(file_name(name))),
            None => only_live(folder),
        }
    }

    /// Nobody but us can have put something into the folder. `of_others`: nor anybody but its owner, as root may ask
    /// for when it talks to another user's hitless.
    fn safe(&self, folder: &Path, of_others: bool) -> Result<(), Error> {
        let refuse = |what: String| {
            Err(Error::Unsafe {
                folder: folder.to_owned(),
                what,
            })
        };
        // Not through a symlink, which could lead to wherever its owner wants.
        let found = fs::symlink_metadata(folder).map_err(|source| Error::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        let mode = found.mode() & 0o7777;
        match () {
            () if !found.is_dir() => refuse("it is no folder".to_owned()),
            () if found.uid() != self.user && !of_others => {
                refuse(format!("it belongs to user {}", found.uid()))
            }
            () if mode & 0o077 != 0 => refuse(format!("its mode is {mode:04o} and must be 0700")),
            () => Ok(()),
        }
    }
}

fn file_name(name: &str) -> String {
    format!("{name}.sock")
}

fn short(path: PathBuf) -> Result<PathBuf, Error> {
    match path.as_os_str().len() <= UNIX_PATH_BYTES_MAX {
        true => Ok(path),
        false => Err(Error::Long(path)),
    }
}

/// The names of those that live in the folder of this socket.
pub fn live_beside(path: &Path) -> Vec<String> {
    let folder = path.parent().unwrap_or(path);
    let paths = live(folder).unwrap_or_default();
    let names = paths.iter().filter_map(|path| path.file_stem()?.to_str());
    names.map(ToOwned::to_owned).collect()
}

fn live(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut live: Vec<_> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new("sock")))
        .filter(|path| matches!(presence(path), Ok(Presence::Live(_))))
        .collect();
    live.sort();
    Ok(live)
}

fn only_live(folder: PathBuf) -> Result<PathBuf, Error> {
    let mut live = match live(&folder) {
        Ok(live) => live,
        Err(source) => return Err(Error::Folder { folder, source }),
    };
    match live.len() {
        0 => Err(Error::NotRunning(folder)),
        1 => Ok(live.remove(0)),
        _ => Err(Error::Several(live)),
    }
}

fn choices(paths: &[PathBuf]) -> String {
    let line = |path: &PathBuf| format!("\n  {}", flag(path));
    paths.iter().map(line).collect()
}

fn whose(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; it belongs to another user: ask as that user, or as root"
        }
        _ => "",
    }
}

/// The flag by which a client picks the hitless of this socket in the folder that is meant for them.
pub fn flag(path: &Path) -> String {
    match path.file_stem().and_then(OsStr::to_str) {
        Some(name) => format!("--name {name}"),
        None => format!("--control {}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A user's surroundings below a folder of their own.
    fn surroundings(below: &Path) -> Surroundings {
        Surroundings {
            runtime_directory: Some(below.join("hitless")),
            xdg_runtime_dir: None,
            temporary: below.to_owned(),
            user: geteuid().as_raw(),
        }
    }

    #[test]
    fn the_folder_follows_the_rule() {
        let mut around = Surroundings {
            runtime_directory: Some("/run/one:/run/two".into()),
            xdg_runtime_dir: Some("/run/user/7".into()),
            temporary: "/tmp".into(),
            user: 7,
        };
        assert_eq!(around.folder(), Path::new("/run/one"));
        around.runtime_directory = None;
        assert_eq!(around.folder(), Path::new("/run/user/7/hitless"));
        around.user = 0;
        assert_eq!(around.folder(), Path::new("/run/hitless"));
        (around.user, around.xdg_runtime_dir) = (7, None);
        assert_eq!(around.folder(), Path::new("/tmp/hitless-7"));
    }

    #[test]
    fn the_folder_is_made_for_us_alone() {
        let below = tempfile::tempdir().unwrap();
        let around = surroundings(below.path());
        let path = around.control_path("web", None).unwrap();
        assert_eq!(path, below.path().join("hitless/web.sock"));
        let mode = fs::metadata(around.folder()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(around.control_path("web", None).is_ok());
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let below = tempfile::tempdir().unwrap();
        let around = surroundings(below.path());
        fs::create_dir(around.folder()).unwrap();
        fs::set_permissions(around.folder(), PermissionsExt::from_mode(0o755)).unwrap();
        let error = around.control_path("web", None).unwrap_err().to_string();
        assert!(error.contains("its mode is 0755"), "{error}");
        assert!(around.find(None, None).is_err());
    }

    #[test]
    fn a_folder_of_somebody_else_and_a_symlink_are_refused() {
        let below = tempfile::tempdir().unwrap();
        let mut around = surroundings(below.path());
        around.control_path("web", None).unwrap();
        symlink(around.folder(), below.path().join("link")).unwrap();
        let linked = Surroundings {
            runtime_directory: Some(below.path().join("link")),
            ..around.clone()
        };
        let error = linked.control_path("web", None).unwrap_err().to_string();
        assert!(error.contains("it is no folder"), "{error}");
        around.user += 1;
        let error = around.control_path("web", None).unwrap_err().to_string();
        assert!(error.contains("it belongs to user"), "{error}");
    }

    #[test]
    fn an_explicit_path_is_taken_as_it_is() {
        let below = tempfile::tempdir().unwrap();
        let around = surroundings(below.path());
        let path = Path::new("/srv/a.sock");
        assert_eq!(around.control_path("web", Some(path)).unwrap(), path);
        assert_eq!(around.find(None, Some(path)).unwrap(), path);
        assert!(!around.folder().exists());
        let long = PathBuf::from(format!("/{}", "a".repeat(107)));
        assert!(matches!(
            around.find(None, Some(&long)),
            Err(Error::Long(_))
        ));
    }

    #[test]
    fn a_client_finds_the_only_live_one() {
        let below = tempfile::tempdir().unwrap();
        let around = surroundings(below.path());
        assert!(matches!(around.find(None, None), Err(Error::NotRunning(_))));
        let one = around.control_path("one", None).unwrap();
        let two = around.control_path("two", None).unwrap();
        assert!(matches!(around.find(None, None), Err(Error::NotRunning(_))));
        drop(UnixListener::bind(&two).unwrap());
        let _one = UnixListener::bind(&one).unwrap();
        assert_eq!(around.find(None, None).unwrap(), one);
        assert_eq!(around.find(Some("two"), None).unwrap(), two);
        assert_eq!(live_beside(&two), ["one"]);
        assert_eq!(presence(&two).unwrap(), Presence::Stale);
        assert_eq!(
            presence(&below.path().join("none")).unwrap(),
            Presence::Missing
        );
        fs::write(below.path().join("file"), "").unwrap();
        assert_eq!(
            presence(&below.path().join("file")).unwrap(),
            Presence::Foreign
        );
        let own = rustix::process::getpid();
        assert_eq!(presence(&one).unwrap(), Presence::Live(Some(own)));

        fs::remove_file(&two).unwrap();
        let _two = UnixListener::bind(&two).unwrap();
        let error = around.find(None, None).unwrap_err().to_string();
        assert!(
            error.ends_with("choose one:\n  --name one\n  --name two"),
            "{error}"
        );
    }
}
