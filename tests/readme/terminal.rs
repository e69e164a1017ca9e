//! The desk of somebody who reads the README: an empty folder, a terminal for `hitless run` and one for the rest.
//!
//! The only liberties: the ports 8080 and 9900 are free ones instead, for tests run side by side; curl is told to keep
//! its progress to itself, and gunicorn to leave the home of whoever runs the tests alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use super::page::Step;
use super::shown;
use super::support::app::python;
use super::support::client::{Connection, get};
use super::support::processes;
use super::support::program::{self, Program, Ran};

/// How long any command may take, and hitless to get its app live: a compiler may be among them.
const PATIENCE: Duration = Duration::from_secs(120);

/// The first place to look for ports: below those that the system gives to whoever asks for any.
const FIRST_PORT: u16 = 20_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    folder: TempDir,
    world: String,
    ports: [(&'static str, u16); 2],
    running: Option<Program>,
    status: i32,
}

/// What is done with a line.
enum Line {
    /// Run as it stands.
    Run(String),
    /// Run in the first terminal, where it stays.
    Stay(String),
    /// Building the hitless under test again would take minutes and prove nothing: that it is a known way to build it.
    Build,
    /// Making the environment takes its time as well: it is the one that `tests/run` has made.
    Environment,
    /// The tests that run this one: that they are there, with these options.
    Tests(Vec<String>),
}

// === impl Line ===

impl Line {
    fn read(command: &str) -> Self {
        if let Some(words) = command.strip_prefix("cargo run --release -- ") {
            return Self::read(&format!("hitless {words}"));
        }
        let words: Vec<_> = command.split_whitespace().collect();
        match words[..] {
            ["cargo", "install", "--locked", "--path", "."] | ["cargo", "build", "--release"] => {
                Self::Build
            }
            ["cargo", ..] => panic!("no test knows what becomes of {command:?}"),
            ["python3", "-m", "venv", "venv"] => Self::Environment,
            ["tests/run", ref options @ ..] => {
                Self::Tests(options.iter().map(|&option| option.to_owned()).collect())
            }
            ["hitless", "run", ..] => Self::Stay(command.to_owned()),
            _ => Self::Run(command.to_owned()),
        }
    }
}

// === impl Desk ===

impl Desk {
    pub(crate) fn new() -> Self {
        static DESKS: AtomicU16 = AtomicU16::new(0);
        let number = DESKS.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        for name in ["hello", "bin", "home", "run"] {
            fs::create_dir(folder.path().join(name)).expect("the folder is new");
        }
        let desk = Self {
            world: format!("readme-{}-{number}", std::process::id()),
            ports: [("8080", free_port()), ("9900", free_port())],
            running: None,
            status: 0,
            folder,
        };
        // hitless wants the folder of its control socket for itself.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(desk.place("run"), private).expect("the folder is ours");
        fs::write(desk.place("home/.curlrc"), "silent\nshow-error\n").expect("the folder is ours");
        std::os::unix::fs::symlink(program::hitless(), desk.place("bin/hitless"))
            .expect("the folder is ours");
        desk
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// With free ports in the place of the README's.
    fn localised(&self, text: &str) -> String {
        let ports = self.ports.iter();
        ports.fold(text.to_owned(), |text, (port, free)| {
            text.replace(port, &free.to_string())
        })
    }

    /// Saves a file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.place("hello").join(name);
        fs::write(&path, self.localised(text))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// A line of a `sh` block of the README, which begins there.
    pub(crate) async fn types(&mut self, line: usize, command: &str) {
        match Line::read(command) {
            Line::Stay(command) => self.stays(line, &command).await,
            Line::Run(command) => {
                let ran = self.run(&command).await;
                assert_eq!(ran.status, 0, "README.md:{line}: {command}: {ran:#?}");
            }
            Line::Build => assert_eq!(env!("CARGO_PKG_NAME"), "hitless"),
            Line::Environment => self.links_environment(),
            Line::Tests(options) => self.tests_are_there(line, &options).await,
        }
    }

    /// A step of a `console` block. It may fail only where the README asks for its status next.
    pub(crate) async fn answers(&mut self, step: &Step, next: Option<&str>) {
        let Step { line, command, .. } = step;
        let Line::Run(command) = Line::read(command) else {
            panic!("README.md:{line}: {command} belongs into a block of its own, of sh");
        };
        let ran = self.run(&command).await;
        let asked_for = next == Some("echo $?");
        assert!(
            ran.status == 0 || asked_for,
            "README.md:{line}: {command}: {ran:#?}"
        );
        if let Some(missing) = shown::missing(&step.shown, &ran.stdout) {
            panic!(
                "README.md:{line}: {command}: in vain looked for:\n{missing}\nin:\n{}\nhitless said:\n{}",
                ran.stdout,
                self.said()
            );
        }
    }

    async fn run(&mut self, command: &str) -> Ran {
        let last = self.status;
        // In one stream, as on a screen; with the status of the command before, for `echo $?`.
        let script = self.script(&format!("exec 2>&1\n(exit {last})\n{command}"));
        let shell = Path::new("/bin/bash");
        let ran = program::run(shell, ["-c", &script], &self.mark(), PATIENCE).await;
        self.status = ran.status;
        ran
    }

    /// `hitless run`, until its app is live.
    async fn stays(&mut self, line: usize, command: &str) {
        assert!(
            self.running.is_none(),
            "README.md:{line}: another hitless runs in this chapter"
        );
        let script = self.script(&format!("exec {command}"));
        let program = Program::start(Path::new("/bin/bash"), ["-c", &script], &self.mark());
        let running = self.running.insert(program);
        let admin = (std::net::Ipv4Addr::LOCALHOST, self.ports[1].1).into();
        let deadline = Instant::now() + PATIENCE;
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !is_ready(admin).await {
            ticks.tick().await;
            let ended = running.has_ended();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "README.md:{line}: {command} (ended: {ended:?}) serves nothing; it said:\n{}",
                running.output()
            );
        }
    }

    fn links_environment(&self) {
        let folder = python();
        let folder = folder.parent().and_then(Path::parent);
        let folder = folder.expect("a Python of an environment lies two folders down");
        assert!(
            folder.join("pyvenv.cfg").exists(),
            "{} is no Python environment: `tests/run` makes one",
            folder.display()
        );
        std::os::unix::fs::symlink(folder, self.place("hello/venv")).expect("it is made once");
    }

    async fn tests_are_there(&self, line: usize, options: &[String]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run");
        let ran = program::run(&script, ["--help"], &self.mark(), PATIENCE).await;
        let ran = ran.expect_status(0, "tests/run --help");
        for option in options {
            assert!(
                ran.stdout.contains(option),
                "README.md:{line}: tests/run knows no {option}: {ran:#?}"
            );
        }
    }

    /// Ctrl-C in the terminal of hitless. Nothing is left.
    pub(crate) async fn leave(mut self) {
        if let Some(mut running) = self.running.take() {
            running.signal(Signal::INT);
            let status = running.ends(PATIENCE).await;
            assert_eq!(status, 0, "after Ctrl-C; it said:\n{}", running.output());
        }
        let world = self.world.clone();
        let within = Duration::from_secs(5);
        let left = tokio::task::spawn_blocking(move || processes::left_after(&world, within));
        let left = left.await.expect("looking at processes does not panic");
        assert!(left.is_empty(), "left behind:\n{}", processes::list(&left));
    }

    fn said(&self) -> String {
        self.running
            .as_ref()
            .map(Program::output)
            .unwrap_or_default()
    }

    fn mark(&self) -> [(&str, &str); 1] {
        [(processes::MARK, &self.world)]
    }

    /// Where what is typed finds the hitless under test, and that hitless its ports and its control socket.
    fn script(&self, command: &str) -> String {
        let root = self.folder.path().display();
        let [(_, listen), (_, admin)] = self.ports;
        let command = self.localised(command);
        // A check weighs the variables as well, and is to say what the page says.
        let alone = match command.contains("hitless check ") {
            true => "unset HITLESS_LISTEN HITLESS_ADMIN\n",
            false => "",
        };
        format!(
            "cd {root}/hello\n\
             export PATH={root}/bin:$PATH CURL_HOME={root}/home RUNTIME_DIRECTORY={root}/run\n\
             export GUNICORN_CMD_ARGS=--no-control-socket\n\
             export HITLESS_LISTEN=127.0.0.1:{listen} HITLESS_ADMIN=127.0.0.1:{admin}\n\
             {alone}{command}"
        )
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Left early, it is left clean all the same.
        drop(self.running.take());
        for process in processes::marked(&self.world) {
            processes::send(process.pid, Signal::KILL);
        }
    }
}

async fn is_ready(admin: std::net::SocketAddr) -> bool {
    let asked = timeout(Duration::from_secs(5), async {
        let mut connection = Connection::open(admin).await.ok()?;
        let mut request = get("/readyz");
        let host = http::HeaderValue::from_static("localhost");
        request.headers_mut().insert(http::header::HOST, host);
        connection.send(request).await.ok()
    });
    let answer = asked.await.ok().flatten();
    answer.is_some_and(|answer| answer.status.is_success())
}

/// A port that nobody gets by asking for any: those come from further up.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test programs at once begin at different places.
    let start = u16::try_from(std::process::id() % 1_000).expect("it is below 1000") * 10;
    loop {
        let offset = start + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + offset % 10_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
