//! Requests that have no answer yet when their generation is failed over.

use std::sync::Arc;
use std::time::Duration;

use super::world::{GET, Listening, POST, World, named};
use crate::data_plane::AppConfig;
use crate::live::{Backend, Generation};
use crate::telemetry::traffic::{ResendOutcome, ResendReason};

/// Makes another generation live, and calls back what the failed one has.
async fn fail_over(world: &World, failed: &Arc<Generation<Backend>>) -> Arc<Generation<Backend>> {
    let (address, _heads) = named("live").await;
    let live = world.publish(1, &[address]);
    failed.payload.order(|orders| orders.recalls += 1);
    live
}

#[tokio::test]
async fn a_safe_request_goes_to_the_live_one_at_once() {
    let world = World::with(AppConfig {
        resends: 0,
        resend_ratio: 0.0,
        ..AppConfig::default()
    });
    let app = Listening::new().await;
    let failed = world.publish(2, &[app.address]);
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = world.client().await;
        client.send(GET).await;
        let mut connection = app.accept().await;
        connection.head().await;
        clients.push((client, connection));
    }
    let live = fail_over(&world, &failed).await;
    for (client, connection) in &mut clients {
        assert!(client.answer().await.ends_with("live"));
        assert!(connection.is_ended().await);
    }
    let sent = (ResendReason::Failover, ResendOutcome::Answered, 40);
    assert!(world.totals().resends.contains(&sent));
    assert_eq!(failed.payload.outcomes.tally().answers, 0);
    assert_eq!(live.payload.outcomes.tally().rescued, 40);
    assert_eq!(failed.requests(), 0);
}

#[tokio::test]
async fn an_unsafe_request_and_a_begun_answer_stay() {
    let world = World::new();
    let app = Listening::new().await;
    let failed = world.publish(2, &[app.address]);
    let mut connections = Vec::new();
    let put = POST.replace("POST", "PUT");
    for request in [GET, POST, &put] {
        let mut client = world.client().await;
        client.send(request).await;
        let mut connection = app.accept().await;
        connection.head().await;
        if request == GET {
            connection
                .send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nst")
                .await;
            client.until("st").await;
        }
        connections.push((client, connection));
    }
    fail_over(&world, &failed).await;
    // Its answer shows that the order has come.
    assert!(world.ask(GET).await.ends_with("live"));
    for (index, (client, connection)) in connections.iter_mut().enumerate() {
        let rest = ["ays", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstays"];
        connection.send(rest[index.min(1)]).await;
        client.until("ays").await;
    }
}

#[tokio::test]
async fn a_request_that_is_still_connecting_is_called_back_as_well() {
    let world = World::with(AppConfig {
        connect_timeout: Duration::from_secs(3600),
        answer_timeout: Duration::ZERO,
        ..AppConfig::default()
    });
    // With a full queue of connections nobody is refused, and nobody gets through.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut filling = Vec::new();
    for _ in 0..4 {
        let connect = tokio::net::TcpStream::connect(address);
        filling.push(tokio::time::timeout(Duration::from_millis(50), connect).await);
    }
    assert!(filling.iter().any(Result::is_err), "the queue is full");
    let failed = world.publish(2, &[address]);
    let mut client = world.client().await;
    client.send(GET).await;
    while failed.requests() == 0 {
        tokio::task::yield_now().await;
    }
    fail_over(&world, &failed).await;
    assert!(client.answer().await.ends_with("live"));
}

#[tokio::test]
async fn a_request_that_comes_after_the_order_is_not_called_back() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    generation.payload.order(|orders| orders.recalls += 1);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none")
        .await;
    assert!(client.answer().await.ends_with("one"));
}
