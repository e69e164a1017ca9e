//! Promise: an app that cannot run twice never does, and its reload loses no request either.

mod support;

use std::time::Duration;

use support::app::{App, Fault, Release};
use support::client::fetch_path;
use support::load::Load;
use support::world::{APP, Hitless, SOON};

/// Long enough for what the load has under way, short against the time that requests are held for.
const SETTINGS: &str = "overlap = \"none\"
answer_timeout = \"5s\"
[app.app.drain]
timeout = \"5s\"
stop_timeout = \"2s\"
streams = \"close\"
close_spread = \"1s\"";

/// Reloads under load; the requests wait meanwhile, and none is lost.
async fn reload_alone(app: &App) {
    app.deploy(&locking(app, 1));
    let mut hitless = Hitless::of(app).setting(SETTINGS).start().await;
    let load = Load::start(hitless.address()).await;
    load.answers(200).await;
    app.deploy(&locking(app, 2));
    let reload = load.during("the reload", hitless.reload()).await;
    reload.expect_status(0, "the reload");
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(2), "{answer:#?}");
    load.answers(400).await;
    let record = load.stop().await;
    record.show();
    record.expect_none_failed();
    record.expect_order();
    let output = hitless.program().output();
    assert!(!output.contains("two at once"), "{output}");
}

fn locking(app: &App, version: u64) -> Release {
    Release::broken(version, Fault::Locks(app.folder().join("lock")))
}

#[tokio::test]
async fn the_app_of_these_tests_cannot_run_twice() {
    let app = App::demo();
    app.deploy(&locking(&app, 1));
    let hitless = Hitless::start(&app).await;
    app.deploy(&locking(&app, 2));
    let reload = hitless.reload().await;
    let reload = reload.expect_status(1, "a reload beside the old version");
    assert!(reload.stderr.contains("two at once"), "{reload:#?}");
}

#[tokio::test]
async fn a_good_reload_holds_requests_and_loses_none() {
    reload_alone(&App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_good_reload_of_a_tornado_holds_requests_and_loses_none() {
    reload_alone(&App::tornado()).await;
}

#[tokio::test]
async fn after_a_bad_reload_the_old_version_is_back() {
    // The old version can only be started again from a folder of its own.
    let app = App::releases();
    let lock = format!("--lock={}", app.folder().join("lock").display());
    app.deploy(&Release::with_options(2, &[&lock]));
    let current = app.current().display().to_string();
    let settings = format!("directory = {current:?}\n{SETTINGS}");
    let mut hitless = Hitless::of(&app).setting(&settings).start().await;
    let load = Load::start(hitless.address()).await;
    load.answers(200).await;
    app.deploy(&Release::with_options(3, &[&lock, "--die-at-start=1"]));
    let reload = load.during("the bad reload", hitless.reload()).await;
    let reload = reload.expect_status(1, "a reload to a version that dies");
    assert!(reload.stderr.contains("dying at start"), "{reload:#?}");
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(2), "{answer:#?}");
    load.answers(400).await;
    let status = hitless.status().await;
    assert!(status.stale(APP), "{status}");
    let record = load.stop().await;
    record.show();
    record.expect_none_failed();
    let output = hitless.program().output();
    assert!(!output.contains("two at once"), "{output}");
}

#[tokio::test]
async fn after_a_version_that_hangs_the_old_version_is_back_and_its_gets_are_answered() {
    let app = App::releases();
    let lock = format!("--lock={}", app.folder().join("lock").display());
    app.deploy(&Release::with_options(2, &[&lock]));
    let current = app.current().display().to_string();
    let settings =
        format!("directory = {current:?}\n{SETTINGS}\n[app.app.ready]\ntimeout = \"1s\"");
    let mut hitless = Hitless::of(&app).setting(&settings).start().await;
    app.deploy(&Release::with_options(3, &[&lock, "--hang-after=200ms"]));
    hitless.reload().await.expect_status(0, "the reload");
    let hanging = hitless.get("/").await.expect_status(200);
    assert_eq!(hanging.version(), Some(3), "{hanging:#?}");
    let mut gets = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..20 {
        ticks.tick().await;
        gets.push(tokio::spawn(fetch_path(hitless.address(), "/")));
    }
    let what = "the old version serves again";
    let back = |status: &support::status::Status| {
        status.failovers(APP) == 1 && status.live(APP).is_some_and(|live| live > 2)
    };
    hitless.wait_for(what, SOON, back).await;
    for get in gets {
        get.await
            .expect("the client does not panic")
            .expect_status(200);
    }
    let output = hitless.program().output();
    assert!(!output.contains("two at once"), "{output}");
}

#[tokio::test]
async fn what_would_be_held_too_long_is_a_warning() {
    let app = App::demo();
    let mut hitless = Hitless::of(&app)
        .setting("overlap = \"none\"\n[app.app.hold]\ntimeout = \"5s\"")
        .start()
        .await;
    let warned = hitless.program().says("hold", Duration::from_secs(5));
    assert!(warned.await.contains("WARN"), "not a warning");
}
