//! Idle connections are taken from hyper and given back, and nobody notices: each byte is where it belongs.

use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::world::{GET, Listening, Peer, World, named, soon};
use crate::data_plane::{AppConfig, ClientConfig};

/// The sweep is a quarter of the shortest limit.
fn world(sweep: Duration) -> World {
    let client = ClientConfig {
        write_timeout: sweep * 4,
        ..ClientConfig::default()
    };
    World::with_both(AppConfig::default(), client)
}

fn parked(world: &World) -> u64 {
    world.workers().clients().totals().parked
}

async fn until_parked(world: &World, times: u64) {
    soon(async {
        while parked(world) < times {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_quiet_connection_is_parked_and_its_next_request_answered() {
    let world = world(Duration::from_millis(5));
    let (app, _heads) = named("one").await;
    world.publish(1, &[app]);
    let mut client = world.client().await;
    for times in 1..4 {
        client.send(GET).await;
        assert!(client.answer().await.ends_with("one"));
        until_parked(&world, times).await;
    }
}

#[tokio::test]
async fn half_a_head_is_not_lost() {
    let world = world(Duration::from_millis(5));
    let (app, mut heads) = named("one").await;
    world.publish(1, &[app]);
    let mut client = world.client().await;
    let (first, second) = GET.split_at(GET.len() / 2);
    // Behind a whole request, so that hyper has read both at once.
    client.send(&format!("{GET}{first}")).await;
    assert!(client.answer().await.ends_with("one"));
    heads.recv().await.unwrap();
    let mut other = world.client().await;
    other.send(GET).await;
    other.answer().await;
    heads.recv().await.unwrap();
    // As long as it takes for another to be parked.
    until_parked(&world, 1).await;
    client.send(second).await;
    assert!(client.answer().await.ends_with("one"));
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
}

/// The end of an answer is with hyper and not yet with the kernel, and all else is over.
#[tokio::test]
async fn an_answer_is_not_parked_before_its_last_byte_is_out() {
    // A short limit that nothing here is measured by makes for a quick sweep.
    let client = ClientConfig {
        body_timeout: Duration::from_millis(20),
        ..ClientConfig::default()
    };
    let world = World::with_both(AppConfig::default(), client);
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut peer = app.accept().await;
    let small = socket2::SockRef::from(&client.stream).set_recv_buffer_size(64 * 1024);
    small.unwrap();
    // From what fits into the buffers of the kernel to what does not, in steps smaller than hyper's.
    for length in (1..80).map(|times| times * 50_000) {
        peer.head().await;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let sending = tokio::spawn(async move {
            peer.send(&(answer + &"x".repeat(length))).await;
            peer
        });
        client.head().await;
        // Several sweeps, in which nothing is read.
        tokio::time::sleep(Duration::from_millis(25)).await;
        assert!(soon(client.skip(length)).await, "{length} bytes");
        peer = soon(sending).await.unwrap();
        client.send(GET).await;
    }
}

/// What an upload holds that was answered early must never be taken for a request, although all is quiet.
#[tokio::test]
async fn the_rest_of_an_upload_is_never_a_request() {
    let world = world(Duration::from_millis(5));
    let app = Listening::new().await;
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let head = format!(
        "POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        2 * smuggled.len()
    );
    client.send(&format!("{head}{smuggled}")).await;
    let mut peer = app.accept().await;
    peer.head().await;
    peer.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
        .await;
    assert!(client.answer().await.ends_with("no"));
    // Time enough for a connection that is quiet to be parked, and another is.
    let mut other = world.client().await;
    other.send(GET).await;
    let mut peer = app.accept().await;
    peer.head().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    other.answer().await;
    until_parked(&world, 1).await;
    client.send(&format!("{smuggled}{GET}")).await;
    let head = peer.head().await;
    assert!(head.starts_with("GET / "), "{head}");
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast")
        .await;
    assert!(client.answer().await.ends_with("last"));
}

// === the stress ===

const CLIENTS: u64 = 24;
const ROUNDS: u64 = 40;

/// Requests of all kinds with pauses around the time of a sweep, for as many rounds: whole, in pieces, several at once,
/// and uploads that are answered before they have come.
#[tokio::test]
async fn whatever_comes_when_is_answered_byte_for_byte() {
    let world = world(Duration::from_millis(10));
    let (address, mut targets) = echo().await;
    world.publish(1, &[address]);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let peer = world.client().await;
        clients.spawn(client(peer, number));
    }
    let all = tokio::time::timeout(Duration::from_secs(120), clients.join_all());
    let requests: u64 = all.await.expect("it ends").into_iter().sum();
    let mut seen = 0;
    while let Ok(target) = targets.try_recv() {
        assert!(!target.contains("smuggled"), "{target}");
        seen += 1;
    }
    assert_eq!(seen, requests, "each went to the app once");
    let parked = parked(&world);
    assert!(
        parked > CLIENTS * ROUNDS / 8,
        "{parked} parked, {requests} requests"
    );
}

/// One client; how many requests it sent.
async fn client(mut peer: Peer, number: u64) -> u64 {
    let mut random = Rng::with_seed(number);
    let mut requests = 0;
    for round in 0..ROUNDS {
        pause(&mut random).await;
        let name = format!("/{number}/{round}");
        requests += match random.u8(..5) {
            0 => whole(&mut peer, &name).await,
            1 => in_pieces(&mut peer, &name, &mut random).await,
            2 => several(&mut peer, &name, &mut random).await,
            3 => upload(&mut peer, &name, &mut random).await,
            _ => early(&mut peer, &name, &mut random).await,
        };
    }
    requests
}

/// From nothing to somewhat more than it takes to be parked.
async fn pause(random: &mut Rng) {
    tokio::time::sleep(Duration::from_millis(random.u64(0..35))).await;
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")
}

fn post(target: &str, body: &str) -> (String, String) {
    let length = body.len();
    let head = format!("POST {target} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
    (head, body.to_owned())
}

/// A body of requests, which is what it must never be taken for.
fn body(random: &mut Rng) -> String {
    let smuggled = get("/smuggled");
    let length = random.usize(1..6000);
    smuggled.chars().cycle().take(length).collect()
}

#[track_caller]
fn check(answer: &str, expected: &str) {
    let end = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    assert_eq!(end, Some(expected), "{answer}");
}

async fn whole(peer: &mut Peer, name: &str) -> u64 {
    peer.send(&get(name)).await;
    check(&peer.answer().await, &format!("{name} 0"));
    1
}

async fn in_pieces(peer: &mut Peer, name: &str, random: &mut Rng) -> u64 {
    let request = get(name);
    let (first, second) = request.split_at(random.usize(1..request.len()));
    peer.send(first).await;
    pause(random).await;
    peer.send(second).await;
    check(&peer.answer().await, &format!("{name} 0"));
    1
}

async fn several(peer: &mut Peer, name: &str, random: &mut Rng) -> u64 {
    let body = body(random);
    let (head, content) = post(&format!("{name}/b"), &body);
    let all = get(&format!("{name}/a")) + &head + &content + &get(&format!("{name}/c"));
    let (first, second) = all.split_at(random.usize(1..all.len()));
    peer.send(first).await;
    pause(random).await;
    peer.send(second).await;
    check(&peer.answer().await, &format!("{name}/a 0"));
    check(&peer.answer().await, &format!("{name}/b {}", body.len()));
    check(&peer.answer().await, &format!("{name}/c 0"));
    3
}

async fn upload(peer: &mut Peer, name: &str, random: &mut Rng) -> u64 {
    let (head, content) = post(name, &body(random));
    let (first, second) = content.split_at(random.usize(..content.len()));
    peer.send(&format!("{head}{first}")).await;
    pause(random).await;
    peer.send(second).await;
    check(&peer.answer().await, &format!("{name} {}", content.len()));
    1
}

/// The answer comes first; then, after a pause, the rest.
async fn early(peer: &mut Peer, name: &str, random: &mut Rng) -> u64 {
    let (head, content) = post(&format!("{name}/early"), &body(random));
    let (first, second) = content.split_at(random.usize(..content.len()));
    peer.send(&format!("{head}{first}")).await;
    check(&peer.answer().await, &format!("{name}/early early"));
    pause(random).await;
    peer.send(second).await;
    1
}

/// An app that answers with the target and the length of the body; and with `early` before it reads one whose target ends
/// so. It tells of each target.
async fn echo() -> (std::net::SocketAddr, mpsc::UnboundedReceiver<String>) {
    let app = Listening::new().await;
    let address = app.address;
    let (tell, targets) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let peer = app.accept_sometime().await;
            tokio::spawn(answer(peer, tell.clone()));
        }
    });
    (address, targets)
}

async fn answer(mut peer: Peer, tell: mpsc::UnboundedSender<String>) {
    while let Some(head) = peer.next_head().await {
        let target = head.split(' ').nth(1).unwrap().to_owned();
        let _ = tell.send(target.clone());
        let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
            rest.split("\r\n").next().unwrap().parse().unwrap()
        });
        let is_early = target.ends_with("early");
        if !is_early && !peer.skip(length).await {
            return;
        }
        let said = if is_early {
            "early".to_owned()
        } else {
            length.to_string()
        };
        let text = format!("{target} {said}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        let sent = tokio::io::AsyncWriteExt::write_all(&mut peer.stream, answer.as_bytes()).await;
        if sent.is_err() || (is_early && !peer.skip(length).await) {
            return;
        }
    }
}
