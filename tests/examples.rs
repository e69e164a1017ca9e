//! Promise: each example of `config/examples` is a valid file, starts as it stands, and answers.

mod support;

use std::fs;
use std::path::Path;

use support::app::App;
use support::client::{fetch, get};
use support::program;
use support::status::Status;
use support::world::{Hitless, SOON};

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join(format!("config/examples/{name}.toml"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Starts it on ports of the system's, and fetches from each host.
async fn serves(text: &str, hosts: &[&str]) -> Hitless {
    let mut hitless = Hitless::with_file(text)
        .option("--listen", "127.0.0.1:0")
        .begin()
        .await;
    let live = |status: &Status| {
        let mut apps = status.0["apps"].as_array().into_iter().flatten();
        apps.all(|app| app["live"].is_u64())
    };
    hitless.wait_for("all apps are live", SOON * 2, live).await;
    for host in hosts {
        let mut request = get("/");
        let host = http::HeaderValue::from_str(host).expect("tests name valid hosts");
        request.headers_mut().insert(http::header::HOST, host);
        fetch(hitless.address(), request).await.expect_status(200);
    }
    hitless
}

#[tokio::test]
async fn one_app() {
    let hitless = serves(&text("one-app"), &["any.org"]).await;
    hitless.reload().await.expect_status(0, "a reload");
}

#[tokio::test]
async fn three_apps() {
    let hosts = ["shop.example.org", "www.shop.example.org", "any.org"];
    let hitless = serves(&text("three-apps"), &hosts).await;
    let mut request = get("/api/");
    let host = http::HeaderValue::from_static("shop.example.org");
    request.headers_mut().insert(http::header::HOST, host);
    fetch(hitless.address(), request).await.expect_status(200);
    let metrics = hitless.metrics().await;
    let count = |app| metrics.sum("hitless_http_requests_total", &[("app", app)]);
    assert_eq!(
        (count("shop"), count("api"), count("rest")),
        (2.0, 1.0, 1.0)
    );
}

#[tokio::test]
async fn addresses() {
    // Another hitless is what runs there.
    let backend = Hitless::start(&App::demo()).await;
    let there = backend.address().to_string();
    let text = text("addresses").replace("127.0.0.1:3000", &there);
    serves(&text, &["any.org"]).await;
}

#[tokio::test]
async fn an_app_that_cannot_run_twice() {
    let mut hitless = serves(&text("cannot-run-twice"), &["any.org"]).await;
    hitless.reload().await.expect_status(0, "a reload");
    assert_eq!(hitless.status().await.generations_in("web", "live"), 1);
    assert_eq!(hitless.stop().await, 0);
}

#[tokio::test]
async fn a_small_machine() {
    serves(&text("small-vps"), &["any.org"]).await;
}

#[tokio::test]
async fn a_container() {
    let mut hitless = serves(&text("container"), &["any.org"]).await;
    hitless.get_admin("/readyz").await.expect_status(200);
    let json = hitless
        .program()
        .says("\"message\":\"listening\"", SOON)
        .await;
    assert!(json.contains("\"level\":\"INFO\""), "{json}");
}

#[tokio::test]
async fn none_of_them_has_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("there are examples") {
        let path = entry.expect("it can be listed").path();
        let shown = path.display().to_string();
        let ran = program::run(program::hitless(), ["check", "-c", &shown], &[], SOON).await;
        let ran = ran.expect_status(0, &shown);
        assert_eq!(ran.stderr, "", "{shown}");
        count += 1;
    }
    assert_eq!(count, 6);
}
