//! Promise: who waits through the probation learns how it ended, and a probation without anything bad ends by itself.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::app::{App, End, Fault, Release};
use support::program::Ran;
use support::world::{APP, Hitless, SOON};

/// The last line of `--json`.
#[track_caller]
fn last_line(ran: &Ran) -> Value {
    let last = ran.json().pop();
    last.unwrap_or_else(|| panic!("no line: {ran:#?}"))
}

#[tokio::test]
async fn who_waits_through_a_failover_is_told_the_reason() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    let dies = Fault::Ends(End::Exits, Duration::from_millis(500));
    app.deploy(&Release::broken(2, dies));
    let words = ["reload", "--through-probation", "--json"];
    let reload = hitless.command(&words).await;
    let reload = reload.expect_status(1, "a reload that is failed over");
    let last = last_line(&reload);
    assert_eq!(last["event"], "settled", "{reload:#?}");
    assert_eq!(last["settled"], "failed_over", "{reload:#?}");
    let reason = last["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("status 1"), "{reload:#?}");
    let live = reload
        .json()
        .into_iter()
        .any(|line| line["verdict"] == "live");
    assert!(live, "it was live before: {reload:#?}");
}

#[tokio::test]
async fn who_waits_through_a_failover_reads_the_reason() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    let dies = Fault::Ends(End::Exits, Duration::from_millis(500));
    app.deploy(&Release::broken(2, dies));
    let reload = hitless.command(&["reload", "--through-probation"]).await;
    let reload = reload.expect_status(1, "a reload that is failed over");
    assert!(reload.stderr.contains("status 1"), "{reload:#?}");
}

#[tokio::test]
async fn who_waits_through_a_good_probation_is_told_proven() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    app.deploy(&Release::good(2));
    let words = [
        "reload",
        "--through-probation",
        "--probation",
        "1s",
        "--json",
    ];
    let reload = hitless.command(&words).await;
    let reload = reload.expect_status(0, "a reload through a good probation");
    assert_eq!(last_line(&reload)["settled"], "proven", "{reload:#?}");
    assert!(reload.took >= Duration::from_secs(1), "{reload:#?}");
    let stopped = "the version before is stopped";
    let status = hitless
        .wait_for(stopped, SOON, |status| status.generations(APP) == 1)
        .await;
    assert_eq!(status.standing(APP), Some("proven"), "{status}");
}

#[tokio::test]
async fn who_waits_while_a_newer_version_comes_is_told_replaced() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    app.deploy(&Release::good(2));
    let words = ["reload", "--through-probation", "--json"];
    let waits = tokio::spawn(hitless.command(&words));
    hitless
        .wait_for("the first is live", SOON, |status| {
            status.live(APP) == Some(2)
        })
        .await;
    app.deploy(&Release::good(3));
    hitless.reload().await.expect_status(0, "the newer reload");
    let reload = waits.await.expect("a client does not panic");
    let reload = reload.expect_status(0, "a reload that was replaced");
    assert_eq!(last_line(&reload)["settled"], "replaced", "{reload:#?}");
}

#[tokio::test]
async fn a_reload_without_probation_has_no_way_back() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    app.deploy(&Release::good(2));
    let words = [
        "reload",
        "--through-probation",
        "--probation",
        "0",
        "--json",
    ];
    let reload = hitless.command(&words).await;
    let reload = reload.expect_status(0, "a reload without probation");
    assert_eq!(last_line(&reload)["settled"], "proven", "{reload:#?}");
    let status = hitless.status().await;
    assert_eq!(status.standing(APP), Some("proven"), "{status}");
    assert_eq!(status.standby(APP), None, "{status}");
    assert_eq!(status.generations_in(APP, "standby"), 0, "{status}");
    let stopped = "the version before is stopped";
    hitless
        .wait_for(stopped, SOON, |status| status.generations(APP) == 1)
        .await;
}

#[tokio::test]
async fn on_probation_the_version_before_stands_by_until_the_time_is_over() {
    let app = App::demo();
    let mut hitless = Hitless::of(&app)
        .setting("[app.app.failover]\nprobation = \"2s\"")
        .start()
        .await;
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "reload");
    let status = hitless.has_standby().await;
    assert_eq!(status.standing(APP), Some("probation"), "{status}");
    assert_eq!(status.standby(APP), Some(1), "{status}");
    assert_eq!(status.generations_in(APP, "standby"), 1, "{status}");
    // Low traffic, nothing bad.
    hitless.get("/").await.expect_status(200);

    let proven = "the probation is over";
    let status = hitless
        .wait_for(proven, SOON, |status| {
            status.standing(APP) == Some("proven")
        })
        .await;
    assert_eq!(status.failovers(APP), 0, "{status}");
    assert!(!status.stale(APP), "{status}");
    hitless
        .wait_for("the standby is stopped", SOON, |status| {
            status.generations(APP) == 1
        })
        .await;
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(2), "{answer:#?}");
}

#[tokio::test]
async fn after_a_failover_the_next_good_reload_ends_the_staleness() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let dies = Fault::Ends(End::Exits, Duration::from_millis(300));
    app.deploy(&Release::broken(2, dies));
    hitless.reload().await.expect_status(0, "the bad reload");
    hitless
        .wait_for("it is taken back", SOON, |status| {
            status.failovers(APP) == 1
        })
        .await;
    app.deploy(&Release::good(3));
    hitless.reload().await.expect_status(0, "the good reload");
    let status = hitless.status().await;
    assert!(!status.stale(APP), "{status}");
    assert_eq!(hitless.get("/").await.version(), Some(3));
    let shown = hitless.command(&["status"]).await;
    shown.expect_status(0, "status");
}
