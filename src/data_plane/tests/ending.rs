//! How connections end when the server stops, and that no request is lost by it.

use super::world::{GET, Listening, World, named, soon};
use crate::data_plane::Phase;

#[tokio::test]
async fn while_closing_every_answer_says_so_and_none_is_lost() {
    let world = World::new();
    let (app, _heads) = named("one").await;
    world.publish(1, &[app]);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = world.client().await;
        client.send(GET).await;
        assert!(!client.answer().await.contains("connection: close"));
        clients.push(client);
    }
    // This one may still be in the queue of the listener.
    clients.push(world.client().await);
    world.phase.send_replace(Phase::Closing);
    for client in &mut clients {
        client.send(GET).await;
        let answer = client.answer().await;
        assert!(
            answer.contains("connection: close") && answer.ends_with("one"),
            "{answer}"
        );
        assert!(client.is_ended().await);
    }
    soon(world.workers().idle()).await;
    assert_eq!(world.workers().connections(), 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut silent = world.client().await;
    let mut busy = world.client().await;
    busy.send(GET).await;
    let mut app = app.accept().await;
    app.head().await;
    world.phase.send_replace(Phase::Closing);
    world.phase.send_replace(Phase::ClosingIdle);
    assert!(silent.is_ended().await);
    drop(silent);
    app.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    let answer = busy.answer().await;
    assert!(
        answer.contains("connection: close") && answer.ends_with("ok"),
        "{answer}"
    );
    drop(busy);
    soon(world.workers().idle()).await;
    assert_eq!(world.workers().broken_off(), 0);
}

#[tokio::test]
async fn what_is_left_is_broken_off_and_counted() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut app = app.accept().await;
    app.head().await;
    world.phase.send_replace(Phase::BreakingOff);
    assert!(client.is_ended().await);
    soon(world.workers().idle()).await;
    assert_eq!(world.workers().broken_off(), 1);
    assert_eq!(generation.requests(), 0);
}
