//! Promise: who tells hitless something learns how it ended: by exit status, in words, and as JSON.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use support::app::{App, Fault, Release};
use support::program::{self, Ran};
use support::world::{APP, Hitless, SOON};

async fn hitless(words: &[&str]) -> Ran {
    program::run(program::hitless(), words, &[], SOON).await
}

#[track_caller]
fn verdict(ran: &Ran) -> String {
    let lines = ran.json();
    let last = lines.last().unwrap_or_else(|| panic!("no line: {ran:#?}"));
    let verdict = last["verdict"].as_str();
    verdict
        .unwrap_or_else(|| panic!("no verdict in the last line: {ran:#?}"))
        .to_owned()
}

// === reload ===

#[tokio::test]
async fn a_reload_as_json_ends_with_its_verdict() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    app.deploy(&Release::good(2));
    let reload = hitless.command(&["reload", "--json"]).await;
    let reload = reload.expect_status(0, "reload --json");
    assert!(
        reload.json().len() > 1,
        "the way is shown as well: {reload:#?}"
    );
    assert_eq!(verdict(&reload), "live", "{reload:#?}");
    let answer = hitless.get("/").await;
    assert_eq!(
        answer.version(),
        Some(2),
        "the verdict is true: {answer:#?}"
    );
}

#[tokio::test]
async fn a_failed_reload_as_json_names_the_reason() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    app.deploy(&Release::broken(2, Fault::DiesAtStart));
    let reload = hitless.command(&["reload", "--json"]).await;
    let reload = reload.expect_status(1, "reload --json");
    assert_eq!(verdict(&reload), "failed", "{reload:#?}");
    let last = reload.json().pop().expect("there is a last line");
    assert!(last["reason"].to_string().contains("exited"), "{last:#}");
}

#[tokio::test]
async fn a_reload_that_takes_longer_than_asked_goes_on_and_says_so() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let before = hitless.status().await.live(APP);
    app.deploy(&Release::good(2).boots_for(Duration::from_secs(2)));
    let reload = hitless.command(&["reload", "--timeout", "300ms"]).await;
    let reload = reload.expect_status(1, "reload --timeout");
    assert!(
        reload.took < Duration::from_secs(2),
        "waited longer than asked: {reload:#?}"
    );
    assert!(reload.stderr.contains("goes on"), "{reload:#?}");
    let wanted = "the reload has gone on";
    hitless
        .wait_for(wanted, SOON, |status| status.live(APP) > before)
        .await;
    assert_eq!(hitless.get("/").await.version(), Some(2));
}

#[tokio::test]
async fn a_reload_without_waiting_returns_before_its_verdict() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let before = hitless.status().await.live(APP);
    app.deploy(&Release::good(2).boots_for(Duration::from_secs(2)));
    let reload = hitless.command(&["reload", "--no-wait"]).await;
    reload.expect_status(0, "reload --no-wait");
    assert_eq!(hitless.status().await.live(APP), before, "it has waited");
    let wanted = "the reload has gone on";
    hitless
        .wait_for(wanted, SOON, |status| status.live(APP) > before)
        .await;
}

#[tokio::test]
async fn an_interrupted_caller_does_not_interrupt_the_reload() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let before = hitless.status().await.live(APP);
    app.deploy(&Release::good(2).boots_for(Duration::from_secs(2)));
    let control = hitless.control().display().to_string();
    let words = ["reload", "--control", &control];
    let mut caller = program::Program::start(program::hitless(), words, &[]);
    let starting = "a candidate is starting";
    hitless
        .wait_for(starting, SOON, |status| {
            status.generations_in(APP, "starting") == 1
        })
        .await;
    caller.signal(Signal::INT);
    caller.ends(SOON).await;
    let wanted = "the reload has gone on";
    hitless
        .wait_for(wanted, SOON, |status| status.live(APP) > before)
        .await;
}

#[tokio::test]
async fn a_superseded_caller_waits_for_the_newer_one_and_is_told() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    app.deploy(&Release::good(2).boots_for(Duration::from_secs(30)));
    let first = tokio::spawn(hitless.command(&["reload", "--json"]));
    let starting = "a candidate is starting";
    hitless
        .wait_for(starting, SOON, |status| {
            status.generations_in(APP, "starting") == 1
        })
        .await;
    app.deploy(&Release::good(3));
    hitless.reload().await.expect_status(0, "the newer reload");
    let first = first.await.expect("the client does not panic");
    let first = first.expect_status(0, "the superseded reload");
    assert!(
        first.stdout.contains("superseded"),
        "it is told: {first:#?}"
    );
    assert_eq!(verdict(&first), "live", "{first:#?}");
}

#[tokio::test]
async fn hup_with_a_broken_configuration_changes_nothing_and_says_so() {
    let app = App::demo();
    let mut hitless = Hitless::of(&app)
        .setting("[app.app.hold]\nrequests = 7")
        .start()
        .await;
    let before = hitless.status().await.live(APP);
    hitless.configure(&app, "[app.app.hold]\nreqests = 7");
    hitless.program().signal(Signal::HUP);
    let line = hitless.program().says("reqests", SOON).await;
    assert!(line.contains("hitless.toml"), "where: {line}");
    hitless.get("/").await.expect_status(200);
    assert_eq!(hitless.status().await.live(APP), before);
    let reload = hitless.reload().await;
    assert_eq!(reload.status, 78, "configuration invalid: {reload:#?}");
}

// === rollback ===

// === status ===

#[tokio::test]
async fn status_as_json_is_one_value_and_the_same_over_http() {
    let hitless = Hitless::start(&App::demo()).await;
    let status = hitless
        .command(&["status", "--json"])
        .await
        .expect_status(0, "status");
    let values = status.json();
    assert_eq!(values.len(), 1, "{status:#?}");
    let over_http = hitless.status().await;
    assert_eq!(values[0]["apps"][0]["live"], over_http.0["apps"][0]["live"]);
    assert!(
        status.stderr.is_empty(),
        "what a program reads goes to stdout alone: {status:#?}"
    );
}

#[tokio::test]
async fn status_says_with_its_exit_status_that_nothing_is_live() {
    let app = App::demo();
    app.deploy(&Release::broken(1, Fault::NeverListens));
    let hitless = Hitless::of(&app).begin().await;
    hitless
        .command(&["status"])
        .await
        .expect_status(1, "status with nothing live");
}

// === exit status, socket, protocol ===

#[tokio::test]
async fn no_running_hitless_is_exit_status_3() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let control = folder.path().join("none.sock").display().to_string();
    for command in ["status", "reload"] {
        let ran = hitless(&[command, "--control", &control]).await;
        let ran = ran.expect_status(3, command);
        assert!(ran.stderr.contains("none.sock"), "it is named: {ran:#?}");
    }
}

#[tokio::test]
async fn a_word_that_is_not_known_is_exit_status_2() {
    for words in [
        &["reload", "--nonsense"][..],
        &["nonsense"],
        &["run", "--listen"],
    ] {
        let ran = hitless(words).await;
        assert_eq!(ran.status, 2, "{words:?}: {ran:#?}");
    }
}

#[tokio::test]
async fn an_invalid_configuration_is_exit_status_78_with_every_place() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let file = folder.path().join("hitless.toml");
    let text = "threads = \"many\"\n[app.app]\ncommand = [\"true\"]\nlisten = 3\n";
    std::fs::write(&file, text).expect("it can be written");
    let file = file.display().to_string();
    for command in ["check", "run"] {
        let ran = hitless(&[command, "--config", &file])
            .await
            .expect_status(78, command);
        for place in ["hitless.toml:1:", "hitless.toml:4:"] {
            assert!(ran.stderr.contains(place), "{place} is missing: {ran:#?}");
        }
    }
}

#[tokio::test]
async fn a_valid_configuration_is_checked_without_starting_anything() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let file = folder.path().join("hitless.toml");
    let trace = folder.path().join("started");
    let text = format!(
        "[app.app]\ncommand = [\"touch\", {:?}]\n",
        trace.display().to_string()
    );
    std::fs::write(&file, text).expect("it can be written");
    let ran = hitless(&["check", "--config", &file.display().to_string()]).await;
    ran.expect_status(0, "check");
    assert!(!trace.exists(), "check has started the app");
}

#[tokio::test]
async fn a_second_hitless_at_the_same_control_socket_is_refused_and_told_by_whom() {
    let app = App::demo();
    let mut first = Hitless::start(&app).await;
    let mut second = Hitless::of(&app).in_place_of(&first).spawn();
    let status = second.program().ends(SOON).await;
    // The process is named. It has ended, and what it said last may still be on its way to here.
    let own = first.program().pid().to_string();
    let said = second.program().says(&own, SOON).await;
    assert_eq!(status, 1, "{said}");
    first.get("/").await.expect_status(200);
    first.status().await;
}

#[tokio::test]
async fn the_control_socket_is_for_its_user_alone() {
    let hitless = Hitless::start(&App::demo()).await;
    let metadata = std::fs::metadata(hitless.control()).expect("it is there");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn the_protocol_of_the_socket_is_plain_http() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    app.deploy(&Release::good(2));
    let answer = hitless.control_request("POST", "/v1/apps/app/reload").await;
    let text = answer.expect("it answers").expect_status(200).text();
    let last = text.lines().last().unwrap_or_default();
    assert!(
        last.contains("live"),
        "the last line is the verdict: {text}"
    );
    assert_eq!(hitless.get("/").await.version(), Some(2));
}

#[tokio::test]
async fn an_app_that_is_not_there_is_a_problem_document() {
    let hitless = Hitless::start(&App::demo()).await;
    let answer = hitless
        .control_request("POST", "/v1/apps/nobody/reload")
        .await;
    let answer = answer.expect("it answers").expect_status(404);
    assert_eq!(
        answer.field("content-type"),
        Some("application/problem+json"),
        "{answer:#?}"
    );
    assert!(answer.text().contains("nobody"), "{answer:#?}");
}
