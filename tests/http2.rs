//! Promise: clients may speak HTTP/2. Every request over it gets what one over HTTP/1.1 gets, each limit holds, and what
//! strangers send is answered as RFC 9113 says.
//!
//! What frames a stranger may send stands in `tests/http2/cases.py`.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Pid, Signal, kill_process};
use support::app::{App, Release, python};
use support::http2::{Http2, whole};
use support::metrics::Metrics;
use support::program::{Ran, run};
use support::world::{APP, Hitless};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn requests_at_once_share_a_connection_that_outlives_reloads() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    let mut client = Http2::open(hitless.address()).await;
    let mut asked = JoinSet::new();
    for version in 1..=5 {
        for _ in 0..20 {
            let request = client.request("GET", "/slow?ms=300", Bytes::new());
            client.sender.ready().await.expect("it is open");
            let answer = client.sender.send_request(request);
            asked.spawn(async { whole(answer.await).await.0 });
        }
        assert_eq!(client.get("/").await.0, 200);
        app.deploy(&Release::good(version + 1));
        hitless.reload().await.expect_status(0, "reload");
    }
    let statuses = timeout(SOON, asked.join_all()).await.expect("all end");
    assert_eq!(statuses, [StatusCode::OK; 100]);
    let metrics = hitless.metrics().await;
    let over = metrics.sum(
        "hitless_http_requests_total",
        &[("protocol", "h2"), ("app", APP)],
    );
    assert_eq!(over, 105.0);
    let open = |protocol| metrics.sum("hitless_client_connections", &[("protocol", protocol)]);
    assert_eq!(open("h2"), 1.0);
    drop(client);
}

#[tokio::test]
async fn a_websocket_is_a_stream_of_its_connection_and_not_one_more_connection() {
    let hitless = Hitless::start(&App::demo()).await;
    let mut client = Http2::open(hitless.address()).await;
    // By the end of this each side knows the other's settings.
    assert_eq!(client.get("/").await.0, 200);
    let mut tunnels = Vec::new();
    for _ in 0..2 {
        let mut request = client.request("CONNECT", "/ws", Bytes::new());
        request.headers_mut().insert(
            "sec-websocket-version",
            http::HeaderValue::from_static("13"),
        );
        let protocol = hyper::ext::Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
        let answer = client.sender.send_request(request).await;
        let answer = answer.expect("it answers");
        assert_eq!(answer.status(), 200);
        tunnels.push(hyper::upgrade::on(answer).await.expect("it is a tunnel"));
    }
    let counted = hitless.metrics_until("hitless_streams", APP, 2.0);
    assert_eq!(counted.await, 2.0);
    let metrics = hitless.metrics().await;
    let open = |protocol| metrics.sum("hitless_client_connections", &[("protocol", protocol)]);
    assert_eq!((open("http1"), open("h2")), (0.0, 1.0));
    drop(tunnels);
    let deadline = Instant::now() + SOON;
    while hitless.metrics().await.sum("hitless_streams", &[]) > 0.0 {
        assert!(Instant::now() < deadline, "they have not ended");
    }
    assert_eq!(client.get("/").await.0, 200, "it goes on");
}

#[tokio::test]
async fn a_head_that_is_too_large_for_h2_is_counted_and_logged_as_well() {
    let app = App::demo();
    let log = app.folder().join("access");
    let mut hitless = Hitless::of(&app).access_log(log.display()).start().await;
    let mut client = Http2::open(hitless.address()).await;
    for _ in 0..3 {
        let mut request = client.request("GET", "/", Bytes::new());
        let large = http::HeaderValue::from_str(&"x".repeat(70_000));
        let headers = request.headers_mut();
        headers.insert("x-large", large.expect("a valid value"));
        let answer = client.sender.send_request(request).await;
        assert_eq!(answer.expect("it answers").status(), 431);
        // Between others, of any length.
        for path in ["/", "/stream?chunks=3&ms=1", "/headers"] {
            assert_eq!(client.get(path).await.0, 200);
        }
    }
    let reason = [("reason", "head_too_large")];
    let refused = hitless.metrics_where("hitless_answers_total", &reason, 3.0);
    assert_eq!(refused.await, 3.0);
    hitless.stop().await;
    let log = std::fs::read_to_string(log).expect("it was written");
    let lines = log.lines().filter(|line| line.contains(" 431 "));
    assert_eq!(lines.count(), 3, "{log}");
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_then_ends_the_connection() {
    let mut hitless = Hitless::start(&App::demo()).await;
    let mut client = Http2::open(hitless.address()).await;
    let mut other = Http2::open(hitless.address()).await;
    assert_eq!(other.get("/").await.0, 200);
    let request = client.request("GET", "/slow?ms=1500", Bytes::new());
    client.sender.ready().await.expect("it is open");
    let answer = client.sender.send_request(request);
    let counted = hitless.metrics_until("hitless_http_requests_in_flight", APP, 1.0);
    assert_eq!(counted.await, 1.0);
    hitless.program().signal(Signal::TERM);
    // One without a request ends at once, and well.
    let ended = timeout(SOON, other.ended).await.expect("it ends in time");
    ended
        .expect("no panic")
        .expect("by GOAWAY without an error");
    assert_eq!(whole(answer.await).await.0, 200);
    let ended = timeout(SOON, client.ended).await.expect("it ends in time");
    ended
        .expect("no panic")
        .expect("by GOAWAY without an error");
    assert_eq!(hitless.program().ends(SOON).await, 0);
}

#[tokio::test]
async fn http2_can_be_turned_off() {
    let hitless = Hitless::of(&App::demo())
        .global("[client]\nhttp2 = false")
        .start()
        .await;
    let stream = TcpStream::connect(hitless.address())
        .await
        .expect("it listens");
    let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("it is only written so far");
    tokio::spawn(connection);
    let request = Request::new(Full::new(Bytes::new()));
    let answer = timeout(SOON, sender.send_request(request)).await;
    answer
        .expect("it ends in time")
        .expect_err("nobody speaks it");
}

#[tokio::test]
async fn requests_over_http2_are_held_and_sent_again() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let mut client = Http2::open(hitless.address()).await;
    assert_eq!(client.get("/").await.0, 200);
    // Its instance is killed under it: it may be sent again, and is held until the next generation is there.
    let pid = hitless.status().await.pids_in(APP, "live")[0];
    let lost = client
        .sender
        .send_request(client.request("GET", "/slow?ms=1000", Bytes::new()));
    hitless
        .metrics_until("hitless_http_requests_in_flight", APP, 1.0)
        .await;
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not zero");
    kill_process(pid, Signal::KILL).expect("it runs");
    assert_eq!(whole(lost.await).await.0, 200);
    hitless.command(&["pause"]).await.expect_status(0, "pause");
    let held = client
        .sender
        .send_request(client.request("GET", "/", Bytes::new()));
    hitless.holds(1).await;
    hitless
        .command(&["resume"])
        .await
        .expect_status(0, "resume");
    assert_eq!(whole(held.await).await.0, 200);
    hitless.stop().await;
}

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/http2")
        .join(name)
}

/// An app of HTTP/1.1 that says what it got.
fn echo() -> App {
    let (python, script) = (python().display().to_string(), beside("echo.py"));
    App::other(&[&python, &script.display().to_string()])
}

async fn cases(group: &str, globals: &str, settings: &str) -> Ran {
    let mut hitless = Hitless::of(&echo())
        .option("--threads", "1")
        .global(globals)
        .setting(settings)
        .setting("[app.app.ready]\ntcp = true")
        .start()
        .await;
    let (address, script) = (hitless.address().to_string(), beside("cases.py"));
    let (script, pid) = (
        script.display().to_string(),
        hitless.program().pid().to_string(),
    );
    let words = [script.as_str(), &address, &pid, group];
    let ran = run(&python(), words, &[], Duration::from_secs(300)).await;
    // Nothing of them is left behind.
    let in_flight =
        |metrics: &Metrics| metrics.sum("hitless_http_requests_in_flight", &[("app", APP)]);
    let open = |metrics: &Metrics| metrics.sum("hitless_client_connections", &[]);
    let mut metrics = hitless.metrics().await;
    let deadline = Instant::now() + SOON;
    while in_flight(&metrics) + open(&metrics) > 0.0 {
        assert!(Instant::now() < deadline, "{metrics:?}");
        metrics = hitless.metrics().await;
    }
    if group == "frames" {
        let flood = [("reason", "http2_flood")];
        let closed = metrics.sum("hitless_client_connections_closed_total", &flood);
        assert!(closed >= 5.0, "{closed} closed");
    }
    assert_eq!(hitless.stop().await, 0);
    ran
}

fn count(ran: &Ran) -> usize {
    ran.stdout
        .lines()
        .filter(|line| line.starts_with("ok "))
        .count()
}

#[tokio::test]
#[ignore = "needs hyperframe: run tests/run"]
async fn frames_of_strangers_are_answered_as_written_down() {
    let ran = cases("frames", "", "body_bytes_max = \"200000B\"").await;
    assert!(count(&ran) >= 120, "{ran:#?}");
    ran.expect_status(0, "the cases");
}

#[tokio::test]
#[ignore = "needs hyperframe: run tests/run"]
async fn times_are_kept_over_http2() {
    let limits = "[client]\nhead_timeout = \"1s\"\nidle_timeout = \"1s\"\nbody_timeout = \"1s\"\nwrite_timeout = \"2s\"";
    let ran = cases("times", limits, "").await;
    assert!(count(&ran) >= 10, "{ran:#?}");
    ran.expect_status(0, "the cases");
}

#[tokio::test]
#[ignore = "needs hyperframe: run tests/run"]
async fn expectations_that_the_app_meets_are_met_over_http2() {
    let ran = cases("expect", "", "expect = \"forward\"").await;
    assert_eq!(count(&ran), 3, "{ran:#?}");
    ran.expect_status(0, "the cases");
}

#[tokio::test]
#[ignore = "needs curl: run tests/run"]
async fn curl_speaks_http2_by_prior_knowledge() {
    let app = App::demo();
    let log = app.folder().join("access");
    let file = app.folder().join("upload");
    std::fs::write(&file, vec![b'x'; 3_000_000]).expect("the folder can be written to");
    let mut hitless = Hitless::of(&app).access_log(log.display()).start().await;
    let url = |path: &str| format!("http://{}{path}", hitless.address());
    let curl = async |further: &[&str]| {
        let fixed = [
            "--silent",
            "--show-error",
            "--http2-prior-knowledge",
            "--max-time",
            "30",
        ];
        let told = ["--write-out", "\n%{http_code} %{http_version}"];
        let all = fixed.iter().chain(&told).chain(further);
        let ran = run(Path::new("curl"), all, &[], Duration::from_secs(40)).await;
        ran.expect_status(0, "curl").stdout
    };
    assert!(curl(&[&url("/")]).await.ends_with("\n200 2"));
    assert!(
        curl(&["--head", &url("/headers")])
            .await
            .ends_with("\n200 2")
    );
    let chunks = curl(&[&url("/stream?chunks=3&ms=1")]).await;
    assert!(chunks.ends_with("\n200 2"), "{chunks}");
    let uploaded = curl(&[
        "--upload-file",
        &file.display().to_string(),
        &url("/upload"),
    ])
    .await;
    assert!(uploaded.contains("\"length\":3000000"), "{uploaded}");
    hitless.stop().await;
    let log = std::fs::read_to_string(log).expect("it was written");
    assert!(log.contains("\"GET / HTTP/2.0\" 200"), "{log}");
}

#[tokio::test]
#[ignore = "needs h2load: run tests/run"]
async fn h2load_loses_nothing_over_reloads() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    let url = format!("http://{}/", hitless.address());
    let load = tokio::spawn(async move {
        let words = ["-D", "6", "-c", "4", "-m", "20", "-t", "1", url.as_str()];
        run(Path::new("h2load"), words, &[], Duration::from_secs(60)).await
    });
    for version in 2..=6 {
        app.deploy(&Release::good(version));
        hitless.reload().await.expect_status(0, "reload");
    }
    let ran = load.await.expect("no panic").expect_status(0, "h2load");
    assert!(
        ran.stdout.contains(" 0 failed, 0 errored, 0 timeout"),
        "{ran:#?}"
    );
    assert!(ran.stdout.contains(" 0 4xx, 0 5xx"), "{ran:#?}");
    assert!(!load_was_idle(&ran), "{ran:#?}");
}

fn load_was_idle(ran: &Ran) -> bool {
    ran.stdout.contains("requests: 0 total")
}
