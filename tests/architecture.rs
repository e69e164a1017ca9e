//! Promise: the rooms keep apart. Who may import whom, who may start programs and who may listen is read in the source.
//!
//! Code only: comments and unit tests (which stand last in a file, or in a file `tests.rs`) may say what they like.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// About 300 is what a file should stay near; here nothing is let past.
const LINES_MAX: usize = 450;

/// One source file.
struct Source {
    /// From `src/` on, with `/`.
    path: String,
    lines: usize,
    /// Numbered lines without comments and unit tests.
    code: Vec<(usize, String)>,
}

/// What is looked for, and where alone it may stand.
struct Rule {
    what: &'static str,
    needles: &'static [&'static str],
    /// Files that begin with one of these are judged; empty: all.
    rooms: &'static [&'static str],
    /// Files that begin with one of these may.
    allowed: &'static [&'static str],
}

const RULES: [Rule; 14] = [
    Rule {
        what: "the data plane never imports the control plane",
        needles: &["control_plane"],
        rooms: &["data_plane"],
        allowed: &[],
    },
    Rule {
        what: "the control plane never imports the data plane",
        needles: &["data_plane"],
        rooms: &["control_plane"],
        allowed: &[],
    },
    Rule {
        what: "the core knows neither runtime nor clock nor I/O",
        needles: &[
            "tokio",
            "hyper",
            "std::time",
            "std::fs",
            "std::net",
            "std::io",
            "std::thread",
            "std::env",
            "std::process",
            "Instant",
            "Duration",
            "tracing",
        ],
        rooms: &["control_plane/supervisor"],
        allowed: &[],
    },
    Rule {
        what: "only cli imports server",
        needles: &["crate::server"],
        rooms: &[],
        allowed: &["cli", "server"],
    },
    Rule {
        what: "a room does not import the configuration that sums it up",
        needles: &["crate::config"],
        rooms: &[],
        allowed: &["cli", "server", "config"],
    },
    Rule {
        what: "nothing but cli imports cli",
        needles: &["crate::cli"],
        rooms: &[],
        allowed: &["cli"],
    },
    Rule {
        what: "the vocabulary and the meeting point import no plane",
        needles: &[
            "data_plane",
            "control_plane",
            "crate::server",
            "crate::config",
            "crate::admin",
        ],
        rooms: &["generation", "live", "sync", "telemetry"],
        allowed: &[],
    },
    Rule {
        what: "the built-in app stands on the other side: it imports nothing of hitless",
        needles: &["crate::"],
        rooms: &[
            "demo/app",
            "demo/checksum",
            "demo/faults",
            "demo/routes",
            "demo/websocket",
        ],
        allowed: &[],
    },
    Rule {
        what: "the clients of the show see what clients see, and judge by that alone",
        needles: &["crate::"],
        rooms: &[
            "demo/show/clients",
            "demo/show/ledger",
            "demo/show/screen",
            "demo/show/socket",
            "demo/show/stage",
        ],
        allowed: &[],
    },
    Rule {
        what: "only process starts programs",
        needles: &["Command::new", "fork(", "execve", "posix_spawn"],
        rooms: &[],
        allowed: &["control_plane/process"],
    },
    Rule {
        // The control socket is the api's, and the built-in app is an app.
        what: "only listen makes listening sockets",
        needles: &[
            "TcpListener::bind",
            "UnixListener::bind",
            "TcpSocket::new",
            "net::listen(",
        ],
        rooms: &[],
        allowed: &[
            "data_plane/listen",
            "data_plane/tests",
            "handover",
            "control_plane/api",
            "demo/app",
        ],
    },
    Rule {
        what: "only answer turns errors into responses",
        needles: &[
            "StatusCode::BAD_GATEWAY",
            "StatusCode::SERVICE_UNAVAILABLE",
            "StatusCode::GATEWAY_TIMEOUT",
            "StatusCode::PAYLOAD_TOO_LARGE",
            "StatusCode::NOT_IMPLEMENTED",
            "StatusCode::EXPECTATION_FAILED",
        ],
        rooms: &["data_plane"],
        allowed: &["data_plane/answer"],
    },
    Rule {
        what: "only telemetry names metrics",
        needles: &["\"hitless_"],
        rooms: &[],
        allowed: &["telemetry"],
    },
    Rule {
        what: "admin reads a snapshot, never the core itself",
        needles: &["supervisor"],
        rooms: &["admin", "control_plane/api"],
        allowed: &[],
    },
];

#[test]
fn every_room_imports_and_does_only_what_it_may() {
    let sources = sources();
    let mut broken = String::new();
    for rule in RULES {
        for source in sources.iter().filter(|source| rule.judges(source)) {
            for (number, line) in source.code.iter().filter(|(_, line)| rule.finds(line)) {
                let (path, what) = (&source.path, rule.what);
                writeln!(broken, "src/{path}:{number}: {what}: {}", line.trim())
                    .expect("a String takes it");
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

/// Whatever the core imports of hitless is the shared vocabulary.
#[test]
fn the_core_imports_the_vocabulary_only() {
    let mut wrong = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.is_in("control_plane/supervisor"))
    {
        for (number, line) in &source.code {
            let foreign = line.match_indices("crate::").any(|(at, _)| {
                let rest = &line[at + "crate::".len()..];
                !rest.starts_with("generation") && !rest.starts_with("control_plane::supervisor")
            });
            if foreign {
                wrong.push(format!("src/{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_it_may_be() {
    let sources = sources();
    let long: Vec<_> = sources
        .iter()
        .filter(|source| source.lines > LINES_MAX)
        .map(|source| {
            format!(
                "src/{}: {} lines, more than {LINES_MAX}",
                source.path, source.lines
            )
        })
        .collect();
    assert!(
        long.is_empty(),
        "is there a second noun inside?\n{}",
        long.join("\n")
    );
}

#[test]
fn every_file_says_first_what_it_is() {
    let without: Vec<_> = paths(&root().join("src"))
        .into_iter()
        .filter(|path| !read(path).starts_with("//!"))
        .collect();
    assert!(without.is_empty(), "no module doc: {without:#?}");
}

#[test]
fn architecture_md_names_every_room() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let missing: Vec<_> = sources()
        .iter()
        .map(|source| source.path.clone())
        // The rooms are the files of src/ and of the planes; what is inside a room is its own business.
        .filter(|path| match path.split_once('/') {
            None => true,
            Some((plane, rest)) => plane.ends_with("_plane") && !rest.contains('/'),
        })
        .filter(|path| !text.contains(path.rsplit('/').next().expect("a path has a last part")))
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md does not name {missing:#?}"
    );
}

/// Tools that `tests/run` provisions, and knows how to do without.
const TOOLS: [&str; 23] = [
    "Tornado",
    "gunicorn",
    "uvicorn",
    "hypercorn",
    "Node",
    "aiohttp",
    "websockets",
    "curl",
    "h2load",
    "hyperframe",
    "grpcio",
    "wrk",
    "slowhttptest",
    "valgrind",
    "git",
    "vim",
    "rsync",
    "systemd",
    "hadolint",
    "promtool",
    "PyYAML",
    "kubernetes-validate",
    "Chromium",
];

/// Not promises but programs: other tests of the same file start their own binary with one of them.
const ROLES: [&str; 2] = [
    "#[ignore = \"a role that other tests play\"]",
    "#[ignore = \"the app of other tests\"]",
];

/// `tests/run --without TOOL` relies on this.
#[test]
fn every_ignored_test_says_what_it_needs_and_how_to_get_it() {
    let mut wrong = Vec::new();
    for path in paths(&root().join("tests")) {
        for (index, line) in read(&path).lines().enumerate() {
            let line = line.trim();
            if line.starts_with("#[ignore") && !names_tools(line) && !ROLES.contains(&line) {
                wrong.push(format!("{}:{}: {line}", path.display(), index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// One tool, or several: "Tornado, gunicorn and Node".
fn names_tools(attribute: &str) -> bool {
    let list = attribute
        .strip_prefix("#[ignore = \"needs ")
        .and_then(|rest| rest.strip_suffix(": run tests/run\"]"));
    list.is_some_and(|list| {
        let mut tools = list.split(", ").flat_map(|part| part.split(" and "));
        tools.all(|tool| TOOLS.contains(&tool))
    })
}

/// `tests/run --without TOOL` skips by name, and a name that is a part of another one would skip that one as well.
#[test]
fn no_test_that_needs_a_tool_has_a_name_that_is_part_of_another() {
    let mut all = Vec::new();
    let mut needing = Vec::new();
    for path in paths(&root().join("tests")) {
        let mut ignored = false;
        for line in read(&path).lines().map(str::trim) {
            ignored |= line.starts_with("#[ignore = \"needs ");
            let name = line
                .split_once("fn ")
                .and_then(|(_, rest)| rest.split_once('('));
            if let Some((name, _)) = name {
                all.push(name.to_owned());
                if ignored {
                    needing.push(name.to_owned());
                }
                ignored = false;
            }
        }
    }
    assert!(!needing.is_empty(), "no test needs anything");
    for name in needing {
        let skipped: Vec<_> = all.iter().filter(|other| other.contains(&name)).collect();
        assert_eq!(skipped, [&name], "--skip {name} would skip all of these");
    }
}

// === impl Rule, Source ===

impl Rule {
    fn judges(&self, source: &Source) -> bool {
        let room = self.rooms.is_empty() || self.rooms.iter().any(|room| source.is_in(room));
        room && !self.allowed.iter().any(|room| source.is_in(room))
    }

    fn finds(&self, line: &str) -> bool {
        self.needles.iter().any(|needle| line.contains(needle))
    }
}

impl Source {
    fn at(path: &Path, root: &Path) -> Self {
        let text = read(path);
        let shown = path.strip_prefix(root).expect("it was found there");
        let code = text
            .lines()
            .enumerate()
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(index, line)| (index + 1, line.to_owned()))
            .collect();
        Self {
            path: shown.display().to_string(),
            lines: text.lines().count(),
            code,
        }
    }

    /// `foo` is `foo.rs` and everything in `foo/`.
    fn is_in(&self, room: &str) -> bool {
        self.path
            .strip_prefix(room)
            .is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }
}

fn sources() -> Vec<Source> {
    let root = root().join("src");
    let sources: Vec<_> = paths(&root)
        .iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .map(|path| Source::at(path, &root))
        .collect();
    assert!(sources.len() > 10, "only {} files in src/", sources.len());
    sources
}

/// Every Rust file below, in order.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(paths(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
