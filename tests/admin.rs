//! Promise: the admin address tells scrapers and balancers the truth, changes nothing, and is no way in for web pages.

mod support;

use std::time::Duration;

use http::HeaderValue;
use support::app::{App, Release};
use support::client::{fetch, get, request};
use support::world::{APP, Hitless, SOON};

/// Every family of interface.md but those that stand only beside something (a held request, an answer of hitless).
const NAMES: [&str; 21] = [
    "hitless_http_requests_total",
    "hitless_http_request_duration_seconds_count",
    "hitless_upstream_head_seconds_count",
    "hitless_http_requests_in_flight",
    "hitless_http_request_bytes_total",
    "hitless_http_response_bytes_total",
    "hitless_overhead_seconds_count",
    "hitless_answers_total",
    "hitless_resends_total",
    "hitless_held_requests",
    "hitless_held_requests_total",
    "hitless_client_connections",
    "hitless_upstream_connections_total",
    "hitless_generation",
    "hitless_generations",
    "hitless_reloads_total",
    "hitless_last_reload_success",
    "hitless_stale",
    "hitless_config_reloads_total",
    "hitless_log_lines_dropped_total",
    "hitless_build_info",
];

#[tokio::test]
async fn every_metric_stands_there_from_the_start() {
    let hitless = Hitless::start(&App::demo()).await;
    let metrics = hitless.metrics().await;
    let missing: Vec<_> = NAMES.iter().filter(|name| !metrics.has(name)).collect();
    assert!(
        missing.is_empty(),
        "missing: {missing:?} in:\n{}",
        metrics.0
    );
    let failed = [("app", APP), ("verdict", "failed")];
    assert_eq!(metrics.sum("hitless_reloads_total", &failed), 0.0);
}

#[tokio::test]
async fn requests_and_reloads_are_counted() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    for code in [200, 200, 404] {
        hitless
            .get(&format!("/status?code={code}"))
            .await
            .expect_status(code);
    }
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "reload");
    let metrics = hitless.metrics().await;
    let of = |class| [("app", APP), ("method", "GET"), ("code_class", class)];
    assert_eq!(metrics.sum("hitless_http_requests_total", &of("2xx")), 2.0);
    assert_eq!(metrics.sum("hitless_http_requests_total", &of("4xx")), 1.0);
    let live = [("app", APP), ("trigger", "command"), ("verdict", "live")];
    assert_eq!(metrics.sum("hitless_reloads_total", &live), 1.0);
    assert_eq!(
        metrics.sum("hitless_last_reload_success", &[("app", APP)]),
        1.0
    );
    let status = hitless.status().await;
    let generation = metrics.sum("hitless_generation", &[("app", APP)]);
    assert_eq!(
        status.live(APP).map(|live| live as f64),
        Some(generation),
        "{status}"
    );
}

#[tokio::test]
async fn healthz_is_well_while_readyz_still_waits_for_the_first_start() {
    let app = App::demo();
    app.deploy(&Release::good(1).boots_for(Duration::from_secs(2)));
    let mut hitless = Hitless::of(&app).begin().await;
    hitless.get_admin("/healthz").await.expect_status(200);
    let early = hitless.get_admin("/readyz").await.expect_status(503);
    assert!(!early.body.is_empty(), "with the reason");
    hitless.get_admin("/readyz/app").await.expect_status(503);

    let live = "a generation is live";
    hitless
        .wait_for(live, SOON, |status| status.live(APP).is_some())
        .await;
    hitless.get_admin("/readyz").await.expect_status(200);
    hitless.get_admin("/readyz/app").await.expect_status(200);
    hitless.get_admin("/readyz/nobody").await.expect_status(404);
}

#[tokio::test]
async fn status_is_the_one_of_the_command_line() {
    let hitless = Hitless::start(&App::demo()).await;
    let answer = hitless.get_admin("/status").await.expect_status(200);
    let asked = hitless.status().await;
    assert_eq!(answer.json()["apps"][0]["live"], asked.0["apps"][0]["live"]);
    hitless.get_admin("/").await.expect_status(200);
}

/// A web page that rebinds its name to 127.0.0.1 cannot help sending that name.
#[tokio::test]
async fn a_host_that_is_a_strange_name_gets_403() {
    let hitless = Hitless::of(&App::demo())
        .global("admin_hosts = [\"metrics.example\"]")
        .start()
        .await;
    let cases = [
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("localhost", 200),
        ("localhost:9900", 200),
        ("127.0.0.1:9900", 200),
        ("[::1]:9900", 200),
        ("metrics.example", 200),
    ];
    for path in ["/status", "/metrics", "/"] {
        for (host, status) in cases {
            let mut request = get(path);
            let value = HeaderValue::from_static(host);
            request.headers_mut().insert(http::header::HOST, value);
            let answer = fetch(hitless.admin(), request).await;
            assert_eq!(
                answer.status.as_u16(),
                status,
                "{path} for {host}: {answer:#?}"
            );
        }
    }
}

#[tokio::test]
async fn nothing_can_be_changed_there() {
    let hitless = Hitless::start(&App::demo()).await;
    let before = hitless.status().await.live(APP);
    for path in [
        "/v1/reload",
        "/v1/apps/app/reload",
        "/v1/apps/app/pause",
        "/status",
    ] {
        let mut request = request("POST", path, bytes::Bytes::new());
        let value = HeaderValue::from_static("localhost");
        request.headers_mut().insert(http::header::HOST, value);
        let answer = fetch(hitless.admin(), request).await;
        let refused = matches!(answer.status.as_u16(), 404 | 405);
        assert!(refused, "POST {path}: {answer:#?}");
    }
    let after = hitless.status().await;
    assert_eq!(after.live(APP), before, "{after}");
    assert!(!after.paused(APP), "{after}");
}
