//! What a client and an app ask of each other around a body: whether to send it, how large it may be, and what is said
//! before the answer.

use tokio::io::AsyncWriteExt;

use super::world::{GET, Listening, Peer, World, named, soon};
use crate::data_plane::{AppConfig, Expect};
use crate::telemetry::traffic::{Connected, Reason, Totals};

const ASKS: &str =
    "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn asking() -> World {
    World::with(AppConfig {
        expect: Expect::Forward,
        ..AppConfig::default()
    })
}

fn hinting() -> World {
    World::with(AppConfig {
        early_hints: true,
        ..AppConfig::default()
    })
}

fn limited(body_bytes_max: usize) -> World {
    World::with(AppConfig {
        body_bytes_max,
        ..AppConfig::default()
    })
}

fn connections(totals: &Totals) -> u64 {
    let made = totals.connected.iter();
    made.filter(|(result, _)| *result == Connected::Opened)
        .map(|(_, count)| count)
        .sum()
}

// === 100-continue ===

#[tokio::test]
async fn the_app_decides_whether_the_body_is_sent() {
    let world = asking();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(ASKS).await;
    let mut app = app.accept().await;
    let head = app.head().await;
    assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
    app.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hi").await;
    app.until("hi").await;
    app.send(EMPTY).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_app_that_refuses_is_spared_the_body() {
    let world = asking();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(ASKS).await;
    let mut app = app.accept().await;
    app.head().await;
    app.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n")
        .await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    // Nobody knows whether the body comes or the next request, so neither connection goes on.
    client.send("hi").await;
    assert!(client.is_ended().await);
    assert!(app.is_ended().await);
}

#[tokio::test]
async fn an_app_that_does_not_know_the_question_gets_the_body_all_the_same() {
    let world = asking();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(ASKS).await;
    let mut app = app.accept().await;
    app.head().await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hi").await;
    app.until("hi").await;
    app.send(EMPTY).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_of_http_1_0_is_never_told_to_go_on() {
    for world in [asking(), World::new()] {
        let app = Listening::new().await;
        world.publish(1, &[app.address]);
        let mut client = world.client().await;
        let old = ASKS.replace("HTTP/1.1", "HTTP/1.0");
        client.send(&(old + "hi")).await;
        let mut app = app.accept().await;
        let head = app.head().await;
        assert!(!head.contains("expect"), "{head}");
        app.until("hi").await;
        app.send(EMPTY).await;
        assert!(client.head().await.starts_with("HTTP/1.0 200"));
    }
}

#[tokio::test]
async fn who_receives_bodies_first_asks_no_app() {
    let world = World::with(AppConfig {
        expect: Expect::Forward,
        buffer_requests: 1000,
        ..AppConfig::default()
    });
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(ASKS).await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hi").await;
    let mut app = app.accept().await;
    app.until("hi").await;
    app.send(EMPTY).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
}

// === how large ===

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_before_anybody_hears_of_it() {
    let world = limited(10);
    let (app, _heads) = named("one").await;
    world.publish(1, &[app]);
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut client = world.client().await;
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{expect}content-length: 11\r\n\r\n");
        client.send(&head).await;
        // Neither an interim answer nor a connection to the app comes first.
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        assert!(head.contains("error=http_request_error"), "{head}");
    }
    assert_eq!(connections(&world.totals()), 0);
    let counted = world.totals().answers;
    assert!(counted.contains(&(Reason::BodyTooLarge, 2)), "{counted:?}");
}

#[tokio::test]
async fn a_body_in_chunks_is_refused_as_soon_as_it_is_too_large() {
    let world = limited(10);
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    client.send("a\r\n0123456789\r\n").await;
    let mut app = app.accept().await;
    app.until("0123456789").await;
    client.send("1\r\nx\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    // What the app has got is no whole body.
    let rest = app.rest().await;
    assert!(
        !rest.contains('x') && !rest.contains("0\r\n\r\n"),
        "{rest:?}"
    );
}

#[tokio::test]
async fn a_body_that_is_just_as_large_as_it_may_be_passes() {
    let world = limited(2);
    let (app, _heads) = named("one").await;
    world.publish(1, &[app]);
    let answer = world.ask(super::world::POST).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_received_first_is_refused_before_the_app_hears_of_it() {
    let world = World::with(AppConfig {
        body_bytes_max: 10,
        buffer_requests: 1000,
        ..AppConfig::default()
    });
    let (app, _heads) = named("one").await;
    world.publish(1, &[app]);
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = world.client().await;
    client.send(head).await;
    client.send("b\r\n0123456789x\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert_eq!(connections(&world.totals()), 0);
}

// === 103 ===

const HINT: &str =
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x\r\nX: 1\r\n\r\n";

#[tokio::test]
async fn hints_reach_the_client_before_the_answer() {
    let world = hinting();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut app = app.accept().await;
    app.head().await;
    app.send(HINT).await;
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
    assert_eq!(client.head().await, hint);
    app.send(HINT).await;
    assert_eq!(client.head().await, hint);
    app.send(EMPTY).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
    // With the answer at once.
    client.send(GET).await;
    app.head().await;
    app.send(&format!("{HINT}{EMPTY}")).await;
    assert_eq!(client.head().await, hint);
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn hints_are_for_who_asked_for_them_and_can_read_them() {
    for (world, version) in [(World::new(), "HTTP/1.1"), (hinting(), "HTTP/1.0")] {
        let app = Listening::new().await;
        world.publish(1, &[app.address]);
        let mut client = world.client().await;
        client.send(&GET.replace("HTTP/1.1", version)).await;
        let mut app = app.accept().await;
        app.head().await;
        app.send(HINT).await;
        app.send(EMPTY).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("{version} 200")), "{head}");
    }
}

#[tokio::test]
async fn interim_answers_without_a_meaning_here_are_dropped() {
    let world = hinting();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut app = app.accept().await;
    app.head().await;
    for status in ["100 Continue", "102 Processing", "104 Upload", "199 Odd"] {
        app.send(&format!("HTTP/1.1 {status}\r\nx: 1\r\n\r\n"))
            .await;
    }
    app.send(EMPTY).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
}

/// An app that gives each request a hint and then an answer, both with the request's number.
async fn hint_all(app: Listening) {
    loop {
        let mut app = app.accept().await;
        // Else each hint holds the answer up for as long as an acknowledgement may be delayed.
        app.stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            loop {
                let head = app.head().await;
                let number: usize = head[5..].split(' ').next().unwrap().parse().unwrap();
                let length = (number * 7919) % 30_000;
                let hint = format!("HTTP/1.1 103 Early Hints\r\nlink: <{number}>\r\n\r\n");
                let answer =
                    format!("HTTP/1.1 200 OK\r\nx: {number}\r\ncontent-length: {length}\r\n\r\n");
                app.send(&hint).await;
                tokio::task::yield_now().await;
                app.send(&answer).await;
                let _ = app.stream.write_all(&vec![b'x'; length]).await;
            }
        });
    }
}

/// The numbers of hints and answers are in order, whole, and never within one another.
async fn read_all(client: &mut Peer, requests: usize) -> usize {
    let mut hints = 0;
    let mut number = 0;
    while number < requests {
        let head = client.head().await;
        if head.starts_with("HTTP/1.1 103 Early Hints\r\n") {
            assert!(
                head.contains(&format!("link: <{number}>\r\n")),
                "{number}: {head}"
            );
            hints += 1;
            continue;
        }
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\n"),
            "{number}: {head:?}"
        );
        assert!(
            head.contains(&format!("x: {number}\r\n")),
            "{number}: {head}"
        );
        let body = client.take((number * 7919) % 30_000).await;
        assert!(body.iter().all(|&byte| byte == b'x'), "{number}");
        number += 1;
    }
    hints
}

#[tokio::test]
async fn hints_garble_no_answer_of_a_client_that_pipelines_and_reads_slowly() {
    const REQUESTS: usize = 300;
    let world = hinting();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let serving = tokio::spawn(hint_all(app));
    let mut client = world.client().await;
    let all: String = (0..REQUESTS)
        .map(|number| format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n"))
        .collect();
    client.send(&all).await;
    let hints = soon(read_all(&mut client, REQUESTS)).await;
    serving.abort();
    assert!(hints > REQUESTS / 10, "only {hints} hints were seen");
}
