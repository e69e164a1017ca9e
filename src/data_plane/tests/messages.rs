//! Messages arrive as they were sent, and what concerns one connection only does not.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::world::{GET, Listening, World, named, soon};
use crate::data_plane::{AppConfig, ClientConfig};
use crate::telemetry::traffic::{CodeClass, Method, Protocol, Reason};

#[tokio::test]
async fn a_request_gets_the_apps_answer_and_is_counted() {
    let world = World::new();
    let (app, mut heads) = named("one").await;
    world.publish(1, &[app]);
    let answer = world.ask(GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\none"));
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nhost: example.org\r\n"), "{head}");
    world
        .until(|totals| totals.in_flight == 0 && totals.duration.count == 1)
        .await;
    let row = (Method::Get, CodeClass::Success, Protocol::Http11, 1);
    assert!(world.totals().requests.contains(&row));
    assert_eq!(world.totals().bytes_out, 3);
}

#[tokio::test]
async fn a_kept_alive_client_connection_lives_on_across_a_swap() {
    let world = World::new();
    let (first, _heads) = named("first").await;
    let (second, _heads) = named("second").await;
    let old = world.publish(1, &[first]);
    let mut client = world.client().await;
    client.send(GET).await;
    assert!(client.answer().await.ends_with("first"));
    world.publish(2, &[second]);
    client.send(GET).await;
    assert!(client.answer().await.ends_with("second"));
    assert_eq!((old.requests(), old.streams()), (0, 0));
}

#[tokio::test]
async fn a_get_with_a_body_in_chunks_arrives_whole() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    let head = "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(head).await;
    let mut app = app.accept().await;
    client.send("5\r\nhello\r\n0\r\n\r\n").await;
    let head = app.head().await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert!(app.until("0\r\n\r\n").await.contains("hello"));
    app.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 204"));
}

#[tokio::test]
async fn a_connection_to_an_app_that_speaks_http_1_0_is_not_kept() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    for _ in 0..2 {
        client.send(GET).await;
        let mut app = app.accept().await;
        app.head().await;
        app.send("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok")
            .await;
        let answer = client.answer().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(!answer.contains("connection"), "{answer}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_used_again() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut app = app.accept().await;
    for _ in 0..2 {
        app.head().await;
        app.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        client.answer().await;
        client.send(GET).await;
    }
    app.head().await;
}

#[tokio::test]
async fn an_answer_without_a_body_keeps_its_framing() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut app = app.accept().await;
    app.head().await;
    app.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        .await;
    assert!(client.head().await.contains("content-length: 5\r\n"));
    for status in ["204 No Content", "304 Not Modified"] {
        client.send(GET).await;
        app.head().await;
        app.send(&format!("HTTP/1.1 {status}\r\netag: \"1\"\r\n\r\n"))
            .await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
    }
    // Nothing of a body was in between, or the next head would not be one.
    client.send(GET).await;
    app.head().await;
    app.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert!(client.answer().await.ends_with("\r\n\r\nok"));
}

#[tokio::test]
async fn trailers_pass_both_ways_but_claims_do_not() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te\r\n\
             trailer: x-sum, x-forwarded-for\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nx-sum: 1\r\nx-forwarded-for: 6.6.6.6\r\n\r\n",
        )
        .await;
    let mut app = app.accept().await;
    let head = app.head().await;
    assert!(head.contains("te: trailers"), "{head}");
    let body = app.until("\r\n\r\n").await;
    assert!(
        body.contains("x-sum: 1") && !body.contains("6.6.6.6"),
        "{body}"
    );
    app.send(
        "HTTP/1.1 200 OK\r\ntrailer: x-end\r\ntransfer-encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nx-end: 2\r\n\r\n",
    )
    .await;
    client.head().await;
    let body = client.until("\r\n\r\n").await;
    assert!(body.contains("x-end: 2"), "{body}");
}

#[tokio::test]
async fn a_short_body_is_broken_off_and_never_ended_cleanly() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    for head in ["content-length: 10", "transfer-encoding: chunked"] {
        let mut client = world.client().await;
        client.send(GET).await;
        let mut app = app.accept().await;
        app.head().await;
        app.send(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello"))
            .await;
        client.until("hello").await;
        drop(app);
        let rest = client.rest().await;
        assert!(!rest.contains("0\r\n"), "{rest:?}");
    }
    world.until(|totals| totals.in_flight == 0).await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_once_the_app_is_there() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await;
    let mut app = app.accept().await;
    let head = app.head().await;
    assert!(!head.contains("expect"), "{head}");
    assert!(client.head().await.starts_with("HTTP/1.1 100"));
    client.send("hi").await;
    app.until("hi").await;
    app.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let client = world.client().await;
    let (mut read, mut write) = client.stream.into_split();
    let upload = tokio::spawn(async move {
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n";
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(&vec![b'x'; 8_000_000]).await.unwrap();
        write
    });
    let mut app = app.accept().await;
    app.head().await;
    app.send("HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno")
        .await;
    // The app stays and reads nothing: were it to reset its connection, the answer could be lost before it is read.
    let _write = soon(upload).await.unwrap();
    let mut answer = vec![0; 12];
    soon(tokio::io::AsyncReadExt::read_exact(&mut read, &mut answer))
        .await
        .unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_bad_request_is_answered_by_hitless() {
    let world = World::new();
    let (app, _heads) = named("one").await;
    world.publish(1, &[app]);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400"),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", "501"),
        ("GET / HTTP/1.1\r\nhost: a\r\nexpect: tea\r\n\r\n", "417"),
        ("GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n", "400"),
    ] {
        let answer = world.ask(request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {answer}"
        );
    }
    world
        .until(|totals| totals.answers.contains(&(Reason::BadRequest, 3)))
        .await;
}

#[tokio::test]
async fn what_hyper_refuses_before_there_is_a_request_is_counted() {
    let client = ClientConfig {
        head_bytes_max: 1 << 20,
        ..ClientConfig::default()
    };
    let world = World::with_both(AppConfig::default(), client);
    let (app, _heads) = named("one").await;
    world.publish(1, &[app]);
    let long = "x".repeat(70_000);
    let many = "x: y\r\n".repeat(101);
    for (request, status, reason) in [
        (
            "GET / HTTP/1.1\r\nhost : a\r\n\r\n".to_owned(),
            400,
            Reason::BadRequest,
        ),
        (
            format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"),
            414,
            Reason::UriTooLong,
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"),
            431,
            Reason::HeadTooLarge,
        ),
    ] {
        let answer = world.ask(&request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        world
            .until(|totals| totals.answers.contains(&(reason, 1)))
            .await;
    }
}

#[tokio::test]
async fn options_of_everything_survives() {
    let world = World::new();
    let (app, mut heads) = named("one").await;
    world.publish(1, &[app]);
    world.ask("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(
        heads
            .recv()
            .await
            .unwrap()
            .starts_with("OPTIONS * HTTP/1.1\r\n")
    );
    world
        .ask("GET http://b//x?y=%7e HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET //x?y=%7e HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: b\r\n"), "{head}");
}

#[tokio::test]
async fn an_app_that_is_late_is_a_504() {
    let world = World::with(AppConfig {
        answer_timeout: Duration::from_millis(50),
        ..AppConfig::default()
    });
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let answer = world.ask(GET).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!(
        answer.contains("proxy-status: hitless; error=http_response_timeout"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_that_stops_sending_is_a_408() {
    let client = ClientConfig {
        body_timeout: Duration::from_millis(50),
        ..ClientConfig::default()
    };
    let world = World::with_both(AppConfig::default(), client);
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let answer = world
        .ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe")
        .await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_stalls_is_broken_off() {
    let world = World::with(AppConfig {
        body_timeout: Duration::from_millis(50),
        ..AppConfig::default()
    });
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut app = app.accept().await;
    app.head().await;
    app.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe")
        .await;
    client.until("he").await;
    assert!(client.is_ended().await);
    assert!(app.is_ended().await);
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_has_gone_away() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut app = app.accept().await;
    app.head().await;
    client.stream.shutdown().await.unwrap();
    assert!(app.is_ended().await);
    assert!(client.is_ended().await);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_along() {
    let world = World::new();
    let app = Listening::new().await;
    let generation = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut app = app.accept().await;
    app.head().await;
    assert_eq!(generation.requests(), 1);
    drop(client);
    assert!(app.is_ended().await);
    world.until(|totals| totals.in_flight == 0).await;
    assert_eq!(generation.requests(), 0);
    // What a log calls 499: the client's doing, and no answer of anybody.
    let row = (Method::Get, CodeClass::ClientError, Protocol::Http11, 1);
    assert!(world.totals().requests.contains(&row));
    assert!(world.totals().answers.iter().all(|(_, count)| *count == 0));
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_not_cut_short_in_silence() {
    let world = World::new();
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let begun = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
    for (end, is_whole) in [("0\r\n\r\n", true), ("", false)] {
        let mut client = world.client().await;
        client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
        let mut app = app.accept().await;
        app.head().await;
        app.send(begun).await;
        let head = client.until("one").await;
        assert!(!head.contains("chunked"), "{head}");
        app.send(end).await;
        drop(app);
        // A clean end is 0 bytes, and a reset an error.
        let mut rest = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut rest);
        let read = soon(read).await;
        assert_eq!(read.is_ok(), is_whole, "{read:?}");
    }
}
