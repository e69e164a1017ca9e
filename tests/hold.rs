//! Promise: while nothing is live, requests wait, within limits, and are answered as soon as something is.

mod support;

use std::time::Duration;

use support::app::{App, Fault, Release};
use support::client::fetch_path;
use support::world::{APP, Hitless, SOON};
use tokio::time::Instant;

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
    wait_until_held(&hitless, 1.0).await;
    gone.abort();
    wait_until_held(&hitless, 0.0).await;
    hitless.get("/").await.expect_status(200);
}

/// The gauge of held requests is the only sign of a request that waits.
async fn wait_until_held(hitless: &Hitless, count: f64) {
    let deadline = Instant::now() + SOON;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        let metrics = hitless.metrics().await;
        let held = metrics.sum("hitless_held_requests", &[("app", APP)]);
        if held == count {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{held} held, not {count}, all the time"
        );
    }
}
