//! Promise: asked to stop, hitless answers everything that it has taken or that is on its way, and then ends.
//! Nothing else ends it.

mod support;

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use rustix::process::Signal;
use support::app::{App, Release};
use support::client::{Connection, get};
use support::load::Load;
use support::processes;
use support::program::{self, Program};
use support::websocket::{Ended, WebSocket};
use support::world::{Hitless, SOON};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

async fn stops_under_load(app: &App) {
    let mut hitless = Hitless::start(app).await;
    let load = Load::start(hitless.address()).await;
    load.answers(600).await;

    load.expect_server_to_leave();
    let began = Instant::now();
    hitless.program().signal(Signal::TERM);
    let record = load.finished().await;
    let status = hitless.program().ends(SOON).await;
    let took = began.elapsed();

    record.expect_none_failed();
    assert_eq!(
        status,
        0,
        "exit status after TERM; it said:\n{}",
        hitless.program().output()
    );
    assert!(
        took < Duration::from_secs(15),
        "took {took:?} although nothing takes longer than 3 s"
    );
    let left = hitless.left_after(Duration::from_secs(1)).await;
    assert!(left.is_empty(), "left behind:\n{}", processes::list(&left));
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn term_under_load_in_front_of_tornado_loses_no_request() {
    stops_under_load(&App::tornado()).await;
}

#[tokio::test]
async fn term_under_load_loses_no_request() {
    stops_under_load(&App::demo()).await;
}

#[tokio::test]
async fn a_kept_connection_gets_its_next_answer_with_connection_close() {
    let mut hitless = Hitless::start(&App::demo()).await;
    let mut kept = Connection::open(hitless.address())
        .await
        .expect("it listens");
    let first = kept.send(get("/")).await.expect("it serves");
    assert_eq!(first.field("connection"), None, "{first:#?}");

    hitless.program().signal(Signal::TERM);
    stops_listening(&hitless).await;
    let last = kept
        .send(get("/"))
        .await
        .expect("an idle connection stays for shutdown.idle");
    assert_eq!(last.field("connection"), Some("close"), "{last:#?}");
    assert_eq!(hitless.program().ends(SOON).await, 0);
}

/// New connections are refused at once, which is what balancers need.
async fn stops_listening(hitless: &Hitless) {
    let deadline = Instant::now() + SOON;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while TcpStream::connect(hitless.address()).await.is_ok() {
        assert!(Instant::now() < deadline, "still accepts connections");
        ticks.tick().await;
    }
}

#[tokio::test]
async fn readyz_says_503_while_stopping() {
    let mut hitless = Hitless::of(&App::demo())
        .setting("[shutdown]\ndelay = \"2s\"")
        .start()
        .await;
    hitless.get_admin("/readyz").await.expect_status(200);
    hitless.program().signal(Signal::TERM);
    hitless.program().says("stop", SOON).await;
    hitless.get_admin("/readyz").await.expect_status(503);
    // For the time of the delay it serves as before: balancers are still to learn of it.
    hitless.get("/").await.expect_status(200);
    assert_eq!(hitless.program().ends(SOON).await, 0);
}

#[tokio::test]
async fn a_websocket_is_told_1001() {
    let mut hitless = Hitless::start(&App::demo()).await;
    let mut socket = WebSocket::open(hitless.address()).await.expect("it opens");
    assert_eq!(socket.echo("hello").await.expect("it echoes"), "1 hello");
    hitless.program().signal(Signal::TERM);
    match socket.next().await {
        Err(Ended::Closed(1001)) => {}
        other => panic!("not told 1001 but {other:?}"),
    }
    assert_eq!(hitless.program().ends(SOON).await, 0);
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let app = App::demo();
    app.deploy(&Release::with_options(1, &["--ignore-term"]));
    let mut hitless = Hitless::start(&app).await;
    let slow = tokio::spawn(hitless.get("/slow?ms=60000"));
    // In flight before the signal: the slow request is counted.
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while in_flight(&hitless).await < 1.0 {
        ticks.tick().await;
    }
    hitless.program().signal(Signal::TERM);
    stops_listening(&hitless).await;
    assert_eq!(
        hitless.program().has_ended(),
        None,
        "it waits for the slow answer"
    );

    let began = Instant::now();
    hitless.program().signal(Signal::TERM);
    hitless.program().ends(SOON).await;
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(2),
        "took {took:?} after the second signal"
    );
    slow.abort();
    let left = hitless.left_after(Duration::from_secs(1)).await;
    assert!(left.is_empty(), "left behind:\n{}", processes::list(&left));
}

async fn in_flight(hitless: &Hitless) -> f64 {
    let metrics = hitless.metrics().await;
    metrics.sum("hitless_http_requests_in_flight", &[])
}

#[tokio::test]
async fn a_request_longer_than_the_timeout_is_broken_off_and_counted_in_the_log() {
    let mut hitless = Hitless::of(&App::demo())
        .setting("[shutdown]\ntimeout = \"7s\"")
        .start()
        .await;
    let mut connection = Connection::open(hitless.address())
        .await
        .expect("it listens");
    let slow = tokio::spawn(async move { connection.send(get("/slow?ms=60000")).await });
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while in_flight(&hitless).await < 1.0 {
        ticks.tick().await;
    }
    let began = Instant::now();
    assert_eq!(hitless.stop().await, 0, "{}", hitless.program().output());
    let took = began.elapsed();
    assert!(
        took <= Duration::from_secs(8),
        "took {took:?} with a timeout of 7 s"
    );
    let slow = slow.await.expect("the client does not panic");
    assert!(slow.is_err() || slow.is_ok_and(|answer| answer.status.is_server_error()));
}

#[tokio::test]
async fn a_signal_that_comes_before_anything_runs_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hitless.toml");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    let words = ["run".as_ref(), "--config".as_ref(), path.as_os_str()];
    let mut hitless = Program::start(program::hitless(), words, &[]);
    // Opens once hitless has opened it to read its configuration.
    let config = spawn_blocking(move || OpenOptions::new().write(true).open(path));
    let opened = timeout(SOON, config).await.expect("hitless reads it");
    let mut config = opened.unwrap().unwrap();
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        hitless.signal(signal);
    }
    config.write_all(b"no = \"such key\"\n").unwrap();
    drop(config);
    assert_eq!(hitless.ends(SOON).await, 78);
}
