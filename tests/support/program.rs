//! Programs under test: started, listened to, ended. The only place of the tests that starts any.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::processes;

/// A program that goes on, with everything that it says.
pub struct Program {
    child: Child,
    output: Arc<watch::Sender<Vec<String>>>,
    /// What nobody reads so far.
    unread: Option<Box<dyn Read + Send>>,
}

/// What becomes of a program's standard output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stdout {
    /// It is read, like standard error.
    #[default]
    Read,
    /// Nobody reads it, as if `less` had been stopped.
    Unread,
    /// It is this file.
    File(PathBuf),
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit status; by convention of shells 128 + N after signal N.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// The program under test.
pub fn hitless() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_hitless"))
}

/// Runs a program to its end, which must come `within` this time.
pub async fn run<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
    variables: &[(&str, &str)],
    within: Duration,
) -> Ran {
    run_in(Path::new("."), program, arguments, variables, within).await
}

/// The same, in this folder.
pub async fn run_in<S: AsRef<OsStr>>(
    folder: &Path,
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
    variables: &[(&str, &str)],
    within: Duration,
) -> Ran {
    let mut command = command(program, arguments, variables);
    command.current_dir(folder);
    let shown = format!("{command:?}");
    let began = Instant::now();
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    let pid = pid_of(&child);
    let deadline = began + within;
    let guard = tokio::task::spawn_blocking(move || {
        let late = !processes::exits(pid, deadline);
        if late {
            processes::send(pid, Signal::KILL);
        }
        late
    });
    // Reads both outputs all the while, so that a full pipe holds nobody up.
    let output = tokio::task::spawn_blocking(move || child.wait_with_output());
    let late = guard.await.expect("waiting for a program does not panic");
    let output = output.await.expect("reading its output does not panic");
    let output = output.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let ran = Ran {
        status: status_of(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: began.elapsed(),
    };
    assert!(!late, "{shown} did not end within {within:?}: {ran:#?}");
    ran
}

/// Runs a program on a terminal of 80 columns and 24 rows to its end, which must come `within` this time: its exit
/// status, and everything that it wrote there.
pub async fn run_on_terminal<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
    variables: &[(&str, &str)],
    within: Duration,
) -> (i32, String) {
    run_on_terminal_of(80, program, arguments, variables, within).await
}

/// The same, of so many columns.
pub async fn run_on_terminal_of<S: AsRef<OsStr>>(
    columns: u16,
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
    variables: &[(&str, &str)],
    within: Duration,
) -> (i32, String) {
    let (terminal, inside) = terminal_of(columns);
    let stdout = inside.try_clone().expect("there are descriptors left");
    let mut command = command(program, arguments, variables);
    command.stdout(stdout).stderr(inside);
    let shown = format!("{command:?}");
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    // With it go the ends of the terminal that belong to this process.
    drop(command);
    let (pid, deadline) = (pid_of(&child), Instant::now() + within);
    // The last of the other ends is closed by an error, not by an end of the file.
    let written = tokio::task::spawn_blocking(move || {
        let mut written = Vec::new();
        let mut terminal = terminal;
        drop(terminal.read_to_end(&mut written));
        String::from_utf8_lossy(&written).into_owned()
    });
    let in_time = tokio::task::spawn_blocking(move || processes::exits(pid, deadline));
    let in_time = in_time.await.expect("waiting for a program does not panic");
    if !in_time {
        processes::send(pid, Signal::KILL);
    }
    let status = child.wait().expect("the child is ours to wait for");
    let written = written.await.expect("reading a terminal does not panic");
    assert!(in_time, "{shown} did not end within {within:?}: {written}");
    (status_of(status), written)
}

/// Both ends of a terminal of so many columns: where it is read, and where it is written to.
fn terminal_of(columns: u16) -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).expect("the system has terminals");
    grantpt(&terminal).expect("it is ours");
    unlockpt(&terminal).expect("it is ours");
    let inside = ioctl_tiocgptpeer(&terminal, flags).expect("it has another end");
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(inside.as_fd(), size).expect("it can have this size");
    (File::from(terminal), inside)
}

fn command<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
    variables: &[(&str, &str)],
) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test world starts the program under test"
    )]
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // What the caller's shell has set must not change a test.
    for (name, _) in std::env::vars_os() {
        let ours = name.to_str().is_some_and(|name| {
            name.starts_with("HITLESS_") || name == "RUST_LOG" || name == "RUNTIME_DIRECTORY"
        });
        let asked_for = variables.iter().any(|(own, _)| name == *own);
        if ours && !asked_for {
            command.env_remove(name);
        }
    }
    command
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("a process id fits")
}

fn status_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .expect("a program ends with a status or by a signal")
}

// === impl Program ===

impl Program {
    /// Starts it and listens to what it says on both outputs.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        variables: &[(&str, &str)],
    ) -> Self {
        Self::start_with(program, arguments, variables, &Stdout::Read)
    }

    /// Starts it with another standard output.
    pub fn start_with<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        variables: &[(&str, &str)],
        stdout: &Stdout,
    ) -> Self {
        let mut command = command(program, arguments, variables);
        if let Stdout::File(path) = stdout {
            let file = File::create(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            command.stdout(file);
        }
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = Arc::new(watch::Sender::new(Vec::new()));
        keep_lines(child.stderr.take().expect("stderr is a pipe"), &output);
        let mut program = Self {
            unread: child.stdout.take().map(|pipe| Box::new(pipe) as _),
            child,
            output,
        };
        if *stdout == Stdout::Read {
            program.read_on();
        }
        program
    }

    /// Starts it on a terminal of 60 columns and listens to what it writes there; what it writes over is a line as well.
    pub fn start_on_terminal<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let (terminal, inside) = terminal_of(60);
        let stdout = inside.try_clone().expect("there are descriptors left");
        let mut command = command(program, arguments, &[]);
        command.stdout(stdout).stderr(inside);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // With it go the ends of the terminal that belong to this process.
        drop(command);
        let output = Arc::new(watch::Sender::new(Vec::new()));
        keep_parts(terminal, &output);
        Self {
            unread: None,
            child,
            output,
        }
    }

    /// Reads standard output from now on.
    pub fn read_on(&mut self) {
        if let Some(pipe) = self.unread.take() {
            keep_lines(pipe, &self.output);
        }
    }

    pub fn pid(&self) -> i32 {
        pid_of(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        processes::send(self.pid(), signal);
    }

    /// Everything it has said up to now.
    pub fn output(&self) -> String {
        self.output.borrow().join("\n")
    }

    /// Waits for a line with this text and gives it back.
    #[track_caller]
    pub fn says(&self, text: &str, within: Duration) -> impl Future<Output = String> {
        let mut lines = self.output.subscribe();
        let text = text.to_owned();
        async move {
            let has_said = |lines: &Vec<String>| lines.iter().any(|line| line.contains(&text));
            if timeout(within, lines.wait_for(has_said)).await.is_err() {
                panic!(
                    "never said {text:?} within {within:?}, but:\n{}",
                    lines.borrow().join("\n")
                );
            }
            let lines = lines.borrow();
            let line = lines.iter().find(|line| line.contains(&text));
            line.expect("it was there and lines stay").clone()
        }
    }

    /// The status, if it has ended.
    pub fn has_ended(&mut self) -> Option<i32> {
        let status = self
            .child
            .try_wait()
            .expect("the child is ours to wait for");
        status.map(status_of)
    }

    /// Waits for the end, which must come `within` this time.
    pub async fn ends(&mut self, within: Duration) -> i32 {
        let (pid, deadline) = (self.pid(), Instant::now() + within);
        let ended = tokio::task::spawn_blocking(move || processes::exits(pid, deadline));
        assert!(
            ended.await.expect("waiting does not panic"),
            "still runs after {within:?}; it said:\n{}",
            self.output()
        );
        self.has_ended().expect("its exit was seen")
    }

    /// Ends it at once, as `kill -9` does, and waits for that.
    pub fn kill(&mut self) {
        // Fails only if it has been waited for already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("child", &self.child)
            .finish_non_exhaustive()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The thread ends with the last process that holds the other end of the pipe.
fn keep_lines(pipe: impl Read + Send + 'static, output: &Arc<watch::Sender<Vec<String>>>) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            output.send_modify(|lines| lines.push(text));
            line.clear();
        }
    });
}

/// The same of a terminal, where a line may be written over: each of them counts.
fn keep_parts(mut terminal: File, output: &Arc<watch::Sender<Vec<String>>>) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        // Ends with an error when nobody holds the other end any more.
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            let parts = text.split(['\r', '\n']).filter(|part| !part.is_empty());
            output.send_modify(|lines| lines.extend(parts.map(ToOwned::to_owned)));
        }
    });
}

// === impl Ran ===

impl Ran {
    /// Fails unless it ended with this status.
    #[track_caller]
    pub fn expect_status(self, status: i32, what: &str) -> Self {
        assert_eq!(self.status, status, "exit status of {what}: {self:#?}");
        self
    }

    /// The JSON values that it printed, one a line or a single one over many lines.
    #[track_caller]
    pub fn json(&self) -> Vec<serde_json::Value> {
        let values = serde_json::Deserializer::from_str(&self.stdout).into_iter();
        let values: Result<Vec<_>, _> = values.collect();
        values.unwrap_or_else(|error| panic!("not JSON ({error}): {self:#?}"))
    }
}
