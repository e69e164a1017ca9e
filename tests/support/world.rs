//! One hitless under test: started, asked, told, ended, and nothing of it left behind.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior};

use super::app::App;
use super::client::{Answer, Connection, fetch_path, get, request};
use super::metrics::Metrics;
use super::processes;
use super::program::{self, Program, Ran, Stdout};
use super::status::Status;

/// How long anything of hitless may take that depends on nothing but a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// The name of the app where flags alone describe it.
pub const APP: &str = "app";

/// A running hitless. Dropped, it is killed, and the test fails if a process of it is left behind.
#[derive(Debug)]
pub struct Hitless {
    program: Program,
    place: Arc<Place>,
    world: String,
    listen: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

/// The folder of a hitless, which a second one at the same place shares.
#[derive(Debug)]
struct Place {
    folder: TempDir,
}

/// How a hitless is to be started.
#[derive(Debug)]
pub struct Builder {
    place: Arc<Place>,
    listen: String,
    options: Vec<String>,
    variables: Vec<(String, String)>,
    /// Text of a configuration file; without any, flags alone describe the app.
    settings: Vec<String>,
    /// The same, for what stands before the first `[table]`.
    globals: Vec<String>,
    command: Vec<String>,
    /// The whole configuration file, instead of all that.
    file: Option<String>,
    /// Off unless a test is about it, for it would be most of what is read.
    access_log: Option<String>,
    /// Whether a flag says where it is asked for metrics and health, with any port.
    admin: bool,
    stdout: Stdout,
}

// === impl Builder ===

impl Builder {
    fn new(app: &App) -> Self {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        Self {
            place: Arc::new(Place { folder }),
            listen: "127.0.0.1:0".to_owned(),
            options: Vec::new(),
            variables: Vec::new(),
            settings: Vec::new(),
            globals: Vec::new(),
            command: app.command().to_vec(),
            access_log: Some("off".to_owned()),
            admin: true,
            stdout: Stdout::Read,
            file: None,
        }
    }

    fn with_file(text: &str) -> Self {
        let builder = Self::new(&App::other(&[]));
        Self {
            file: Some(text.to_owned()),
            ..builder
        }
    }

    /// Where the access log goes: as for `--access-log`.
    #[must_use]
    pub fn access_log(mut self, destination: impl fmt::Display) -> Self {
        self.access_log = Some(destination.to_string());
        self
    }

    /// The file alone says where the access log goes, and where it is asked for metrics and health.
    #[must_use]
    pub fn all_by_file(mut self) -> Self {
        self.access_log = None;
        self.admin = false;
        self
    }

    /// What becomes of hitless's standard output.
    #[must_use]
    pub fn stdout(mut self, stdout: Stdout) -> Self {
        self.stdout = stdout;
        self
    }

    /// An option of `hitless run` with its value.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// An option of `hitless run` without a value.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.options.push(name.to_owned());
        self
    }

    /// Lines of the configuration file, each piece with its own `[table]` heads. Makes this a start with a file.
    #[must_use]
    pub fn setting(mut self, toml: &str) -> Self {
        self.settings.push(toml.to_owned());
        self
    }

    /// A line of the configuration file that stands in no table. Makes this a start with a file.
    #[must_use]
    pub fn global(mut self, toml: &str) -> Self {
        self.globals.push(toml.to_owned());
        self
    }

    /// At the addresses of this one, which has ended.
    #[must_use]
    pub fn in_place_of(mut self, other: &Hitless) -> Self {
        self.place = Arc::clone(&other.place);
        self.listen = other.address().to_string();
        self
    }

    /// Starts it and waits until a generation is live.
    pub async fn start(self) -> Hitless {
        let mut hitless = self.begin().await;
        hitless
            .wait_for("a generation is live", SOON, |status| {
                status.live(APP).is_some()
            })
            .await;
        hitless
    }

    /// Starts it and waits until it can be asked, whether or not anything is live.
    pub async fn begin(self) -> Hitless {
        let mut hitless = self.spawn();
        let status = hitless.wait_for("it can be asked", SOON, |_| true).await;
        hitless.listen = Some(status.listen());
        hitless.admin = Some(status.admin());
        hitless
    }

    /// Starts it and waits for nothing: for one that is to fail.
    pub fn spawn(self) -> Hitless {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let world = format!("{}-{number}", std::process::id());
        let variables = self.variables.iter();
        let variables = variables.map(|(name, value)| (name.as_str(), value.as_str()));
        let log = self.access_log.as_deref();
        let log = log.map(|log| ("HITLESS_ACCESS_LOG", log));
        let own = [(processes::MARK, world.as_str())];
        let variables: Vec<_> = variables.chain(own).chain(log).collect();
        let (program, arguments) = (program::hitless(), self.arguments());
        Hitless {
            program: Program::start_with(program, arguments, &variables, &self.stdout),
            place: self.place,
            world,
            listen: None,
            admin: None,
        }
    }

    fn arguments(&self) -> Vec<String> {
        let control = self.place.control().display().to_string();
        if let Some(text) = &self.file {
            self.place.write_config(text);
            let config = self.place.config().display().to_string();
            let fixed = ["run", "--control", &control, "--config", &config];
            let admin = ["--admin", "127.0.0.1:0"];
            let admin = admin.iter().filter(|_| self.admin);
            let fixed = fixed.iter().chain(admin).map(|&word| word.to_owned());
            return fixed.chain(self.options.iter().cloned()).collect();
        }
        let fixed = [
            "run",
            "--listen",
            &self.listen,
            "--admin",
            "127.0.0.1:0",
            "--control",
            &control,
        ];
        let mut arguments: Vec<String> = fixed.iter().map(|&word| word.to_owned()).collect();
        arguments.extend(self.options.iter().cloned());
        if self.settings.is_empty() && self.globals.is_empty() {
            arguments.push("--".to_owned());
            arguments.extend(self.command.iter().cloned());
        } else {
            let (globals, settings) = (self.globals.join("\n"), self.settings.join("\n"));
            self.place.configure(&self.command, &globals, &settings);
            arguments.extend([
                "--config".to_owned(),
                self.place.config().display().to_string(),
            ]);
        }
        arguments
    }
}

// === impl Place ===

impl Place {
    fn control(&self) -> PathBuf {
        self.folder.path().join("c.sock")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("hitless.toml")
    }

    fn configure(&self, command: &[String], globals: &str, settings: &str) {
        // A JSON array of strings is a TOML array of strings.
        let command = serde_json::to_string(command).expect("strings are JSON");
        let text = format!("{globals}\n[app.{APP}]\ncommand = {command}\n{settings}\n");
        self.write_config(&text);
    }

    fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).expect("the folder can be written to");
    }
}

// === impl Hitless ===

impl Hitless {
    /// In front of this app with all defaults, live.
    pub async fn start(app: &App) -> Self {
        Self::of(app).start().await
    }

    /// In front of this app, with more to be said.
    pub fn of(app: &App) -> Builder {
        Builder::new(app)
    }

    /// With this configuration file, which says where it listens.
    pub fn with_file(text: &str) -> Builder {
        Builder::with_file(text)
    }

    /// Puts this configuration file in the place of the one that it was started with.
    pub fn rewrite(&self, text: &str) {
        self.place.write_config(text);
    }

    /// Waits until each of these apps has a live generation.
    pub async fn all_live(&mut self, apps: &[&str]) -> Status {
        let all = |status: &Status| apps.iter().all(|app| status.live(app).is_some());
        self.wait_for("all of them are live", SOON * 2, all).await
    }

    /// Where clients reach it.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.listen.expect("it was started with begin() or start()")
    }

    /// Where it is asked for metrics and health.
    #[track_caller]
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("it was started with begin() or start()")
    }

    /// Its control socket.
    pub fn control(&self) -> PathBuf {
        self.place.control()
    }

    /// The process of hitless itself.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// A GET on a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> impl Future<Output = Answer> + use<> {
        fetch_path(self.address(), path)
    }

    /// A GET of its admin address.
    #[track_caller]
    pub fn get_admin(&self, path: &str) -> impl Future<Output = Answer> + use<> {
        let mut request = get(path);
        request.headers_mut().insert(
            http::header::HOST,
            http::HeaderValue::from_static("localhost"),
        );
        super::client::fetch(self.admin(), request)
    }

    /// Writes another configuration file in the place of the one it was started with.
    pub fn configure(&self, app: &App, settings: &str) {
        self.place.configure(app.command(), "", settings);
    }

    /// Runs `hitless WORDS` against it.
    pub fn command(&self, words: &[&str]) -> impl Future<Output = Ran> + use<> {
        let mut words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        words.extend(["--control".to_owned(), self.control().display().to_string()]);
        // Longer than the longest start_timeout.
        program::run(program::hitless(), words, &[], Duration::from_secs(90))
    }

    /// `hitless reload`, to its verdict.
    pub async fn reload(&self) -> Ran {
        self.command(&["reload"]).await
    }

    /// HUP; waits until a generation younger than the live one is live, and gives its number back.
    pub async fn reload_by_signal(&mut self) -> u64 {
        let before = self.status().await.live(APP);
        self.program.signal(Signal::HUP);
        let status = self
            .wait_for("a younger generation is live", SOON, |status| {
                status.live(APP) > before
            })
            .await;
        status.live(APP).expect("it was just seen")
    }

    /// Waits until the previous generation is drained and ready to take over.
    pub async fn has_standby(&mut self) -> Status {
        self.has_standby_of(APP).await
    }

    /// The same, of this app.
    pub async fn has_standby_of(&mut self, app: &str) -> Status {
        let what = "the previous generation stands by";
        let wanted = |status: &Status| status.standby(app).is_some();
        self.wait_for(what, SOON, wanted).await
    }

    /// Waits until so many requests are held: the gauge is the only sign of a request that waits.
    pub async fn holds(&self, count: usize) {
        let (labels, count) = ([("app", APP)], count as f64);
        let held = self.metrics_as("hitless_held_requests", &labels, |held| held == count);
        assert_eq!(held.await, count);
    }

    /// Waits until this metric of an app is at least so much.
    pub async fn metrics_until(&self, name: &str, app: &str, least: f64) -> f64 {
        self.metrics_where(name, &[("app", app)], least).await
    }

    /// The same, with these labels.
    pub async fn metrics_where(&self, name: &str, labels: &[(&str, &str)], least: f64) -> f64 {
        self.metrics_as(name, labels, |found| found >= least).await
    }

    async fn metrics_as(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl Fn(f64) -> bool,
    ) -> f64 {
        let deadline = Instant::now() + SOON;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            let found = self.metrics().await.sum(name, labels);
            if wanted(found) {
                return found;
            }
            assert!(Instant::now() < deadline, "{name} is {found} all the time");
        }
    }

    /// What it says of itself.
    pub async fn status(&self) -> Status {
        let asked = self.try_status().await;
        asked.unwrap_or_else(|error| {
            panic!("no status ({error}); it said:\n{}", self.program.output())
        })
    }

    async fn try_status(&self) -> Result<Status, String> {
        self.control_request("GET", "/v1/status")
            .await
            .map(|answer| Status(answer.expect_status(200).json()))
    }

    /// One request to the control socket.
    pub async fn control_request(&self, method: &str, path: &str) -> Result<Answer, String> {
        let connection = Connection::open_unix(&self.control()).await;
        let mut connection = connection.map_err(|error| error.to_string())?;
        let sent = connection
            .send(request(method, path, bytes::Bytes::new()))
            .await;
        sent.map_err(|error| error.to_string())
    }

    /// Waits until the status is as wanted. Asks again and again: a condition over a status is no event.
    pub async fn wait_for(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> Status {
        let deadline = Instant::now() + within;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let last = self.try_status().await;
            match last {
                Ok(status) if wanted(&status) => return status,
                last => self.check_patience(what, deadline, &last),
            }
        }
    }

    fn check_patience(&mut self, what: &str, deadline: Instant, last: &Result<Status, String>) {
        if let Some(status) = self.program.has_ended() {
            let output = self.program.output();
            panic!("waited until {what}, but hitless ended with status {status}:\n{output}");
        }
        if Instant::now() >= deadline {
            let output = self.program.output();
            let last = match last {
                Ok(status) => status.to_string(),
                Err(error) => error.clone(),
            };
            panic!("waited in vain until {what}; last status: {last}\nit said:\n{output}");
        }
    }

    /// A scrape.
    pub async fn metrics(&self) -> Metrics {
        Metrics(self.get_admin("/metrics").await.expect_status(200).text())
    }

    /// TERM, and its exit status.
    pub async fn stop(&mut self) -> i32 {
        self.program.signal(Signal::TERM);
        self.program.ends(Duration::from_secs(40)).await
    }

    /// The processes of its world that are left after this time.
    pub async fn left_after(&self, within: Duration) -> Vec<processes::Process> {
        let world = self.world.clone();
        let left = tokio::task::spawn_blocking(move || processes::left_after(&world, within));
        left.await.expect("looking at processes does not panic")
    }

    /// The processes of its world now.
    pub fn processes(&self) -> Vec<processes::Process> {
        processes::marked(&self.world)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.place.folder.path()
    }
}

impl Drop for Hitless {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Shown by the test harness for a failed test only.
            eprintln!("--- what hitless said:\n{}\n---", self.program.output());
        }
        self.program.kill();
        let left = processes::left_after(&self.world, Duration::from_secs(5));
        for process in &left {
            processes::send(process.pid, Signal::KILL);
        }
        let clean = left.is_empty() || std::thread::panicking();
        assert!(clean, "left behind:\n{}", processes::list(&left));
    }
}
