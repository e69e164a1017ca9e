//! Promise: a broken new version never takes the site down, and whoever deployed it is told why, at once.

mod support;

use std::time::Duration;

use support::app::{App, Fault, Release};
use support::load::{Load, RATE};
use support::program::Ran;
use support::world::{APP, Hitless, SOON};

/// Long against everything that is to be noticed without waiting for it.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Reloads to a broken version under load: the reload fails, nobody notices, the next good one goes live.
async fn reload_to(app: &App, fault: Fault, start_timeout: Duration) -> Ran {
    let start_timeout = format!("{}ms", start_timeout.as_millis());
    let hitless = Hitless::of(app)
        .option("--start-timeout", &start_timeout)
        .start()
        .await;
    let load = Load::start(hitless.address()).await;
    load.answers(200).await;

    app.deploy(&Release::broken(2, fault));
    let reload = load.during("the broken reload", hitless.reload()).await;
    let reload = reload.expect_status(1, "a reload to a broken version");
    load.answers(200).await;

    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(
        answer.version(),
        Some(1),
        "what served goes on serving: {answer:#?}"
    );
    expect_stale(&hitless, true).await;

    app.deploy(&Release::good(3));
    let good = load.during("the good reload", hitless.reload()).await;
    good.expect_status(0, "the reload to a good version");
    expect_stale(&hitless, false).await;
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(3), "{answer:#?}");
    let record = load.stop().await;
    record.expect_unnoticed();
    record.expect_rate(RATE);
    reload
}

/// Stale is loud: in the status, its exit status and the metric; and not loud otherwise.
#[track_caller]
fn expect_stale(hitless: &Hitless, stale: bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let status = hitless.status().await;
        assert_eq!(status.stale(APP), stale, "at {caller}: {status}");
        let shown = hitless.command(&["status"]).await;
        let shown = shown.expect_status(i32::from(stale), "status");
        assert_eq!(
            shown.stdout.contains("app: STALE"),
            stale,
            "at {caller}: {shown:#?}"
        );
        let metric = hitless
            .metrics()
            .await
            .sum("hitless_stale", &[("app", APP)]);
        assert_eq!(
            metric,
            f64::from(u8::from(stale)),
            "hitless_stale at {caller}"
        );
    }
}

#[track_caller]
fn expect_told(reload: &Ran, words: &[&str]) {
    for word in words {
        assert!(
            reload.stderr.contains(word),
            "{word:?} is missing in what the caller reads: {reload:#?}"
        );
    }
}

#[track_caller]
fn expect_at_once(reload: &Ran) {
    assert!(
        reload.took < START_TIMEOUT / 3,
        "known only after {:?}: {reload:#?}",
        reload.took
    );
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_syntax_error_is_told_at_once_with_its_traceback() {
    let reload = reload_to(&App::tornado(), Fault::DiesAtStart, START_TIMEOUT).await;
    expect_at_once(&reload);
    expect_told(&reload, &["app.py", "SyntaxError", "status 1"]);
}

#[tokio::test]
async fn a_version_that_dies_at_start_is_told_at_once_with_its_last_words() {
    let reload = reload_to(&App::demo(), Fault::DiesAtStart, START_TIMEOUT).await;
    expect_at_once(&reload);
    expect_told(&reload, &["dying at start with status 1", "status 1"]);
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_tornado_that_never_listens_fails_after_the_start_timeout() {
    let reload = reload_to(&App::tornado(), Fault::NeverListens, Duration::from_secs(2)).await;
    expect_told(&reload, &["waiting for a database"]);
}

#[tokio::test]
async fn a_version_that_never_listens_fails_after_the_start_timeout() {
    let reload = reload_to(&App::demo(), Fault::NeverListens, Duration::from_secs(2)).await;
    assert!(
        reload.took >= Duration::from_secs(2),
        "given up early: {reload:#?}"
    );
    assert!(reload.took < SOON, "given up late: {reload:#?}");
    expect_told(&reload, &["listening nowhere"]);
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_python_app_that_listens_elsewhere_is_told_where_and_what_to_do() {
    let reload = reload_to(&App::tornado(), Fault::ListensElsewhere, START_TIMEOUT).await;
    expect_at_once(&reload);
    expect_told(
        &reload,
        &["the app listens on 127.0.0.1:", "use {port} or $PORT"],
    );
}

#[tokio::test]
async fn a_version_that_listens_elsewhere_is_told_where_and_what_to_do() {
    let reload = reload_to(&App::demo(), Fault::ListensElsewhere, START_TIMEOUT).await;
    expect_at_once(&reload);
    expect_told(
        &reload,
        &["the app listens on 127.0.0.1:", "use {port} or $PORT"],
    );
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_tornado_that_answers_500_to_the_probe_fails_with_that_answer() {
    let reload = reload_to(
        &App::tornado(),
        Fault::ProbeStatus(500),
        Duration::from_secs(2),
    )
    .await;
    expect_told(&reload, &["500"]);
}

#[tokio::test]
async fn a_version_that_answers_500_to_the_probe_fails_with_that_answer() {
    let reload = reload_to(
        &App::demo(),
        Fault::ProbeStatus(500),
        Duration::from_secs(2),
    )
    .await;
    expect_told(&reload, &["500"]);
}

#[tokio::test]
async fn a_command_that_does_not_exist_fails_at_once_and_is_named() {
    let app = App::other(&["/nowhere/at/all"]);
    let mut hitless = Hitless::of(&app).flag("--exit-on-failed-start").spawn();
    let status = hitless.program().ends(SOON).await;
    let output = hitless.program().output();
    assert_eq!(status, 1, "{output}");
    assert!(output.contains("/nowhere/at/all"), "{output}");
}

#[tokio::test]
async fn a_first_start_that_fails_is_tried_again_until_a_good_version_is_there() {
    let app = App::demo();
    app.deploy(&Release::broken(1, Fault::DiesAtStart));
    let mut hitless = Hitless::of(&app).begin().await;
    let held = tokio::spawn(hitless.get("/"));
    hitless.program().says("dying at start", SOON).await;
    app.deploy(&Release::good(2));
    let answer = held
        .await
        .expect("the client does not panic")
        .expect_status(200);
    assert_eq!(answer.version(), Some(2), "{answer:#?}");
}
