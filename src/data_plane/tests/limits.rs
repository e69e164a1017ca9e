//! What becomes of clients that are slow, silent or too many.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, interval};

use super::world::{GET, Listening, Peer, World, named, soon};
use crate::data_plane::{AppConfig, ClientConfig};
use crate::telemetry::traffic::{AcceptWait, Closed, Reason};

const SHORT: Duration = Duration::from_millis(300);

fn world(client: ClientConfig) -> World {
    World::with_both(AppConfig::default(), client)
}

fn closed(world: &World, why: Closed) -> u64 {
    let totals = world.workers().clients().totals();
    let row = totals.closed.iter().find(|row| row.0 == why);
    row.expect("every label is there").1
}

fn answered(world: &World, why: Reason) -> u64 {
    let totals = world.totals();
    let row = totals.answers.iter().find(|row| row.0 == why);
    row.expect("every label is there").1
}

/// Sends a byte now and then for as long as anybody takes it.
async fn dribble(client: &mut Peer, bytes: &str) {
    let mut ticks = interval(SHORT / 10);
    for byte in bytes.chars() {
        ticks.tick().await;
        let mut text = [0; 4];
        let bytes = byte.encode_utf8(&mut text).as_bytes();
        if tokio::io::AsyncWriteExt::write_all(&mut client.stream, bytes)
            .await
            .is_err()
        {
            return;
        }
    }
}

#[tokio::test]
async fn a_head_gets_its_time_from_its_first_byte() {
    let world = world(ClientConfig {
        head_timeout: SHORT,
        ..ClientConfig::default()
    });
    let (app, _heads) = named("one").await;
    world.publish(1, &[app]);
    let mut client = world.client().await;
    let mut silent = world.client().await;
    for _ in 0..2 {
        client.send(GET).await;
        assert!(client.answer().await.ends_with("one"));
        // Longer than a head may take: nothing has begun.
        tokio::time::sleep(SHORT * 2).await;
    }
    let began = Instant::now();
    let endless = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(1000));
    dribble(&mut client, &endless).await;
    let answer = client.rest().await;
    assert!(began.elapsed() >= SHORT);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("proxy-status: hitless; error=http_request_error\r\n"));
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(closed(&world, Closed::HeadTimeout), 1);
    assert_eq!(answered(&world, Reason::HeadTimeout), 1);
    silent.send(GET).await;
    assert!(silent.answer().await.ends_with("one"));
}

#[tokio::test]
async fn a_silent_connection_is_closed_without_a_word() {
    let world = world(ClientConfig {
        idle_timeout: SHORT,
        ..ClientConfig::default()
    });
    let (app, _heads) = named("one").await;
    world.publish(1, &[app]);
    let mut new = world.client().await;
    let mut used = world.client().await;
    used.send(GET).await;
    used.answer().await;
    for client in [&mut new, &mut used] {
        let mut byte = [0];
        let read = soon(client.stream.read(&mut byte)).await;
        assert_eq!(read.unwrap(), 0, "an end, and no reset");
    }
    assert_eq!(closed(&world, Closed::Idle), 2);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_broken_off_and_a_slow_one_is_not() {
    let world = world(ClientConfig {
        write_timeout: SHORT,
        ..ClientConfig::default()
    });
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    for takes in [true, false] {
        let mut client = world.client().await;
        client.send(GET).await;
        let mut peer = app.accept().await;
        peer.head().await;
        let endless = tokio::spawn(async move {
            peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
                .await;
            let block = [b'x'; 64 * 1024];
            while tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &block)
                .await
                .is_ok()
            {}
        });
        if takes {
            // Ten megabytes, more than any buffer holds, over several times the limit.
            let mut block = vec![0; 512 * 1024];
            let mut ticks = interval(SHORT / 4);
            for _ in 0..20 {
                ticks.tick().await;
                soon(client.stream.read_exact(&mut block)).await.unwrap();
            }
            assert_eq!(closed(&world, Closed::WriteTimeout), 0);
            drop(client);
        }
        // Also the way from the app is cut.
        soon(endless).await.unwrap();
    }
    assert_eq!(closed(&world, Closed::WriteTimeout), 1);
}

#[tokio::test]
async fn for_new_ones_the_longest_idle_is_closed_and_never_an_active_one() {
    let world = world(ClientConfig {
        connections_max: 10,
        ..ClientConfig::default()
    });
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut active = world.client().await;
    active.send(GET).await;
    let mut peer = app.accept().await;
    peer.head().await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(world.client().await);
        // Accepted in this order.
        let so_many = idle.len() + 1;
        soon(async {
            while world.workers().connections() < so_many {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    // None of them may be about to ask.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut new = Vec::new();
    for first in &mut idle[..3] {
        let mut client = world.client().await;
        client.send("GET / HT").await;
        new.push(client);
        assert!(first.is_ended().await);
    }
    assert_eq!(closed(&world, Closed::Crowded), 3);
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        .await;
    assert!(active.answer().await.ends_with("ok"));
    let last = idle.last_mut().unwrap();
    last.send(GET).await;
    let mut peer = app.accept().await;
    peer.head().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert!(last.answer().await.ends_with("ok"));
}

#[tokio::test]
async fn where_none_is_idle_a_new_one_waits_for_the_first_that_leaves() {
    let world = world(ClientConfig {
        connections_max: 2,
        ..ClientConfig::default()
    });
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut active = Vec::new();
    for _ in 0..2 {
        let mut client = world.client().await;
        client.send(GET).await;
        let mut peer = app.accept().await;
        peer.head().await;
        active.push((client, peer));
    }
    let mut third = world.client().await;
    third.send(GET).await;
    soon(async {
        let waits = || world.workers().clients().totals().waits;
        while !waits().contains(&(AcceptWait::Room, 1)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(world.workers().connections(), 2);
    let (mut client, mut peer) = active.pop().unwrap();
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        .await;
    assert!(client.answer().await.ends_with("ok"));
    drop(client);
    let mut peer = app.accept().await;
    peer.head().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nme")
        .await;
    assert!(third.answer().await.ends_with("me"));
}

#[tokio::test]
async fn one_address_has_no_more_than_its_share() {
    let world = world(ClientConfig {
        connections_per_address_max: 2,
        ..ClientConfig::default()
    });
    let (app, _heads) = named("one").await;
    world.publish(1, &[app]);
    let mut first = world.client().await;
    let mut second = world.client().await;
    for client in [&mut first, &mut second] {
        client.send(GET).await;
        assert!(client.answer().await.ends_with("one"));
    }
    assert!(world.client().await.is_ended().await);
    assert_eq!(closed(&world, Closed::AddressCrowded), 1);
    drop(first);
    soon(async {
        while world.workers().connections() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut next = world.client().await;
    next.send(GET).await;
    assert!(next.answer().await.ends_with("one"));
}
