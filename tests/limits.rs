//! Promise: clients that are slow, silent or too many harm nobody else, and an answer that comes early is read.
//!
//! The finer points, byte by byte, are beside the code: `src/data_plane/tests/limits.rs` and `parking.rs`.

mod support;

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use support::app::App;
use support::client::{Connection, get};
use support::world::{APP, Hitless, SOON};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, interval, timeout};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn demo(client: &str) -> Hitless {
    demo_with(&App::demo(), client).await
}

async fn demo_with(app: &App, client: &str) -> Hitless {
    // With one worker it is certain which connections share one.
    let builder = Hitless::of(app).global("threads = 1");
    builder
        .setting(&format!("[client]\n{client}\n"))
        .start()
        .await
}

async fn connect(hitless: &Hitless) -> TcpStream {
    let connected = TcpStream::connect(hitless.address()).await;
    connected.expect("it listens")
}

/// All up to the end, which must be one and no reset.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut text)).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    match read {
        Ok(Ok(_)) => text,
        Ok(Err(error)) => panic!("{error} after {text:?}"),
        Err(_) => panic!("no end after {text:?}"),
    }
}

/// A request with the answer read up to the end of its body, which is a line.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(GET).await.expect("it reads");
    line_of_body(stream).await
}

async fn line_of_body(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = async {
        while !text
            .split_once("\r\n\r\n")
            .is_some_and(|(_, body)| body.ends_with('\n'))
        {
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).await.expect("no reset");
            assert!(length > 0, "it ended after {text:?}");
            text.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    };
    timeout(SOON, read).await.expect("it answers");
    text
}

async fn closed(hitless: &Hitless, reason: &str) -> f64 {
    let labels = [("reason", reason)];
    let metrics = hitless.metrics().await;
    metrics.sum("hitless_client_connections_closed_total", &labels)
}

async fn answered(hitless: &Hitless, reason: &str) -> f64 {
    let metrics = hitless.metrics().await;
    metrics.sum("hitless_answers_total", &[("app", APP), ("reason", reason)])
}

/// Waits for a number of the metrics; no event tells of it.
async fn until_counted(hitless: &Hitless, name: &str, labels: &[(&str, &str)], count: f64) {
    let deadline = Instant::now() + SOON;
    let mut ticks = interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        let counted = hitless.metrics().await.sum(name, labels);
        if counted == count {
            return;
        }
        assert!(Instant::now() < deadline, "{name} {counted}, not {count}");
    }
}

// === slow and silent ===

#[tokio::test]
async fn a_head_that_takes_too_long_gets_a_408_with_its_reason() {
    let hitless = demo("head_timeout = \"1s\"").await;
    let mut stream = connect(&hitless).await;
    let began = Instant::now();
    let (mut read, mut write) = stream.split();
    let mut answer = String::new();
    let dribble = async {
        let mut ticks = interval(Duration::from_millis(100));
        write
            .write_all(b"GET / HTTP/1.1\r\nX: ")
            .await
            .expect("it reads");
        loop {
            ticks.tick().await;
            // It goes on after the answer, as such clients do.
            if write.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = dribble => unreachable!("it goes on for ever"),
        read = timeout(SOON, read.read_to_string(&mut answer)) => {
            read.expect("it answers").expect("an end, and no reset");
        }
    }
    let took = began.elapsed();
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("proxy-status: hitless; error=http_request_error\r\n"),
        "{answer}"
    );
    assert!(answer.contains("head_timeout"), "{answer}");
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!(answered(&hitless, "head_timeout").await, 1.0);
    assert_eq!(closed(&hitless, "head_timeout").await, 1.0);
}

#[tokio::test]
async fn a_silent_connection_is_closed_after_the_idle_time_and_not_before() {
    let hitless = demo("idle_timeout = \"2s\"\nhead_timeout = \"500ms\"").await;
    let mut used = connect(&hitless).await;
    ask(&mut used).await;
    let mut new = connect(&hitless).await;
    let began = Instant::now();
    for stream in [&mut used, &mut new] {
        assert_eq!(rest(stream).await, "");
    }
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(1900) && took < Duration::from_secs(6),
        "{took:?}"
    );
    assert_eq!(closed(&hitless, "idle_timeout").await, 2.0);
}

#[tokio::test]
async fn a_body_that_makes_no_progress_gets_a_408() {
    let hitless = demo("body_timeout = \"1s\"").await;
    let mut stream = connect(&hitless).await;
    let head = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123";
    stream.write_all(head).await.expect("it reads");
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("body_timeout"), "{answer}");
    assert_eq!(answered(&hitless, "body_timeout").await, 1.0);
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_client_that_reads_nothing_is_broken_off() {
    let app = App::python_http_server();
    std::fs::write(app.folder().join("file"), vec![b'x'; 64 << 20]).expect("it can be written");
    let hitless = demo_with(&app, "write_timeout = \"1s\"").await;
    let mut stream = connect(&hitless).await;
    let request = b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let labels = [("reason", "write_timeout")];
    let name = "hitless_client_connections_closed_total";
    until_counted(&hitless, name, &labels, 1.0).await;
    until_counted(&hitless, "hitless_client_connections", &[], 0.0).await;
    let mut read = Vec::new();
    let broken = stream.read_to_end(&mut read).await;
    assert!(
        broken.is_err() && read.len() < 64 << 20,
        "a reset, not an end"
    );
}

// === too many ===

#[tokio::test]
async fn for_new_connections_the_longest_idle_is_closed_and_never_an_active_one() {
    let hitless = demo("connections_max = 10").await;
    let mut active = connect(&hitless).await;
    let slow = b"GET /slow?ms=4000 HTTP/1.1\r\nHost: a\r\n\r\n";
    active.write_all(slow).await.expect("it reads");
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(&hitless).await;
        ask(&mut stream).await;
        idle.push(stream);
    }
    let mut new = Vec::new();
    for mut longest in idle.drain(..4) {
        let mut stream = connect(&hitless).await;
        ask(&mut stream).await;
        new.push(stream);
        assert_eq!(rest(&mut longest).await, "");
    }
    for stream in idle.iter_mut().chain(&mut new) {
        ask(stream).await;
    }
    assert!(line_of_body(&mut active).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(closed(&hitless, "connections_max").await, 4.0);
}

#[tokio::test]
async fn where_none_is_idle_new_connections_wait_and_are_served() {
    let app = App::demo();
    let builder = Hitless::of(&app).global("threads = 2");
    let hitless = builder
        .setting("[client]\nconnections_max = 4")
        .start()
        .await;
    let slow = b"GET /slow?ms=1500 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut streams = Vec::new();
    for _ in 0..12 {
        let mut stream = connect(&hitless).await;
        stream.write_all(slow).await.expect("it reads");
        streams.push(stream);
    }
    for stream in &mut streams {
        assert!(rest(stream).await.starts_with("HTTP/1.1 200 "));
    }
    let waits = hitless
        .metrics()
        .await
        .sum("hitless_accept_waits_total", &[]);
    assert!(waits > 0.0);
    assert_eq!(closed(&hitless, "connections_max").await, 0.0);
}

#[tokio::test]
async fn an_address_has_no_more_connections_than_its_share() {
    let hitless = demo("connections_per_address_max = 3").await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&hitless).await;
        ask(&mut stream).await;
        streams.push(stream);
    }
    let mut refused = connect(&hitless).await;
    assert_eq!(rest(&mut refused).await, "");
    assert_eq!(closed(&hitless, "connections_per_address_max").await, 1.0);
    let socket = TcpSocket::new_v4().expect("there are sockets");
    let other = "127.0.0.2:0".parse().expect("it is an address");
    socket.bind(other).expect("loopback is a whole network");
    let mut other = socket.connect(hitless.address()).await.expect("it listens");
    ask(&mut other).await;
    drop(streams.pop());
    until_counted(&hitless, "hitless_client_connections", &[], 3.0).await;
    ask(&mut connect(&hitless).await).await;
}

// === descriptors ===

/// How many descriptors a process has open.
fn open_descriptors(pid: i32) -> u64 {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there");
    entries.count() as u64
}

fn limit_descriptors(pid: i32, current: Option<u64>) {
    let pid = Pid::from_raw(pid);
    let all = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: current.or(all),
        maximum: all,
    };
    prlimit(pid, Resource::Nofile, limit).expect("the process is ours");
}

#[tokio::test]
async fn out_of_descriptors_it_goes_on_and_can_be_asked() {
    let mut hitless = demo("").await;
    let pid = hitless.program().pid();
    let mut served = connect(&hitless).await;
    ask(&mut served).await;
    limit_descriptors(pid, Some(open_descriptors(pid) + 4));
    // Each sends a part of a head, so that none is idle.
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(&hitless).await;
        stream
            .write_all(b"GET / HTTP/1.1\r\n")
            .await
            .expect("it is queued");
        streams.push(stream);
    }
    let program = hitless.program();
    program.says("cannot accept for now", SOON).await;
    for _ in 0..5 {
        let status = hitless.status().await;
        assert_eq!(status.live(APP), Some(1));
        hitless.get_admin("/healthz").await.expect_status(200);
        let metrics = hitless.metrics().await;
        let labels = [("reason", "system")];
        assert!(metrics.sum("hitless_accept_waits_total", &labels) > 0.0);
    }
    assert!(ask(&mut served).await.starts_with("HTTP/1.1 200 "));
    // Those that wait are served once there is room.
    limit_descriptors(pid, None);
    for stream in &mut streams {
        stream
            .write_all(b"Host: a\r\n\r\n")
            .await
            .expect("it reads");
        assert!(line_of_body(stream).await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn it_says_that_connections_max_does_not_fit_and_what_would() {
    let app = App::demo();
    let builder = Hitless::of(&app).setting("[client]\nconnections_max = 1000000");
    let mut hitless = builder.spawn();
    let said = hitless.program().says("does not fit", SOON).await;
    let all = rustix::process::getrlimit(Resource::Nofile).maximum;
    if all.is_some_and(|all| all < 2_000_000) {
        assert!(said.contains("LimitNOFILE="), "{said}");
    }
}

// === early answers ===

/// hitless answers while the client is still sending, and the client, which only reads when it has sent all, reads it.
#[tokio::test]
async fn an_answer_that_comes_early_is_not_destroyed_by_what_is_still_sent() {
    let app = App::demo();
    let builder = Hitless::of(&app).setting("[app.app.hold]\nrequests = 0");
    let hitless = builder.start().await;
    let paused = hitless.command(&["pause", "--for", "60s"]).await;
    paused.expect_status(0, "pause");
    for (path, status) in [("/upload", "503"), ("http://[/", "400")] {
        let length = 8 << 20;
        let mut stream = connect(&hitless).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let block = vec![b'x'; 64 * 1024];
        for _ in 0..length / block.len() {
            let sent = timeout(SOON, stream.write_all(&block)).await;
            sent.expect("it reads on").expect("no reset");
        }
        // After this there is nothing but the answer.
        stream.shutdown().await.expect("no reset");
        let answer = rest(&mut stream).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_connection_goes_on_after_an_early_answer_whose_body_came_whole() {
    let app = App::demo();
    let builder = Hitless::of(&app).setting("[app.app.hold]\nrequests = 0");
    let hitless = builder.start().await;
    hitless
        .command(&["pause", "--for", "60s"])
        .await
        .expect_status(0, "pause");
    let mut connection = Connection::open(hitless.address())
        .await
        .expect("it listens");
    for _ in 0..3 {
        let body = bytes::Bytes::from(vec![b'x'; 1 << 20]);
        let upload = support::client::request("POST", "/upload", body);
        let answer = connection.send(upload).await.expect("it answers");
        answer.expect_status(503);
    }
    hitless
        .command(&["resume"])
        .await
        .expect_status(0, "resume");
    let answer = connection.send(get("/")).await.expect("it answers");
    answer.expect_status(200);
}
