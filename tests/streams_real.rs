//! Promise: WebSockets and event streams of the servers and clients that people use live through reloads, and end as these
//! expect it.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::app::{App, Release, python};
use support::program::{self, Ran};
use support::world::{APP, Hitless, SOON};
use tokio::task::JoinHandle;

/// Of each kind: `websockets`, `aiohttp`, and event streams of `aiohttp`.
const EACH: usize = 4;

/// What makes hitless speak HTTP/2 to the app.
const H2C: &str = "protocol = \"h2c\"";

/// Starts the clients of `tests/streams/clients.py`, and waits until all are there.
async fn clients(hitless: &Hitless, rounds: u32) -> JoinHandle<Ran> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams/clients.py");
    let script = script.display().to_string();
    let url = format!("http://{}", hitless.address());
    let arguments = [script, url, EACH.to_string(), rounds.to_string()];
    let within = SOON * 3;
    let running = tokio::spawn(async move {
        let python = python();
        program::run(&python, arguments, &[], within).await
    });
    let all = EACH as f64 * 3.0;
    assert_eq!(
        hitless.metrics_until("hitless_streams", APP, all).await,
        all
    );
    running
}

/// What each of them has told.
async fn told(clients: JoinHandle<Ran>) -> Vec<Value> {
    let ran = clients.await.expect("running a program does not panic");
    let told = ran.expect_status(0, "the clients").json();
    assert_eq!(told.len(), EACH * 3, "{told:#?}");
    told
}

#[track_caller]
fn expect(told: &[Value], client: &str, key: &str, value: &Value) {
    let of = told.iter().filter(|one| one["client"] == client);
    let right = of.filter(|one| one[key] == *value && one["rounds"].as_u64() > Some(1));
    assert_eq!(
        right.count(),
        EACH,
        "{client} with {key} {value} of {told:#?}"
    );
}

/// Three reloads that nobody notices, and one that closes.
async fn live_through_reloads(app: &App, more: &str) {
    let settings = |streams: &str| {
        format!(
            "{more}\n[app.{APP}.drain]\nstreams = \"{streams}\"\nclose_spread = \"2s\"\n[app.{APP}.failover]\nprobation = 0"
        )
    };
    let mut hitless = Hitless::of(app).setting(&settings("wait")).start().await;
    let patient = clients(&hitless, 200).await;
    for version in 2..=4 {
        app.deploy(&Release::good(version));
        hitless.reload().await.expect_status(0, "a reload");
    }
    let patient = told(patient).await;
    for client in ["websockets", "aiohttp"] {
        expect(&patient, client, "code", &1000.into());
        expect(&patient, client, "rounds", &200.into());
    }
    let read = patient.iter().filter(|one| one["client"] == "events");
    assert!(
        read.clone().all(|one| one["rounds"].as_u64() >= Some(200)),
        "{patient:#?}"
    );

    hitless.configure(app, &settings("close"));
    hitless.reload().await.expect_status(0, "a reload");
    hitless
        .wait_for("the old ones are gone", SOON, |status| {
            status.generations(APP) == 1
        })
        .await;
    let closed = clients(&hitless, 0).await;
    app.deploy(&Release::good(5));
    hitless.reload().await.expect_status(0, "a reload");
    let closed = told(closed).await;
    for client in ["websockets", "aiohttp"] {
        expect(&closed, client, "code", &1012.into());
    }
    expect(&closed, "events", "rest", &"".into());
    let alone = |status: &support::status::Status| status.generations(APP) == 1;
    let within = SOON + Duration::from_secs(10);
    hitless.wait_for("the old one is gone", within, alone).await;
}

#[tokio::test]
#[ignore = "needs Tornado, websockets and aiohttp: run tests/run"]
async fn streams_of_a_tornado() {
    live_through_reloads(&App::tornado(), "").await;
}

#[tokio::test]
#[ignore = "needs uvicorn, websockets and aiohttp: run tests/run"]
async fn streams_of_a_uvicorn() {
    live_through_reloads(&App::uvicorn(), "").await;
}

#[tokio::test]
#[ignore = "needs hypercorn, websockets and aiohttp: run tests/run"]
async fn streams_of_a_hypercorn_that_is_spoken_to_in_http2() {
    live_through_reloads(&App::hypercorn(), H2C).await;
}

/// The same for a client of HTTP/2, with this app behind it.
async fn over_http2(app: &App, more: &str) {
    let drain = format!("{more}\n[app.{APP}.drain]\nclose_spread = 0\nstreams = \"wait\"");
    let mut hitless = Hitless::of(app).setting(&drain).start().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams/over_http2.py");
    let script = script.display().to_string();
    let address = hitless.address().to_string();
    let open = |rounds: &str| {
        let words = [script.clone(), address.clone(), rounds.to_owned()];
        tokio::spawn(async move { program::run(&python(), words, &[], SOON * 3).await })
    };
    let patient = open("200");
    let counted = hitless.metrics_until("hitless_streams", APP, 1.0);
    assert_eq!(counted.await, 1.0);
    for version in 2..=3 {
        app.deploy(&Release::good(version));
        hitless.reload().await.expect_status(0, "a reload");
    }
    let ran = patient.await.expect("running a program does not panic");
    let told = &ran.expect_status(0, "the client").json()[0];
    assert_eq!(
        *told,
        serde_json::json!({"rounds": 200, "code": 1000, "ended": true, "resets": {}})
    );
    hitless.stop().await;

    app.deploy(&Release::good(1));
    let drain = drain.replace("wait", "close");
    let mut hitless = Hitless::of(app).setting(&drain).start().await;
    let address = hitless.address().to_string();
    let words = [script, address, "0".to_owned()];
    let closed = tokio::spawn(async move { program::run(&python(), words, &[], SOON * 3).await });
    let counted = hitless.metrics_until("hitless_streams", APP, 1.0);
    assert_eq!(counted.await, 1.0);
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "a reload");
    let ran = closed.await.expect("running a program does not panic");
    let told = &ran.expect_status(0, "the client").json()[0];
    assert_eq!(told["code"], 1012, "{told}");
    assert_eq!(told["ended"], true, "{told}");
    hitless.stop().await;
}

#[tokio::test]
#[ignore = "needs hypercorn and hyperframe: run tests/run"]
async fn a_websocket_over_http2_of_a_hypercorn_that_is_spoken_to_in_http2() {
    over_http2(&App::hypercorn(), H2C).await;
}

#[tokio::test]
#[ignore = "needs hyperframe: run tests/run"]
async fn a_websocket_over_http2_of_the_built_in_app() {
    over_http2(&App::demo(), "").await;
}

#[tokio::test]
#[ignore = "needs Node, websockets and aiohttp: run tests/run"]
async fn streams_of_a_node() {
    live_through_reloads(&App::node(), "").await;
}

#[tokio::test]
#[ignore = "needs websockets and aiohttp: run tests/run"]
async fn streams_of_the_built_in_app() {
    live_through_reloads(&App::demo(), "").await;
}
