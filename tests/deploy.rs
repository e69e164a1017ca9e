//! Promise: the files in `deploy/` are valid, and agree with what hitless does.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hitless::cli::exit;
use hitless::config::{Config, Overrides, ShutdownConfig};
use hitless::control_plane::readiness;
use hitless::units;
use rustix::process::Signal;
use serde_json::Value;
use support::app::{App, Fault, Release};
use support::program::{self, Program, Ran};
use support::world::{APP, Hitless, SOON};

const UNIT: &str = include_str!("../deploy/hitless.service");
const DROP_IN: &str = include_str!("../deploy/notify-reload.conf");
const ROTATION: &str = include_str!("../deploy/logrotate.conf");
const DOCKERFILE: &str = include_str!("../deploy/Dockerfile");

/// Where the files say that hitless is.
const INSTALLED: &str = "/usr/bin/hitless";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that `tests/run` provisions: beside its Python, in `target/tools/bin`, or wherever the system has it.
fn tool(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let python = std::env::var_os("HITLESS_TEST_PYTHON").map(PathBuf::from);
    let beside = python.and_then(|python| Some(python.parent()?.to_owned()));
    let ours = ["venv/bin", "tools/bin"].map(|folder| target.with_file_name(folder));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = beside.into_iter().chain(ours);
    let mut folders = folders.chain(std::env::split_paths(&path));
    folders
        .find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()))
        .unwrap_or_else(|| {
            panic!("this test needs {name}, which is not there: `tests/run` gets it")
        })
}

async fn run(program: &Path, words: &[&str]) -> Ran {
    program::run(program, words, &[], SOON).await
}

/// The values of a directive of the unit, those of comments apart.
fn directive<'u>(unit: &'u str, name: &str) -> Vec<&'u str> {
    let lines = unit.lines();
    lines
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .collect()
}

#[track_caller]
fn only<'u>(unit: &'u str, name: &str) -> &'u str {
    match directive(unit, name)[..] {
        [value] => value,
        ref values => panic!("{name} is there once, not {values:?}"),
    }
}

#[track_caller]
fn duration(text: &str) -> Duration {
    units::duration(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The folder of its control socket, as systemd and the image make it.
fn runtime_directory(hitless: &Hitless) -> String {
    let own = fs::Permissions::from_mode(0o700);
    fs::set_permissions(hitless.folder(), own).expect("the folder is ours");
    hitless.folder().display().to_string()
}

/// The configuration of this text, as the program would read it, with the error pages where they are in the sources.
#[track_caller]
fn config(text: &str) -> Config {
    let pages = root().join("config/errors").display().to_string();
    let text = text.replace("/etc/hitless/errors", &pages);
    Config::parse(Path::new("hitless.toml"), text, &Overrides::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A YAML file as JSON, one value for each of its documents.
async fn yaml(file: &str) -> Vec<Value> {
    let script = "import json, sys, yaml\n\
        print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let file = root().join(file).display().to_string();
    let ran = run(&tool("python3"), &["-c", script, &file]).await;
    let ran = ran.expect_status(0, "reading YAML with PyYAML, which `tests/run` gets");
    serde_json::from_str(&ran.stdout).expect("it was printed as JSON")
}

// === systemd ===

#[tokio::test]
#[ignore = "needs systemd: run tests/run"]
async fn systemd_has_no_complaint_about_the_unit() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let unit = folder.path().join("hitless.service");
    // The program is looked for, and is nowhere but here.
    let here = program::hitless().display().to_string();
    fs::write(&unit, UNIT.replace(INSTALLED, &here)).expect("the folder can be written to");
    let words = ["verify", "--man=no", &unit.display().to_string()];
    let verified = run(&tool("systemd-analyze"), &words).await;
    let verified = verified.expect_status(0, "systemd-analyze verify");
    assert_eq!(verified.stderr, "", "its exit status says nothing");

    // And it would complain.
    fs::write(&unit, UNIT.replace("KillMode=mixed", "KillMode=mixd")).expect("as before");
    let verified = run(&tool("systemd-analyze"), &words).await;
    assert!(verified.stderr.contains("mixd"), "{verified:#?}");
}

#[test]
fn the_unit_agrees_with_what_hitless_does() {
    assert_eq!(only(UNIT, "Type"), "notify");
    let stop = duration(only(UNIT, "TimeoutStopSec"));
    assert!(stop > ShutdownConfig::default().timeout, "{stop:?}");
    let start = duration(only(UNIT, "TimeoutStartSec"));
    assert!(
        start > readiness::Config::default().start_timeout,
        "{start:?}"
    );
    assert_eq!(
        only(UNIT, "RestartPreventExitStatus"),
        format!("{} {}", exit::USAGE, exit::CONFIG)
    );
    assert_eq!(only(UNIT, "RuntimeDirectory"), "hitless");
    assert_eq!(only(UNIT, "RuntimeDirectoryMode"), "0700");
    assert_eq!(only(UNIT, "KillMode"), "mixed");
    assert_eq!(only(UNIT, "OOMPolicy"), "continue");
    let fatal = directive(UNIT, "MemoryDenyWriteExecute");
    assert!(fatal.is_empty(), "apps with a JIT die with it: {fatal:?}");
}

#[test]
fn the_drop_in_leaves_reloading_to_the_signal() {
    assert_eq!(only(DROP_IN, "Type"), "notify-reload");
    assert_eq!(only(DROP_IN, "ReloadSignal"), "SIGHUP");
    assert_eq!(only(DROP_IN, "ExecReload"), "");
}

/// What logrotate runs behind the rotation, with a `systemctl` that does as the real one would and nothing else.
#[tokio::test]
async fn the_rotation_of_the_access_log_opens_a_new_file() {
    let logs = format!("/var/log/{}/", only(UNIT, "LogsDirectory"));
    assert!(
        ROTATION
            .lines()
            .any(|line| line == format!("{logs}*.log {{"))
    );
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let (log, old) = (
        folder.path().join("access.log"),
        folder.path().join("access.log.1"),
    );
    let mut hitless = Hitless::of(&App::demo())
        .access_log(log.display())
        .start()
        .await;
    let systemctl = folder.path().join("systemctl");
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = 'kill --kill-who=main --signal=USR1 hitless.service' ] && kill -USR1 {}\n",
        hitless.program().pid()
    );
    fs::write(&systemctl, script).expect("the folder can be written to");
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).expect("it is ours");

    fs::rename(&log, &old).expect("it is there from the start on");
    let mut lines = ROTATION
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "postrotate");
    let command = lines.nth(1).expect("there is a command");
    let path = format!(
        "{}:{}",
        folder.path().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let ran = program::run(Path::new("sh"), ["-c", command], &[("PATH", &path)], SOON).await;
    ran.expect_status(0, "postrotate");
    let deadline = tokio::time::Instant::now() + SOON;
    while !log.exists() {
        assert!(tokio::time::Instant::now() < deadline, "no new file");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hitless.get("/").await.expect_status(200);
    assert_eq!(hitless.stop().await, 0);
    assert!(fs::read_to_string(&log).is_ok_and(|text| text.contains("GET / ")));
}

#[tokio::test]
async fn the_commands_of_the_unit_are_ones_that_hitless_knows() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    let reload = only(UNIT, "ExecReload").strip_prefix(INSTALLED);
    let words: Vec<_> = reload
        .expect("it is hitless's")
        .split_whitespace()
        .collect();
    // As systemd starts it: where the control socket is, it knows by this alone.
    let folder = runtime_directory(&hitless);
    let variables = [("RUNTIME_DIRECTORY", folder.as_str())];
    let reloaded = program::run(program::hitless(), &words, &variables, SOON).await;
    reloaded.expect_status(0, "ExecReload");
    assert_eq!(hitless.status().await.live(APP), Some(2));
    app.deploy(&Release::broken(2, Fault::DiesAtStart));
    let reloaded = program::run(program::hitless(), &words, &variables, SOON).await;
    reloaded.expect_status(1, "ExecReload of a broken version");

    let start = only(UNIT, "ExecStart").strip_prefix(INSTALLED);
    let mut words: Vec<_> = start.expect("it is hitless's").split_whitespace().collect();
    assert_eq!(words.pop(), Some("/etc/hitless/hitless.toml"));
    words.push("/nowhere/hitless.toml");
    let started = run(program::hitless(), &words).await;
    started.expect_status(i32::from(exit::CONFIG), "ExecStart without its file");
}

// === containers ===

/// The JSON list behind an instruction of the Dockerfile.
#[track_caller]
fn exec_form(instruction: &str) -> Vec<String> {
    let joined = DOCKERFILE.replace("\\\n", " ");
    let mut lines = joined.lines().filter(|line| line.starts_with(instruction));
    let line = lines
        .next_back()
        .unwrap_or_else(|| panic!("no {instruction}"));
    let list = line.find('[').map(|start| &line[start..]);
    let list = list.and_then(|list| serde_json::from_str(list).ok());
    list.unwrap_or_else(|| panic!("not in the exec form: {line}"))
}

#[tokio::test]
#[ignore = "needs hadolint: run tests/run"]
async fn hadolint_has_no_complaint_about_the_dockerfile() {
    let file = root().join("deploy/Dockerfile").display().to_string();
    let linted = run(&tool("hadolint"), &["--no-color", &file]).await;
    let linted = linted.expect_status(0, "hadolint");
    assert_eq!((linted.stdout.as_str(), linted.stderr.as_str()), ("", ""));
}

#[test]
fn the_dockerfile_copies_what_is_there_and_does_not_run_as_root() {
    let copies = DOCKERFILE
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "));
    let sources = copies.filter_map(|words| words.split_whitespace().next());
    let sources: Vec<_> = sources.filter(|word| !word.starts_with("--")).collect();
    assert!(sources.len() >= 3, "{sources:?}");
    for source in sources {
        assert!(root().join(source).exists(), "{source}");
    }
    let user = DOCKERFILE.lines().rfind(|line| line.starts_with("USER "));
    assert_eq!(user, Some("USER 10001"));
    assert!(DOCKERFILE.contains("\nSTOPSIGNAL SIGTERM\n"));
    assert_eq!(exec_form("CMD")[..2], ["hitless", "run"]);
    let wanted = env!("CARGO_PKG_RUST_VERSION");
    assert!(
        DOCKERFILE.contains(&format!("FROM rust:{wanted}-")),
        "{wanted}"
    );
}

#[tokio::test]
async fn a_container_is_healthy_while_it_serves_stale_or_not() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    health(&hitless).await.expect_status(0, "the health check");
    app.deploy(&Release::broken(2, Fault::DiesAtStart));
    hitless.reload().await.expect_status(1, "a broken reload");
    assert!(hitless.status().await.stale(APP));
    health(&hitless)
        .await
        .expect_status(0, "the health check of a stale hitless");
    hitless.command(&["pause"]).await.expect_status(0, "pause");
    health(&hitless)
        .await
        .expect_status(0, "the health check of a paused hitless");
    hitless.program().kill();
    health(&hitless)
        .await
        .expect_status(1, "the health check of none");
}

/// What the image asks, with the hitless of these tests in its path.
async fn health(hitless: &Hitless) -> Ran {
    let command = exec_form("HEALTHCHECK");
    let folder = runtime_directory(hitless);
    let path = path_with_hitless();
    let variables = [("RUNTIME_DIRECTORY", folder.as_str()), ("PATH", &path)];
    program::run(Path::new(&command[0]), &command[1..], &variables, SOON).await
}

fn path_with_hitless() -> String {
    let folder = program::hitless().parent().expect("it is in a folder");
    let path = std::env::var("PATH").expect("there is a path");
    format!("{}:{path}", folder.display())
}

#[tokio::test]
async fn the_configuration_of_the_image_serves_the_built_in_app() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let text = fs::read_to_string(root().join("deploy/config/hitless.toml")).expect("it is there");
    let pages = root().join("config/errors").display().to_string();
    let file = folder.path().join("hitless.toml");
    fs::write(&file, text.replace("/etc/hitless/errors", &pages)).expect("it can be written");
    let file = file.display().to_string();
    // Its own ports may be taken here.
    let words = [
        "run",
        "--config",
        &file,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ];
    let control = folder.path().join("c.sock").display().to_string();
    let words = words.into_iter().chain(["--control", &control]);
    let path = path_with_hitless();
    let mut hitless = Program::start(program::hitless(), words, &[("PATH", &path)]);
    hitless.says("\"verdict\":\"live\"", SOON).await;
    hitless.signal(Signal::TERM);
    assert_eq!(hitless.ends(SOON).await, 0, "{}", hitless.output());
}

#[tokio::test]
#[ignore = "needs PyYAML: run tests/run"]
async fn the_compose_file_agrees_with_the_image_and_the_scrape() {
    let file = "deploy/compose.yaml";
    let [compose] = &yaml(file).await[..] else {
        panic!("one document in {file}")
    };
    let service = &compose["services"]["hitless"];
    let text = fs::read_to_string(root().join("deploy/config/hitless.toml")).expect("it is there");
    let config = config(&text);
    let grace = service["stop_grace_period"].as_str().expect("a duration");
    assert!(duration(grace) > config.shutdown.timeout, "{grace}");
    let context = root()
        .join("deploy")
        .join(service["build"]["context"].as_str().unwrap());
    let dockerfile = service["build"]["dockerfile"].as_str().unwrap();
    assert!(context.join(dockerfile).exists(), "{dockerfile}");
    for service in ["hitless", "prometheus"] {
        let volumes = compose["services"][service]["volumes"].as_array().unwrap();
        for volume in volumes {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            assert!(root().join("deploy").join(source).exists(), "{volume}");
        }
    }
    // The name of the service is that by which Prometheus asks, and so one that hitless answers to.
    let scrape = &yaml("deploy/prometheus.yml").await[0];
    let target = scrape["scrape_configs"][0]["static_configs"][0]["targets"][0].as_str();
    let (host, port) = target.and_then(|target| target.split_once(':')).unwrap();
    assert_eq!(host, "hitless");
    assert!(config.admin_hosts.iter().any(|known| known == host));
    let admin = config.admin.expect("there is one").to_string();
    assert!(admin.ends_with(&format!(":{port}")), "{admin}");
}

#[tokio::test]
#[ignore = "needs promtool: run tests/run"]
async fn promtool_has_no_complaint_about_the_scrape() {
    let file = root().join("deploy/prometheus.yml").display().to_string();
    let checked = run(
        &tool("promtool"),
        &["check", "config", "--lint-fatal", &file],
    )
    .await;
    checked.expect_status(0, "promtool check config");
}

// === Kubernetes ===

#[tokio::test]
#[ignore = "needs kubernetes-validate: run tests/run"]
async fn the_manifests_follow_the_schema_of_kubernetes() {
    let file = root().join("deploy/kubernetes.yaml").display().to_string();
    let validated = run(&tool("kubernetes-validate"), &["--strict", &file]).await;
    validated.expect_status(0, "kubernetes-validate");
}

#[tokio::test]
#[ignore = "needs PyYAML: run tests/run"]
async fn a_pod_has_the_time_that_hitless_takes_to_stop() {
    let documents = yaml("deploy/kubernetes.yaml").await;
    let of_kind = |kind: &str| documents.iter().find(|one| one["kind"] == kind).unwrap();
    let text = of_kind("ConfigMap")["data"]["hitless.toml"].as_str();
    let config = config(text.expect("a configuration"));
    assert_eq!(config.shutdown.delay, Duration::from_secs(5));
    let pod = &of_kind("Deployment")["spec"]["template"]["spec"];
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(
        Duration::from_secs(grace) > config.shutdown.timeout,
        "{grace} s"
    );
    let ports = pod["containers"][0]["ports"].as_array().unwrap();
    let port = |name: &str| ports.iter().find(|one| one["name"] == name).unwrap();
    let listens = config
        .listen
        .iter()
        .map(|listen| listen.address.to_string());
    let listens: Vec<_> = listens.collect();
    assert_eq!(listens, [format!("[::]:{}", port("http")["containerPort"])]);
    let admin = config.admin.expect("there is one").to_string();
    assert_eq!(admin, format!("[::]:{}", port("admin")["containerPort"]));
}
