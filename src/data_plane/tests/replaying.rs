//! Requests with a body that are sent again after they were written.

use std::time::Duration;

use super::world::{GET, Listening, POST, Peer, World, closed, generation, named};
use crate::data_plane::AppConfig;
use crate::telemetry::traffic::{ResendOutcome, ResendReason};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn put(length: usize) -> String {
    format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")
}

/// Two generations of which the first fails, and a client.
async fn failing() -> (World, Listening, Listening, Peer) {
    let world = World::new();
    let (first, second) = (Listening::new().await, Listening::new().await);
    let live = generation(2, &[first.address]);
    let standby = generation(1, &[second.address]);
    world.route(Some(&live), Some(&standby));
    let client = world.client().await;
    (world, first, second, client)
}

#[tokio::test]
async fn an_idempotent_upload_that_was_lost_is_sent_again() {
    let (world, first, second, mut client) = failing().await;
    let body = "0123456789".repeat(5000);
    client.send(&(put(body.len()) + &body)).await;
    let mut lost = first.accept().await;
    lost.until(&body).await;
    drop(lost);
    let mut app = second.accept().await;
    let head = app.head().await;
    assert!(head.contains(&format!("content-length: {}", body.len())));
    assert_eq!(app.until(&body).await, body);
    app.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
    let resent = (ResendReason::Lost, ResendOutcome::Answered, 1);
    assert!(world.totals().resends.contains(&resent));
    // And the connection of the client is as good as before.
    client.send(GET).await;
    let mut app = first.accept().await;
    app.head().await;
    app.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
}

#[tokio::test]
async fn what_the_client_has_not_sent_yet_is_streamed_after_what_was_kept() {
    let (_world, first, second, mut client) = failing().await;
    client.send(&(put(9) + "abc")).await;
    let mut lost = first.accept().await;
    lost.until("abc").await;
    drop(lost);
    let mut app = second.accept().await;
    app.until("\r\n\r\nabc").await;
    client.send("def").await;
    app.until("def").await;
    client.send("ghi").await;
    app.until("ghi").await;
    app.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
}

#[tokio::test]
async fn chunks_and_trailers_come_again_as_they_were() {
    let (_world, first, second, mut client) = failing().await;
    client
        .send("PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nte: trailers\r\n\r\n")
        .await;
    client.send("3\r\nabc\r\n").await;
    let mut lost = first.accept().await;
    lost.until("3\r\nabc\r\n").await;
    client.send("2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n").await;
    let whole = lost.until("\r\n\r\n").await;
    drop(lost);
    let mut app = second.accept().await;
    assert!(app.head().await.contains("transfer-encoding: chunked"));
    let body = app.until("\r\n\r\n").await;
    assert!(body.starts_with("5\r\nabcde\r\n0\r\n"), "{body:?}");
    assert_eq!(body.contains("x-sum"), whole.contains("x-sum"));
    app.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
}

#[tokio::test]
async fn a_key_makes_a_post_one_that_may_be_sent_again() {
    let (_world, first, second, mut client) = failing().await;
    let keyed = POST.replace("host: a", "host: a\r\nidempotency-key: 1");
    client.send(&keyed).await;
    let mut lost = first.accept().await;
    lost.until("hi").await;
    drop(lost);
    let mut app = second.accept().await;
    app.until("hi").await;
    app.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
}

/// What a client gets when the connection is lost after `request` was written, and another instance would do.
async fn lost(config: AppConfig, request: &str, seen: &str) -> String {
    let world = World::with(config);
    let app = Listening::new().await;
    let live = generation(2, &[app.address]);
    let (address, _heads) = named("again").await;
    world.route(Some(&live), Some(&generation(1, &[address])));
    let mut client = world.client().await;
    client.send(request).await;
    let mut connection = app.accept().await;
    connection.until(seen).await;
    drop(connection);
    client.answer().await
}

#[tokio::test]
async fn nothing_else_is_sent_again() {
    let config = AppConfig::default;
    assert!(lost(config(), GET, "\r\n\r\n").await.ends_with("again"));
    let answer = lost(config(), POST, "hi").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    let keyless = AppConfig {
        resend_idempotency_key: false,
        ..config()
    };
    let keyed = POST.replace("host: a", "host: a\r\nidempotency-key: 1");
    let answer = lost(keyless, &keyed, "hi").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    let none = AppConfig {
        resends: 0,
        ..config()
    };
    let answer = lost(none, GET, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

#[tokio::test]
async fn a_body_larger_than_is_kept_is_not_sent_again() {
    let config = || AppConfig {
        resend_body_max: 10,
        ..AppConfig::default()
    };
    let fits = lost(config(), &(put(10) + "0123456789"), "789").await;
    assert!(fits.ends_with("again"), "{fits}");
    let too_large = lost(config(), &(put(11) + "0123456789a"), "89a").await;
    assert!(too_large.starts_with("HTTP/1.1 502"), "{too_large}");
    let chunked =
        "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nb\r\n0123456789a\r\n";
    let too_large = lost(config(), chunked, "89a").await;
    assert!(too_large.starts_with("HTTP/1.1 502"), "{too_large}");
}

#[tokio::test]
async fn past_the_budget_the_client_gets_the_failure() {
    let world = World::with(AppConfig {
        hold_timeout: Duration::from_millis(1),
        ..AppConfig::default()
    });
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    // Three a second over ten seconds may always be sent again; each of these is, and is held then.
    let mut held = 0;
    let answer = loop {
        let mut client = world.client().await;
        client.send(GET).await;
        let mut connection = app.accept().await;
        connection.head().await;
        drop(connection);
        let answer = client.answer().await;
        if !answer.starts_with("HTTP/1.1 503") {
            break answer;
        }
        held += 1;
        assert!(held <= 30, "there is no bound");
    };
    assert_eq!(held, 30);
    assert!(answer.contains("reason: connection_lost"), "{answer}");
    let over = (ResendReason::Lost, ResendOutcome::OverBudget, 1);
    assert!(world.totals().resends.contains(&over));
}

#[tokio::test]
async fn what_was_not_written_costs_no_budget() {
    let world = World::with(AppConfig {
        hold_timeout: Duration::from_millis(1),
        ..AppConfig::default()
    });
    world.publish(1, &[closed().await]);
    for _ in 0..40 {
        let answer = world.ask(GET).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
}

#[tokio::test]
async fn the_new_live_one_is_asked_at_once_though_it_listens_where_the_failed_one_did() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut lost = app.accept().await;
    lost.head().await;
    world.publish(2, &[app.address]);
    // The new one has been heard of before the old one fails: no publication is to come any more.
    assert!(
        tokio::join!(world.ask(GET), async {
            let mut other = app.accept().await;
            other.head().await;
            other.send(OK).await;
        })
        .0
        .ends_with("ok")
    );
    drop(lost);
    let mut again = app.accept().await;
    again.head().await;
    again.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
    assert_eq!(world.totals().hold_time.count, 0);
}

#[tokio::test]
async fn a_short_answer_is_broken_off_and_not_sent_again() {
    let (_world, first, _second, mut client) = failing().await;
    client.send(GET).await;
    let mut app = first.accept().await;
    app.head().await;
    app.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await;
    client.until("abc").await;
    drop(app);
    assert!(!client.rest().await.contains("0\r\n\r\n"));
}
