//! Promise: a version that needs warming up gets no client's request before it is warm.

mod support;

use support::app::{App, Release};
use support::world::{APP, Hitless};

/// Cold: it answers 503 to clients until /warm was asked for.
fn cold(version: u64) -> Release {
    Release::with_options(version, &["--cold"])
}

fn cold_app() -> App {
    let app = App::demo();
    app.deploy(&cold(1));
    app
}

#[tokio::test]
async fn the_app_of_these_tests_is_cold_without() {
    let hitless = Hitless::start(&cold_app()).await;
    hitless.get("/").await.expect_status(503);
}

async fn warms_up(setting: &str) {
    let app = cold_app();
    let hitless = Hitless::of(&app).setting(setting).start().await;
    hitless.get("/").await.expect_status(200);
    app.deploy(&cold(2));
    // Without probation, so that no standby answers for it.
    let reload = hitless.command(&["reload", "--probation", "0"]).await;
    reload.expect_status(0, "reload");
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(2), "{answer:#?}");
}

#[tokio::test]
async fn a_path_is_asked_for_before_it_goes_live() {
    warms_up("[app.app.ready]\nwarm_up = [\"/warm\"]").await;
}

#[tokio::test]
async fn a_path_may_say_what_it_must_answer() {
    let warm_up = "warm_up = [{ path = \"/warm\", status = [\"200-299\"] }]";
    warms_up(&format!("[app.app.ready]\n{warm_up}")).await;
}

#[tokio::test]
async fn a_warm_up_that_fails_is_told() {
    let app = cold_app();
    let warm_up = "warm_up = [{ path = \"/warm\", status = [\"200-299\"] }]";
    let hitless = Hitless::of(&app)
        .setting(&format!("[app.app.ready]\n{warm_up}"))
        .start()
        .await;
    app.deploy(&Release::with_options(2, &["--cold", "--warm-status=500"]));
    let reload = hitless.command(&["reload", "--json"]).await;
    let reload = reload.expect_status(1, "a reload whose warm-up fails");
    let last = reload.json().pop().expect("there is a last line");
    assert_eq!(last["verdict"], "failed", "{last:#}");
    assert_eq!(last["kind"], "warm_up", "{last:#}");
    let reason = last["reason"].as_str().unwrap_or_default();
    for word in ["/warm", "500"] {
        assert!(reason.contains(word), "no {word:?} in {last:#}");
    }
    let status = hitless.status().await;
    assert!(status.stale(APP), "{status}");
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(1), "{answer:#?}");
}
