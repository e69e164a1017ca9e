//! Tunnels, event streams, and answers that outlive their generation's time.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::world::{GET, Listening, World, soon};
use crate::data_plane::Phase;
use crate::telemetry::traffic::{Reason, StreamKind};

pub(super) const UPGRADE: &str =
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
pub(super) const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn websocket_messages_pass_both_ways() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let echo = tokio::spawn(async move {
        let stream = app.accept().await.stream;
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_close() {
                socket.send(message).await.unwrap();
            }
        }
    });
    let client = world.client().await.stream;
    let (mut socket, _) = soon(tokio_tungstenite::client_async("ws://a/", client))
        .await
        .unwrap();
    for size in [1, 100_000] {
        let message = Message::text("x".repeat(size));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(soon(socket.next()).await.unwrap().unwrap(), message);
    }
    assert_eq!((generation.requests(), generation.streams()), (0, 1));
    assert!(world.totals().streams.contains(&(StreamKind::Websocket, 1)));
    socket.close(None).await.unwrap();
    while soon(socket.next()).await.is_some() {}
    soon(echo).await.unwrap();
    drop(socket);
    world
        .until(|totals| totals.streams.contains(&(StreamKind::Websocket, 0)))
        .await;
    assert_eq!(generation.streams(), 0);
}

#[tokio::test]
async fn what_follows_a_101_at_once_is_not_lost_and_the_end_of_one_way_is_not_the_others() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(UPGRADE).await;
    let mut app = app.accept().await;
    app.head().await;
    app.send(&format!("{SWITCHED}first")).await;
    client.until("first").await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream)
        .await
        .unwrap();
    assert!(app.is_ended().await);
    app.send("last").await;
    drop(app);
    assert_eq!(client.rest().await, "last");
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_a_502() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let other = SWITCHED.replace("websocket", "h2c");
    for (request, answer) in [(GET, SWITCHED), (UPGRADE, &other)] {
        let mut client = world.client().await;
        client.send(request).await;
        let mut app = app.accept().await;
        app.head().await;
        app.send(answer).await;
        let answer = client.answer().await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert!(app.is_ended().await);
    }
    assert!(world.totals().answers.contains(&(Reason::BadUpgrade, 2)));
}

#[tokio::test]
async fn a_tunnel_that_is_closed_ends_at_both_sides() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(UPGRADE).await;
    let mut app = app.accept().await;
    app.head().await;
    app.send(SWITCHED).await;
    client.head().await;
    generation.payload.order(|orders| orders.closes += 1);
    assert_eq!(client.rest().await, "\u{88}\u{2}\u{3}\u{f4}", "Close 1012");
    drop(client);
    app.rest().await;
    world
        .until(|totals| totals.streams.contains(&(StreamKind::Websocket, 0)))
        .await;
}

#[tokio::test]
async fn a_websocket_is_not_closed_in_the_middle_of_a_frame() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(UPGRADE).await;
    let mut app = app.accept().await;
    app.head().await;
    app.send(SWITCHED).await;
    client.head().await;
    // A frame of four bytes, of which two are still to come.
    app.send("\u{1}\u{4}fo").await;
    client.until("fo").await;
    generation.payload.order(|orders| orders.closes += 1);
    app.send("ur").await;
    assert_eq!(client.rest().await, "ur\u{88}\u{2}\u{3}\u{f4}");
}

#[tokio::test]
async fn an_event_stream_ends_between_two_events() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut streams = Vec::new();
    for begun in ["6\r\ndata: \r\n", "6\r\n: hi\n\n\r\n"] {
        let mut client = world.client().await;
        client.send(GET).await;
        let mut app = app.accept().await;
        app.head().await;
        app.send(EVENTS).await;
        app.send(begun).await;
        client.until(begun).await;
        streams.push((client, app));
    }
    assert_eq!((generation.requests(), generation.streams()), (0, 2));
    generation.payload.order(|orders| orders.closes += 1);
    // The second one is between two events. Its end shows that the order has come.
    let (mut between, _app) = streams.pop().unwrap();
    assert_eq!(between.until("0\r\n\r\n").await, "0\r\n\r\n");
    let (mut within, mut app) = streams.pop().unwrap();
    app.send("c\r\n1\n\ndata: 2\n\n\r\n").await;
    let rest = within.until("0\r\n\r\n").await;
    assert_eq!(rest, "3\r\n1\n\n\r\n0\r\n\r\n");
    world
        .until(|totals| totals.streams.contains(&(StreamKind::EventStream, 0)))
        .await;
}

#[tokio::test]
async fn an_event_stream_that_begins_while_the_server_stops_ends_at_once() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut app = app.accept().await;
    app.head().await;
    world.phase.send_replace(Phase::Closing);
    app.send(EVENTS).await;
    assert!(client.answer().await.ends_with("\r\n\r\n0\r\n\r\n"));
    assert!(client.is_ended().await);
}

#[tokio::test]
async fn an_event_stream_in_which_no_event_can_be_seen_is_broken_off() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut app = app.accept().await;
    app.head().await;
    let coded = EVENTS.replace("\r\n\r\n", "\r\ncontent-encoding: gzip\r\n\r\n");
    app.send(&format!("{coded}2\r\n\n\n\r\n")).await;
    client.until("\n\n\r\n").await;
    generation.payload.order(|orders| orders.closes += 1);
    assert_eq!(client.rest().await, "", "no last chunk");
}

#[tokio::test]
async fn an_answer_under_way_becomes_a_stream_when_its_generation_is_cut() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut app = app.accept().await;
    app.head().await;
    app.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
        .await;
    client.until("ab").await;
    generation.payload.order(|orders| orders.cuts += 1);
    world
        .until(|totals| totals.streams.contains(&(StreamKind::Answer, 1)))
        .await;
    assert_eq!((generation.requests(), generation.streams()), (0, 1));
    generation.payload.order(|orders| orders.breaks += 1);
    assert!(client.is_ended().await);
    world
        .until(|totals| totals.streams.contains(&(StreamKind::Answer, 0)))
        .await;
    assert_eq!(generation.streams(), 0);
}
