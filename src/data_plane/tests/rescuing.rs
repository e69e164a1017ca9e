//! Bad answers of a generation that is not trusted, and who gives a better one.

use super::world::{GET, Listening, POST, World, closed, generation, named};
use crate::data_plane::AppConfig;
use crate::live::Trust;
use crate::telemetry::traffic::{ResendOutcome, ResendReason};

fn bad(status: u16) -> String {
    format!("HTTP/1.1 {status} Bad\r\ncontent-length: 3\r\n\r\nbad")
}

/// What a client gets for `request` when the live generation, trusted like this, answers with `status`, and there is a
/// standby that answers with its name.
async fn answer_of(world: &World, trust: Trust, request: &str, status: u16) -> String {
    let app = Listening::new().await;
    let live = generation(2, &[app.address]);
    live.payload.outcomes.set_trust(trust);
    let (address, _heads) = named("standby").await;
    world.route(Some(&live), Some(&generation(1, &[address])));
    let mut client = world.client().await;
    client.send(request).await;
    let mut connection = app.accept().await;
    connection.head().await;
    connection.send(&bad(status)).await;
    let answer = client.answer().await;
    assert_eq!(live.payload.outcomes.tally().answers, 1);
    assert_eq!(live.payload.outcomes.tally().bad, 1);
    answer
}

#[tokio::test]
async fn on_probation_a_bad_answer_to_a_safe_request_is_replaced_by_the_standbys() {
    let world = World::new();
    for status in [500, 502, 503, 504] {
        let answer = answer_of(&world, Trust::Probation, GET, status).await;
        assert!(answer.ends_with("standby"), "{status}: {answer}");
    }
    let rescued = (ResendReason::Rescue, ResendOutcome::Answered, 4);
    assert!(world.totals().resends.contains(&rescued));
}

#[tokio::test]
async fn the_handshake_of_a_websocket_is_a_safe_request_too() {
    let world = World::new();
    let handshake = GET.replace(
        "\r\n\r\n",
        "\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    );
    let answer = answer_of(&world, Trust::Probation, &handshake, 500).await;
    assert!(answer.ends_with("standby"), "{answer}");
}

#[tokio::test]
async fn every_other_answer_is_passed_on() {
    let world = World::new();
    let other = answer_of(&world, Trust::Probation, GET, 501).await;
    assert!(other.starts_with("HTTP/1.1 501"));
    let trusted = answer_of(&world, Trust::Full, GET, 500).await;
    assert!(trusted.starts_with("HTTP/1.1 500"));
    let unsafe_one = answer_of(&world, Trust::Probation, POST, 500).await;
    assert!(unsafe_one.starts_with("HTTP/1.1 500"));
    let idempotent = POST.replace("POST", "PUT");
    let unsafe_one = answer_of(&world, Trust::Probation, &idempotent, 500).await;
    assert!(unsafe_one.starts_with("HTTP/1.1 500"));
    let off = World::with(AppConfig {
        rescue_5xx: false,
        ..AppConfig::default()
    });
    let answer = answer_of(&off, Trust::Probation, GET, 500).await;
    assert!(answer.starts_with("HTTP/1.1 500"));
}

#[tokio::test]
async fn a_rescue_needs_neither_budget_nor_resends() {
    let world = World::with(AppConfig {
        resends: 0,
        resend_ratio: 0.0,
        ..AppConfig::default()
    });
    for _ in 0..40 {
        let answer = answer_of(&world, Trust::Probation, GET, 500).await;
        assert!(answer.ends_with("standby"));
    }
}

#[tokio::test]
async fn without_a_standby_the_bad_answer_is_passed_on() {
    let world = World::new();
    let app = Listening::new().await;
    let live = world.publish(1, &[app.address]);
    live.payload.outcomes.set_trust(Trust::Probation);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    connection.send(&bad(500)).await;
    assert!(client.answer().await.ends_with("bad"));
}

#[tokio::test]
async fn the_standbys_answer_is_the_clients_whatever_it_is_and_its_own_share_is_told() {
    let world = World::new();
    let (new, old) = (Listening::new().await, Listening::new().await);
    let live = generation(2, &[new.address]);
    live.payload.outcomes.set_trust(Trust::Probation);
    let standby = generation(1, &[old.address]);
    world.route(Some(&live), Some(&standby));
    let mut client = world.client().await;
    client.send(GET).await;
    let mut first = new.accept().await;
    first.head().await;
    first.send(&bad(500)).await;
    let mut second = old.accept().await;
    second.head().await;
    assert!(first.is_ended().await, "what it still says is not wanted");
    second.send(&bad(503)).await;
    assert!(client.answer().await.starts_with("HTTP/1.1 503"));
    let tally = standby.payload.outcomes.tally();
    assert_eq!((tally.answers, tally.rescued, tally.rescued_bad), (0, 1, 1));
    world.until(|totals| totals.in_flight == 0).await;
    assert_eq!((live.requests(), standby.requests()), (0, 0));
}

#[tokio::test]
async fn after_a_failover_a_bad_answer_is_replaced_by_the_live_ones() {
    let world = World::new();
    let app = Listening::new().await;
    let fallen = world.publish(2, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    let (address, _heads) = named("live").await;
    fallen.payload.outcomes.set_trust(Trust::Fallen);
    world.publish(1, &[address]);
    connection.send(&bad(502)).await;
    assert!(client.answer().await.ends_with("live"));
    assert_eq!(fallen.payload.outcomes.tally().bad, 1);
}

#[tokio::test]
async fn a_request_is_rescued_once() {
    let world = World::new();
    let (first, second) = (Listening::new().await, Listening::new().await);
    let fallen = world.publish(3, &[first.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = first.accept().await;
    connection.head().await;
    fallen.payload.outcomes.set_trust(Trust::Fallen);
    let live = generation(2, &[second.address]);
    live.payload.outcomes.set_trust(Trust::Probation);
    let (address, _heads) = named("third").await;
    world.route(Some(&live), Some(&generation(1, &[address])));
    connection.send(&bad(500)).await;
    let mut connection = second.accept().await;
    connection.head().await;
    connection.send(&bad(503)).await;
    assert!(client.answer().await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn when_the_standby_cannot_be_reached_the_live_one_is_asked_once_more() {
    let world = World::new();
    let app = Listening::new().await;
    let live = generation(2, &[app.address]);
    live.payload.outcomes.set_trust(Trust::Probation);
    world.route(Some(&live), Some(&generation(1, &[closed().await])));
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    connection.send(&bad(500)).await;
    let mut connection = app.accept().await;
    connection.head().await;
    connection.send(&bad(500)).await;
    assert!(client.answer().await.starts_with("HTTP/1.1 500"));
}
