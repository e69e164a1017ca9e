//! Promise: the tests can be believed. The load finds nothing wrong with the apps alone, without hitless, and its
//! record finds what is planted.

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use support::app::{App, End, Fault, Release};
use support::client::{Connection, fetch, get, request};
use support::load::{Load, RATE};
use support::program::{self, Program};
use support::record::{Exchange, Kind, Record};
use support::world::SOON;
use tokio::time::{Instant, timeout};

/// An app run directly, at a port that was free a moment ago.
async fn run_alone(app: &App) -> (Program, SocketAddr) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are free ports");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let port = address.port().to_string();
    let command: Vec<_> = app
        .command()
        .iter()
        .map(|word| word.replace("{port}", &port))
        .collect();
    let program = Program::start(Path::new(&command[0]), &command[1..], &[("PORT", &port)]);
    program.says("version ", SOON).await;
    (program, address)
}

async fn the_load_finds_nothing_wrong_with(app: &App) {
    let (_program, address) = run_alone(app).await;
    let load = Load::start(address).await;
    load.answers(800).await;
    let record = load.stop().await;
    record.show();
    record.expect_unnoticed();
    record.expect_rate(RATE);
    assert_eq!(record.newest_version(), Some(1));
    let kinds = [
        Kind::Kept,
        Kind::Fresh,
        Kind::Upload,
        Kind::Slow,
        Kind::Download,
        Kind::WebSocket,
        Kind::Echo,
    ];
    for kind in kinds {
        assert!(record.of(kind).count() > 0, "no {kind:?}: {record}");
    }
}

#[tokio::test]
async fn the_load_finds_nothing_wrong_with_the_built_in_app_alone() {
    the_load_finds_nothing_wrong_with(&App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn the_load_finds_nothing_wrong_with_the_tornado_app_alone() {
    the_load_finds_nothing_wrong_with(&App::tornado()).await;
}

#[tokio::test]
async fn the_load_finds_an_app_that_fails() {
    let app = App::demo();
    app.deploy(&Release::with_options(1, &["--fail-traffic=500"]));
    let (_program, address) = run_alone(&app).await;
    let load = Load::start(address).await;
    load.answers(200).await;
    let record = load.stop().await;
    assert_eq!(record.failed().len(), record.len(), "{record}");
}

#[tokio::test]
async fn the_load_finds_an_app_that_dies() {
    let app = App::demo();
    app.deploy(&Release::with_options(1, &["--exit-after=1s"]));
    let (mut program, address) = run_alone(&app).await;
    let load = Load::start(address).await;
    program.ends(SOON).await;
    load.answers(20).await;
    let record = load.stop().await;
    assert!(!record.failed().is_empty(), "{record}");
}

// === the record ===

fn exchange(base: Instant, sent: u64, answered: u64, version: u64) -> Exchange {
    Exchange {
        kind: Kind::Kept,
        connection: 1,
        sent: base + Duration::from_millis(sent),
        answered: Some(base + Duration::from_millis(answered)),
        version: Some(version),
        app: None,
        outcome: Ok(()),
    }
}

fn record(exchanges: &[(u64, u64, u64)]) -> Record {
    let base = Instant::now();
    let mut record = Record::new();
    for &(sent, answered, version) in exchanges {
        record.push(exchange(base, sent, answered, version));
    }
    record
}

#[tokio::test]
async fn an_older_answer_to_a_request_sent_after_a_newer_answer_is_out_of_order() {
    let record = record(&[(0, 10, 1), (5, 20, 2), (21, 30, 1), (31, 40, 2)]);
    let wrong: Vec<_> = record
        .out_of_order()
        .iter()
        .map(|(one, newest)| (one.version, *newest))
        .collect();
    assert_eq!(wrong, [(Some(1), 2)]);
}

#[tokio::test]
async fn an_older_answer_to_a_request_sent_before_the_newer_answer_came_is_in_order() {
    let record = record(&[(0, 1500, 1), (100, 110, 2), (105, 120, 1), (110, 130, 1)]);
    assert!(
        record.out_of_order().is_empty(),
        "{:?}",
        record.out_of_order()
    );
}

#[tokio::test]
async fn added_time_is_told_apart_by_windows() {
    let mut record = Record::new();
    let from = Instant::now();
    record.push_window("a reload", from);
    let (app, later) = (
        Some(Duration::from_millis(10)),
        from + Duration::from_secs(60),
    );
    for (base, took) in [(from, 50), (later, 11)] {
        record.push(Exchange {
            app,
            ..exchange(base, 0, took, 1)
        });
    }
    let (quiet, reload) = (record.added(false), record.added(true));
    assert_eq!(quiet.map(|added| added.p99), Some(Duration::from_millis(1)));
    assert_eq!(
        reload.map(|added| added.p99),
        Some(Duration::from_millis(40))
    );
}

// === the faults of the apps ===

/// Runs it alone until it ends, as it was told to: with this status.
async fn ends_alone(app: &App, end: End, status: i32) {
    app.deploy(&Release::broken(
        1,
        Fault::Ends(end, Duration::from_millis(300)),
    ));
    let (mut program, _) = run_alone(app).await;
    assert_eq!(program.ends(SOON).await, status, "{}", program.output());
}

const ENDS: [(End, i32); 3] = [
    (End::Exits, 1),
    (End::IsKilled, 128 + 9),
    (End::Segfaults, 128 + 11),
];

#[tokio::test]
async fn the_built_in_app_ends_as_told() {
    for (end, status) in ENDS {
        ends_alone(&App::demo(), end, status).await;
    }
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn the_tornado_app_ends_as_told() {
    for (end, status) in ENDS {
        ends_alone(&App::tornado(), end, status).await;
    }
}

/// What traffic and a probe are answered with.
async fn statuses(address: SocketAddr) -> (u16, u16) {
    let traffic = fetch(address, get("/")).await.status.as_u16();
    let mut probe = get("/");
    probe
        .headers_mut()
        .insert("user-agent", HeaderValue::from_static("hitless-probe"));
    (traffic, fetch(address, probe).await.status.as_u16())
}

async fn fails_alone(app: &App) {
    let down = app.folder().join("down");
    app.deploy(&Release::broken(1, Fault::FailsWhile(down.clone())));
    let (_program, address) = run_alone(app).await;
    assert_eq!(statuses(address).await, (200, 200));
    std::fs::write(&down, "").expect("the folder can be written to");
    assert_eq!(statuses(address).await, (500, 200));
    let upload = fetch(address, request("POST", "/upload", Bytes::from("body"))).await;
    assert_eq!(upload.status.as_u16(), 500, "{upload:#?}");
    std::fs::remove_file(&down).expect("it is there");
    assert_eq!(statuses(address).await, (200, 200));
}

#[tokio::test]
async fn the_built_in_app_fails_while_told() {
    fails_alone(&App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn the_tornado_app_fails_while_told() {
    fails_alone(&App::tornado()).await;
}

async fn hangs_alone(app: &App) {
    app.deploy(&Release::broken(1, Fault::Hangs(Duration::ZERO)));
    let (_program, address) = run_alone(app).await;
    let asked = timeout(Duration::from_millis(500), fetch(address, get("/"))).await;
    assert!(asked.is_err(), "it answered");
}

#[tokio::test]
async fn the_built_in_app_hangs_when_told() {
    hangs_alone(&App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn the_tornado_app_hangs_when_told() {
    hangs_alone(&App::tornado()).await;
}

async fn does_not_run_twice(app: &App) {
    app.deploy(&Release::broken(1, Fault::Locks(app.folder().join("lock"))));
    let (_first, _) = run_alone(app).await;
    let command = app.command();
    let arguments = command[1..].iter().map(|word| word.replace("{port}", "0"));
    let second = program::run(Path::new(&command[0]), arguments, &[], SOON).await;
    let second = second.expect_status(1, "a second one");
    assert!(second.stderr.contains("two at once"), "{second:#?}");
}

#[tokio::test]
async fn the_built_in_app_does_not_run_twice_when_told() {
    does_not_run_twice(&App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn the_tornado_app_does_not_run_twice_when_told() {
    does_not_run_twice(&App::tornado()).await;
}

#[tokio::test]
async fn the_built_in_app_stops_listening_when_told() {
    let app = App::demo();
    let closes = ["--close-listener-after=300ms"];
    app.deploy(&Release::with_options(1, &closes));
    let (mut program, address) = run_alone(&app).await;
    let mut kept = Connection::open(address).await.expect("it listens");
    kept.send(get("/")).await.expect("it answers");
    program.says("closing the listening socket", SOON).await;
    let refused = Connection::open(address).await;
    assert!(refused.is_err(), "it still listens");
    let last = kept.send(get("/")).await.expect("what is open is served");
    assert_eq!(last.field("connection"), Some("close"), "{last:#?}");
    assert_eq!(program.has_ended(), None);
}

#[tokio::test]
async fn the_built_in_app_is_cold_until_it_is_warmed_up() {
    let app = App::demo();
    app.deploy(&Release::with_options(1, &["--cold"]));
    let (_program, address) = run_alone(&app).await;
    assert_eq!(statuses(address).await, (503, 200));
    fetch(address, get("/warm")).await.expect_status(200);
    assert_eq!(statuses(address).await, (200, 200));
}
