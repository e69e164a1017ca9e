//! Promise: what an app writes goes where hitless writes, whole lines, all of them, and no slow reader ever blocks the app.

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use support::app::App;
use support::program::{self, Stdout};
use support::world::{Hitless, SOON};
use tokio::time::Instant;

/// The built-in app behind a script that says something first.
fn saying(script: &str) -> App {
    let demo = program::hitless().display();
    App::other(&[
        "sh",
        "-c",
        &format!("{script}; exec {demo} demo-app --version 1"),
    ])
}

/// A script whose last words come when it is asked to end.
fn with_last_words(words: &str) -> App {
    let demo = program::hitless().display();
    App::other(&[
        "sh",
        "-c",
        &format!(
            "{demo} demo-app --version 1 & trap '{words}; kill $!; exit 0' TERM; while :; do wait; done"
        ),
    ])
}

fn stdout_of(app: &App) -> PathBuf {
    app.folder().join("stdout")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("hitless writes it")
}

#[tokio::test]
async fn where_no_person_reads_lines_are_as_they_were_written() {
    let app = saying(r"printf 'plain\nno UTF-8: \377\n'; echo of stderr >&2");
    let out = stdout_of(&app);
    let mut hitless = Hitless::of(&app)
        .stdout(Stdout::File(out.clone()))
        .start()
        .await;
    let line = hitless.program().says("of stderr", SOON).await;
    assert_eq!(line, "of stderr");
    assert_eq!(hitless.stop().await, 0);
    assert_eq!(std::fs::read(out).unwrap(), b"plain\nno UTF-8: \xff\n");
}

#[tokio::test]
async fn lines_are_tagged_where_that_is_asked_for() {
    let app = saying("echo here I am");
    let mut hitless = Hitless::of(&app)
        .setting("[log]\napp = \"tagged\"")
        .start()
        .await;
    let line = hitless.program().says("here I am", SOON).await;
    assert_eq!(line, "app.1 | here I am");
}

#[tokio::test]
async fn on_a_terminal_lines_are_tagged() {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let app = saying("echo here I am");
    let _hitless = Hitless::of(&app)
        .stdout(Stdout::File(name.into_string().unwrap().into()))
        .start()
        .await;
    let mut first = String::new();
    BufReader::new(File::from(terminal))
        .read_line(&mut first)
        .unwrap();
    assert_eq!(first.trim_end(), "app.1 | here I am");
}

#[tokio::test]
async fn lines_are_json_where_that_is_asked_for() {
    let app = saying(r#"printf 'a "word"\twith a tab\n'"#);
    let out = stdout_of(&app);
    let mut hitless = Hitless::of(&app)
        .setting("[log]\napp = \"json\"")
        .stdout(Stdout::File(out.clone()))
        .start()
        .await;
    assert_eq!(hitless.stop().await, 0);
    let line: Value = serde_json::from_str(&read(&out)).unwrap();
    assert_eq!(line["text"], "a \"word\"\twith a tab");
    assert_eq!(
        (&line["app"], &line["generation"]),
        (&"app".into(), &1.into())
    );
    assert_eq!(
        (&line["instance"], &line["stream"]),
        (&1.into(), &"stdout".into())
    );
}

/// Longer than what a pipe takes in one piece, and from several processes at once.
#[tokio::test]
async fn lines_of_several_instances_are_never_mixed() {
    let script = r#"i=0; line=$(head -c 6000 /dev/zero | tr '\0' "$HITLESS_INSTANCE"); while [ $i -lt 100 ]; do echo $line; i=$((i+1)); done"#;
    let app = saying(script);
    let out = stdout_of(&app);
    let mut hitless = Hitless::of(&app)
        .option("--instances", "3")
        .stdout(Stdout::File(out.clone()))
        .start()
        .await;
    assert_eq!(hitless.stop().await, 0);
    let text = read(&out);
    for instance in ["1", "2", "3"] {
        let whole = instance.repeat(6000);
        let count = text.lines().filter(|line| *line == whole).count();
        assert_eq!(count, 100, "whole lines of instance {instance}");
    }
    assert_eq!(text.lines().count(), 300);
}

#[tokio::test]
async fn nothing_is_lost_at_a_swap_or_at_the_end() {
    let words = "i=0; while [ $i -lt 2000 ]; do echo last $HITLESS_GENERATION $i; i=$((i+1)); done";
    let app = with_last_words(words);
    let out = stdout_of(&app);
    let mut hitless = Hitless::of(&app)
        .option("--probation", "0")
        .stdout(Stdout::File(out.clone()))
        .start()
        .await;
    hitless.reload().await.expect_status(0, "reload");
    assert_eq!(hitless.stop().await, 0);
    let text = read(&out);
    for generation in ["1", "2"] {
        let numbers = text
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("last {generation} ")))
            .map(|number| number.parse::<u32>().unwrap());
        let expected: Vec<_> = (0..2000).collect();
        assert_eq!(
            numbers.collect::<Vec<_>>(),
            expected,
            "generation {generation}"
        );
    }
}

#[tokio::test]
async fn nothing_is_lost_when_an_app_crashes() {
    let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; kill -KILL $$";
    let app = App::other(&["sh", "-c", script]);
    let out = stdout_of(&app);
    let mut hitless = Hitless::of(&app)
        .flag("--exit-on-failed-start")
        .stdout(Stdout::File(out.clone()))
        .spawn();
    assert_eq!(hitless.program().ends(SOON).await, 1);
    let expected: Vec<_> = (0..2000).map(|number| format!("line {number}")).collect();
    assert_eq!(read(&out).lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_reader_that_has_stopped_costs_lines_and_never_blocks_the_app() {
    // 12 MB, of which 4 MiB may wait; the app listens only once all of it is written.
    let app = saying("yes $(head -c 99 /dev/zero | tr '\\0' x) | head -n 120000");
    let mut hitless = Hitless::of(&app).stdout(Stdout::Unread).start().await;
    hitless.get("/").await.expect_status(200);
    let dropped = async |hitless: &Hitless| {
        let metrics = hitless.metrics().await;
        metrics.sum("hitless_log_lines_dropped_total", &[("log", "app")])
    };
    let deadline = Instant::now() + SOON;
    while dropped(&hitless).await < 60_000.0 {
        assert!(
            Instant::now() < deadline,
            "{} were dropped",
            dropped(&hitless).await
        );
    }
    hitless
        .program()
        .says("lines of these logs were dropped", SOON)
        .await;
    // The last words of the app are kept all the same, and the end waits for no reader.
    let last = hitless.command(&["logs", "--lines", "1"]).await;
    assert!(
        last.expect_status(0, "logs")
            .stdout
            .starts_with("app 1.1 | ")
    );
    assert_eq!(hitless.stop().await, 0);
}
