//! Bodies that are received before the app sees them.

use std::time::Duration;

use super::world::{Listening, POST, Peer, World, generation};
use crate::data_plane::{AppConfig, ClientConfig};
use crate::telemetry::traffic::ResendReason;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn world(buffer_requests: usize) -> World {
    World::with(AppConfig {
        buffer_requests,
        ..AppConfig::default()
    })
}

fn post(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

/// Closes with unread bytes or without lingering: the other side is reset.
fn reset(peer: Peer) {
    let stream = peer.stream.into_std().unwrap();
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[tokio::test]
async fn without_memory_left_for_it_a_body_is_passed_on_as_it_comes() {
    const LARGE: usize = 200 << 20;
    let world = world(LARGE);
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut first = world.client().await;
    first.send(&post(LARGE)).await;
    world.until(|totals| totals.buffered == LARGE as u64).await;
    let mut second = world.client().await;
    second.send(&post(LARGE)).await;
    second.send("abc").await;
    let mut connection = app.accept().await;
    connection.until("abc").await;
    drop(first);
    world.until(|totals| totals.buffered == 0).await;
}

#[tokio::test]
async fn the_app_and_the_choice_of_generation_wait_for_the_whole_body() {
    let world = world(1000);
    let (old, new) = (Listening::new().await, Listening::new().await);
    let before = world.publish(1, &[old.address]);
    let mut client = world.client().await;
    for request in [post(6), CHUNKED.to_owned()] {
        let chunked = request == CHUNKED;
        client.send(&request).await;
        client
            .send(if chunked { "3\r\nabc\r\n" } else { "abc" })
            .await;
        world.until(|totals| totals.bytes_in % 6 == 3).await;
        assert_eq!(before.requests(), 0);
        world.publish(2, &[new.address]);
        client
            .send(if chunked {
                "3\r\ndef\r\n0\r\n\r\n"
            } else {
                "def"
            })
            .await;
        let mut app = new.accept().await;
        let head = app.head().await;
        assert_eq!(head.contains("transfer-encoding: chunked"), chunked);
        app.until("abcdef").await;
        app.send(&OK.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"))
            .await;
        assert!(client.answer().await.ends_with("ok"));
    }
    assert!(
        world
            .totals()
            .connected
            .iter()
            .map(|row| row.1)
            .sum::<u64>()
            == 2
    );
}

#[tokio::test]
async fn a_larger_body_streams() {
    let world = world(5);
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    for request in [post(9) + "abc", CHUNKED.to_owned() + "6\r\nuvwabc\r\n"] {
        let mut client = world.client().await;
        client.send(&request).await;
        let mut connection = app.accept().await;
        connection.until("abc").await;
        let chunked = request.starts_with(CHUNKED);
        client
            .send(if chunked {
                "3\r\nxyz\r\n0\r\n\r\n"
            } else {
                "uvwxyz"
            })
            .await;
        connection.until("xyz").await;
        connection.send(OK).await;
        assert!(client.answer().await.ends_with("ok"));
    }
}

#[tokio::test]
async fn a_client_that_awaits_permission_gets_it() {
    let world = world(1000);
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client
        .send(&post(3).replace("host: a", "host: a\r\nexpect: 100-continue"))
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 100"));
    client.send("abc").await;
    let mut connection = app.accept().await;
    connection.until("abc").await;
    connection.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
}

#[tokio::test]
async fn a_client_that_fails_to_send_its_body_never_reaches_the_app() {
    let config = AppConfig {
        buffer_requests: 1000,
        ..AppConfig::default()
    };
    let impatient = ClientConfig {
        body_timeout: Duration::from_millis(50),
        ..ClientConfig::default()
    };
    let world = World::with_both(config, impatient);
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut slow = world.client().await;
    slow.send(&post(3)).await;
    let answer = slow.answer().await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let mut broken = world.client().await;
    broken.send(&(CHUNKED.to_owned() + "nonsense\r\n")).await;
    assert!(broken.answer().await.starts_with("HTTP/1.1 400"));
    let mut gone = world.client().await;
    gone.send(&(post(3) + "a")).await;
    drop(gone);
    world.until(|totals| totals.in_flight == 0).await;
    assert_eq!(generation.payload.outcomes.tally().answers, 0);
    assert!(world.totals().connected.iter().all(|row| row.1 == 0));
}

/// A world in which the app and its standby listen, and a client has sent a body of `length` bytes.
async fn uploading(buffer_requests: usize, length: usize) -> (World, Listening, Listening, Peer) {
    let world = world(buffer_requests);
    let (first, second) = (Listening::new().await, Listening::new().await);
    let live = generation(2, &[first.address]);
    world.route(Some(&live), Some(&generation(1, &[second.address])));
    let mut client = world.client().await;
    client.send(&post(length)).await;
    client.send(&"x".repeat(length)).await;
    (world, first, second, client)
}

async fn take_and_answer(mut app: Peer, length: usize, client: &mut Peer) {
    app.head().await;
    app.until(&"x".repeat(length)).await;
    app.send(OK).await;
    let answer = client.answer().await;
    assert!(answer.ends_with("ok"), "{answer}");
}

#[tokio::test]
async fn an_upload_whose_connection_is_reset_is_sent_again() {
    let (world, first, second, mut client) = uploading(1 << 20, 1000).await;
    let mut app = first.accept().await;
    // Before that the connection might be lost with nothing written.
    app.until(&"x".repeat(1000)).await;
    reset(app);
    take_and_answer(second.accept().await, 1000, &mut client).await;
    let lost = world.totals().resends.into_iter();
    let lost = lost.filter(|row| row.0 == ResendReason::Lost);
    assert_eq!(lost.map(|row| row.2).sum::<u64>(), 1);
}

#[tokio::test]
async fn an_app_that_dies_with_an_upload_unread_loses_nothing() {
    let (_world, first, second, mut client) = uploading(1 << 20, 200_000).await;
    let mut app = first.accept().await;
    app.head().await;
    // Unread bytes make the kernel reset the connection, as for a process that dies.
    drop(app);
    take_and_answer(second.accept().await, 200_000, &mut client).await;
}

#[tokio::test]
async fn an_upload_that_is_not_written_to_its_end_is_sent_again_even_after_a_clean_end() {
    const LENGTH: usize = 16 << 20;
    let (_world, first, second, mut client) = uploading(LENGTH, LENGTH).await;
    let mut app = first.accept().await;
    // The kernel takes only so much of what nobody reads.
    app.head().await;
    tokio::io::AsyncWriteExt::shutdown(&mut app.stream)
        .await
        .unwrap();
    take_and_answer(second.accept().await, LENGTH, &mut client).await;
}

#[tokio::test]
async fn an_upload_that_the_app_has_read_is_never_sent_twice() {
    let (_world, first, _second, mut client) = uploading(1 << 20, 1000).await;
    let mut app = first.accept().await;
    app.until(&"x".repeat(1000)).await;
    drop(app);
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

#[tokio::test]
async fn without_a_buffer_a_reset_upload_is_not_sent_again() {
    let (_world, first, _second, mut client) = uploading(0, 1000).await;
    let mut app = first.accept().await;
    app.until(&"x".repeat(1000)).await;
    reset(app);
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

#[tokio::test]
async fn a_held_upload_is_held_whole() {
    let world = world(1000);
    let mut client = world.client().await;
    client.send(POST).await;
    world
        .until(|totals| totals.held_now == 1 && totals.bytes_in == 2)
        .await;
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut connection = app.accept().await;
    connection.until("hi").await;
    connection.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
}
