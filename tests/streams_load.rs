//! Promise: whatever long exchanges are under way, reload after reload cuts none of them, waits for none of them, and
//! leaves nothing of them behind.

#![allow(
    clippy::print_stderr,
    reason = "the test harness shows the figures with a failed test"
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::app::{App, Release};
use support::events::Events;
use support::load::Load;
use support::talk::{Pace, Talk, talk};
use support::transfers::{Protocol, TRANSFER_BYTES, Transfers};
use support::websocket::WebSocket;
use support::world::{APP, Hitless, SOON};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::{accept_async, client_async};

const RELOADS: u64 = 20;

/// With `wait` and room for all old versions. `tests/mixed.rs` has the same of more protocols at once.
#[tokio::test]
async fn with_wait_twenty_reloads_cut_nothing_of_what_the_built_in_app_serves() {
    let app = App::demo();
    let drain = format!("[app.{APP}.drain]\nstreams = \"wait\"\nretiring_max = {RELOADS}");
    let hitless = Hitless::of(&app).setting(&drain).start().await;
    let load = Load::start(hitless.address()).await;
    // Built without optimisation the app takes seconds for the sum of an upload.
    let transfers = Transfers::start(hitless.address(), &[Protocol::Http1], None);
    // Each version gets some, which stay with it.
    let mut held = Vec::new();
    for version in 1..=RELOADS {
        let socket = WebSocket::open(hitless.address()).await;
        let mut socket = socket.expect("it opens");
        let stream = Events::open(hitless.address(), "/events?ms=100").await;
        let mut stream = stream.expect("it opens");
        stream.next().await.expect("there is an event");
        let echoed = socket.echo("a").await.expect("it echoes");
        assert_eq!(echoed, format!("{version} a"));
        held.push((socket, stream));
        app.deploy(&Release::good(version + 1));
        let asked = Instant::now();
        let reload = load.during("a reload", hitless.reload()).await;
        reload.expect_status(0, "a reload");
        assert!(asked.elapsed() < SOON, "the verdict was waited for");
        load.answers(100).await;
    }
    for (version, (socket, stream)) in (1..).zip(&mut held) {
        let echoed = socket.echo("b").await.expect("it still echoes");
        assert_eq!(echoed, format!("{version} b"));
        stream.next().await.expect("there is an event");
    }
    let counts = transfers.stop().await;
    assert!(counts.iter().all(|count| *count >= 2), "{counts:?}");
    let status = hitless.status().await;
    assert_eq!(status.failovers(APP), 0, "{status}");
    let record = load.stop().await;
    record.show();
    record.expect_none_failed();
    assert_eq!(record.farewells(), 0, "a WebSocket was asked to go");
    eprintln!("{counts:?} transfers of {TRANSFER_BYTES} bytes");
    for (socket, _) in held {
        socket.close().await.expect("it closes in order");
    }
}

// === Large messages in many frames, both ways, all the time ===

const TALKERS: usize = 24;
const SPREAD: Duration = Duration::from_secs(4);

/// An app that talks with whoever comes; what became of the talks.
async fn talking_app() -> (
    SocketAddr,
    JoinSet<()>,
    std::sync::Arc<std::sync::Mutex<Vec<Talk>>>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let talks = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = std::sync::Arc::clone(&talks);
    let mut app = JoinSet::new();
    app.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = std::sync::Arc::clone(&told);
            tokio::spawn(async move {
                // The check connects and goes.
                if let Ok(stream) = accept_async(stream).await {
                    let talk = talk(stream, Pace::AtOnce).await;
                    told.lock().expect("nobody panics with it").push(talk);
                }
            });
        }
    });
    (address, app, talks)
}

#[tokio::test]
async fn with_close_every_websocket_is_told_and_none_in_the_middle_of_a_frame() {
    let (address, _app, talks) = talking_app().await;
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[app.web]\naddresses = [\"{address}\"]\n[app.web.ready]\ntcp = true\n\
         [app.web.failover]\nprobation = 0\n[app.web.drain]\nstreams = \"close\"\nclose_spread = \"4s\"\n"
    );
    let mut hitless = Hitless::with_file(&text).begin().await;
    hitless.all_live(&["web"]).await;
    let mut clients = JoinSet::new();
    for _ in 0..TALKERS {
        let stream = TcpStream::connect(hitless.address()).await;
        let stream = stream.expect("it listens");
        let (stream, _) = client_async("ws://web/", stream).await.expect("it opens");
        clients.spawn(talk(stream, Pace::AtOnce));
    }
    let asked = Instant::now();
    hitless.reload().await.expect_status(0, "the reload");
    let swapped = Instant::now();
    assert!(swapped - asked < SPREAD, "{:?}", swapped - asked);
    let ends = timeout(SPREAD + SOON, clients.join_all()).await;
    let ends = ends.expect("all are told");
    let mut after = Vec::new();
    for talk in &ends {
        assert_eq!(talk.code(), Some(1012), "{talk:?}");
        after.push(talk.at.saturating_duration_since(swapped));
    }
    after.sort();
    let messages: u64 = ends.iter().map(|talk| talk.messages).sum();
    eprintln!("{messages} messages of three frames; told after {after:?}");
    assert!(messages > TALKERS as u64, "they talk");
    // Of 24 at random within 4 s, no half is as empty as this in a lifetime.
    let first = after.iter().filter(|after| **after < SPREAD / 2).count();
    assert!((2..=TALKERS - 2).contains(&first), "{after:?}");
    assert!(after.last() < Some(&(SPREAD + SPREAD / 2)), "{after:?}");
    // Each app side was told as well, in a frame of its own.
    let deadline = Instant::now() + SOON;
    let mut ticks = interval(Duration::from_millis(10));
    while talks.lock().expect("nobody panics with it").len() < TALKERS {
        assert!(Instant::now() < deadline, "the app waits for some");
        ticks.tick().await;
    }
    for talk in talks.lock().expect("nobody panics with it").iter() {
        assert_eq!(talk.code(), Some(1012), "{talk:?}");
    }
}

// === What is left of many ===

const MANY: usize = 1000;

/// Both ends of every connection of a test lie on this machine.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit is allowed");
}

/// The memory of a process that it does not share, in bytes, and how many descriptors it has.
fn weight(pid: i32) -> (u64, usize) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let text = text.expect("the process is there");
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    let kibibytes = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let descriptors = descriptors.expect("the process is there").count();
    (kibibytes.sum::<u64>() * 1024, descriptors)
}

/// Opens so many, each used once.
async fn open_many(address: SocketAddr, count: usize) -> Vec<WebSocket> {
    let mut opening = JoinSet::new();
    for _ in 0..count {
        opening.spawn(async move {
            let mut socket = WebSocket::open(address).await.expect("it opens");
            socket.echo("a").await.expect("it echoes");
            socket
        });
    }
    opening.join_all().await
}

async fn close_all(sockets: Vec<WebSocket>) {
    let mut closing = JoinSet::new();
    for socket in sockets {
        closing.spawn(async move { socket.close().await.expect("it closes") });
    }
    closing.join_all().await;
}

#[tokio::test]
async fn a_thousand_websockets_over_ten_reloads_leave_nothing_behind() {
    const GENERATIONS: usize = 10;
    raise_descriptor_limit();
    let app = App::demo();
    let settings = format!(
        "[app.{APP}.drain]\nstreams = \"wait\"\nretiring_max = 20\n[app.{APP}.failover]\nprobation = 0"
    );
    let mut hitless = Hitless::of(&app).setting(&settings).start().await;
    let pid = hitless.program().pid();
    // What the first ones leave behind for the next is no loss.
    close_all(open_many(hitless.address(), MANY / GENERATIONS).await).await;
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "the reload");
    let alone = |status: &support::status::Status| status.generations(APP) == 1;
    hitless.wait_for("the first is gone", SOON, alone).await;
    let (bytes_before, descriptors_before) = weight(pid);

    let mut sockets = Vec::new();
    for version in 3..3 + GENERATIONS as u64 {
        sockets.extend(open_many(hitless.address(), MANY / GENERATIONS).await);
        app.deploy(&Release::good(version));
        hitless.reload().await.expect_status(0, "the reload");
    }
    let (bytes_with, descriptors_with) = weight(pid);
    assert!(descriptors_with > descriptors_before + 2 * MANY - 50);
    for (index, socket) in sockets.iter_mut().enumerate() {
        let version = 2 + index / (MANY / GENERATIONS);
        let echoed = socket.echo("b").await.expect("it echoes");
        assert_eq!(echoed, format!("{version} b"));
    }
    close_all(sockets).await;
    hitless
        .wait_for("the old ones are gone", SOON * 2, alone)
        .await;

    let deadline = Instant::now() + SOON;
    let mut ticks = interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (bytes, descriptors) = weight(pid);
        let more = bytes.saturating_sub(bytes_before);
        eprintln!(
            "{bytes_before} bytes, with {MANY} {bytes_with}, now {bytes}; descriptors {descriptors_before}, \
             {descriptors_with}, {descriptors}"
        );
        if more < 4 << 20 && descriptors <= descriptors_before + 4 {
            break;
        }
        assert!(Instant::now() < deadline, "it does not return");
    }
}
