//! How the keeper starts one program, and what it says when that fails.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use super::protocol::{Spawn, SpawnFailure};
use super::{Config, table};
use crate::paths;

/// Where programs are looked for when the environment has no `PATH`, as the C library does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Starts the program as the leader of a process group of its own, with standard output and standard error on the two
/// descriptors.
pub(super) fn spawn(order: &Spawn, descriptors: Vec<OwnedFd>) -> Result<Pid, SpawnFailure> {
    let Ok([out, err]) = <[OwnedFd; 2]>::try_from(descriptors) else {
        return Err(SpawnFailure {
            errno: Errno::MFILE.raw_os_error(),
            message: "cannot start: the keeper is out of file descriptors".to_owned(),
        });
    };
    command(order, out, err)
        .and_then(|mut command| command.spawn())
        .map_err(|error| explain(order, &error))
        .and_then(|child| {
            table::pid(child.id()).ok_or_else(|| SpawnFailure {
                errno: 0,
                message: "cannot start: the process has no number".to_owned(),
            })
        })
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place that starts an app"
)]
fn command(order: &Spawn, out: OwnedFd, err: OwnedFd) -> io::Result<Command> {
    let (program, arguments) = order
        .command
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(order.environment.iter().map(|(key, value)| (key, value)))
        .current_dir(&order.directory)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0);
    if let Some(group) = order.group {
        command.gid(group);
    }
    if let Some(user) = order.user {
        command.uid(user);
    }
    die_with_the_keeper(&mut command);
    Ok(command)
}

/// The kernel's own promise beside the keeper's: should the keeper be killed, its children are.
#[allow(
    unsafe_code,
    reason = "there is no safe way to run something between fork and exec"
)]
fn die_with_the_keeper(command: &mut Command) {
    let keeper = getpid();
    // SAFETY: two system calls on integers, which neither allocate nor take a lock.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The keeper may have died between the fork and this.
            if getppid() == Some(keeper) {
                Ok(())
            } else {
                Err(Errno::SRCH.into())
            }
        });
    }
}

/// The error number alone does not say whether the program, its interpreter or the directory is missing.
fn explain(order: &Spawn, error: &io::Error) -> SpawnFailure {
    let errno = error.raw_os_error().unwrap_or(0);
    let program = order
        .command
        .first()
        .map(OsStr::new)
        .unwrap_or_else(|| OsStr::new(""));
    let message = explain_directory(Path::new(&order.directory)).unwrap_or_else(|| {
        let why = explain_program(order, program, error);
        format!("cannot start \"{}\": {why}", program.display())
    });
    SpawnFailure { errno, message }
}

/// Why the program of this command cannot be started as things are: there is none. None where there is one, or where that
/// cannot be told beforehand.
pub fn no_program(config: &Config) -> Option<String> {
    let program = OsStr::new(config.command.first()?);
    let by_name = !has_slash(program);
    let may_move = config.env_file.is_some() && by_name && !config.env.contains_key("PATH");
    // Its name is made for each instance, or where it is looked for is read at the start.
    if may_move || program.is_empty() || program.as_bytes().contains(&b'{') {
        return None;
    }
    let own = config.env.get("PATH").map(Into::into);
    let path = own.or_else(|| std::env::var_os("PATH"));
    let directory = config
        .directory
        .as_deref()
        .unwrap_or_else(|| Path::new("."));
    let directory = paths::whole(directory);
    if !directory.is_dir() {
        // That is what is wrong, and what it is told by.
        return None;
    }
    let order = Spawn {
        id: 0,
        command: vec![program.to_owned()],
        environment: path.map(|path| ("PATH".into(), path)).into_iter().collect(),
        directory: directory.into(),
        user: None,
        group: None,
    };
    match find(&order, program) {
        Some(_) => None,
        None => Some(format!(
            "\"{}\": {}",
            program.display(),
            explain_missing(&order, program)
        )),
    }
}

fn explain_directory(directory: &Path) -> Option<String> {
    let why = match fs::metadata(directory) {
        Ok(found) if found.is_dir() => return None,
        Ok(_) => "it is not a directory".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "no such directory".to_owned(),
        Err(error) => error.to_string(),
    };
    Some(format!("cannot start in {}: {why}", directory.display()))
}

fn explain_program(order: &Spawn, program: &OsStr, error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => explain_missing(order, program),
        Some(Errno::ACCESS) => explain_denied(order, program),
        Some(Errno::PERM) => "no permission (to become its user or group?)".to_owned(),
        Some(Errno::NOMEM) => "out of memory".to_owned(),
        Some(Errno::AGAIN) => "the limit of processes or memory is reached".to_owned(),
        Some(Errno::TOOBIG) => "its arguments and environment are too long".to_owned(),
        Some(Errno::NOEXEC) => "it is not a program of this machine".to_owned(),
        _ => error.to_string(),
    }
}

fn explain_missing(order: &Spawn, program: &OsStr) -> String {
    match find(order, program) {
        Some(path) => match interpreter(&path) {
            Some(interpreter) => format!("its interpreter {interpreter} is not found"),
            None => "its dynamic loader is not found".to_owned(),
        },
        None if program.as_bytes().contains(&b' ') => {
            "no program of that name; it is one word here: leave out the quotes, or write each word by itself"
                .to_owned()
        }
        None if has_slash(program) => {
            let directory = Path::new(&order.directory);
            let meant = meant(&directory.join(program), program);
            format!("no such file (in {}){meant}", directory.display())
        }
        None => {
            let beside = Path::new(&order.directory).join(program);
            let meant = match beside.is_file() {
                // The shell does not look there either, and people forget it.
                true => format!(
                    "; there is one in {}: write \"./{}\"",
                    Path::new(&order.directory).display(),
                    program.display()
                ),
                false => meant_by_name(order, program),
            };
            format!("command not found{meant}")
        }
    }
}

fn explain_denied(order: &Spawn, program: &OsStr) -> String {
    let path = find(order, program);
    let shown = path.as_deref().unwrap_or_else(|| Path::new("")).display();
    match path.as_ref().map(fs::metadata) {
        Some(Ok(found)) if found.is_dir() => "it is a directory".to_owned(),
        Some(Ok(found)) if found.permissions().mode() & 0o111 == 0 => {
            format!("not executable: chmod +x {shown}, or name the program that runs it first")
        }
        Some(_) => format!("no permission: its user must be able to execute {shown}"),
        None => "command not found, or no permission".to_owned(),
    }
}

/// The file beside the missing one that has nearly its name.
fn meant(missing: &Path, program: &OsStr) -> String {
    let (Some(folder), Some(name)) = (missing.parent(), missing.file_name()) else {
        return String::new();
    };
    let written = Path::new(program);
    nearest(name, [folder.to_owned()].into_iter()).map_or_else(String::new, |near| {
        format!(
            "; did you mean \"{}\"?",
            written.with_file_name(near).display()
        )
    })
}

/// The program in the folders of PATH that has nearly this name.
fn meant_by_name(order: &Spawn, program: &OsStr) -> String {
    let folders = std::env::split_paths(path_of(order));
    nearest(program, folders).map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
}

/// Of the files in these folders the one with the name that is nearest to this, if it is near enough to be meant.
fn nearest(name: &OsStr, folders: impl Iterator<Item = PathBuf>) -> Option<String> {
    let name = name.to_str()?;
    let entries = folders.filter_map(|folder| fs::read_dir(folder).ok());
    let names = entries
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .map(|other| (strsim::damerau_levenshtein(name, &other), other))
        .filter(|(distance, _)| *distance <= 1 + name.len() / 6)
        .min()
        .map(|(_, other)| other)
}

fn path_of(order: &Spawn) -> &OsStr {
    let mut variables = order.environment.iter();
    variables
        .find(|(key, _)| key == "PATH")
        .map_or_else(|| OsStr::new(DEFAULT_PATH), |(_, value)| value)
}

/// The file that the name leads to, executable or not.
fn find(order: &Spawn, program: &OsStr) -> Option<PathBuf> {
    let directory = Path::new(&order.directory);
    if has_slash(program) {
        return Some(directory.join(program)).filter(|path| path.exists());
    }
    std::env::split_paths(path_of(order))
        .map(|folder| directory.join(folder).join(program))
        .find(|path| path.exists())
}

fn has_slash(program: &OsStr) -> bool {
    program.as_bytes().contains(&b'/')
}

/// What stands behind `#!`.
fn interpreter(path: &Path) -> Option<String> {
    let mut head = [0; 256];
    let length = io::Read::read(&mut fs::File::open(path).ok()?, &mut head).ok()?;
    let line = head[..length]
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let line = String::from_utf8_lossy(line);
    line.split_whitespace().next().map(str::to_owned)
}
