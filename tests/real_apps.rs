//! Promise: apps as people have them, under the servers that people run them with, are reloaded without anybody noticing,
//! survive a broken version, and stop in order.

mod support;

use std::net::TcpListener;
use std::time::Duration;

use rustix::process::Signal;
use support::app::{App, Fault, Release};
use support::client::{Answer, fetch, get, request};
use support::load::{GETS_RATE, Load};
use support::processes;
use support::program::Ran;
use support::world::{APP, Hitless, SOON};

/// A good reload, a broken one that is told in these words, another good one, and TERM; GETs all the while.
async fn lives_its_life(app: &App, words: &[&str]) {
    let mut hitless = Hitless::start(app).await;
    let load = Load::gets(hitless.address()).await;
    load.answers(160).await;

    app.deploy(&Release::good(2));
    reloads(&hitless, &load).await;
    app.deploy(&Release::broken(3, Fault::DiesAtStart));
    refuses(&hitless, &load, words).await;
    app.deploy(&Release::good(4));
    reloads(&hitless, &load).await;
    stops(&mut hitless, load, 4).await;
}

async fn reloads(hitless: &Hitless, load: &Load) {
    let reload = load.during("a good reload", hitless.reload()).await;
    reload.expect_status(0, "a good reload");
    load.answers(160).await;
}

/// A broken version is told at once, and what served goes on serving.
async fn refuses(hitless: &Hitless, load: &Load, words: &[&str]) {
    let reload = load.during("a broken reload", hitless.reload()).await;
    let reload = reload.expect_status(1, "a broken reload");
    expect_told(&reload, words);
    assert!(
        reload.took < SOON,
        "not told at once but waited for: {reload:#?}"
    );
    load.answers(160).await;
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(2), "{answer:#?}");
}

async fn stops(hitless: &mut Hitless, load: Load, newest: u64) {
    load.expect_server_to_leave();
    hitless.program().signal(Signal::TERM);
    let record = load.finished().await;
    let status = hitless.program().ends(SOON).await;
    let output = hitless.program().output();
    assert_eq!(status, 0, "exit status after TERM; it said:\n{output}");
    record.expect_unnoticed();
    record.expect_rate(GETS_RATE);
    assert_eq!(record.newest_version(), Some(newest), "{record}");
    let left = hitless.left_after(Duration::from_secs(1)).await;
    assert!(left.is_empty(), "left behind:\n{}", processes::list(&left));
}

#[track_caller]
fn expect_told(ran: &Ran, words: &[&str]) {
    for word in words {
        let told = ran.stderr.contains(word);
        assert!(told, "{word:?} is missing in what is told: {ran:#?}");
    }
}

#[tokio::test]
#[ignore = "needs gunicorn: run tests/run"]
async fn gunicorn_is_reloaded_and_stopped_unnoticed() {
    lives_its_life(&App::gunicorn(), &["app.py", "SyntaxError", "status 3"]).await;
}

#[tokio::test]
#[ignore = "needs uvicorn: run tests/run"]
async fn uvicorn_is_reloaded_and_stopped_unnoticed() {
    lives_its_life(&App::uvicorn(), &["app.py", "SyntaxError", "status 1"]).await;
}

#[tokio::test]
#[ignore = "needs Node: run tests/run"]
async fn node_is_reloaded_and_stopped_unnoticed() {
    let words = [
        "app.js",
        "a-module-that-nobody-has-installed",
        "MODULE_NOT_FOUND",
        "status 1",
    ];
    lives_its_life(&App::node(), &words).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn tornado_with_a_file_of_options_is_reloaded_and_stopped_unnoticed() {
    let app = App::tornado_with_options_file(false);
    lives_its_life(&app, &["twelve", "SyntaxError", "status 1"]).await;
}

#[tokio::test]
async fn a_static_binary_is_reloaded_and_stopped_unnoticed() {
    let app = App::static_binary();
    app.deploy_binary(&Release::good(1)).await;
    let mut hitless = Hitless::start(&app).await;
    let load = Load::gets(hitless.address()).await;
    load.answers(160).await;

    // Renamed over a binary that runs: the old one goes on from the file that has no name any more.
    app.deploy_binary(&Release::good(2)).await;
    reloads(&hitless, &load).await;
    app.deploy_binary(&Release::broken(3, Fault::DiesAtStart))
        .await;
    let words = ["this version was built without a version", "status 101"];
    refuses(&hitless, &load, &words).await;
    app.deploy_binary(&Release::good(4)).await;
    reloads(&hitless, &load).await;
    stops(&mut hitless, load, 4).await;
}

/// A port that is free now; nobody else is told of it.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn tornados_hello_world_on_a_fixed_port_is_told_of_the_port_it_was_given() {
    let port = free_port();
    let app = App::tornado_on_fixed_port(port);
    let mut hitless = Hitless::of(&app).flag("--exit-on-failed-start").spawn();
    let status = hitless.program().ends(SOON).await;
    let output = hitless.program().output();
    assert_eq!(status, 1, "{output}");
    let told = output.lines().any(|line| {
        line.contains(&format!(
            "the app listens on 0.0.0.0:{port}, not on the port"
        )) && line.contains("use {port} or $PORT")
    });
    assert!(told, "{output}");
}

/// What the app itself says, and what a client of hitless gets.
async fn asked_twice(hitless: &Hitless, method: &str, path: &str) -> (Answer, Answer) {
    let direct = hitless.status().await.live_address(APP);
    let ask = || request(method, path, bytes::Bytes::new());
    let own = fetch(direct, ask()).await;
    (own, fetch(hitless.address(), ask()).await)
}

/// Field by field, but for the date.
fn fields(answer: &Answer) -> Vec<(String, String)> {
    let mut fields: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != http::header::DATE)
        .map(|(name, value)| (name.to_string(), format!("{value:?}")))
        .collect();
    fields.sort();
    fields
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn the_error_pages_of_an_app_that_raises_are_passed_on_unchanged() {
    let app = App::tornado_that_raises();
    let hitless = Hitless::of(&app).option("--probation", "1s").start().await;
    // With nothing to go back to, and again once the new version is proven.
    for version in 1..=2 {
        for (method, path, status) in [
            ("GET", "/raises", 500),
            ("POST", "/raises", 500),
            ("GET", "/refuses/404", 404),
            ("GET", "/refuses/503", 503),
        ] {
            let (own, passed_on) = asked_twice(&hitless, method, path).await;
            let passed_on = passed_on.expect_status(status);
            assert_eq!(passed_on.field("x-error-page"), Some("ours"));
            assert_eq!(passed_on.version(), Some(version), "{passed_on:#?}");
            assert!(passed_on.text().contains("Étienne is sorry"));
            assert_eq!(passed_on.status, own.status, "{method} {path}");
            assert_eq!(passed_on.body, own.body, "{method} {path}");
            assert_eq!(fields(&passed_on), fields(&own), "{method} {path}");
        }
        app.deploy(&Release::good(2));
        if version == 1 {
            let reload = hitless.command(&["reload", "--through-probation"]).await;
            let reload = reload.expect_status(0, "a reload to a version with the same bug");
            expect_told(&reload, &["it has proved itself"]);
        }
    }
    assert_eq!(hitless.status().await.failovers(APP), 0);
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn on_probation_a_bug_that_both_versions_of_a_tornado_have_takes_nothing_back() {
    let app = App::tornado_that_raises();
    let mut hitless = Hitless::start(&app).await;
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "the reload");
    hitless.has_standby().await;
    // More than is needed to judge by.
    for _ in 0..40 {
        let answer = hitless.get("/raises").await.expect_status(500);
        assert_eq!(answer.field("x-error-page"), Some("ours"), "{answer:#?}");
    }
    let status = hitless.status().await;
    assert_eq!(status.failovers(APP), 0, "{status}");
    assert_eq!(status.live(APP), Some(2), "{status}");
}

/// Why the README says to turn it off: Tornado's own autoreload changes what a generation is, behind hitless's back.
#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn tornado_in_debug_mode_changes_its_version_without_a_reload() {
    let app = App::tornado_with_options_file(true);
    let hitless = Hitless::start(&app).await;
    let first = hitless.get("/").await.expect_status(200);
    assert_eq!(first.version(), Some(1), "{first:#?}");
    app.deploy(&Release::good(2));
    // Autoreload looks twice a second, and takes what it sees first for the state to compare with: saved until seen.
    let mut ticks = tokio::time::interval(Duration::from_millis(700));
    let changed = tokio::time::timeout(SOON, async {
        loop {
            ticks.tick().await;
            app.save_again("app.py");
            let answer = fetch(hitless.address(), get("/")).await;
            if answer.version() == Some(2) {
                return answer;
            }
        }
    });
    let changed = changed.await.expect("autoreload sees the saved file");
    assert_eq!(changed.field("x-generation"), Some("1"), "{changed:#?}");
    let status = hitless.status().await;
    assert_eq!(status.live(APP), Some(1), "{status}");
}
