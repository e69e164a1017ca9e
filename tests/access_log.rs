//! Promise: each request gives one line, whatever its client sent, and no request ever waits for whoever reads or stores
//! the lines.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::app::App;
use support::client::{Connection, exchange_bytes, get, request};
use support::program::Stdout;
use support::websocket::WebSocket;
use support::world::{APP, Builder, Hitless, SOON};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long a request may take though nobody reads the log: far less than any reader in these tests is away.
const AT_ONCE: Duration = Duration::from_secs(5);

fn file(app: &App) -> PathBuf {
    app.folder().join("access.log")
}

/// In front of the built-in app, with a log of JSON lines.
fn json_log(app: &App) -> Builder {
    Hitless::of(app)
        .access_log(file(app).display())
        .option("--log-format", "json")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

/// Waits for so many lines: a file is no event.
async fn until_lines(path: &Path, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + SOON;
    let mut ticks = interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let found = lines(path);
        if found.len() >= count {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "{count} lines never came: {found:#?}"
        );
    }
}

async fn dropped(hitless: &Hitless, log: &str) -> f64 {
    let metrics = hitless.metrics().await;
    metrics.sum("hitless_log_lines_dropped_total", &[("log", log)])
}

#[tokio::test]
async fn a_line_tells_all_that_is_known_about_a_request() {
    let app = App::demo();
    let hitless = json_log(&app).start().await;
    let mut sent = request("POST", "/upload?a=b", "hello".into());
    let fields = sent.headers_mut();
    fields.insert("user-agent", "curl/8".parse().unwrap());
    fields.insert("referer", "https://example.org/".parse().unwrap());
    let mut client = Connection::open(hitless.address()).await.unwrap();
    let answer = client.send(sent).await.unwrap().expect_status(200);
    let line = until_lines(&file(&app), 1).await.remove(0);
    for (key, value) in [
        ("client", Value::from("127.0.0.1")),
        ("protocol", "http/1.1".into()),
        ("method", "POST".into()),
        ("path", "/upload?a=b".into()),
        ("status", 200.into()),
        ("bytes_in", 5.into()),
        ("bytes_out", answer.body.len().into()),
        ("app", APP.into()),
        ("generation", 1.into()),
        ("instance", 1.into()),
        ("resends", 0.into()),
        ("reason", Value::Null),
        ("user_agent", "curl/8".into()),
        ("referer", "https://example.org/".into()),
    ] {
        assert_eq!(line[key], value, "{key} of {line:#}");
    }
    let seconds = |key: &str| line[key].as_f64().unwrap();
    assert!(seconds("total") >= seconds("upstream_head"), "{line:#}");
    assert!(
        seconds("upstream_head") > 0.0 && seconds("hold") == 0.0,
        "{line:#}"
    );
    assert_eq!(line["request_id"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn text_on_standard_output_is_the_default_and_is_escaped() {
    let app = App::demo();
    let mut hitless = Hitless::of(&app).access_log("stdout").start().await;
    let asked = b"GET /a%1b HTTP/1.1\r\nhost: a\r\nuser-agent: a\"b\\c\td \xc3\xa4\xff\x85\r\nconnection: close\r\n\r\n";
    exchange_bytes(hitless.address(), asked).await;
    let line = hitless
        .program()
        .says("\"GET /a%1b HTTP/1.1\" 404 ", SOON)
        .await;
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(
        line.contains(r#" "-" "a\x22b\x5cc\x09d \xc3\xa4\xff\x85" app=app generation=1 "#),
        "{line}"
    );
    assert!(
        line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{line}"
    );
}

#[tokio::test]
async fn what_never_became_a_request_gives_a_line_as_well() {
    let app = App::demo();
    let hitless = json_log(&app)
        .setting("[client]\nhead_timeout = \"500ms\"\nidle_timeout = \"500ms\"\nhead_bytes_max = \"8KiB\"")
        .start()
        .await;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "x".repeat(9000)
    );
    let mut expected = Vec::new();
    for (bytes, status, reason) in [
        ("GET / HTTP/1.1\r\nno field\r\n\r\n", 400, "bad_request"),
        (long.as_str(), 431, "head_too_large"),
        ("GET / HTTP/1.1\r\nhost:", 408, "head_timeout"),
    ] {
        let answer = exchange_bytes(hitless.address(), bytes.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        expected.push((status, reason));
        let line = until_lines(&file(&app), expected.len())
            .await
            .pop()
            .unwrap();
        assert_eq!(
            (line["status"].as_u64(), line["reason"].as_str()),
            (Some(status), Some(reason))
        );
        assert_eq!(
            (&line["method"], &line["client"]),
            (&Value::Null, &"127.0.0.1".into())
        );
    }
}

#[tokio::test]
async fn a_tunnel_gives_its_line_at_its_end_with_the_bytes_of_both_ways() {
    let app = App::demo();
    let hitless = json_log(&app).start().await;
    let mut socket = WebSocket::open(hitless.address()).await.unwrap();
    socket.echo("hello").await.unwrap();
    hitless.get("/").await;
    assert_eq!(
        until_lines(&file(&app), 1).await[0]["path"],
        "/",
        "the tunnel is open"
    );
    socket.close().await.unwrap();
    let line = until_lines(&file(&app), 2).await.pop().unwrap();
    assert_eq!(
        (&line["path"], &line["status"]),
        (&"/ws".into(), &101.into())
    );
    assert!(
        line["bytes_in"].as_u64() > Some(5) && line["bytes_out"].as_u64() > Some(5),
        "{line:#}"
    );
    assert_eq!(line["reason"], Value::Null);
}

#[tokio::test]
async fn an_answer_that_nobody_waited_for_or_that_broke_off_says_so() {
    let app = App::demo();
    let hitless = json_log(&app).start().await;
    let mut impatient = TcpStream::connect(hitless.address()).await.unwrap();
    impatient
        .write_all(b"GET /slow?ms=60000 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut bored = TcpStream::connect(hitless.address()).await.unwrap();
    bored
        .write_all(b"GET /events?ms=10 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    // Its answer has begun.
    assert!(bored.read_u8().await.is_ok());
    drop(impatient);
    let line = until_lines(&file(&app), 1).await.pop().unwrap();
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&499.into(), &"client_gone".into())
    );
    for (number, framing) in ["content-length: 9", "transfer-encoding: chunked"]
        .into_iter()
        .enumerate()
    {
        let mut half = TcpStream::connect(hitless.address()).await.unwrap();
        let head = format!("POST /upload HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n3\r\nab");
        half.write_all(head.as_bytes()).await.unwrap();
        drop(half);
        let lines = until_lines(&file(&app), 2 + number).await;
        let line = lines.last().unwrap();
        assert_eq!(
            (&line["status"], &line["reason"]),
            (&499.into(), &"client_gone".into()),
            "{line:#}"
        );
    }
    drop(bored);
    let line = until_lines(&file(&app), 4).await.pop().unwrap();
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&200.into(), &"client_gone".into())
    );
    assert_eq!(line["path"], "/events?ms=10");
}

#[tokio::test]
async fn a_request_that_was_held_says_for_how_long_and_why_it_got_nothing() {
    let app = App::other(&["sh", "-c", "sleep 1000"]);
    let hitless = json_log(&app)
        .setting("[app.app.hold]\ntimeout = \"300ms\"")
        .begin()
        .await;
    hitless.get("/").await.expect_status(503);
    let line = until_lines(&file(&app), 1).await.pop().unwrap();
    assert_eq!(line["reason"], "hold_timeout");
    assert!(line["hold"].as_f64() >= Some(0.3), "{line:#}");
    assert_eq!(
        (&line["generation"], &line["upstream_head"]),
        (&Value::Null, &Value::Null)
    );

    let mut impatient = TcpStream::connect(hitless.address()).await.unwrap();
    let head = b"GET /gone HTTP/1.1\r\nhost: a\r\n\r\n";
    impatient.write_all(head).await.unwrap();
    let metrics = "hitless_held_requests";
    while hitless.metrics().await.sum(metrics, &[]) < 1.0 {
        tokio::task::yield_now().await;
    }
    drop(impatient);
    let line = until_lines(&file(&app), 2).await.pop().unwrap();
    assert_eq!(line["reason"], "client_gone", "{line:#}");
    assert!(line["hold"].as_f64() > Some(0.0), "{line:#}");
}

#[tokio::test]
async fn rotation_on_usr1_and_hup_loses_no_line_and_doubles_none() {
    let app = App::demo();
    let log = file(&app);
    let mut hitless = json_log(&app).start().await;
    let address = hitless.address();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = tokio::spawn(async move {
        let mut client = Connection::open(address).await.unwrap();
        let mut number = 0;
        while !*stopped.borrow() {
            client
                .send(get(&format!("/status?code=204&n={number}")))
                .await
                .unwrap();
            number += 1;
        }
        number
    });
    let mut rotated = Vec::new();
    for (turn, signal) in [Signal::USR1, Signal::HUP, Signal::USR1, Signal::HUP]
        .into_iter()
        .enumerate()
    {
        until_lines(&log, 20).await;
        let old = log.with_extension(turn.to_string());
        std::fs::rename(&log, &old).unwrap();
        hitless.program().signal(signal);
        rotated.push(old);
    }
    until_lines(&log, 20).await;
    stop.send_replace(true);
    let sent: u64 = load.await.unwrap();
    assert_eq!(hitless.stop().await, 0);
    rotated.push(log);
    let all = rotated.iter().flat_map(|path| lines(path));
    let mut numbers: Vec<u64> = all
        .filter_map(|line| line["path"].as_str()?.rsplit_once("n=")?.1.parse().ok())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
}

/// Sends requests whose lines are some KiB long, and gives the slowest back.
async fn long_requests(hitless: &Hitless, count: usize) -> Duration {
    let path = format!("/status?code=204&{}", "x".repeat(3500));
    let client = Connection::open(hitless.address()).await;
    let mut client = client.expect("it listens");
    let mut slowest = Duration::ZERO;
    for _ in 0..count {
        let began = Instant::now();
        let answer = client.send(get(&path)).await;
        answer.expect("each request is answered").expect_status(204);
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

#[tokio::test]
async fn a_reader_that_has_stopped_costs_lines_and_no_request_waits() {
    let app = App::demo();
    let mut hitless = Hitless::of(&app)
        .access_log("stdout")
        .stdout(Stdout::Unread)
        .option("--threads", "1")
        .start()
        .await;
    // More than the 4 MiB that one worker's batches hold.
    let slowest = long_requests(&hitless, 2000).await;
    assert!(slowest < AT_ONCE, "a request took {slowest:?}");
    let lost = dropped(&hitless, "access").await;
    assert!(lost > 0.0, "nothing was dropped");
    hitless
        .program()
        .says("lines of these logs were dropped", SOON)
        .await;
    // What was kept comes once somebody reads again, and later lines with it.
    hitless.program().read_on();
    hitless.get("/status?code=200&last").await;
    hitless
        .program()
        .says("GET /status?code=200&last HTTP/1.1", SOON)
        .await;
    let output = hitless.program().output();
    let kept = output
        .lines()
        .filter(|line| line.contains("code=204&xxx"))
        .count();
    assert_eq!(kept as f64 + lost, 2000.0);
}

#[tokio::test]
async fn a_reader_that_has_stopped_does_not_hold_up_the_end() {
    let app = App::demo();
    let mut hitless = Hitless::of(&app)
        .access_log("stdout")
        .stdout(Stdout::Unread)
        .start()
        .await;
    long_requests(&hitless, 100).await;
    assert_eq!(hitless.stop().await, 0);
}

#[tokio::test]
async fn a_full_disk_costs_lines_that_are_counted_and_told_and_no_request_waits() {
    let app = App::demo();
    let mut hitless = Hitless::of(&app).access_log("/dev/full").start().await;
    let slowest = long_requests(&hitless, 50).await;
    assert!(slowest < AT_ONCE, "a request took {slowest:?}");
    hitless
        .program()
        .says("the access log cannot be written", SOON)
        .await;
    let deadline = Instant::now() + SOON;
    while dropped(&hitless, "access").await < 50.0 {
        assert!(Instant::now() < deadline, "fewer than 50 were counted");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let app = App::demo();
    let log = app.folder().join("no/access.log");
    let mut hitless = Hitless::of(&app).access_log(log.display()).spawn();
    assert_eq!(hitless.program().ends(SOON).await, 1);
    let said = hitless
        .program()
        .says("cannot open the access log", SOON)
        .await;
    assert!(
        said.contains("no/access.log") && said.contains("make its folder"),
        "{said}"
    );
}
