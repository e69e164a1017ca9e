//! Promise: the commands read well through a pipe, on a narrow terminal and as JSON; and whoever asks for a reload can go
//! away, or ask beside somebody else.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use expect_test::expect_file;
use rustix::process::Signal;
use support::app::{App, Fault, Release};
use support::program::{self, Program};
use support::world::{APP, Hitless, SOON};

fn snapshot(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    path.join(format!("tests/messages/{name}.txt"))
}

fn replaced(text: &str, pattern: &str, by: &str) -> String {
    let pattern = regex_lite::Regex::new(pattern).expect("tests write valid patterns");
    pattern.replace_all(text, by).into_owned()
}

/// Without what is another each time.
fn steady(text: &str) -> String {
    let text = replaced(text, r"[0-9]+\.[0-9]+ s", "N s");
    let text = replaced(&text, r#""elapsed":[0-9.e-]+"#, r#""elapsed":N"#);
    let text = replaced(&text, r#""at":[0-9.]+"#, r#""at":N"#);
    let text = replaced(&text, r"127\.0\.0\.1:[0-9]{4,5}", "127.0.0.1:PORT");
    let text = replaced(&text, r"demo-app\[[0-9]+\]", "demo-app[PID]");
    // Which check was the last is a matter of time.
    replaced(&text, r"(?m)^  last check: .*$", "  last check: …")
}

/// Without the checks that say that nothing listens yet: how many there are is a matter of time.
fn without_checks(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.contains("\"event\":\"probe\"") && !line.contains(": generation 2: "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// What stands on a terminal after all this was written.
fn screen(written: &str) -> String {
    let mut lines = vec![String::new()];
    for part in written.split_inclusive(['\r', '\n']) {
        let line = lines.last_mut().expect("there is one");
        let text = part.trim_end_matches(['\r', '\n']);
        match text.strip_prefix("\x1b[K") {
            Some(text) => *line = text.to_owned(),
            None => line.push_str(text),
        }
        if part.ends_with('\n') {
            lines.push(String::new());
        }
    }
    lines.join("\n")
}

async fn slow(version: u64) -> (App, Hitless) {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    app.deploy(&Release::good(version).boots_for(Duration::from_millis(700)));
    (app, hitless)
}

fn reload_arguments(hitless: &Hitless, words: &[&str]) -> Vec<String> {
    let control = hitless.control().display().to_string();
    let words = ["reload"].iter().chain(words).map(|&word| word.to_owned());
    words.chain(["--control".to_owned(), control]).collect()
}

#[tokio::test]
async fn a_reload_through_a_pipe_is_lines() {
    let (_app, hitless) = slow(2).await;
    let ran = hitless.reload().await.expect_status(0, "a reload");
    assert_eq!(ran.stdout, "", "{ran:?}");
    for told in [
        "generation 2: not listening yet",
        "generation 2: check passed (1 of 2)",
    ] {
        assert!(ran.stderr.contains(told), "{ran:?}");
    }
    assert!(!ran.stderr.contains('\x1b'), "{ran:?}");
    expect_file![snapshot("reload-pipe")].assert_eq(&without_checks(&steady(&ran.stderr)));
}

#[tokio::test]
async fn a_reload_as_json_is_values() {
    let (_app, hitless) = slow(2).await;
    let ran = hitless
        .command(&["reload", "--json"])
        .await
        .expect_status(0, "a reload");
    assert_eq!(ran.stderr, "", "{ran:?}");
    assert!(ran.json().len() > 2);
    expect_file![snapshot("reload-json")].assert_eq(&without_checks(&steady(&ran.stdout)));
}

#[tokio::test]
async fn a_reload_on_a_narrow_terminal_shows_what_goes_on() {
    let (app, hitless) = slow(2).await;
    let arguments = reload_arguments(&hitless, &[]);
    let on = program::run_on_terminal_of(60, program::hitless(), arguments, &[], SOON);
    let (status, written) = on.await;
    assert_eq!(status, 0, "{written}");
    let live: Vec<_> = written.split("\r\x1b[K").skip(1).collect();
    assert!(live.len() > 3, "it goes on: {written:?}");
    for line in &live {
        let line = line.split(['\r', '\n']).next().expect("a part");
        assert!(
            line.chars().count() < 60 || line.contains("is live"),
            "{line:?} wraps"
        );
    }
    expect_file![snapshot("reload-terminal")].assert_eq(&steady(&screen(&written)));

    app.deploy(&Release::broken(3, Fault::DiesAtStart));
    let arguments = reload_arguments(&hitless, &[]);
    let on = program::run_on_terminal_of(60, program::hitless(), arguments, &[], SOON);
    let (status, written) = on.await;
    assert_eq!(status, 1, "{written}");
    expect_file![snapshot("reload-terminal-failed")].assert_eq(&steady(&screen(&written)));
}

/// A request that takes its time, and is under way.
async fn busy(hitless: &mut Hitless, path: &'static str) -> tokio::task::JoinHandle<()> {
    let asked = hitless.get(path);
    let busy = tokio::spawn(async move {
        asked.await.expect_status(200);
    });
    hitless
        .wait_for("the request is under way", SOON, |status| {
            status.0["apps"][0]["generations"][0]["requests"] == 1
        })
        .await;
    busy
}

#[tokio::test]
async fn on_a_terminal_the_way_goes_on_until_the_old_one_has_drained() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let request = busy(&mut hitless, "/slow?ms=2500").await;
    let arguments = reload_arguments(&hitless, &[]);
    let on = program::run_on_terminal_of(60, program::hitless(), arguments, &[], SOON);
    let (status, written) = on.await;
    assert_eq!(status, 0, "{written}");
    request.await.expect("its answer is whole");
    assert!(
        written.contains("generation 1 drains: 1 request left"),
        "{written}"
    );
    expect_file![snapshot("reload-terminal-drain")].assert_eq(&steady(&screen(&written)));
}

#[tokio::test]
async fn through_a_pipe_the_verdict_does_not_wait_for_the_drain() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let request = busy(&mut hitless, "/slow?ms=30000").await;
    let ran = hitless.reload().await.expect_status(0, "a reload");
    expect_file![snapshot("reload-pipe-drain")].assert_eq(&without_checks(&steady(&ran.stderr)));
    let json = hitless.command(&["reload", "--json"]).await;
    let kinds = json.expect_status(0, "a reload").json();
    let kinds: Vec<_> = kinds
        .iter()
        .filter_map(|line| line["event"].as_str())
        .collect();
    assert_eq!(
        kinds[kinds.len() - 4..],
        ["ready", "live", "draining", "verdict"],
        "{kinds:?}"
    );
    assert!(!request.is_finished());
    request.abort();
}

#[tokio::test]
async fn whoever_has_seen_enough_of_a_drain_leaves_with_the_verdict() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let request = busy(&mut hitless, "/slow?ms=60000").await;
    let arguments = reload_arguments(&hitless, &[]);
    let mut watching = Program::start_on_terminal(program::hitless(), arguments);
    watching
        .says("generation 1 drains: 1 request left", SOON)
        .await;
    watching.signal(Signal::INT);
    assert_eq!(watching.ends(SOON).await, 0, "{}", watching.output());
    watching.says("what is still draining goes on", SOON).await;
    assert!(!request.is_finished());
    request.abort();
}

#[tokio::test]
async fn on_a_terminal_a_probation_that_is_waited_for_is_seen_to_go_on() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    let words = ["--through-probation", "--probation", "1s"];
    let arguments = reload_arguments(&hitless, &words);
    let on = program::run_on_terminal_of(60, program::hitless(), arguments, &[], SOON);
    let (status, written) = on.await;
    assert_eq!(status, 0, "{written}");
    assert!(
        written.contains("app: generation 2 is on probation"),
        "{written}"
    );
    assert!(
        screen(&written).contains("app: it has proved itself"),
        "{written}"
    );
}

#[tokio::test]
async fn interrupting_a_reload_on_a_terminal_does_not_interrupt_it() {
    let (_app, mut hitless) = slow(2).await;
    let arguments = reload_arguments(&hitless, &[]);
    let mut watching = Program::start_on_terminal(program::hitless(), arguments);
    watching.says("generation 2 is starting", SOON).await;
    watching.signal(Signal::INT);
    assert_eq!(watching.ends(SOON).await, 128 + 2, "{}", watching.output());
    watching
        .says("no longer waited for; it goes on", SOON)
        .await;
    let live = |status: &support::status::Status| status.live(APP) == Some(2);
    hitless
        .wait_for("generation 2 is live all the same", SOON, live)
        .await;
}

#[tokio::test]
async fn a_reload_that_is_killed_in_the_middle_changes_nothing() {
    let (_app, mut hitless) = slow(2).await;
    let arguments = reload_arguments(&hitless, &[]);
    let mut asking = Program::start(program::hitless(), arguments, &[]);
    asking.says("generation 2 is starting", SOON).await;
    asking.kill();
    let live = |status: &support::status::Status| status.live(APP) == Some(2);
    hitless
        .wait_for("generation 2 is live all the same", SOON, live)
        .await;
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(2));
}

#[tokio::test]
async fn two_reloads_from_two_terminals_each_get_the_verdict() {
    let (_app, hitless) = slow(2).await;
    let first = tokio::spawn(hitless.command(&["reload"]));
    hitless.metrics_until("hitless_generations", APP, 2.0).await;
    let second = hitless
        .command(&["reload"])
        .await
        .expect_status(0, "the second");
    let first = first.await.expect("a client does not panic");
    let first = first.expect_status(0, "the first");
    assert!(
        first
            .stderr
            .contains("was superseded by reload 3, which is waited for now"),
        "{first:?}"
    );
    for ran in [&first, &second] {
        assert!(ran.stderr.contains("generation 3 is live"), "{ran:?}");
    }
}

#[tokio::test]
async fn the_status_of_one_app_names_its_folder_and_variables_but_no_value() {
    let app = App::demo();
    let hitless = Hitless::of(&app)
        .setting("env = { API_TOKEN = \"s3cret\" }")
        .start()
        .await;
    let ran = hitless
        .command(&["status", APP])
        .await
        .expect_status(0, "status");
    let folder = std::env::current_dir().expect("there is one");
    assert!(
        ran.stdout.contains(&format!("in {}", folder.display())),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("API_TOKEN"), "{ran:?}");
    let all = hitless
        .command(&["status", "--json"])
        .await
        .expect_status(0, "status");
    assert!(all.stdout.contains("API_TOKEN"), "{all:?}");
    for ran in [ran, all] {
        assert!(!ran.stdout.contains("s3cret"), "{ran:?}");
    }
    let unknown = hitless
        .command(&["status", "webb"])
        .await
        .expect_status(2, "unknown");
    assert!(
        unknown
            .stderr
            .contains("there is no app webb; there is app"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_watched_status_is_told_when_it_changes() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    let control = hitless.control().display().to_string();
    let arguments = ["status", "--watch", "--control", &control];
    let mut watching = Program::start(program::hitless(), arguments, &[]);
    watching.says("generation 1 serves", SOON).await;
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "a reload");
    watching.says("generation 2 serves", SOON).await;
    watching.signal(Signal::INT);
    assert_eq!(watching.ends(SOON).await, 128 + 2);
}

#[tokio::test]
async fn several_hitless_are_told_apart_by_what_they_do() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(folder.path(), private).expect("it is ours");
    let runtime = folder.path().display().to_string();
    let variables = [("RUNTIME_DIRECTORY", runtime.as_str())];
    let program = program::hitless().display().to_string();
    let run = |name: &str| {
        let options = ["run", "-l", "127.0.0.1:0", "--admin", "", "--name", name];
        let command = ["--", program.as_str(), "demo-app"];
        Program::start(
            program::hitless(),
            options.iter().chain(&command),
            &variables,
        )
    };
    let (shop, mail) = (run("shop"), run("mail"));
    for running in [&shop, &mail] {
        running.says("reload done", SOON).await;
    }
    for words in [&["status"][..], &["reload"], &["logs"], &["pause", "app"]] {
        let ran = program::run(program::hitless(), words, &variables, SOON).await;
        let ran = ran.expect_status(2, "which one?");
        assert_eq!(ran.stdout, "", "{ran:?}");
        let text = replaced(
            &steady(&ran.stderr),
            "process [0-9]+, for [0-9a-z]+",
            "process PID, for TIME",
        );
        expect_file![snapshot("several")].assert_eq(&text);
    }
    let words = ["status", "--name", "mail"];
    let ran = program::run(program::hitless(), words, &variables, SOON).await;
    let ran = ran.expect_status(0, "the one that was named");
    assert!(
        ran.stdout.starts_with("hitless 0.1.0 mail (process "),
        "{ran:?}"
    );
}

#[tokio::test]
async fn shells_and_readers_get_what_they_read() {
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef hitless"),
        ("fish", "complete -c hitless"),
    ] {
        let ran = program::run(program::hitless(), ["completions", shell], &[], SOON).await;
        let ran = ran.expect_status(0, shell);
        assert!(ran.stdout.contains(part), "{shell}");
        assert!(ran.stdout.contains("through-probation"), "{shell}");
        assert!(!ran.stdout.contains("demo-app "), "{shell}: hidden");
        // The name of an app or of a hitless is no file.
        let name = match shell {
            "zsh" => ":NAME:_default",
            "bash" => "--name)\n                    COMPREPLY=($(compgen -f",
            _ => "-l name -d 'The name of this hitless, which is that of its control socket' -r\n",
        };
        assert!(!ran.stdout.contains(name), "{shell}: {}", ran.stdout);
    }
    let ran = program::run(program::hitless(), ["man"], &[], SOON)
        .await
        .expect_status(0, "man");
    assert!(ran.stdout.contains(".TH hitless 1"), "{}", ran.stdout);
    for part in ["HITLESS RELOAD", "HITLESS CHECK", "through\\-probation"] {
        assert!(ran.stdout.contains(part), "{part}");
    }
    assert!(!ran.stdout.contains("HITLESS KEEPER"));
    for part in [
        ".SH EXAMPLES\n.nf\nhitless run",
        ".SH \"EXIT STATUS\"",
        ".SH ENVIRONMENT",
        "HITLESS_LISTEN",
        ".SS \"EXAMPLES\"\n.nf\n",
    ] {
        assert!(ran.stdout.contains(part), "{part} is not in {}", ran.stdout);
    }
    // Pages that there are not.
    assert!(!ran.stdout.contains("EXTRA"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("(1)"), "{}", ran.stdout);
}
