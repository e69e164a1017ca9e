//! Promise: the tests can be believed. The load finds nothing wrong with the apps alone, without hitless, and its
//! record finds what is planted.

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use support::app::{App, Release};
use support::load::{Load, RATE};
use support::program::Program;
use support::record::{Exchange, Kind, Record};
use support::world::SOON;
use tokio::time::Instant;

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
