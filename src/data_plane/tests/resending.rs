//! What happens to a request whose instance fails.

use std::time::Duration;

use super::world::{GET, Listening, POST, World, closed, generation, named, soon};
use crate::data_plane::AppConfig;
use crate::telemetry::traffic::{HoldOutcome, Reason, ResendOutcome, ResendReason};

#[tokio::test]
async fn a_refused_request_goes_to_another_instance() {
    let world = World::new();
    let (app, _heads) = named("other").await;
    world.publish(1, &[closed().await, app]);
    for _ in 0..20 {
        assert!(world.ask(GET).await.ends_with("other"));
    }
    let resent = (ResendReason::Refused, ResendOutcome::Answered);
    let totals = world.totals();
    let row = totals
        .resends
        .iter()
        .find(|row| (row.0, row.1) == resent)
        .unwrap();
    assert!(row.2 > 0, "the closed one is chosen now and then");
}

#[tokio::test]
async fn a_refused_upload_goes_to_the_generation_that_may_stand_in() {
    let world = World::new();
    let app = Listening::new().await;
    let live = generation(2, &[closed().await]);
    let standby = generation(1, &[app.address]);
    world.route(Some(&live), Some(&standby));
    let mut client = world.client().await;
    client.send(POST).await;
    let mut app = app.accept().await;
    app.until("hi").await;
    app.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
    world.until(|totals| totals.in_flight == 0).await;
    assert_eq!((live.requests(), standby.requests()), (0, 0));
}

#[tokio::test]
async fn a_refused_request_is_held_for_the_next_live_one() {
    let world = World::new();
    world.publish(1, &[closed().await]);
    let mut client = world.client().await;
    client.send(GET).await;
    world.until(|totals| totals.held_now == 1).await;
    let (app, _heads) = named("next").await;
    world.publish(2, &[app]);
    assert!(client.answer().await.ends_with("next"));
}

#[tokio::test]
async fn who_waits_hears_of_an_instance_that_is_back() {
    let world = World::new();
    let live = world.publish(1, &[closed().await]);
    let mut client = world.client().await;
    client.send(GET).await;
    world.until(|totals| totals.held_now == 1).await;
    let (address, _heads) = named("back").await;
    live.payload.balance(vec![crate::live::Instance {
        number: 1,
        address: crate::generation::Address::Tcp(address),
    }]);
    world.route(Some(&live), None);
    assert!(client.answer().await.ends_with("back"));
}

#[tokio::test]
async fn an_instance_that_lost_a_request_and_lives_is_asked_again() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut lost = app.accept().await;
    lost.head().await;
    drop(lost);
    let mut again = app.accept().await;
    again.head().await;
    again
        .send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain")
        .await;
    assert!(client.answer().await.ends_with("again"));
}

#[tokio::test]
async fn an_instance_that_loses_a_request_again_and_again_is_a_502() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    for _ in 0..3 {
        let mut connection = app.accept().await;
        connection.head().await;
    }
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(generation.payload.outcomes.tally().bad, 3);
}

#[tokio::test]
async fn the_last_try_goes_to_the_generation_that_may_stand_in() {
    let world = World::new();
    let mut refusing = Vec::new();
    for _ in 0..5 {
        refusing.push(closed().await);
    }
    let (address, _heads) = named("standby").await;
    world.route(
        Some(&generation(2, &refusing)),
        Some(&generation(1, &[address])),
    );
    for _ in 0..20 {
        assert!(world.ask(GET).await.ends_with("standby"));
    }
}

#[tokio::test]
async fn the_time_of_an_answer_begins_when_there_is_somebody_to_answer() {
    let limit = Duration::from_millis(300);
    let world = World::with(AppConfig {
        answer_timeout: limit,
        ..AppConfig::default()
    });
    let mut client = world.client().await;
    client.send(GET).await;
    world.until(|totals| totals.held_now == 1).await;
    tokio::time::sleep(limit).await;
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut connection = app.accept().await;
    connection.head().await;
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nheld")
        .await;
    assert!(client.answer().await.ends_with("held"));
}

#[tokio::test]
async fn one_that_was_sent_is_held_no_longer_than_it_may_be_waited_for() {
    let world = World::with(AppConfig {
        answer_timeout: Duration::from_millis(300),
        ..AppConfig::default()
    });
    world.publish(1, &[closed().await]);
    let answer = world.ask(GET).await;
    assert!(answer.contains("reason: answer_timeout"), "{answer}");
}

#[tokio::test]
async fn requests_wait_while_nothing_is_live() {
    let world = World::new();
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = world.client().await;
        client.send(GET).await;
        clients.push(client);
    }
    world.until(|totals| totals.held_now == 50).await;
    let (app, _heads) = named("live").await;
    world.publish(1, &[app]);
    for client in &mut clients {
        assert!(client.answer().await.ends_with("live"));
    }
    assert!(world.totals().held.contains(&(HoldOutcome::Released, 50)));
    assert_eq!(world.totals().held_now, 0);
}

#[tokio::test]
async fn past_the_limits_of_hold_there_is_a_503() {
    let world = World::with(AppConfig {
        hold_requests: 1,
        hold_timeout: Duration::from_millis(200),
        ..AppConfig::default()
    });
    let mut first = world.client().await;
    first.send(GET).await;
    world.until(|totals| totals.held_now == 1).await;
    let refused = world.ask(GET).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("reason: hold_full"));
    assert!(refused.contains("retry-after: "), "{refused}");
    assert!(first.answer().await.contains("reason: hold_timeout"));
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_queue() {
    let world = World::new();
    let mut client = world.client().await;
    client.send(GET).await;
    world.until(|totals| totals.held_now == 1).await;
    drop(client);
    world.until(|totals| totals.held_now == 0).await;
    assert!(world.totals().held.contains(&(HoldOutcome::Gone, 1)));
}

/// Serves one request on a kept connection, then answers nothing and closes when the next one has come.
async fn close_on_second(world: &World, second: &str) -> (super::world::Peer, Listening) {
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut kept = app.accept().await;
    kept.head().await;
    kept.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    client.head().await;
    client.send(second).await;
    kept.head().await;
    drop(kept);
    (client, app)
}

#[tokio::test]
async fn a_get_that_met_a_closing_idle_connection_is_sent_again() {
    let world = World::new();
    let (mut client, app) = close_on_second(&world, GET).await;
    let mut fresh = app.accept().await;
    fresh.head().await;
    fresh
        .send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain")
        .await;
    assert!(client.answer().await.ends_with("again"));
}

#[tokio::test]
async fn a_request_that_was_sent_before_waits_behind_none_of_those_held() {
    let world = World::new();
    let app = Listening::new().await;
    let live = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut kept = app.accept().await;
    kept.head().await;
    kept.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    client.head().await;
    client.send(&GET.replace("/ ", "/first ")).await;
    kept.head().await;
    world.route(None, None);
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut client = world.client().await;
        client.send(GET).await;
        held.push(client);
    }
    world.until(|totals| totals.held_now == 40).await;
    world.route(Some(&live), None);
    world.until(|totals| totals.held_now == 8).await;
    drop(kept);
    // Nobody is answered, so no turn is given back, and nothing is published any more.
    let mut connections = Vec::new();
    loop {
        let mut connection = app.accept().await;
        let head = connection.head().await;
        connections.push(connection);
        if head.starts_with("GET /first ") {
            break;
        }
    }
    assert_eq!(world.totals().held_now, 8);
}

#[tokio::test]
async fn an_upload_that_may_have_been_taken_is_never_sent_twice() {
    let world = World::new();
    let (mut client, _app) = close_on_second(&world, POST).await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(answer.contains("error=connection_terminated"), "{answer}");
}

#[tokio::test]
async fn a_connection_that_closed_while_idle_costs_no_upload() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    for _ in 0..20 {
        client.send(POST).await;
        let mut connection = app.accept().await;
        connection.until("hi").await;
        connection
            .send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        // Closed before hitless can know that the client's next request is coming.
        drop(connection);
        assert!(client.head().await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn after_the_first_byte_of_an_answer_nothing_is_sent_again() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    connection.send("HTTP/1.1 200 OK\r\ncontent-le").await;
    drop(connection);
    assert!(client.answer().await.starts_with("HTTP/1.1 502"));
}

#[tokio::test]
async fn idle_connections_of_a_retired_generation_are_closed() {
    let world = World::new();
    let app = Listening::new().await;
    let old = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    client.head().await;
    let (next, _heads) = named("next").await;
    world.publish(2, &[next]);
    old.payload.order(|orders| orders.retired = true);
    assert!(connection.is_ended().await);
    client.send(GET).await;
    assert!(client.answer().await.ends_with("next"));
}

#[tokio::test]
async fn a_request_that_is_cut_is_a_504() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    generation.payload.order(|orders| orders.cuts += 1);
    let answer = client.answer().await;
    assert!(
        answer.starts_with("HTTP/1.1 504") && answer.contains("reason: cut"),
        "{answer}"
    );
    assert!(connection.is_ended().await);
    assert!(world.totals().answers.contains(&(Reason::Cut, 1)));
    // An order speaks of what was under way only.
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_generation_that_nobody_holds_is_forgotten() {
    let world = World::new();
    let (first, _heads) = named("first").await;
    let old = world.publish(1, &[first]);
    world.ask(GET).await;
    let gone = std::sync::Arc::downgrade(&old);
    drop(old);
    world.route(None, None);
    soon(async {
        while gone.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_panic_costs_its_own_request_only_and_no_lease() {
    let world = World::new();
    let app = Listening::new().await;
    let instance = crate::live::Instance {
        number: 1,
        address: crate::generation::Address::Tcp(app.address),
    };
    let backend = crate::live::Backend::new(vec![instance], 1, || {});
    let panics = crate::live::Generation::new(1.into(), backend, 1, |_| panic!("as planned"));
    let panics = std::sync::Arc::new(panics);
    world.route(Some(&panics), None);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    panics.retire();
    connection.send("nonsense\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert_eq!(panics.requests(), 0);
    assert!(world.totals().answers.contains(&(Reason::Internal, 1)));
    let (next, _heads) = named("next").await;
    world.publish(2, &[next]);
    client.send(GET).await;
    assert!(client.answer().await.ends_with("next"));
    world.until(|totals| totals.in_flight == 0).await;
}
