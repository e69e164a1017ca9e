//! WebSockets to apps that speak HTTP/2 (RFC 8441): how they are asked for, what passes, how they end.

mod app;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{Reason, client};
use http::{Method, Request, Response, StatusCode};
use tokio::io::AsyncWriteExt;

use self::app::{App, Side};
use super::tunnels::{CLOSE_1012, code_of, masked};
use super::world::{GET, Listening, Peer, World, soon};
use crate::data_plane::{AppConfig, Phase};
use crate::generation::AppProtocol;
use crate::live::Orders;
use crate::telemetry::traffic::{Reason as Why, ResendOutcome, ResendReason, StreamKind};

const UPGRADE: &str = "GET /chat?room=1 HTTP/1.1\r\nhost: example.org\r\nconnection: Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: chat\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// RFC 9113 sections 3.4, 4.1 and 6.
const PREFACE_LENGTH: usize = 24;
const FRAME_HEAD_LENGTH: usize = 9;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;

fn world() -> World {
    World::with(AppConfig {
        protocol: AppProtocol::H2c,
        ..AppConfig::default()
    })
}

/// A tunnel from a client of HTTP/1.1.
async fn opened(world: &World, app: &mut App) -> (Peer, Side) {
    let mut client = world.client().await;
    client.send(UPGRADE).await;
    let side = app.accept().await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (client, side)
}

async fn is_over(world: &World) {
    world
        .until(|totals| totals.streams.contains(&(StreamKind::Websocket, 0)))
        .await;
}

#[tokio::test]
async fn a_client_of_http1_gets_a_websocket_from_an_app_of_http2() {
    let world = world();
    let mut app = App::new(&world, true).await;
    let mut client = world.client().await;
    // What it sends ahead is not lost.
    client.send(&format!("{UPGRADE}early")).await;
    let (request, respond) = app.next().await;
    assert_eq!(request.method(), Method::CONNECT);
    let protocol = request.extensions().get::<Protocol>().unwrap();
    assert_eq!(protocol.as_str(), "websocket");
    assert_eq!(request.uri(), "http://example.org/chat?room=1");
    let fields = request.headers();
    assert_eq!(fields["sec-websocket-version"], "13");
    assert_eq!(fields["sec-websocket-protocol"], "chat");
    assert_eq!(fields["x-forwarded-for"], "127.0.0.1");
    for field in ["sec-websocket-key", "connection", "upgrade", "host"] {
        assert!(!fields.contains_key(field), "{field}");
    }
    let mut side = Side::open(request, respond);
    let head = client.head().await.to_lowercase();
    assert!(
        head.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(
        head.contains("\r\nsec-websocket-protocol: chat\r\n"),
        "{head}"
    );
    assert_eq!(side.take(5).await, b"early");
    side.send(b"\x81\x02hi");
    assert_eq!(client.take(4).await, b"\x81\x02hi");
    assert!(world.totals().streams.contains(&(StreamKind::Websocket, 1)));
    let generation = &app.generation;
    assert_eq!((generation.requests(), generation.streams()), (0, 1));
    // Its end is passed on, and the other way stays open.
    client.stream.shutdown().await.unwrap();
    assert_eq!(side.rest().await, (Vec::new(), true));
    side.send(b"\x88\x02\x03\xe8");
    side.end();
    assert_eq!(client.rest().await, "\u{88}\u{2}\u{3}\u{e8}");
    is_over(&world).await;
    assert_eq!(generation.streams(), 0);
    let totals = world.totals();
    assert_eq!((totals.bytes_in, totals.bytes_out), (5, 8));
}

#[tokio::test]
async fn a_client_of_http2_gets_a_websocket_from_an_app_of_http2() {
    let world = world();
    let mut app = App::new(&world, true).await;
    let stream = world.client().await.stream;
    let (mut asks, connection) = soon(client::handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = |asks: &mut client::SendRequest<Bytes>| {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri("http://example.org/chat")
            .header("sec-websocket-version", "13")
            .body(())
            .unwrap();
        let protocol = Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
        asks.send_request(request, false).unwrap()
    };
    soon(async {
        while !asks.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (answer, mut sends) = ask(&mut asks);
    sends.send_data("early".into(), false).unwrap();
    let (request, respond) = app.next().await;
    assert_eq!(request.method(), Method::CONNECT);
    assert!(request.extensions().get::<Protocol>().is_some());
    assert!(!request.headers().contains_key("sec-websocket-key"));
    let mut side = Side::open(request, respond);
    let answer = soon(answer).await.unwrap();
    assert_eq!(answer.status(), 200);
    let fields = answer.headers();
    assert_eq!(fields["sec-websocket-protocol"], "chat");
    for field in ["sec-websocket-accept", "connection", "upgrade"] {
        assert!(!fields.contains_key(field), "{field}");
    }
    let gets = answer.into_body();
    assert_eq!(side.take(5).await, b"early");
    sends.send_data(Bytes::new(), true).unwrap();
    assert_eq!(side.rest().await, (Vec::new(), true));
    side.send(b"\x88\x00");
    side.end();
    let mut client = Side::new(sends, gets);
    assert_eq!(client.rest().await, (b"\x88\0".to_vec(), true));
    is_over(&world).await;
    // What is refused is an answer like others.
    let (answer, _sends) = ask(&mut asks);
    let (_, mut respond) = app.next().await;
    let refusal = Response::builder().status(403).body(()).unwrap();
    respond.send_response(refusal, true).unwrap();
    assert_eq!(soon(answer).await.unwrap().status(), 403);
}

#[tokio::test]
async fn an_app_that_takes_no_websockets_is_not_asked_for_one() {
    let world = world();
    let mut app = App::new(&world, false).await;
    for _ in 0..2 {
        let answer = world.ask(UPGRADE).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(answer.contains("http_upgrade_failed"), "{answer}");
        let told = "takes no WebSockets over HTTP/2.\nreason: no_websockets\n";
        assert!(answer.contains(told), "{answer}");
    }
    let mut other = world.client().await;
    other.send(GET).await;
    let (request, _) = app.next().await;
    assert_eq!(request.method(), Method::GET, "the first that it hears of");
    assert_eq!(app.connections.load(SeqCst), 1);
    assert!(world.totals().answers.contains(&(Why::NoWebsockets, 2)));
}

#[tokio::test]
async fn it_is_not_asked_before_it_has_said_that_it_takes_them() {
    let world = world();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(UPGRADE).await;
    let mut app = app.accept().await;
    app.take(PREFACE_LENGTH).await;
    // What hitless says of itself.
    for kind in [SETTINGS, WINDOW_UPDATE] {
        assert_eq!(frame(&mut app).await, kind);
    }
    let early = tokio::time::timeout(Duration::from_millis(300), app.stream.readable());
    early.await.expect_err("asked before it had said anything");
    let takes = [0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1];
    app.send_bytes(&takes).await;
    while frame(&mut app).await != HEADERS {}
}

/// Reads a frame; says of which kind.
async fn frame(app: &mut Peer) -> u8 {
    let head = app.take(FRAME_HEAD_LENGTH).await;
    let [_, high, low, kind, ..] = head[..] else {
        panic!("it has so many bytes");
    };
    app.take(usize::from(high) << 8 | usize::from(low)).await;
    kind
}

#[tokio::test]
async fn each_has_a_connection_of_its_own() {
    let world = world();
    let mut app = App::new(&world, true).await;
    let (mut first, mut side) = opened(&world, &mut app).await;
    let (second, _second) = opened(&world, &mut app).await;
    let mut other = world.client().await;
    other.send(GET).await;
    let (_, mut respond) = app.next().await;
    let answer = Response::builder().header("content-length", 0);
    respond
        .send_response(answer.body(()).unwrap(), true)
        .unwrap();
    other.head().await;
    assert_eq!(app.connections.load(SeqCst), 3);
    drop(second);
    first.send("still").await;
    assert_eq!(side.take(5).await, b"still");
}

#[tokio::test]
async fn any_other_answer_of_the_app_is_an_ordinary_one() {
    let world = world();
    let mut app = App::new(&world, true).await;
    let mut client = world.client().await;
    for status in [403, 302, 426] {
        client.send(UPGRADE).await;
        let (_, mut respond) = app.next().await;
        let answer = Response::builder().status(status);
        let answer = answer.header("content-length", 2).body(()).unwrap();
        let mut body = respond.send_response(answer, false).unwrap();
        body.send_data("no".into(), true).unwrap();
        let answer = client.answer().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.ends_with("no"), "{answer}");
    }
    // There is a tunnel then, but no WebSocket.
    client.send(UPGRADE).await;
    let (_, mut respond) = app.next().await;
    let answer = Response::builder().status(StatusCode::NO_CONTENT);
    let _body = respond.send_response(answer.body(()).unwrap(), false);
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn a_handshake_without_a_key_is_refused_by_hitless() {
    let world = world();
    let _app = App::new(&world, true).await;
    for key in ["", "sec-websocket-key: short\r\n"] {
        let request = UPGRADE.replace("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", key);
        let answer = world.ask(&request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[tokio::test]
async fn a_handshake_that_its_app_has_not_taken_is_sent_again() {
    let world = world();
    let mut app = App::new(&world, true).await;
    let mut client = world.client().await;
    client.send(UPGRADE).await;
    let (_, mut respond) = app.next().await;
    respond.send_reset(Reason::REFUSED_STREAM);
    let mut side = app.accept().await;
    client.head().await;
    client.send("here").await;
    assert_eq!(side.take(4).await, b"here");
    let sent = (ResendReason::NotTaken, ResendOutcome::Answered, 1);
    assert!(world.totals().resends.contains(&sent));
}

#[tokio::test]
async fn both_sides_are_told_at_the_end_of_a_frame_that_it_is_over() {
    let world = world();
    let mut app = App::new(&world, true).await;
    let (mut client, mut side) = opened(&world, &mut app).await;
    side.send(b"\x01\x04fo");
    client.until("fo").await;
    let passed = masked(0x82, b"mine");
    client.send_bytes(&passed).await;
    assert_eq!(side.take(passed.len()).await, passed);
    app.generation.payload.order(|orders| orders.closes += 1);
    side.send(b"ur\x01\x04mo");
    assert_eq!(client.rest().await, format!("ur{CLOSE_1012}"));
    let (told, ended) = side.rest().await;
    let told: String = told.into_iter().map(char::from).collect();
    assert_eq!((code_of(&told), ended), (1012, true));
    is_over(&world).await;
}

#[tokio::test]
async fn one_that_opens_while_the_server_stops_is_told_so_at_once() {
    let world = world();
    let mut app = App::new(&world, true).await;
    let mut client = world.client().await;
    client.send(UPGRADE).await;
    let (request, respond) = app.next().await;
    world.phase.send_replace(Phase::Closing);
    let mut side = Side::open(request, respond);
    client.head().await;
    assert_eq!(client.rest().await, "\u{88}\u{2}\u{3}\u{e9}");
    let told: String = side.rest().await.0.into_iter().map(char::from).collect();
    assert_eq!(code_of(&told), 1001);
}

#[tokio::test]
async fn a_side_that_goes_away_is_the_end_for_the_other_one() {
    let world = world();
    let mut app = App::new(&world, true).await;
    let (mut client, mut side) = opened(&world, &mut app).await;
    side.sends.send_reset(Reason::CANCEL);
    assert_eq!(client.rest().await, CLOSE_1012, "the app");
    drop(client);
    is_over(&world).await;
    let (client, mut side) = opened(&world, &mut app).await;
    // Closed with unread bytes: a reset.
    side.send(b"\x81\x02hi");
    client.stream.readable().await.unwrap();
    drop(client);
    side.rest().await;
    is_over(&world).await;
}

#[tokio::test]
async fn it_outlives_its_generations_time_and_the_connection_closes_after_it() {
    let world = world();
    let mut app = App::new(&world, true).await;
    let (mut client, mut side) = opened(&world, &mut app).await;
    let retire = |orders: &mut Orders| orders.retired = true;
    app.generation.payload.order(retire);
    for _ in 0..20 {
        client.send("ping").await;
        assert_eq!(side.take(4).await, b"ping");
        side.send(b"pong");
        assert_eq!(client.take(4).await, b"pong");
    }
    assert_eq!(app.open.load(SeqCst), 1);
    drop(client);
    side.rest().await;
    side.end();
    drop(side);
    app.has_closed_its_connections().await;
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_as_long_as_it_carries_one() {
    let world = World::with(AppConfig {
        protocol: AppProtocol::H2c,
        pool_idle_timeout: Duration::from_millis(1),
        ..AppConfig::default()
    });
    let mut app = App::new(&world, true).await;
    let (mut client, mut side) = opened(&world, &mut app).await;
    // Longer than it takes to find idle ones, and to leave one.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    client.send("still").await;
    assert_eq!(side.take(5).await, b"still");
}

#[tokio::test]
async fn a_slow_client_slows_its_app_and_gets_everything() {
    const LENGTH: usize = 32 << 20;
    let world = world();
    let mut app = App::new(&world, true).await;
    let (mut client, mut side) = opened(&world, &mut app).await;
    side.send(b"\x82\x7f\0\0\0\0\x02\0\0\0");
    assert_eq!(client.take(10).await[..2], [0x82, 0x7f]);
    let sending = tokio::spawn(async move {
        let mut left = LENGTH;
        while left > 0 {
            side.sends.reserve_capacity(left);
            let capacity = std::future::poll_fn(|cx| side.sends.poll_capacity(cx));
            let capacity = capacity.await.unwrap().unwrap();
            side.send(&vec![b'x'; capacity]);
            left -= capacity;
        }
        side
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!sending.is_finished(), "nobody has read it");
    let mut sum = 0;
    while sum < LENGTH {
        sum += client.take(1 << 16).await.len();
    }
    drop(soon(sending).await.unwrap());
    assert_eq!(client.rest().await, CLOSE_1012);
}
