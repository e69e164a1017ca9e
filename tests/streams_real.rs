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
async fn live_through_reloads(app: &App) {
    let settings = |streams: &str| {
        format!(
            "[app.{APP}.drain]\nstreams = \"{streams}\"\nclose_spread = \"2s\"\n[app.{APP}.failover]\nprobation = 0"
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
    live_through_reloads(&App::tornado()).await;
}

#[tokio::test]
#[ignore = "needs uvicorn, websockets and aiohttp: run tests/run"]
async fn streams_of_a_uvicorn() {
    live_through_reloads(&App::uvicorn()).await;
}

#[tokio::test]
#[ignore = "needs Node, websockets and aiohttp: run tests/run"]
async fn streams_of_a_node() {
    live_through_reloads(&App::node()).await;
}

#[tokio::test]
#[ignore = "needs websockets and aiohttp: run tests/run"]
async fn streams_of_the_built_in_app() {
    live_through_reloads(&App::demo()).await;
}
