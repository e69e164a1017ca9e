//! Apps of other makes, each with the server that people run it under.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{App, Fault, Kind, Release, python, source, temporary_folder};
use crate::support::program;

/// How an app is written down in its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Files {
    /// What a deploy replaces.
    name: &'static str,
    /// What stands there in a good version, of the files in tests/apps.
    good: &'static str,
    /// And in one that dies at start.
    broken: &'static str,
}

const RAISES: Files = Files {
    name: "app.py",
    good: "raises.py",
    broken: "syntax_error.py",
};
const WSGI: Files = Files {
    name: "app.py",
    good: "wsgi.py",
    broken: "syntax_error.py",
};
const ASGI: Files = Files {
    name: "app.py",
    good: "asgi.py",
    broken: "syntax_error.py",
};
const NODE: Files = Files {
    name: "app.js",
    good: "node_app.js",
    broken: "node_broken.js",
};

/// A program that `tests/run` puts beside the Python of the tests.
///
/// # Panics
///
/// If it is not there, with how to get it.
pub fn beside_python(name: &str) -> PathBuf {
    let program = python().with_file_name(name);
    assert!(
        program.exists(),
        "this test needs {name}, and {} is not there: `tests/run` gets it",
        program.display()
    );
    program
}

/// A program of this machine.
///
/// # Panics
///
/// If it is not there, with how to get it.
pub fn on_path(name: &str) -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&folders).map(|folder| folder.join(name));
    candidates
        .find(|program| program.is_file())
        .unwrap_or_else(|| {
            panic!("this test needs {name}, and it is not in PATH: `tests/run` gets it")
        })
}

// === impl App ===

impl App {
    /// Tornado's hello world as its documentation has it, but for the port that it insists on.
    pub fn tornado_on_fixed_port(port: u16) -> Self {
        let folder = temporary_folder();
        let python = python().display().to_string();
        let script = folder.path().join("app.py").display().to_string();
        let app = Self::with_kind(Kind::Other, folder, &[&python, &script]);
        let text = read("fixed_port.py");
        let fixed = text.replace("8888", &port.to_string());
        assert_ne!(text, fixed, "the script has another port than it had");
        app.put("app.py", &fixed);
        app
    }

    /// The Tornado app whose handlers raise, at version 1.
    pub fn tornado_that_raises() -> Self {
        let folder = temporary_folder();
        let python = python().display().to_string();
        let script = folder.path().join("app.py").display().to_string();
        Self::with_kind(Kind::Files(RAISES), folder, &[&python, &script])
            .deployed(&Release::good(1))
    }

    /// The Tornado app with tornado.options, at version 1: the version is in its file of options.
    pub fn tornado_with_options_file(debug: bool) -> Self {
        let folder = temporary_folder();
        let python = python().display().to_string();
        let script = folder.path().join("app.py").display().to_string();
        let config = format!("--config={}", folder.path().join("app.conf").display());
        let debug = format!("--debug={debug}");
        let command = [&python, &script, "--port={port}", &debug, &config];
        let app = Self::with_kind(Kind::OptionsFile, folder, &command);
        app.put("app.py", &read("options.py"));
        app.deployed(&Release::good(1))
    }

    /// What an editor does that saves the same text again.
    pub fn save_again(&self, name: &str) {
        let path = self.folder().join(name);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.put(name, &text);
    }

    /// A WSGI app under gunicorn, at version 1.
    pub fn gunicorn() -> Self {
        let folder = temporary_folder();
        let gunicorn = beside_python("gunicorn").display().to_string();
        let place = folder.path().display().to_string();
        // Its control socket would lie in the home of whoever runs the tests.
        let options = ["--bind", "127.0.0.1:{port}", "--no-control-socket"];
        let mut command = vec![gunicorn.as_str()];
        command.extend(options);
        command.extend(["--chdir", &place, "app:app"]);
        Self::with_kind(Kind::Files(WSGI), folder, &command).deployed(&Release::good(1))
    }

    /// An ASGI app under uvicorn, at version 1.
    pub fn uvicorn() -> Self {
        let folder = temporary_folder();
        let uvicorn = beside_python("uvicorn").display().to_string();
        let place = folder.path().display().to_string();
        let command = [&uvicorn, "--port", "{port}", "--app-dir", &place, "app:app"];
        Self::with_kind(Kind::Files(ASGI), folder, &command).deployed(&Release::good(1))
    }

    /// The same under hypercorn, which speaks HTTP/2 as well.
    pub fn hypercorn() -> Self {
        let folder = temporary_folder();
        let hypercorn = beside_python("hypercorn").display().to_string();
        let app = format!("{}:app", folder.path().join("app").display());
        let command = [
            &hypercorn,
            "--workers",
            "0",
            "--bind",
            "127.0.0.1:{port}",
            &app,
        ];
        Self::with_kind(Kind::Files(ASGI), folder, &command).deployed(&Release::good(1))
    }

    /// An app for Node, at version 1.
    pub fn node() -> Self {
        let folder = temporary_folder();
        let node = on_path("node").display().to_string();
        let script = folder.path().join("app.js").display().to_string();
        Self::with_kind(Kind::Files(NODE), folder, &[&node, &script]).deployed(&Release::good(1))
    }

    /// A static binary, at version 1. Each deploy compiles it.
    pub fn static_binary() -> Self {
        let folder = temporary_folder();
        let binary = folder.path().join("server").display().to_string();
        Self::with_kind(Kind::Binary, folder, &[&binary, "{port}"])
    }

    pub(super) fn deploy_files(&self, files: Files, release: &Release) {
        let from = if dies(release) {
            files.broken
        } else {
            files.good
        };
        self.put("VERSION", &release.version.to_string());
        self.put(files.name, &read(from));
    }

    pub(super) fn deploy_options_file(&self, release: &Release) {
        let value = if dies(release) {
            "= twelve".to_owned()
        } else {
            release.version.to_string()
        };
        self.put("app.conf", &format!("version = {value}\n"));
    }

    /// Compiles a version and puts it in the place of the one before, which may be running.
    pub async fn deploy_binary(&self, release: &Release) {
        assert_eq!(self.kind, Kind::Binary, "only a binary is compiled");
        let new = self.folder().join("server.new");
        let source = source("static_server.rs").display().to_string();
        let output = new.display().to_string();
        let mut arguments = vec!["--edition=2024", "-C", "target-feature=+crt-static"];
        arguments.extend(["-o", &output, &source]);
        let version = release.version.to_string();
        let variables = [("VERSION", version.as_str())];
        let variables = if dies(release) {
            &[][..]
        } else {
            &variables[..]
        };
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let within = Duration::from_secs(120);
        let ran = program::run(Path::new(&rustc), arguments, variables, within).await;
        ran.expect_status(0, "rustc");
        std::fs::rename(&new, self.folder().join("server")).expect("the folder can be written to");
    }
}

fn dies(release: &Release) -> bool {
    match &release.fault {
        Fault::None => false,
        Fault::DiesAtStart => true,
        other => panic!("this app knows no {other:?}"),
    }
}

fn read(name: &str) -> String {
    std::fs::read_to_string(source(name)).expect("the apps lie beside the tests")
}
