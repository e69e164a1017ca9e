//! Promise: hitless in between changes nothing about HTTP but what a proxy must.

mod support;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;
use support::app::App;
use support::client::{Answer, Connection, exchange_bytes, fetch, get, request};
use support::websocket::WebSocket;
use support::world::Hitless;

async fn demo() -> Hitless {
    Hitless::start(&App::demo()).await
}

/// A GET of what the app saw, with these fields on top.
async fn seen(hitless: &Hitless, fields: &[(&'static str, &str)]) -> Seen {
    let mut request = get("/headers");
    for &(name, value) in fields {
        let value = HeaderValue::from_str(value).expect("tests write valid values");
        request.headers_mut().append(name, value);
    }
    Seen::from(&fetch(hitless.address(), request).await.expect_status(200))
}

/// A request as the app saw it.
#[derive(Debug)]
struct Seen(Value);

impl Seen {
    fn from(answer: &Answer) -> Self {
        Self(answer.json())
    }

    /// All values of a field.
    fn all(&self, name: &str) -> Vec<String> {
        let fields = self.0["fields"]
            .as_array()
            .expect("the app answers with a list");
        fields
            .iter()
            .filter(|field| field[0] == name)
            .map(|field| field[1].as_str().expect("values are text").to_owned())
            .collect()
    }

    #[track_caller]
    fn expect(&self, name: &str, values: &[&str]) {
        assert_eq!(self.all(name), values, "the app's {name} in {:#}", self.0);
    }
}

// === methods, bodies, framing ===

#[tokio::test]
async fn head_has_the_fields_of_get_and_no_body() {
    let hitless = demo().await;
    let got = hitless.get("/headers").await.expect_status(200);
    let mut connection = Connection::open(hitless.address())
        .await
        .expect("it listens");
    let head = connection.send(request("HEAD", "/", Bytes::new())).await;
    let head = head.expect("HEAD is answered").expect_status(200);
    assert!(head.body.is_empty(), "{head:#?}");
    let length = head
        .field("content-length")
        .and_then(|length| length.parse::<u64>().ok());
    assert!(
        length.is_some_and(|length| length > 0),
        "GET's length: {head:#?}"
    );
    assert_eq!(head.field("x-version"), got.field("x-version"));
    // The connection is in step.
    let next = connection
        .send(get("/"))
        .await
        .expect("the connection goes on");
    next.expect_status(200);
}

#[tokio::test]
async fn answers_without_a_body_keep_the_connection_in_step() {
    let hitless = demo().await;
    let mut connection = Connection::open(hitless.address())
        .await
        .expect("it listens");
    for code in [204, 304, 200, 404, 304, 204, 500] {
        let answer = connection.send(get(&format!("/status?code={code}"))).await;
        let answer = answer.expect("the connection goes on").expect_status(code);
        assert_eq!(
            answer.body.is_empty(),
            matches!(code, 204 | 304),
            "{answer:#?}"
        );
    }
}

#[tokio::test]
async fn a_get_with_a_chunked_body_loses_nothing_of_it() {
    let hitless = demo().await;
    let answer = exchange_bytes(
        hitless.address(),
        b"GET /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
          5\r\n12345\r\n4\r\n6789\r\n0\r\n\r\n",
    )
    .await;
    assert!(answer.contains("\"length\":9"), "{answer}");
    assert!(answer.contains("cbf43926"), "{answer}");
}

#[tokio::test]
async fn trailers_reach_who_asked_for_them() {
    let hitless = demo().await;
    let mut request = get("/trailers");
    request
        .headers_mut()
        .insert("te", HeaderValue::from_static("trailers"));
    let answer = fetch(hitless.address(), request).await.expect_status(200);
    let trailers = answer
        .trailers
        .as_ref()
        .and_then(|trailers| trailers.get("x-checksum"));
    assert!(
        trailers.is_some_and(|checksum| checksum == "4e450aaa"),
        "{answer:#?}"
    );
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_its_answer_and_the_end() {
    let hitless = demo().await;
    let request = b"GET /stream?chunks=3&ms=1 HTTP/1.0\r\nHost: a\r\n\r\n";
    let answer = exchange_bytes(hitless.address(), request).await;
    assert!(answer.contains(" 200 "), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\n0 1\n1 1\n2 1\n"),
        "whole and not chunked: {answer}"
    );
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn an_app_that_speaks_http_1_0_is_served_on_kept_connections() {
    let app = App::python_http_server();
    std::fs::write(app.folder().join("file"), "x".repeat(1_000_000)).expect("it can be written");
    let hitless = Hitless::start(&app).await;
    let mut connection = Connection::open(hitless.address())
        .await
        .expect("it listens");
    for _ in 0..5 {
        let answer = connection.send(get("/file")).await;
        let answer = answer.expect("the connection goes on").expect_status(200);
        assert_eq!(answer.body.len(), 1_000_000);
        assert_eq!(answer.field("connection"), None, "{:#?}", answer.headers);
    }
}

#[tokio::test]
async fn continue_is_said_before_the_body_is_waited_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let hitless = demo().await;
    let mut stream = tokio::net::TcpStream::connect(hitless.address())
        .await
        .expect("it listens");
    let head = b"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\
                 Expect: 100-continue\r\n\r\n";
    stream.write_all(head).await.expect("it reads");
    let mut said = [0; 25];
    stream.read_exact(&mut said).await.expect("it answers");
    assert_eq!(
        String::from_utf8_lossy(&said),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"123456789").await.expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    assert!(answer.contains("cbf43926"), "{answer}");
}

// === what must not get through ===

#[track_caller]
fn expect_answer(answer: &str, status: u16) {
    let wanted = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&wanted), "not {status}: {answer}");
}

#[tokio::test]
async fn a_request_without_exactly_one_host_is_refused() {
    let hitless = demo().await;
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let request = format!("GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        let answer = exchange_bytes(hitless.address(), request.as_bytes()).await;
        expect_answer(&answer, 400);
    }
}

#[tokio::test]
async fn what_a_proxy_cannot_do_is_refused_in_so_many_words() {
    let hitless = demo().await;
    let cases = [
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
            501,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\nConnection: close\r\n\r\n",
            417,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nx",
            400,
        ),
    ];
    for (request, status) in cases {
        let answer = exchange_bytes(hitless.address(), request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "to {request:?} not {status} but: {answer}"
        );
    }
}

#[tokio::test]
async fn a_head_above_the_limit_gets_431() {
    let hitless = demo().await;
    let large = "x".repeat(70_000);
    let request =
        format!("GET / HTTP/1.1\r\nHost: a\r\nX-Large: {large}\r\nConnection: close\r\n\r\n");
    let answer = exchange_bytes(hitless.address(), request.as_bytes()).await;
    expect_answer(&answer, 431);
}

#[tokio::test]
async fn chunk_extensions_without_end_are_refused() {
    let hitless = demo().await;
    let extension = "x".repeat(20_000);
    let request = format!(
        "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;{extension}\r\nhello\r\n0\r\n\r\n"
    );
    let answer = exchange_bytes(hitless.address(), request.as_bytes()).await;
    expect_answer(&answer, 400);
}

/// RFC 9112 6.3: taken by Transfer-Encoding, and the connection is closed after the answer.
#[tokio::test]
async fn a_request_with_two_lengths_is_taken_by_its_chunks_and_is_the_last() {
    let hitless = demo().await;
    let answer = exchange_bytes(
        hitless.address(),
        b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
          9\r\n123456789\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    .await;
    assert!(answer.contains("\"length\":9"), "{answer}");
    assert!(!answer.contains("/smuggled"), "{answer}");
}

/// The app answers without reading the body; what the body holds must never be taken for a request.
#[tokio::test]
async fn an_unread_body_is_never_taken_for_the_next_request() {
    let hitless = demo().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2_000);
    let head = format!(
        "POST /status?code=403 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        smuggled.len()
    );
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = exchange_bytes(
        hitless.address(),
        format!("{head}{smuggled}{last}").as_bytes(),
    )
    .await;
    // An app that answers early may reset its connection before the answer was read: then there is nothing but a 502.
    assert!(
        ["HTTP/1.1 403 ", "HTTP/1.1 502 "]
            .iter()
            .any(|head| answer.starts_with(head)),
        "{answer}"
    );
    // The last request may be answered as well; of what the body holds, nothing.
    assert!(answer.matches("HTTP/1.1 ").count() <= 2, "{answer}");
    assert!(!answer.contains("/smuggled"), "{answer}");
}

// === fields ===

#[tokio::test]
async fn the_app_learns_who_asked_and_for_what() {
    let hitless = demo().await;
    let seen = seen(&hitless, &[]).await;
    let port = hitless.address().port().to_string();
    seen.expect("host", &["app.example"]);
    seen.expect("x-forwarded-for", &["127.0.0.1"]);
    seen.expect("x-forwarded-proto", &["http"]);
    seen.expect("x-forwarded-host", &["app.example"]);
    seen.expect("x-forwarded-port", &[&port]);
    assert_eq!(seen.all("x-request-id").len(), 1, "{seen:#?}");
}

#[tokio::test]
async fn a_stranger_cannot_speak_as_a_proxy() {
    let hitless = demo().await;
    let fields = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x-request-id", "mine"),
        ("proxy", "http://evil.example"),
    ];
    let seen = seen(&hitless, &fields).await;
    seen.expect("x-forwarded-for", &["127.0.0.1"]);
    seen.expect("x_forwarded_for", &[]);
    seen.expect("x-forwarded-proto", &["http"]);
    seen.expect("forwarded", &[]);
    seen.expect("x-real-ip", &[]);
    seen.expect("proxy", &[]);
    assert_ne!(seen.all("x-request-id"), ["mine"], "{seen:#?}");
}

#[tokio::test]
async fn a_trusted_proxy_says_on_whose_behalf_it_asks() {
    let hitless = Hitless::of(&App::demo())
        .global("trusted_proxies = [\"::ffff:127.0.0.0/104\"]")
        .start()
        .await;
    let fields = [
        ("x-forwarded-for", "203.0.113.9, 10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-host", "www.example"),
        ("forwarded", "for=203.0.113.9;proto=https"),
        ("x-real-ip", "203.0.113.9"),
        ("x-request-id", "mine"),
        ("x_forwarded_for", "6.6.6.6"),
    ];
    let seen = seen(&hitless, &fields).await;
    seen.expect("x-forwarded-for", &["203.0.113.9, 10.0.0.1, 127.0.0.1"]);
    seen.expect("x-forwarded-proto", &["https"]);
    seen.expect("x-forwarded-port", &["443"]);
    seen.expect("x-forwarded-host", &["www.example"]);
    seen.expect("forwarded", &["for=203.0.113.9;proto=https, for=127.0.0.1"]);
    seen.expect("x-real-ip", &["203.0.113.9"]);
    seen.expect("x-request-id", &["mine"]);
    seen.expect("x_forwarded_for", &[]);
}

#[tokio::test]
async fn a_body_above_the_limit_gets_413_and_the_next_request_an_answer() {
    let hitless = Hitless::of(&App::demo())
        .setting("body_bytes_max = \"1KiB\"")
        .start()
        .await;
    let mut connection = Connection::open(hitless.address())
        .await
        .expect("it listens");
    for (length, status) in [(1024, 200), (1025, 413), (100_000, 413), (5, 200)] {
        let body = Bytes::from(vec![b'x'; length]);
        let answer = connection.send(request("POST", "/upload", body)).await;
        answer.expect("it is answered").expect_status(status);
    }
}

#[tokio::test]
async fn fields_for_the_next_hop_stay_there() {
    let hitless = demo().await;
    let fields = [
        ("connection", "x-secret, x-forwarded-for"),
        ("connection", "x-other"),
        ("x-secret", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
    ];
    let seen = seen(&hitless, &fields).await;
    for name in [
        "x-secret",
        "x-other",
        "keep-alive",
        "proxy-connection",
        "te",
    ] {
        seen.expect(name, &[]);
    }
    seen.expect("x-forwarded-for", &["127.0.0.1"]);
}

#[tokio::test]
async fn the_target_is_passed_on_byte_by_byte() {
    let hitless = demo().await;
    let answer = exchange_bytes(
        hitless.address(),
        b"GET /headers?a=%2f%2F//../b;c=d&&=+ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.contains("/headers?a=%2f%2F//../b;c=d&&=+\""),
        "{answer}"
    );
}

#[tokio::test]
async fn a_websocket_echoes_and_closes_in_order() {
    let hitless = demo().await;
    let mut socket = WebSocket::open(hitless.address()).await.expect("it opens");
    for text in ["hello", "", &"x".repeat(60_000)] {
        assert_eq!(
            socket.echo(text).await.expect("it echoes"),
            format!("1 {text}")
        );
    }
    socket.close().await.expect("the Close is answered");
}
