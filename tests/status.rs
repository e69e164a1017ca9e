//! Promise: `hitless status` can be read at three in the morning: what is wrong and what to type stand first, on a narrow
//! terminal as well, and the exit status says whether to look at all. Each state is a snapshot.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use expect_test::expect_file;
use rustix::process::Signal;
use support::app::{App, End, Fault, Release, section};
use support::program;
use support::world::{APP, Hitless, SOON};

fn snapshot(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    path.join(format!("tests/messages/status-{name}.txt"))
}

/// Without what is another each time; generations that are being started come and go.
fn steady(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, by) in [
        (r"\x1b\[[0-9;]*m", ""),
        ("\r", ""),
        (r"127\.0\.0\.1:[0-9]{4,5}", "127.0.0.1:PORT"),
        (r"process [0-9]+", "process PID"),
        (r"pid [0-9]+", "pid PID"),
        (r"demo-app\[[0-9]+\]", "demo-app[PID]"),
        (r" +\b([0-9]+(ms|s|m|h))+\b", " TIME"),
        (r"(?m)^ +[0-9]+  (starting|stopping) .*\n", ""),
        // Whether there was a check in time is a matter of luck.
        (r"(?m)^    last check: .*\n", ""),
    ] {
        let pattern = regex_lite::Regex::new(pattern).expect("tests write valid patterns");
        text = pattern.replace_all(&text, by).into_owned();
    }
    text
}

/// What it says, and its exit status.
async fn told(hitless: &Hitless) -> String {
    let ran = hitless.command(&["status"]).await;
    assert!(!ran.stdout.contains('\x1b'), "{ran:?}");
    format!("{}[exit status {}]\n", steady(&ran.stdout), ran.status)
}

#[tokio::test]
async fn a_good_version_on_probation_and_after_it() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    expect_file![snapshot("first-start")].assert_eq(&told(&hitless).await);
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "a reload");
    hitless.has_standby().await;
    expect_file![snapshot("probation")].assert_eq(&told(&hitless).await);
    let reload = hitless.command(&["reload", "--probation", "0"]).await;
    reload.expect_status(0, "a reload without a way back");
    let alone = |status: &support::status::Status| status.generations(APP) == 1;
    hitless.wait_for("the old one is gone", SOON, alone).await;
    expect_file![snapshot("healthy")].assert_eq(&told(&hitless).await);
}

#[tokio::test]
async fn stale_after_a_failed_reload() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    app.deploy(&Release::broken(2, Fault::DiesAtStart));
    hitless.reload().await.expect_status(1, "a broken reload");
    expect_file![snapshot("stale")].assert_eq(&told(&hitless).await);

    let control = hitless.control().display().to_string();
    let arguments = ["status", "--control", &control];
    let on = program::run_on_terminal_of(60, program::hitless(), arguments, &[], SOON).await;
    let (status, written) = on;
    assert_eq!(status, 1);
    assert!(written.contains("\x1b[1;31m"), "it is loud: {written:?}");
    let plain = steady(&written);
    for line in plain.lines().filter(|line| !line.contains("127.0.0.1")) {
        assert!(line.chars().count() <= 60, "{line:?} wraps");
    }
    let colourless = [("NO_COLOR", "1")];
    let on = program::run_on_terminal_of(60, program::hitless(), arguments, &colourless, SOON);
    assert!(!on.await.1.contains('\x1b'));
}

#[tokio::test]
async fn a_first_start_that_failed() {
    let app = App::other(&["sh", "-c", "echo cannot open the database >&2; exit 3"]);
    let mut hitless = Hitless::of(&app).begin().await;
    hitless
        .wait_for("it was tried again", SOON, |status| {
            status.0["apps"][0]["crashes"].as_u64() >= Some(2)
                && status.0["apps"][0]["last_crash"].is_object()
                && status.0["apps"][0]["next_start"].is_number()
        })
        .await;
    let text = told(&hitless).await;
    let numbers =
        regex_lite::Regex::new("failed [0-9]+ times|generation [0-9]+|(?m)^  restarts .*\n");
    let text = numbers.expect("a pattern").replace_all(&text, "N");
    expect_file![snapshot("failed-first-start")].assert_eq(&text);
}

#[tokio::test]
async fn paused_for_a_while_and_without_end() {
    let hitless = Hitless::start(&App::demo()).await;
    let pause = hitless.command(&["pause", "--for", "10m"]).await;
    pause.expect_status(0, "a pause");
    let mut all = told(&hitless).await;
    hitless
        .command(&["pause"])
        .await
        .expect_status(0, "a pause");
    all.push_str(&told(&hitless).await);
    expect_file![snapshot("paused")].assert_eq(&all);
}

#[tokio::test]
async fn a_crash_loop() {
    let app = App::demo();
    let ends = Fault::Ends(End::Exits, Duration::from_millis(200));
    app.deploy(&Release::broken(1, ends));
    let mut hitless = Hitless::of(&app)
        .setting("[app.app.failover]\nprobation = \"0\"")
        .begin()
        .await;
    hitless
        .wait_for("it has died again and again", SOON * 2, |status| {
            status.0["apps"][0]["crashes"].as_u64() >= Some(4)
                && status.0["apps"][0]["next_start"].is_number()
        })
        .await;
    let text = told(&hitless).await;
    let numbers =
        regex_lite::Regex::new("failed [0-9]+ times|generation [0-9]+|(?m)^  restarts .*\n");
    let text = numbers.expect("a pattern").replace_all(&text, "N");
    expect_file![snapshot("crash-loop")].assert_eq(&text);
}

#[tokio::test]
async fn shutting_down_while_a_request_is_under_way() {
    let mut hitless = Hitless::start(&App::demo()).await;
    let slow = tokio::spawn(hitless.get("/slow?ms=20000"));
    hitless
        .wait_for("the request is under way", SOON, |status| {
            status.0["apps"][0]["generations"][0]["requests"] == 1
        })
        .await;
    hitless.program().signal(Signal::TERM);
    let stopping = |status: &support::status::Status| status.0["apps"][0]["state"] == "stopping";
    hitless.wait_for("it is stopping", SOON, stopping).await;
    expect_file![snapshot("stopping")].assert_eq(&told(&hitless).await);
    slow.abort();
}

#[tokio::test]
async fn of_several_apps_the_one_to_look_at_comes_first() {
    let (good, bad) = (App::demo(), App::demo());
    let sections = [
        section("good", &good, "route = [{ host = \"good.org\" }]"),
        section("bad", &bad, "route = [{ host = \"bad.org\" }]"),
    ];
    let text = format!("listen = [\"127.0.0.1:0\"]\n{}", sections.join("\n"));
    let mut hitless = Hitless::with_file(&text).begin().await;
    hitless.all_live(&["good", "bad"]).await;
    bad.deploy(&Release::broken(2, Fault::DiesAtStart));
    let reload = hitless.command(&["reload", "bad"]).await;
    reload.expect_status(1, "a broken reload");
    expect_file![snapshot("several")].assert_eq(&told(&hitless).await);
}
