//! Promise: gRPC passes. All four kinds of call, deadlines, cancellation and the status at the end reach the other side, a
//! reload loses no call, and what hitless has to say it says as a status of gRPC.
//!
//! The calls stand in `tests/http2/calls.py`, the app in `tests/apps/grpc_app.py`.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::app::{App, python};
use support::program::{Ran, run};
use support::world::{APP, Builder, Hitless, SOON};

fn inside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(path)
}

fn grpc() -> Builder {
    let python = python().display().to_string();
    let script = inside("apps/grpc_app.py").display().to_string();
    let app = App::other(&[&python, &script]);
    Hitless::of(&app).setting("protocol = \"h2c\"")
}

fn calls(hitless: &Hitless, what: &[&str]) -> impl Future<Output = Ran> + use<> {
    let (script, address) = (inside("http2/calls.py"), hitless.address().to_string());
    let mut words = vec![script.display().to_string(), address];
    words.extend(what.iter().map(|&word| word.to_owned()));
    async move { run(&python(), words, &[], Duration::from_secs(120)).await }
}

#[tokio::test]
#[ignore = "needs grpcio: run tests/run"]
async fn each_kind_of_call_passes() {
    let hitless = grpc().setting("[app.app.ready]\ntcp = true").start().await;
    calls(&hitless, &["each"])
        .await
        .expect_status(0, "the calls");
    let metrics = hitless.metrics().await;
    let streams = metrics.sum("hitless_streams", &[("kind", "grpc")]);
    assert_eq!(streams, 0.0, "all have ended");
}

#[tokio::test]
#[ignore = "needs grpcio: run tests/run"]
async fn a_server_is_ready_without_a_word_about_checks() {
    // A server of gRPC answers no GET, and none is sent to it.
    let hitless = grpc().start().await;
    assert_eq!(hitless.status().await.live(APP), Some(1));
}

#[tokio::test]
#[ignore = "needs grpcio: run tests/run"]
async fn hitless_refuses_calls_with_a_status_of_grpc() {
    let settings =
        "body_bytes_max = \"1000B\"\nanswer_timeout = \"1s\"\n[app.app.ready]\ntcp = true";
    let hitless = grpc().setting(settings).start().await;
    calls(&hitless, &["refused"])
        .await
        .expect_status(0, "the calls");
}

#[tokio::test]
#[ignore = "needs grpcio: run tests/run"]
async fn calls_outlive_reloads() {
    let settings = "[app.app.ready]\ntcp = true\n[app.app.failover]\nprobation = 0\n[app.app.drain]\nretiring_max = 20";
    let hitless = grpc().setting(settings).start().await;
    let load = calls(&hitless, &["load", "12"]);
    let reloads = async {
        for _ in 0..5 {
            hitless.reload().await.expect_status(0, "reload");
        }
    };
    let (ran, ()) = tokio::join!(load, reloads);
    ran.expect_status(0, "the calls");
}

#[tokio::test]
#[ignore = "needs grpcio: run tests/run"]
async fn streams_that_are_closed_end_with_a_status_between_two_messages() {
    let settings = "[app.app.failover]\nprobation = 0\n[app.app.drain]\nstreams = \"close\"\nclose_spread = \"2s\"";
    let hitless = grpc().setting(settings).start().await;
    let closed = calls(&hitless, &["closed", "8"]);
    let reload = async {
        let kind = [("app", APP), ("kind", "grpc")];
        hitless.metrics_where("hitless_streams", &kind, 16.0).await;
        hitless.reload().await.expect_status(0, "reload");
    };
    let (ran, ()) = tokio::join!(closed, reload);
    ran.expect_status(0, "the calls");
    // The next one finds the new copy.
    let ran = calls(&hitless, &["sleep", "0"]).await;
    ran.expect_status(0, "the call");
}

#[tokio::test]
#[ignore = "needs grpcio: run tests/run"]
async fn streams_end_with_a_status_when_hitless_stops() {
    let mut hitless = grpc().start().await;
    let closed = calls(&hitless, &["closed", "4"]);
    let opened = async {
        let kind = [("app", APP), ("kind", "grpc")];
        hitless.metrics_where("hitless_streams", &kind, 8.0).await;
    };
    tokio::pin!(closed);
    tokio::select! {
        ran = &mut closed => panic!("they have ended: {ran:#?}"),
        () = opened => {}
    }
    hitless.program().signal(Signal::TERM);
    closed.await.expect_status(0, "the calls");
    assert_eq!(hitless.program().ends(SOON).await, 0);
}

#[tokio::test]
#[ignore = "needs grpcio: run tests/run"]
async fn a_call_that_is_answered_after_streams_were_closed_is_answered() {
    let settings =
        "[app.app.failover]\nprobation = 0\n[app.app.drain]\nstreams = \"close\"\nclose_spread = 0";
    let hitless = grpc().setting(settings).start().await;
    let sleep = calls(&hitless, &["sleep", "3"]);
    let reload = async {
        let asked = [("app", APP)];
        hitless
            .metrics_where("hitless_http_requests_in_flight", &asked, 1.0)
            .await;
        hitless.reload().await.expect_status(0, "reload");
    };
    let (ran, ()) = tokio::join!(sleep, reload);
    ran.expect_status(0, "the call");
}

#[tokio::test]
#[ignore = "needs grpcio: run tests/run"]
async fn a_server_that_is_killed_costs_the_calls_that_it_had() {
    let hitless = grpc().setting("[app.app.ready]\ntcp = true").start().await;
    let pid = hitless.status().await.pids_in(APP, "live")[0];
    let load = calls(&hitless, &["load", "6"]);
    let kill = async {
        hitless
            .metrics_until("hitless_http_requests_total", APP, 100.0)
            .await;
        let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not zero");
        kill_process(pid, Signal::KILL).expect("it runs");
    };
    let (ran, ()) = tokio::join!(load, kill);
    let first = ran.stdout.lines().next().unwrap_or_default().to_owned();
    let mut numbers = first
        .split_whitespace()
        .filter_map(|word| word.parse::<u32>().ok());
    let (all, failed) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(99));
    assert!(
        all > 100 && failed <= 8,
        "one for each thread at most: {ran:#?}"
    );
}
