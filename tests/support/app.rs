//! Apps to be reloaded. A deploy changes files; the command stays the same.

pub mod real;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::program;

/// An app in a folder of its own.
#[derive(Debug)]
pub struct App {
    kind: Kind,
    folder: TempDir,
    command: Vec<String>,
}

/// What is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Demo,
    /// The built-in app, each version in a folder of its own.
    Releases,
    Tornado,
    /// A file of tests/apps in the place that its command names.
    Files(real::Files),
    /// What differs between versions is a file of options.
    OptionsFile,
    /// Compiled anew for each version.
    Binary,
    Other,
}

/// One version of an app. Versions are numbered in the order of their deploys, which is what the order of answers is
/// judged by.
#[derive(Clone, Debug)]
pub struct Release {
    pub version: u64,
    /// How long it takes before it listens.
    pub boot: Duration,
    pub fault: Fault,
}

/// What is wrong with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It dies at once: with Python, of a syntax error.
    DiesAtStart,
    NeverListens,
    ListensElsewhere,
    /// It answers hitless's probes with this status.
    ProbeStatus(u16),
    /// It answers everything but hitless's probes with this status.
    FailsTraffic(u16),
    /// The same with 500, while this file exists.
    FailsWhile(PathBuf),
    /// It ends in this way, this long after it listens.
    Ends(End, Duration),
    /// It answers nothing any more, this long after it listens.
    Hangs(Duration),
    /// It cannot run twice: it holds a lock on this file, and ends with `two at once` where another one does.
    Locks(PathBuf),
    /// Options of the built-in app, for what only that one can do.
    Options(Vec<String>),
}

/// How a version ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With status 1.
    Exits,
    /// By SIGKILL.
    IsKilled,
    /// By SIGSEGV.
    Segfaults,
}

/// The Python of the tests, with Tornado.
///
/// # Panics
///
/// If it is not there, with how to get it.
pub fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let ours = target.with_file_name("venv").join("bin/python");
    let python = std::env::var_os("HITLESS_TEST_PYTHON").map_or(ours, PathBuf::from);
    assert!(
        python.exists(),
        "this test needs Python with Tornado, and {} is not there: `tests/run` gets it",
        python.display()
    );
    python
}

/// The section of a configuration file for this app, with further lines of it.
pub fn section(name: &str, app: &App, lines: &str) -> String {
    let command = serde_json::to_string(app.command()).expect("strings are JSON");
    format!("[app.{name}]\ncommand = {command}\n{lines}\n")
}

// === impl App ===

impl App {
    /// The built-in app at version 1.
    pub fn demo() -> Self {
        let folder = temporary_folder();
        let options = folder.path().join("options").display().to_string();
        let program = program::hitless().display().to_string();
        let command = [program.as_str(), "demo-app", "--options", options.as_str()];
        Self::with_kind(Kind::Demo, folder, &command).deployed(&Release::good(1))
    }

    /// The built-in app at version 1, on the unix socket that hitless names.
    pub fn demo_on_a_socket() -> Self {
        let mut app = Self::demo();
        app.command.push("--socket={socket}".to_owned());
        app
    }

    /// The built-in app at version 1, each version in a folder of its own and `current` a link to the newest: it is to
    /// be run in [`App::current`].
    pub fn releases() -> Self {
        let program = program::hitless().display().to_string();
        let command = [program.as_str(), "demo-app", "--options", "options"];
        Self::with_kind(Kind::Releases, temporary_folder(), &command).deployed(&Release::good(1))
    }

    /// The link to the newest version's folder.
    pub fn current(&self) -> PathBuf {
        self.folder().join("current")
    }

    /// The Tornado app at version 1.
    pub fn tornado() -> Self {
        Self::tornado_with(&[])
    }

    /// The Tornado app with further options of its command.
    pub fn tornado_with(options: &[&str]) -> Self {
        let folder = temporary_folder();
        let python = python().display().to_string();
        let script = folder.path().join("app.py").display().to_string();
        let mut command = vec![python.as_str(), script.as_str(), "--port={port}"];
        command.extend_from_slice(options);
        Self::with_kind(Kind::Tornado, folder, &command).deployed(&Release::good(1))
    }

    /// Tornado's hello world, as people write it.
    pub fn tornado_hello() -> Self {
        let python = python().display().to_string();
        let script = source("hello.py").display().to_string();
        Self::other(&[python.as_str(), script.as_str()])
    }

    /// The web server of Python's library, which speaks HTTP/1.0; it serves this app's folder.
    pub fn python_http_server() -> Self {
        let folder = temporary_folder();
        let python = python().display().to_string();
        let served = folder.path().display().to_string();
        let fixed = ["-m", "http.server", "--bind", "127.0.0.1"];
        let mut command = vec![python.as_str()];
        command.extend(fixed);
        command.extend(["--directory", &served, "{port}"]);
        Self::with_kind(Kind::Other, folder, &command)
    }

    /// A program that writes its port into `port` and waits: the test listens in its place.
    pub fn stand_in() -> Self {
        let folder = temporary_folder();
        let port = folder.path().join("port").display().to_string();
        let script =
            format!("echo $PORT >'{port}.new' && mv '{port}.new' '{port}'; exec sleep 3600");
        Self::with_kind(Kind::Other, folder, &["sh", "-c", &script])
    }

    /// Any command.
    pub fn other(command: &[&str]) -> Self {
        Self::with_kind(Kind::Other, temporary_folder(), command)
    }

    fn with_kind(kind: Kind, folder: TempDir, command: &[&str]) -> Self {
        Self {
            kind,
            folder,
            command: command.iter().map(|&word| word.to_owned()).collect(),
        }
    }

    fn deployed(self, release: &Release) -> Self {
        self.deploy(release);
        self
    }

    /// What to run.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// Where it lives.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts this release in the place of the one before. What runs goes on; the next start runs the new one.
    pub fn deploy(&self, release: &Release) {
        match self.kind {
            Kind::Demo => self.put("options", &release.options().join("\n")),
            Kind::Tornado => self.deploy_tornado(release),
            Kind::Releases => self.deploy_folder(release),
            Kind::Files(files) => self.deploy_files(files, release),
            Kind::OptionsFile => self.deploy_options_file(release),
            Kind::Binary => panic!("compiling takes its time: deploy_binary"),
            Kind::Other => panic!("this app has only one version"),
        }
    }

    fn deploy_folder(&self, release: &Release) {
        let name = release.version.to_string();
        let folder = self.folder().join(&name);
        fs::create_dir(&folder).expect("each version is deployed once");
        fs::write(folder.join("options"), release.options().join("\n"))
            .expect("the folder can be written to");
        let new = self.folder().join("current.new");
        std::os::unix::fs::symlink(&name, &new).expect("the folder can be written to");
        fs::rename(&new, self.current()).expect("the folder can be written to");
    }

    fn deploy_tornado(&self, release: &Release) {
        let script = match &release.fault {
            Fault::DiesAtStart => "syntax_error.py",
            Fault::NeverListens => "never_listens.py",
            Fault::ListensElsewhere => "listens_elsewhere.py",
            Fault::Options(options) => panic!("only the built-in app knows {options:?}"),
            _ => "tornado_app.py",
        };
        let text = fs::read_to_string(source(script)).expect("the apps lie beside the tests");
        self.put("VERSION", &release.version.to_string());
        self.put("BOOT", &release.boot.as_secs_f64().to_string());
        self.put("FAULTS", &release.fault.tornado_line());
        self.put("app.py", &text);
    }

    /// In one step, for a start may be reading.
    fn put(&self, name: &str, text: &str) {
        let new = self.folder().join(format!("{name}.new"));
        fs::write(&new, text).expect("the folder can be written to");
        fs::rename(&new, self.folder().join(name)).expect("the folder can be written to");
    }
}

// === impl Release ===

impl Release {
    /// A version that works.
    pub fn good(version: u64) -> Self {
        Self {
            version,
            boot: Duration::ZERO,
            fault: Fault::None,
        }
    }

    /// A version with a fault.
    pub fn broken(version: u64, fault: Fault) -> Self {
        Self {
            fault,
            ..Self::good(version)
        }
    }

    /// A version of the built-in app with further options.
    pub fn with_options(version: u64, options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self::broken(version, Fault::Options(options))
    }

    /// The same with this start-up time.
    #[must_use]
    pub fn boots_for(self, boot: Duration) -> Self {
        Self { boot, ..self }
    }

    fn options(&self) -> Vec<String> {
        let mut options = vec![
            format!("--version={}", self.version),
            format!("--boot={}ms", self.boot.as_millis()),
        ];
        match &self.fault {
            Fault::None => {}
            Fault::DiesAtStart => options.push("--die-at-start=1".to_owned()),
            Fault::NeverListens => options.push("--never-listen".to_owned()),
            Fault::ListensElsewhere => options.push("--listen-elsewhere".to_owned()),
            Fault::ProbeStatus(status) => options.push(format!("--probe-status={status}")),
            Fault::FailsTraffic(status) => options.push(format!("--fail-traffic={status}")),
            Fault::FailsWhile(file) => options.push(format!("--fail-file={}", file.display())),
            Fault::Ends(end, after) => {
                options.push(format!("--{}-after={}ms", end.word(), after.as_millis()));
            }
            Fault::Hangs(after) => options.push(format!("--hang-after={}ms", after.as_millis())),
            Fault::Locks(file) => options.push(format!("--lock={}", file.display())),
            Fault::Options(further) => options.extend(further.iter().cloned()),
        }
        options
    }
}

// === impl Fault ===

impl Fault {
    /// The line that the Tornado app reads; empty for those that are another script.
    fn tornado_line(&self) -> String {
        match self {
            Self::ProbeStatus(status) => format!("probe_status {status}"),
            Self::FailsTraffic(status) => format!("fail_traffic {status}"),
            Self::FailsWhile(file) => format!("fail_file {}", file.display()),
            Self::Ends(end, after) => format!("{}_after {}", end.word(), after.as_secs_f64()),
            Self::Hangs(after) => format!("hang_after {}", after.as_secs_f64()),
            Self::Locks(file) => format!("lock {}", file.display()),
            Self::None
            | Self::DiesAtStart
            | Self::NeverListens
            | Self::ListensElsewhere
            | Self::Options(_) => String::new(),
        }
    }
}

// === impl End ===

impl End {
    fn word(self) -> &'static str {
        match self {
            Self::Exits => "exit",
            Self::IsKilled => "kill",
            Self::Segfaults => "segfault",
        }
    }
}

fn temporary_folder() -> TempDir {
    tempfile::tempdir().expect("the system has a temporary folder")
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/apps")
        .join(name)
}
