//! Promise: whatever a person writes wrong, into the file or on the command line, the answer says what is wrong, where, and
//! what to write instead. Each message is a snapshot: change one with `UPDATE_EXPECT=1`, and read it aloud.

mod support;

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use support::program::{self, Ran};
use support::world::{Hitless, SOON};

/// Wrong command lines. What is asked of a running hitless finds none: its folder is empty.
const COMMANDS: [&[&str]; 38] = [
    &[],
    &["relaod"],
    &["start"],
    &["stop"],
    &["completions", "bush"],
    &["--listen", ":80"],
    &["run"],
    &["run", "-l", "localhost:80", "--", "./app"],
    &["run", "-l", "8080", "--", "./app"],
    &["run", "-l", ":8080", "-l", "127.0.0.1:8080", "--", "./app"],
    &["run", "--admin", "off", "--", "./app"],
    &["run", "python3", "app.py"],
    &["run", "--lisen", ":80", "--", "./app"],
    &["run", "--port", "80", "--", "./app"],
    &["run", "two.toml"],
    &["run", "--ready", "healthz", "--", "./app"],
    &["run", "--drain-timeout", "30", "--", "./app"],
    &["run", "--start-timeout", "0", "--", "./app"],
    &["run", "--instances", "0", "--", "./app"],
    &["run", "--threads", "lots", "--", "./app"],
    &["run", "--log-format", "xml", "--", "./app"],
    &["run", "--name", "a/b", "--", "./app"],
    &["run", "-c", "none.toml"],
    &["run", "-c", "two.toml", "--instances", "2"],
    &["run", "-c", "addresses.toml", "--", "./app"],
    &["check", "-c", "."],
    &["check", "two.toml"],
    &["check", "--show", "--schema"],
    &["reload", "web", "api"],
    &["reload", "--timeout", "5"],
    &["reload", "--no-wait", "--through-probation"],
    &["reload", "--addresses", "127.0.0.1:3000"],
    &["reload", "web", "--addresses", "3000"],
    &["status", "--name", "none"],
    &["status", "--control", "two.toml"],
    &["status", "--control", "run"],
    &["logs", "--lines", "-5"],
    &["pause", "--for", "20"],
];

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages")
}

async fn hitless(words: &[&str], folder: &Path) -> Ran {
    let runtime = folder.join("run").display().to_string();
    let variables = [
        ("XDG_RUNTIME_DIR", runtime.as_str()),
        ("RUNTIME_DIRECTORY", runtime.as_str()),
        ("COLUMNS", "100"),
    ];
    program::run_in(folder, program::hitless(), words, &variables, SOON).await
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("run")).expect("the folder can be written to");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(at("run"), private).expect("it is ours");
    let two = "[app.web]\ncommand = [\"./web\"]\nroute = [{ host = \"web.org\" }]\n[app.api]\ncommand = [\"./api\"]\n";
    let addresses = "[app.web]\naddresses = [\"127.0.0.1:3000\"]\n";
    for (name, text) in [("two.toml", two), ("addresses.toml", addresses)] {
        std::fs::write(at(name), text).expect("the folder can be written to");
    }
    folder
}

fn told(words: &[&str], ran: &Ran, folder: &Path) -> String {
    let shown = words.join(" ");
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let said = said.replace(&folder.display().to_string(), "FOLDER");
    format!("$ hitless {shown}\n{said}[exit status {}]\n", ran.status)
}

#[tokio::test]
async fn each_wrong_file_is_answered_as_one_would_want_to_be() {
    let folder = folder();
    let files = cases().join("files");
    let listed = std::fs::read_dir(&files).expect("the cases are there");
    let mut names: Vec<_> = listed
        .filter_map(|entry| {
            entry
                .expect("it can be listed")
                .file_name()
                .into_string()
                .ok()
        })
        .filter_map(|name| name.strip_suffix(".toml").map(ToOwned::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 40, "{}", names.len());
    for name in names {
        let written = std::fs::read(files.join(format!("{name}.toml"))).expect("it is there");
        std::fs::write(folder.path().join("hitless.toml"), written).expect("it can be written");
        let ran = hitless(&["check", "-c", "hitless.toml"], folder.path()).await;
        assert_eq!(
            (ran.status, ran.stdout.as_str()),
            (78, ""),
            "{name}: {ran:?}"
        );
        expect_file![files.join(format!("{name}.txt"))].assert_eq(&ran.stderr);
    }
}

#[tokio::test]
async fn each_wrong_command_line_is_answered_as_one_would_want_to_be() {
    let folder = folder();
    let mut all = String::new();
    for words in COMMANDS {
        let ran = hitless(words, folder.path()).await;
        let expected = match words {
            ["status", "--name", ..] => 3,
            ["run", "-c", "none.toml"] | ["check", "-c", "."] => 78,
            _ => 2,
        };
        all.push_str(&told(words, &ran, folder.path()));
        all.push('\n');
        assert_eq!(ran.status, expected, "{}", told(words, &ran, folder.path()));
    }
    expect_file![cases().join("commands.txt")].assert_eq(&all);
}

/// Commands that cannot be started, and apps that end or listen elsewhere.
const STARTS: [(&str, &str); 10] = [
    (
        "command not found",
        r#"command = ["hitless-none", "{port}"]"#,
    ),
    ("command misspelt", r#"command = ["slepe", "10"]"#),
    (
        "command beside and not in PATH",
        r#"command = ["server", "{port}"]"#,
    ),
    ("file misspelt", r#"command = ["./serve", "{port}"]"#),
    ("not executable", r#"command = ["./plain", "{port}"]"#),
    ("a directory", r#"command = ["./run", "{port}"]"#),
    ("no interpreter", r#"command = ["./server", "{port}"]"#),
    (
        "no directory",
        "command = [\"sleep\", \"10\"]\ndirectory = \"none\"",
    ),
    (
        "no variables",
        "command = [\"sleep\", \"10\"]\nenv_file = \"none.env\"",
    ),
    (
        "exits at once",
        r#"command = ["sh", "-c", "echo cannot open the database >&2; exit 3"]"#,
    ),
];

#[tokio::test]
async fn each_app_that_cannot_start_says_why() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("server"), "#!/no/such/interpreter\n").expect("it can be written");
    std::fs::write(at("plain"), "#!/bin/sh\n").expect("it can be written");
    std::fs::set_permissions(at("server"), PermissionsExt::from_mode(0o755)).expect("it is ours");
    let program = program::hitless().display().to_string();
    let shown = folder.path().display().to_string();
    let file = |lines: &str| {
        let directory = match lines.contains("directory") {
            true => String::new(),
            false => format!("directory = \"{shown}\"\n"),
        };
        format!("listen = [\"127.0.0.1:0\"]\n[app.web]\n{directory}{lines}\n")
    };
    let good = format!("command = [\"{program}\", \"demo-app\"]");
    let mut hitless = Hitless::with_file(&file(&good)).begin().await;
    hitless.all_live(&["web"]).await;
    let mut all = String::new();
    for (case, lines) in STARTS {
        hitless.rewrite(&file(lines));
        let ran = hitless.command(&["reload"]).await.expect_status(1, case);
        let said = ran.stderr.replace(&shown, "FOLDER");
        let said = said.replace(
            &std::env::current_dir()
                .expect("there is one")
                .display()
                .to_string(),
            "HERE",
        );
        // The checks on the way are a matter of time.
        let on_the_way = |line: &str| {
            [
                ": connecting",
                ": not listening yet",
                ": check passed",
                "(it says: ",
            ]
            .iter()
            .any(|part| line.contains(part))
                || line.starts_with("  last check")
                || line.contains(" is starting")
        };
        let lines = said
            .lines()
            .filter(|line| !line.contains("reload ") && !on_the_way(line));
        let lines: Vec<_> = lines.map(without_time).collect();
        all.push_str(&format!("### {case}\n{}\n\n", lines.join("\n")));
    }
    expect_file![cases().join("starts.txt")].assert_eq(&all);
    let log = hitless.program().output();
    let ended = r#" reason="exited with status 3 before it was ready""#;
    assert!(log.contains(ended), "{log}");
    let elapsed = regex_lite::Regex::new(r"elapsed=[0-9]+\.[0-9]{1,3}\s").expect("a pattern");
    let told = log.matches("elapsed=").count();
    assert!(told > 0 && elapsed.find_iter(&log).count() == told, "{log}");
}

/// What `run` says where it cannot begin, or its app cannot.
const RUNS: [(&str, &[&str]); 11] = [
    ("port taken", &["-l", "127.0.0.1:TAKEN", "--", "APP"]),
    ("no such address", &["-l", "10.99.99.99:8080", "--", "APP"]),
    (
        "socket in no folder",
        &["-l", "unix:FOLDER/none/web.sock", "--", "APP"],
    ),
    (
        "a file where the socket is to be",
        &["-l", "unix:FOLDER/two.toml", "--", "APP"],
    ),
    (
        "socket taken",
        &["-l", "unix:FOLDER/taken.sock", "--", "APP"],
    ),
    (
        "name of a socket too long",
        &["-l", "unix:/LONG", "--", "APP"],
    ),
    (
        "control socket too long",
        &["--control", "/LONG", "--", "APP"],
    ),
    (
        "control socket in no folder",
        &["--control", "FOLDER/none/c.sock", "--", "APP"],
    ),
    (
        "command not found",
        &["--exit-on-failed-start", "--", "slepe", "10"],
    ),
    (
        "exits at once",
        &[
            "--exit-on-failed-start",
            "--",
            "sh",
            "-c",
            "echo cannot open the database >&2; exit 3",
        ],
    ),
    (
        "listens elsewhere",
        &[
            "--exit-on-failed-start",
            "--",
            "APP",
            "demo-app",
            "--listen-elsewhere",
        ],
    ),
];

#[tokio::test]
async fn each_run_that_cannot_begin_says_why() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let path = folder.path().join("taken.sock");
    let _taken_socket = std::os::unix::net::UnixListener::bind(path).expect("a free path");
    let shown = folder.path().display().to_string();
    let app = program::hitless().display().to_string();
    let long = "a".repeat(120);
    let mut all = String::new();
    for (case, words) in RUNS {
        let word = |word: &&str| {
            let word = word.replace("TAKEN", &port).replace("FOLDER", &shown);
            word.replace("LONG", &long).replace("APP", &app)
        };
        let mut line: Vec<_> = ["run", "--admin", ""].map(ToOwned::to_owned).to_vec();
        if !words.contains(&"-l") {
            line.extend(["-l", "127.0.0.1:0"].map(ToOwned::to_owned));
        }
        line.extend(words.iter().map(word));
        let line: Vec<_> = line.iter().map(String::as_str).collect();
        let ran = hitless(&line, folder.path()).await;
        assert!([1, 2].contains(&ran.status), "{case}: {ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        let said = said
            .replace(&shown, "FOLDER")
            .replace(&long, "LONG")
            .replace(&port, "TAKEN");
        // Of the log, what is an error; what the app itself writes comes before or behind it.
        let telling = |line: &&str| {
            let of_app = ["cannot open", "demo-app["];
            !line.contains(" INFO ") && !of_app.iter().any(|begin| line.starts_with(begin))
        };
        let lines: Vec<_> = said.lines().filter(telling).map(steady).collect();
        all.push_str(&format!(
            "### {case}\n{}\n[exit status {}]\n\n",
            lines.join("\n"),
            ran.status
        ));
    }
    expect_file![cases().join("run.txt")].assert_eq(&all);
}

fn steady(line: &str) -> String {
    let mut line = line.to_owned();
    for (pattern, by) in [
        (r"process [0-9]+ \([^)]*\)", "process PID (COMMAND)"),
        ("^[0-9]{4}-[^ ]*Z ", "TIME "),
        (r"elapsed=[0-9.]+", "elapsed=N"),
        (r#" probe="[^"]*""#, ""),
        (r"127\.0\.0\.1:[0-9]{4,5}", "127.0.0.1:PORT"),
        (r"\([0-9]{4,5}\)", "(PORT)"),
        (r"demo-app\[[0-9]+\]", "demo-app[PID]"),
    ] {
        let pattern = regex_lite::Regex::new(pattern).expect("tests write valid patterns");
        line = pattern.replace_all(&line, by).into_owned();
    }
    line
}

#[tokio::test]
async fn another_user_is_told_whose_hitless_it_is() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let hitless = Hitless::start(&support::app::App::demo()).await;
    let control = hitless.control();
    let folder = control.parent().expect("it stands in a folder");
    // Everybody may come as far as the socket.
    for folder in folder.ancestors().take(2) {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder, open).expect("it is ours");
    }
    let program = program::hitless().display().to_string();
    let path = control.display().to_string();
    let words = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        &program,
        "status",
        "--control",
        &path,
    ];
    let ran = program::run(Path::new("setpriv"), words, &[], SOON).await;
    let ran = ran.expect_status(1, "another user");
    let said = ran.stderr.replace(&path, "CONTROL");
    assert_eq!(
        said,
        "hitless: no permission to use CONTROL: it belongs to another user; ask as that user, or as root\n"
    );
}

fn without_time(line: &str) -> String {
    let time = regex_lite::Regex::new(r"[0-9]+\.[0-9]+ s|generation [0-9]+").expect("a pattern");
    time.replace_all(line, "N").into_owned()
}

#[tokio::test]
async fn check_warns_of_what_this_machine_does_not_have() {
    let folder = folder();
    let text = "listen = [{ address = \"unix:/run/web.sock\", owner = \"no-such-user\", group = \"no-such-group\" }]\n\n[app.web]\ncommand = [\"./web\"]\nenv_file = \"none.env\"\nroute = [{ host = \"web.org\" }]\n\n[app.api]\ncommand = [\"./api\"]\ndirectory = \"none\"\n";
    std::fs::write(folder.path().join("hitless.toml"), text).expect("it can be written");
    let ran = hitless(&["check", "-c", "hitless.toml"], folder.path()).await;
    let ran = ran.expect_status(0, "it may be meant for another machine");
    let said = ran
        .stderr
        .replace(&folder.path().display().to_string(), "FOLDER");
    expect_file![cases().join("check-warnings.txt")].assert_eq(&said);
}

#[tokio::test]
async fn check_shows_what_is_in_force_and_who_says_so() {
    let folder = folder();
    let text = "listen = [\n  \":8080\",\n  \"[::1]:8081\",\n]\n\n[app.web]\ncommand = [\"./web\"]\nenv = { SECRET = \"s3cret\" }\ninstances = 2\nroute = [{ host = \"web.org\" }]\n[app.web.drain]\ntimeout = \"70s\"\n\n[app.\"api.v2\"]\naddresses = [\"127.0.0.1:3000\"]\n";
    std::fs::write(folder.path().join("hitless.toml"), text).expect("it can be written");
    let words = ["check", "-c", "hitless.toml", "--show", "--threads", "3"];
    let runtime = [("HITLESS_LOG_FORMAT", "json")];
    let ran = program::run_in(folder.path(), program::hitless(), words, &runtime, SOON).await;
    let ran = ran.expect_status(0, "check --show");
    assert!(!ran.stdout.contains("s3cret"), "{ran:?}");
    expect_file![cases().join("show.txt")].assert_eq(&ran.stdout);
    // What it prints is a file again, with the same in force.
    let again = ran.stdout.replace("…", "s3cret");
    std::fs::write(folder.path().join("again.toml"), again).expect("it can be written");
    let words = ["check", "-c", "again.toml"];
    let ran = hitless(&words, folder.path())
        .await
        .expect_status(0, "again");
    assert!(
        ran.stdout
            .contains("2 apps, listening on [::]:8080, [::1]:8081"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn the_help_reads_well_at_eighty_columns() {
    let mut all = String::new();
    for words in [
        &["-h"][..],
        &["run", "-h"],
        &["reload", "-h"],
        &["status", "-h"],
        &["check", "-h"],
        &["run", "--help"],
        &["reload", "--help"],
    ] {
        let variables = [("COLUMNS", "80")];
        let ran = program::run(program::hitless(), words, &variables, SOON).await;
        let ran = ran.expect_status(0, "help");
        for line in ran.stdout.lines() {
            assert!(line.chars().count() <= 80, "{words:?}: {line:?}");
        }
        let text: Vec<_> = ran.stdout.lines().map(str::trim_end).collect();
        all.push_str(&format!(
            "$ hitless {}\n{}\n\n",
            words.join(" "),
            text.join("\n")
        ));
    }
    expect_file![cases().join("help.txt")].assert_eq(&all);
}

/// What is allowed, and yet surely not what was meant.
const SLIPS: &str = r#"listen = ["127.0.0.1:0"]

[app.missing]
command = ["./serve", "{port}"]
route = [{ path = "/missing" }]

[app.nameless]
command = ["servr", "--port", "$PORT"]
env = { PATH = "FOLDER/bin" }
route = [{ path = "/nameless" }]

[app.folder]
command = ["/bin/sh", "-c", "exec server --port $PORT"]
directory = "none"
route = [{ path = "/folder" }]

[app.words]
command = ["/bin/echo", "{PORT}", "--reload", "http://127.0.0.1:${PORT}"]
route = [{ path = "/words" }]
"#;

#[tokio::test]
async fn a_slip_in_a_command_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("bin")).expect("the folder can be written to");
    for program in ["server", "bin/server"] {
        std::fs::write(at(program), "#!/bin/sh\n").expect("it can be written");
        let executable = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(at(program), executable).expect("it is ours");
    }
    let text = SLIPS.replace("FOLDER", &folder.path().display().to_string());
    std::fs::write(at("hitless.toml"), text).expect("it can be written");
    let words = ["check", "-c", "hitless.toml"];
    let ran = hitless(&words, folder.path()).await;
    // It may all be there by the time that it is started.
    assert_eq!(ran.status, 0, "{ran:?}");
    let mut all = told(&words, &ran, folder.path());
    let words = ["check", "--", "python3 shop.py"];
    let ran = hitless(&words, folder.path()).await;
    all.push_str(&format!("\n{}", told(&words, &ran, folder.path())));
    expect_file![cases().join("slips.txt")].assert_eq(&all);
}

#[tokio::test]
async fn a_slip_is_warned_of_at_the_start_too() {
    let program = program::hitless().display().to_string();
    let file = format!(
        "listen = [\"127.0.0.1:0\"]\n[app.web]\ncommand = [{program:?}, \"demo-app\", \"--version={{PROT}}\"]\n"
    );
    let mut hitless = Hitless::with_file(&file).begin().await;
    let said = "`{PROT}` is not filled in (did you mean `{port}`?";
    hitless.program().says(said, SOON).await;
}
