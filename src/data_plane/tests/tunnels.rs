//! Tunnels byte by byte: what comes early, and how one ends that hitless closes.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::streams::{SWITCHED, UPGRADE};
use super::world::{Listening, Peer, World, soon};
use crate::data_plane::{AppConfig, ClientConfig, Phase};
use crate::live::{Backend, Generation};
use crate::telemetry::traffic::{Closed, ResendOutcome, ResendReason, StreamKind};

pub(super) const CLOSE_1012: &str = "\u{88}\u{2}\u{3}\u{f4}";

/// A tunnel that is open, its client and its app.
async fn opened(world: &World) -> (Peer, Peer, Arc<Generation<Backend>>) {
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(UPGRADE).await;
    let mut app = app.accept().await;
    app.head().await;
    app.send(SWITCHED).await;
    client.head().await;
    (client, app, generation)
}

fn close(generation: &Generation<Backend>) {
    generation.payload.order(|orders| orders.closes += 1);
}

/// A frame as clients send it, with a mask that changes nothing.
pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// The code of a masked Close frame that is all there is.
#[track_caller]
pub(super) fn code_of(frame: &str) -> u16 {
    let bytes: Vec<u8> = frame.chars().map(|byte| byte as u8).collect();
    let [0x88, 0x82, first, second, _, _, high, low] = bytes[..] else {
        panic!("no masked Close: {bytes:02x?}");
    };
    u16::from_be_bytes([high ^ first, low ^ second])
}

#[tokio::test]
async fn what_the_client_sends_with_its_handshake_reaches_the_app_once_it_has_switched() {
    for early in [10, 3000, 60_000] {
        let world = World::new();
        let app = Listening::new().await;
        world.publish(1, &[app.address]);
        let mut client = world.client().await;
        let early = "e".repeat(early);
        client.send(&format!("{UPGRADE}{early}")).await;
        let mut app = app.accept().await;
        app.head().await;
        app.send(&format!("{SWITCHED}at once")).await;
        client.until("at once").await;
        client.send("later").await;
        assert_eq!(app.until("later").await, format!("{early}later"));
    }
}

#[tokio::test]
async fn a_handshake_that_its_app_lost_goes_to_another_instance() {
    let world = World::with(AppConfig::default());
    let (first, second) = (Listening::new().await, Listening::new().await);
    world.publish(1, &[first.address, second.address]);
    let mut client = world.client().await;
    client.send(UPGRADE).await;
    let (lost, other) = tokio::select! {
        lost = first.accept() => (lost, &second),
        lost = second.accept() => (lost, &first),
    };
    let mut lost = lost;
    lost.head().await;
    drop(lost);
    let mut app = other.accept().await;
    let head = app.head().await;
    assert!(head.contains("upgrade: websocket"), "{head}");
    app.send(SWITCHED).await;
    client.head().await;
    let sent = (ResendReason::Lost, ResendOutcome::Answered, 1);
    assert!(world.totals().resends.contains(&sent));
    client.send("here").await;
    app.until("here").await;
}

#[tokio::test]
async fn the_frame_that_is_under_way_is_the_last_although_more_come_with_its_end() {
    let world = World::new();
    let (mut client, mut app, generation) = opened(&world).await;
    app.send("\u{1}\u{4}fo").await;
    client.until("fo").await;
    close(&generation);
    world
        .until(|totals| totals.streams.contains(&(StreamKind::Websocket, 1)))
        .await;
    // The order may still be on its way; an app that never pauses between two frames is cut off all the same.
    let more = tokio::spawn(async move {
        app.send("ur").await;
        while app
            .stream
            .write_all(b"\x01\x04more\x01\x04mo")
            .await
            .is_ok()
            && app.stream.write_all(b"re").await.is_ok()
        {}
    });
    let rest = client.rest().await;
    let rest = rest.strip_prefix("ur").unwrap().strip_suffix(CLOSE_1012);
    let rest = rest.expect("a Close is the last");
    assert!(rest.replace("\u{1}\u{4}more", "").is_empty(), "{rest:?}");
    drop(client);
    soon(more).await.unwrap();
}

#[tokio::test]
async fn the_clients_own_close_goes_to_the_app_and_no_second_one() {
    let world = World::new();
    let (mut client, mut app, generation) = opened(&world).await;
    close(&generation);
    client.take(4).await;
    let answer = masked(0x88, &[3, 0xe8]);
    client.send_bytes(&answer).await;
    let answer: String = answer.into_iter().map(char::from).collect();
    assert_eq!(app.rest().await, answer);
}

#[tokio::test]
async fn an_app_whose_client_says_nothing_is_told_so_in_a_masked_frame() {
    let world = World::new();
    let (mut client, mut app, generation) = opened(&world).await;
    client.send_bytes(&masked(0x82, b"\x88\x88")).await;
    let passed = app.take(8).await;
    assert_eq!(passed, masked(0x82, b"\x88\x88"));
    close(&generation);
    assert_eq!(code_of(&app.rest().await), 1012);
    assert_eq!(client.rest().await, CLOSE_1012);
}

#[tokio::test]
async fn a_client_in_the_middle_of_a_frame_gets_to_end_it() {
    let world = World::new();
    let (mut client, mut app, generation) = opened(&world).await;
    let frame = masked(0x82, &[b'x'; 100]);
    client.send_bytes(&frame[..50]).await;
    app.take(50).await;
    close(&generation);
    client.take(4).await;
    // For longer than a client has that is in the middle of nothing.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    client.send_bytes(&frame[50..]).await;
    assert_eq!(app.take(56).await, frame[50..]);
    assert_eq!(code_of(&app.rest().await), 1012);
}

#[tokio::test]
async fn an_app_that_dies_is_told_to_its_client_as_a_restart() {
    let world = World::new();
    let (mut client, app, _generation) = opened(&world).await;
    drop(app);
    assert_eq!(client.rest().await, CLOSE_1012);
    // It has closed by itself: not told again.
    let world = World::new();
    let (mut client, mut app, _generation) = opened(&world).await;
    app.send_bytes(b"\x88\x02\x03\xe8").await;
    drop(app);
    assert_eq!(client.rest().await, "\u{88}\u{2}\u{3}\u{e8}");
    // In the middle of a frame a Close would be a part of it.
    let world = World::new();
    let (mut client, mut app, _generation) = opened(&world).await;
    app.send("\u{1}\u{4}fo").await;
    client.until("fo").await;
    drop(app);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_tunnel_that_is_broken_off_between_two_frames_says_so_first() {
    let world = World::new();
    let (mut client, _app, generation) = opened(&world).await;
    generation.payload.order(|orders| orders.breaks += 1);
    assert_eq!(client.rest().await, CLOSE_1012);
    // Within a frame nothing can be said, and it is not waited for.
    let world = World::new();
    let (mut client, mut app, generation) = opened(&world).await;
    app.send("\u{1}\u{4}fo").await;
    client.until("fo").await;
    generation.payload.order(|orders| orders.breaks += 1);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn tunnels_close_one_by_one_over_the_spread() {
    const SPREAD: Duration = Duration::from_millis(1500);
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut tunnels = Vec::new();
    for _ in 0..60 {
        let mut client = world.client().await;
        client.send(UPGRADE).await;
        let mut app = app.accept().await;
        app.head().await;
        app.send(SWITCHED).await;
        client.head().await;
        tunnels.push((client, app));
    }
    let told = tokio::time::Instant::now();
    generation.payload.order(|orders| {
        orders.closes += 1;
        orders.close_spread = SPREAD;
    });
    let mut closing = tokio::task::JoinSet::new();
    for (mut client, app) in tunnels {
        closing.spawn(async move {
            client.take(4).await;
            let after = told.elapsed();
            drop(app);
            after
        });
    }
    let mut times = soon(closing.join_all()).await;
    times.sort();
    // Of 60 at random, none of four quarters is as empty as this in a billion years.
    for quarter in 0..4_u32 {
        let within = SPREAD / 4 * quarter..SPREAD / 4 * (quarter + 1);
        let count = times.iter().filter(|time| within.contains(time)).count();
        assert!(count >= 1, "{quarter}: {times:?}");
    }
    assert!(times.last() < Some(&(SPREAD * 2)), "{times:?}");
}

#[tokio::test]
async fn what_becomes_a_stream_after_the_order_to_close_is_closed_as_well() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(UPGRADE).await;
    let mut app = app.accept().await;
    app.head().await;
    close(&generation);
    // The order has come once this answer has, for the worker is one.
    assert!(world.ask("GET / HTTP/1.1\r\n\r\n").await.contains(" 400 "));
    app.send(SWITCHED).await;
    client.head().await;
    assert_eq!(client.rest().await, CLOSE_1012);
}

#[tokio::test]
async fn a_tunnel_that_opens_while_the_server_stops_is_told_so_at_once() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(UPGRADE).await;
    let mut app = app.accept().await;
    app.head().await;
    world.phase.send_replace(Phase::Closing);
    app.send(SWITCHED).await;
    client.head().await;
    assert_eq!(client.rest().await, "\u{88}\u{2}\u{3}\u{e9}", "Close 1001");
    assert_eq!(code_of(&app.rest().await), 1001);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let limits = ClientConfig {
        write_timeout: Duration::from_millis(300),
        ..ClientConfig::default()
    };
    let world = World::with_both(AppConfig::default(), limits);
    let (client, mut app, generation) = opened(&world).await;
    let block = vec![b'x'; 1 << 20];
    // More than any socket holds.
    while app.stream.write_all(&block).await.is_ok() {}
    world
        .until(|totals| totals.streams.contains(&(StreamKind::Websocket, 0)))
        .await;
    assert_eq!(generation.streams(), 0);
    let closed = world.workers().clients().totals().closed;
    assert!(closed.contains(&(Closed::WriteTimeout, 1)), "{closed:?}");
    drop(client);
}

#[tokio::test]
async fn a_slow_client_slows_its_app_and_gets_everything() {
    const BLOCKS: usize = 64;
    let world = World::new();
    let (mut client, mut app, _generation) = opened(&world).await;
    let sending = tokio::spawn(async move {
        // A frame of 64 MiB.
        app.send_bytes(b"\x82\x7f\0\0\0\0\x04\0\0\0").await;
        let block = vec![b'x'; 1 << 20];
        for _ in 0..BLOCKS {
            app.send_bytes(&block).await;
        }
        app
    });
    assert_eq!(client.take(10).await[..2], [0x82, 0x7f]);
    let mut sum = 0;
    while sum < BLOCKS << 20 {
        sum += client.take(1 << 16).await.len();
    }
    drop(soon(sending).await.unwrap());
    assert_eq!(client.rest().await, CLOSE_1012);
}
