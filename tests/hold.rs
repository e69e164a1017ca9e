//! Promise: while nothing is live, requests wait, within limits, and are answered as soon as something is.

mod support;

use std::time::Duration;

use rustix::process::Signal;
use support::app::{App, Fault, Release};
use support::client::fetch_path;
use support::load::{Load, RATE};
use support::processes;
use support::record::Kind;
use support::world::{APP, Hitless, SOON};
use tokio::time::Instant;

/// The results of connections to an app that did not come about.
const FAILED_CONNECTIONS: [&str; 3] = ["refused", "timed_out", "failed"];

fn never_live() -> App {
    let app = App::demo();
    app.deploy(&Release::broken(1, Fault::NeverListens));
    app
}

#[tokio::test]
async fn a_request_that_comes_before_the_app_is_ready_is_answered_by_it() {
    let app = App::demo();
    app.deploy(&Release::good(1).boots_for(Duration::from_secs(1)));
    let hitless = Hitless::of(&app).begin().await;
    let before = hitless.status().await;
    assert_eq!(
        before.live(APP),
        None,
        "live too early to test anything: {before}"
    );

    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(1), "{answer:#?}");
}

#[tokio::test]
async fn a_request_that_is_held_too_long_gets_503_with_retry_after() {
    let app = never_live();
    let hitless = Hitless::of(&app)
        .setting("[app.app.hold]\ntimeout = \"300ms\"")
        .begin()
        .await;
    let began = Instant::now();
    let answer = hitless.get("/").await.expect_status(503);
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_millis(300),
        "gave up after {waited:?}"
    );
    assert!(waited < SOON, "gave up only after {waited:?}");
    assert!(
        answer.field("retry-after").is_some(),
        "no Retry-After: {answer:#?}"
    );
    let proxy_status = answer.field("proxy-status").unwrap_or_default();
    assert!(
        proxy_status.starts_with("hitless; error="),
        "Proxy-Status: {answer:#?}"
    );
}

#[tokio::test]
async fn a_request_too_many_gets_503_at_once_and_the_held_ones_stay() {
    let app = App::demo();
    app.deploy(&Release::good(1).boots_for(Duration::from_secs(3)));
    let hitless = Hitless::of(&app)
        .setting("[app.app.hold]\nrequests = 2")
        .begin()
        .await;
    // Three at once: whichever two come first are held, the third is refused.
    let address = hitless.address();
    let requests: Vec<_> = (0..3)
        .map(|_| tokio::spawn(fetch_path(address, "/")))
        .collect();
    let mut statuses = Vec::new();
    for request in requests {
        let answer = request.await.expect("the client does not panic");
        statuses.push(answer.status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503], "two places, three requests");
}

#[tokio::test]
async fn a_held_client_that_goes_away_makes_room() {
    let app = App::demo();
    app.deploy(&Release::good(1).boots_for(Duration::from_secs(3)));
    let hitless = Hitless::of(&app)
        .setting("[app.app.hold]\nrequests = 1")
        .begin()
        .await;
    let address = hitless.address();
    let gone = tokio::spawn(fetch_path(address, "/"));
    hitless.holds(1).await;
    gone.abort();
    hitless.holds(0).await;
    hitless.get("/").await.expect_status(200);
}

#[tokio::test]
async fn a_thousand_that_wait_are_all_answered_when_something_is_live() {
    const COUNT: usize = 1_000;
    let app = App::demo();
    let go = app.folder().join("go");
    let boot_until = format!("--boot-until={}", go.display());
    app.deploy(&Release::with_options(1, &[&boot_until]));
    let hitless = Hitless::of(&app).begin().await;
    let address = hitless.address();
    let requests: Vec<_> = (0..COUNT)
        .map(|_| tokio::spawn(fetch_path(address, "/")))
        .collect();
    hitless.holds(COUNT).await;
    hitless.get("/").await.expect_status(503);

    std::fs::write(&go, "").expect("the folder can be written to");
    for request in requests {
        let answer = request.await.expect("the client does not panic");
        answer.expect_status(200);
    }
    let metrics = hitless.metrics().await;
    for result in FAILED_CONNECTIONS {
        let labels = [("app", APP), ("result", result)];
        let count = metrics.sum("hitless_upstream_connections_total", &labels);
        assert_eq!(count, 0.0, "connections that were {result}");
    }
    hitless.holds(0).await;
}

// === the only process dies ===

/// Without a standby: clients wait while the same version is started again.
async fn the_only_process_is_killed_under_load(app: &App) {
    let mut hitless = Hitless::of(app)
        .setting("[app.app.failover]\nprobation = 0")
        .start()
        .await;
    let load = Load::start(hitless.address()).await;
    load.answers(400).await;
    for restarts in 1..=2 {
        let pid = hitless.status().await.live_pid(APP);
        processes::send(pid, Signal::KILL);
        let what = "it is started again";
        let again = hitless.wait_for(what, SOON, |status| {
            status.restarts(APP) == restarts && status.live_pids(APP).iter().any(|new| *new != pid)
        });
        load.during("the restart", again).await;
        load.answers(400).await;
    }
    let record = load.stop().await;
    record.show();
    record.expect_rate(RATE);
    // Twice four uploads under way and one answer begun, at most.
    record.expect_failed_only(&[Kind::Upload, Kind::Download], 10);
    record.expect_losses_told();
    record.expect_none_closed(Kind::Kept);
    let status = hitless.status().await;
    assert!(
        !status.stale(APP),
        "it is the version that is wanted: {status}"
    );
}

#[tokio::test]
async fn requests_wait_while_the_only_process_is_started_again() {
    the_only_process_is_killed_under_load(&App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn requests_wait_while_the_only_tornado_is_started_again() {
    the_only_process_is_killed_under_load(&App::tornado()).await;
}
