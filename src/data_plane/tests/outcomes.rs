//! What the data plane tells about how requests end at their generation.

use std::sync::Arc;
use std::time::Duration;

use super::world::{GET, Listening, POST, World, closed, generation, named, soon};
use crate::data_plane::AppConfig;
use crate::live::{Backend, Generation, Tally};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const BAD: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// Waits until the generation's answers, the bad ones among them, the rescued and the bad ones among them are these.
#[track_caller]
fn tells(generation: &Arc<Generation<Backend>>, expected: [u64; 4]) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let outcomes = Arc::clone(generation);
    let [answers, bad, rescued, rescued_bad] = expected;
    let expected = Tally {
        answers,
        bad,
        rescued,
        rescued_bad,
    };
    async move {
        let told = async {
            while outcomes.payload.outcomes.tally() != expected {
                tokio::task::yield_now().await;
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(5), told).await;
        let tally = outcomes.payload.outcomes.tally();
        assert!(told.is_ok(), "{caller}: {tally:?}");
    }
}

#[tokio::test]
async fn each_answer_counts_once_and_a_5xx_badly() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    for answer in [
        OK,
        BAD,
        &BAD.replace("500", "404"),
        &BAD.replace("500", "503"),
    ] {
        connection.head().await;
        connection.send(answer).await;
        client.head().await;
        client.send(GET).await;
    }
    connection.head().await;
    tells(&generation, [4, 2, 0, 0]).await;
}

#[tokio::test]
async fn a_lost_request_counts_badly_where_it_was_lost_and_is_a_rescued_one_elsewhere() {
    let world = World::new();
    let app = Listening::new().await;
    let live = generation(2, &[app.address]);
    let (address, _heads) = named("standby").await;
    let standby = generation(1, &[address]);
    world.route(Some(&live), Some(&standby));
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    drop(connection);
    assert!(client.answer().await.ends_with("standby"));
    tells(&live, [1, 1, 0, 0]).await;
    tells(&standby, [0, 0, 1, 0]).await;
}

#[tokio::test]
async fn refusals_in_a_row_are_counted_until_a_connection_is_made() {
    let world = World::with(AppConfig {
        resends: 0,
        ..AppConfig::default()
    });
    let nobody = closed().await;
    let generation = world.publish(1, &[nobody]);
    for _ in 0..3 {
        assert!(world.ask(GET).await.starts_with("HTTP/1.1 502"));
    }
    assert_eq!(generation.payload.refused_in_a_row(), 3);
    tells(&generation, [3, 3, 0, 0]).await;
    let (address, _heads) = named("one").await;
    generation.payload.balance(vec![crate::live::Instance {
        number: 1,
        address: crate::generation::Address::Tcp(address),
    }]);
    assert!(world.ask(GET).await.ends_with("one"));
    assert_eq!(generation.payload.refused_in_a_row(), 0);
}

#[tokio::test]
async fn a_unix_socket_that_is_gone_counts_as_refused() {
    let world = World::with(AppConfig {
        resends: 0,
        ..AppConfig::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let instance = crate::live::Instance {
        number: 1,
        address: crate::generation::Address::Unix(folder.path().join("gone").into()),
    };
    let backend = Backend::new(vec![instance], 1, || {});
    let generation = Arc::new(Generation::new(1.into(), backend, 1, |_| {}));
    world.route(Some(&generation), None);
    world.ask(GET).await;
    assert_eq!(generation.payload.refused_in_a_row(), 1);
}

#[tokio::test]
async fn an_upload_lost_on_a_kept_connection_is_a_bad_answer_for_its_client_gets_a_502() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut kept = app.accept().await;
    kept.head().await;
    kept.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    client.head().await;
    client.send(POST).await;
    kept.head().await;
    drop(kept);
    assert!(client.answer().await.starts_with("HTTP/1.1 502"));
    tells(&generation, [2, 1, 0, 0]).await;
}

#[tokio::test]
async fn a_stale_connection_says_nothing_about_the_app() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut kept = app.accept().await;
    kept.head().await;
    kept.send(OK).await;
    client.head().await;
    client.send(GET).await;
    kept.head().await;
    drop(kept);
    let mut fresh = app.accept().await;
    fresh.head().await;
    fresh.send(OK).await;
    client.head().await;
    tells(&generation, [2, 0, 0, 0]).await;
}

#[tokio::test]
async fn a_client_that_fails_says_nothing_about_the_app() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    // Gone while the app thinks.
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    drop(client);
    assert!(connection.is_ended().await);
    // Breaks a rule in the middle of its body.
    let mut client = world.client().await;
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n";
    client.send(chunked).await;
    let mut connection = app.accept().await;
    connection.until("hi").await;
    client.send("nonsense\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 400"));
    world.until(|totals| totals.in_flight == 0).await;
    assert_eq!(generation.payload.outcomes.tally(), Tally::default());
}

#[tokio::test]
async fn what_hitless_answers_because_of_the_app_counts_badly() {
    let world = World::with(AppConfig {
        answer_timeout: Duration::from_millis(50),
        ..AppConfig::default()
    });
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(POST).await;
    let _silent = app.accept().await;
    assert!(client.answer().await.starts_with("HTTP/1.1 504"));
    client.send(POST).await;
    let mut nonsense = app.accept().await;
    nonsense.until("hi").await;
    nonsense.send("nonsense\r\n\r\n").await;
    assert!(client.answer().await.starts_with("HTTP/1.1 502"));
    tells(&generation, [2, 2, 0, 0]).await;
}

#[tokio::test]
async fn a_tunnel_counts_as_one_good_answer() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    client.send(upgrade).await;
    let mut connection = app.accept().await;
    connection.head().await;
    connection
        .send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await;
    client.head().await;
    tells(&generation, [1, 0, 0, 0]).await;
    drop(connection);
    soon(client.is_ended()).await;
    tells(&generation, [1, 0, 0, 0]).await;
}

#[tokio::test]
async fn a_request_that_is_cut_counts_not_at_all() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut connection = app.accept().await;
    connection.head().await;
    generation.payload.order(|orders| orders.cuts += 1);
    assert!(client.answer().await.starts_with("HTTP/1.1 504"));
    assert_eq!(generation.payload.outcomes.tally(), Tally::default());
}
