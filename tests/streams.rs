//! Promise: WebSockets and event streams of an old version end as `drain` says, each in its own manner, and hold nothing
//! else up.

mod support;

use std::time::Duration;

use support::app::{App, End, Fault, Release};
use support::events::{Events, StreamEnd};
use support::processes;
use support::websocket::{Ended, WebSocket};
use support::world::{APP, Builder, Hitless, SOON};
use tokio::time::Instant;

const EVENTS: &str = "/events?ms=20";

fn with(app: &App, drain: &str) -> Builder {
    let drain = format!("[app.app.drain]\n{drain}\n[app.app.failover]\nprobation = 0");
    Hitless::of(app).setting(&drain)
}

async fn websocket(hitless: &Hitless) -> WebSocket {
    let opened = WebSocket::open(hitless.address()).await;
    opened.expect("it opens")
}

async fn events(hitless: &Hitless) -> Events {
    let opened = Events::open(hitless.address(), EVENTS).await;
    let mut events = opened.expect("it opens");
    events.next().await.expect("there is an event");
    events
}

async fn streams(hitless: &Hitless, kind: &str) -> f64 {
    let labels = [("app", APP), ("kind", kind)];
    hitless.metrics().await.sum("hitless_streams", &labels)
}

#[track_caller]
fn expect_closed(ended: Result<String, Ended>, code: u16) {
    match ended {
        Err(Ended::Closed(told)) if told == code => {}
        other => panic!("not told {code} but {other:?}"),
    }
}

/// A new version, live; how long that took.
async fn reload(app: &App, hitless: &Hitless, version: u64) -> Duration {
    app.deploy(&Release::good(version));
    let asked = Instant::now();
    hitless.reload().await.expect_status(0, "the reload");
    asked.elapsed()
}

/// Nothing more than its beginnings is left of the old version.
async fn is_alone(hitless: &mut Hitless) {
    hitless
        .wait_for("the old version is gone", SOON, |status| {
            status.generations(APP) == 1
        })
        .await;
}

#[tokio::test]
async fn with_wait_they_stay_with_the_old_version_until_its_time_is_over() {
    let app = App::demo();
    let drain = "streams = \"wait\"\nstream_timeout = \"3s\"\nclose_spread = 0";
    let mut hitless = with(&app, drain).start().await;
    let mut socket = websocket(&hitless).await;
    let mut stream = events(&hitless).await;
    let took = reload(&app, &hitless, 2).await;
    let swapped = Instant::now();
    assert!(took < Duration::from_secs(3), "it waited: {took:?}");
    // The ordinary requests of the old one are done, and its streams go on.
    assert_eq!(socket.echo("a").await.expect("it echoes"), "1 a");
    stream.next().await.expect("there is an event");
    let status = hitless.status().await;
    assert_eq!(status.generations_in(APP, "retiring"), 1, "{status}");
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(2));
    expect_closed(socket.next().await, 1012);
    let waited = swapped.elapsed();
    assert!(waited > Duration::from_millis(2500), "{waited:?}");
    assert_eq!(stream.end().await, StreamEnd::Between);
    is_alone(&mut hitless).await;
}

#[tokio::test]
async fn with_close_they_end_over_the_spread_and_come_back_to_the_new_version() {
    const SPREAD: Duration = Duration::from_secs(3);
    let app = App::demo();
    let mut hitless = with(&app, "streams = \"close\"\nclose_spread = \"3s\"")
        .start()
        .await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let (mut socket, mut stream) = (websocket(&hitless).await, events(&hitless).await);
        clients.spawn(async move {
            let closed = async {
                expect_closed(socket.next().await, 1012);
                Instant::now()
            };
            let ended = async {
                assert_eq!(stream.end().await, StreamEnd::Between);
                Instant::now()
            };
            let (closed, ended) = tokio::join!(closed, ended);
            [closed, ended]
        });
    }
    let took = reload(&app, &hitless, 2).await;
    assert!(took < SPREAD, "it waited: {took:?}");
    let swapped = Instant::now();
    let ends = clients.join_all().await.into_iter().flatten();
    let after: Vec<_> = ends
        .map(|end| end.saturating_duration_since(swapped))
        .collect();
    // Of 60 at random, no third is as empty as this in a lifetime.
    for third in 0..3_u32 {
        let within = SPREAD / 3 * third..SPREAD / 3 * (third + 1);
        let count = after.iter().filter(|after| within.contains(after)).count();
        assert!(count >= 5, "{third}: {after:?}");
    }
    let mut again = websocket(&hitless).await;
    assert_eq!(again.echo("a").await.expect("it echoes"), "2 a");
    is_alone(&mut hitless).await;
}

#[tokio::test]
async fn with_keep_they_end_when_the_app_ends_them_or_exits() {
    let app = App::demo();
    let drain = "streams = \"keep\"\nstream_timeout = \"100ms\"\nclose_spread = 0";
    let mut hitless = with(&app, drain).start().await;
    let mut first = websocket(&hitless).await;
    let second = websocket(&hitless).await;
    reload(&app, &hitless, 2).await;
    second.close().await.expect("it closes");
    // An event stream that is longer than all the times of the others.
    let mut stream = events(&hitless).await;
    for _ in 0..50 {
        stream.next().await.expect("there is an event");
    }
    assert_eq!(first.echo("a").await.expect("it echoes"), "1 a");
    let status = hitless.status().await;
    let old = status.pids_in(APP, "retiring");
    let [old] = old[..] else {
        panic!("one retires: {status}");
    };
    processes::send(
        old.try_into().expect("a pid"),
        rustix::process::Signal::KILL,
    );
    expect_closed(first.next().await, 1012);
    is_alone(&mut hitless).await;
}

#[tokio::test]
async fn past_retiring_max_those_of_the_oldest_version_are_closed() {
    let app = App::demo();
    let mut hitless = with(&app, "retiring_max = 2\nclose_spread = 0")
        .start()
        .await;
    let mut sockets = Vec::new();
    for version in 2..=4 {
        let mut socket = websocket(&hitless).await;
        let expected = format!("{} a", version - 1);
        assert_eq!(socket.echo("a").await.expect("it echoes"), expected);
        sockets.push(socket);
        reload(&app, &hitless, version).await;
    }
    expect_closed(sockets[0].next().await, 1012);
    for (socket, version) in sockets[1..].iter_mut().zip(2..) {
        let echoed = socket.echo("b").await.expect("it echoes");
        assert_eq!(echoed, format!("{version} b"));
    }
    hitless
        .wait_for("the oldest is gone", SOON, |status| {
            status.generations_in(APP, "retiring") == 2
        })
        .await;
}

#[tokio::test]
async fn they_are_counted_apart_and_the_counts_return_to_nought() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    let socket = websocket(&hitless).await;
    let both = [events(&hitless).await, events(&hitless).await];
    assert_eq!(streams(&hitless, "websocket").await, 1.0);
    assert_eq!(streams(&hitless, "event_stream").await, 2.0);
    assert_eq!(streams(&hitless, "answer").await, 0.0);
    socket.close().await.expect("it closes");
    drop(both);
    let deadline = Instant::now() + SOON;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while streams(&hitless, "websocket").await + streams(&hitless, "event_stream").await > 0.0 {
        assert!(Instant::now() < deadline, "some are left");
        ticks.tick().await;
    }
    let status = hitless.status().await;
    assert_eq!(
        status.0["apps"][0]["generations"][0]["streams"], 0,
        "{status}"
    );
}

#[tokio::test]
async fn a_version_that_dies_on_probation_tells_its_websockets_to_come_again() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let dies = Fault::Ends(End::IsKilled, Duration::from_secs(3));
    app.deploy(&Release::broken(2, dies));
    hitless.reload().await.expect_status(0, "the reload");
    let mut socket = websocket(&hitless).await;
    assert_eq!(socket.echo("a").await.expect("it echoes"), "2 a");
    let mut stream = events(&hitless).await;
    expect_closed(socket.next().await, 1012);
    // What an event stream loses there cannot be known: no end that looks like one.
    assert!(matches!(stream.end().await, StreamEnd::Broken(_)));
    hitless
        .wait_for("the old version serves", SOON, |status| {
            status.live(APP) == Some(1)
        })
        .await;
    let mut again = websocket(&hitless).await;
    assert_eq!(again.echo("a").await.expect("it echoes"), "1 a");
}

#[tokio::test]
async fn at_shutdown_they_end_at_once_also_where_they_were_to_end_little_by_little() {
    let app = App::demo();
    let mut hitless = with(&app, "streams = \"close\"\nclose_spread = \"10m\"")
        .start()
        .await;
    let mut old = websocket(&hitless).await;
    reload(&app, &hitless, 2).await;
    let mut new = websocket(&hitless).await;
    let mut stream = events(&hitless).await;
    let asked = Instant::now();
    hitless.program().signal(rustix::process::Signal::TERM);
    expect_closed(old.next().await, 1001);
    expect_closed(new.next().await, 1001);
    assert_eq!(stream.end().await, StreamEnd::Between);
    assert_eq!(hitless.program().ends(SOON).await, 0);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}
