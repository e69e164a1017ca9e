//! What the mixed load of `support/load.rs` leaves out: HTTP/2, and WebSockets and event streams that each version keeps to
//! the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::support::events::Events;
use crate::support::http2::{Http2, whole};
use crate::support::websocket::WebSocket;

/// Messages that are on their way at once on one WebSocket.
const BURST: u64 = 5;
const UPLOAD: usize = 200 * 1024;

/// What came of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) lane: &'static str,
    /// How often it went round, all well.
    pub(super) rounds: u64,
}

/// Lanes under way, each of which panics at the first thing that is not in order.
#[derive(Debug)]
pub(super) struct Lanes {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinSet<Done>,
}

// === impl Lanes ===

impl Lanes {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stop: watch::Sender::new(false),
            running: JoinSet::new(),
        }
    }

    /// Requests on one connection of HTTP/2, which must last: GETs, uploads and downloads that take a second, at once.
    pub(super) async fn add_http2(&mut self) {
        let client = Http2::open(self.address).await;
        let stop = self.stop.subscribe();
        self.running.spawn(async move {
            let (gets, uploads, downloads) = tokio::join!(
                repeat(&client, Duration::from_millis(50), stop.clone(), get),
                repeat(&client, Duration::from_millis(250), stop.clone(), upload),
                repeat(&client, Duration::from_millis(1), stop, download),
            );
            assert!(!client.ended.is_finished(), "the connection was ended");
            Done {
                lane: "HTTP/2",
                rounds: gets.min(uploads).min(downloads),
            }
        });
    }

    /// A WebSocket that stays with this version and echoes messages in bursts, in order.
    pub(super) async fn hold_websocket(&mut self, version: u64) {
        let socket = WebSocket::open(self.address).await;
        let mut socket = socket.expect("it opens");
        assert_eq!(socket.version(), Some(version));
        let mut stop = self.stop.subscribe();
        self.running.spawn(async move {
            let (mut ticks, mut rounds) = (interval(Duration::from_millis(200)), 0);
            while !has_stopped(&mut stop, ticks.tick()).await {
                let numbers = rounds * BURST..(rounds + 1) * BURST;
                for number in numbers.clone() {
                    socket.send(&number.to_string()).await.expect("it is open");
                }
                for number in numbers {
                    let echoed = socket.next().await.expect("it is open");
                    assert_eq!(echoed, format!("{version} {number}"));
                }
                rounds += 1;
            }
            socket.close().await.expect("it closes in order");
            Done {
                lane: "WebSocket",
                rounds,
            }
        });
    }

    /// An event stream that stays with this version.
    pub(super) async fn hold_events(&mut self, version: u64) {
        let events = Events::open(self.address, "/events?ms=100").await;
        let mut events = events.expect("it opens");
        assert_eq!(events.version, version);
        let mut stop = self.stop.subscribe();
        self.running.spawn(async move {
            let mut rounds = 0;
            while !*stop.borrow_and_update() {
                // The client counts them.
                events.next().await.expect("the next event");
                rounds += 1;
            }
            Done {
                lane: "events",
                rounds,
            }
        });
    }

    /// Fails if one of them has ended: none does by itself.
    pub(super) fn check(&mut self) {
        if let Some(ended) = self.running.try_join_next() {
            panic!("a lane ended: {ended:?}");
        }
    }

    /// Lets each finish its round.
    pub(super) async fn stop(self) -> Vec<Done> {
        self.stop.send_replace(true);
        self.running.join_all().await
    }
}

/// How often those of each kind went round in all.
///
/// # Panics
///
/// If one never did.
pub(super) fn summary(done: &[Done]) -> String {
    let mut kinds: BTreeMap<_, (usize, u64)> = BTreeMap::new();
    for Done { lane, rounds } in done {
        assert!(*rounds > 0, "{lane} did nothing: {done:?}");
        let (lanes, all) = kinds.entry(*lane).or_default();
        *lanes += 1;
        *all += rounds;
    }
    format!("{kinds:?}")
}

/// Does this over and over; how often.
async fn repeat(
    client: &Http2,
    every: Duration,
    mut stop: watch::Receiver<bool>,
    turn: impl AsyncFn(&Http2),
) -> u64 {
    let (mut ticks, mut rounds) = (interval(every), 0);
    while !has_stopped(&mut stop, ticks.tick()).await {
        turn(client).await;
        rounds += 1;
    }
    rounds
}

/// Waits for the next beat or the end, and says whether it is the end.
async fn has_stopped(stop: &mut watch::Receiver<bool>, beat: impl Future) -> bool {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => true,
        _ = beat => false,
    }
}

async fn get(client: &Http2) {
    let (status, text) = ask(client, "GET", "/", Bytes::new()).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.starts_with("hello from version "), "{text}");
}

async fn upload(client: &Http2) {
    let body = Bytes::from(vec![b'x'; UPLOAD]);
    let (status, text) = ask(client, "POST", "/upload", body).await;
    assert_eq!(status, 200, "{text}");
    let said: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(said["length"], UPLOAD, "{text}");
    // That of so many times `x`, by another hand.
    assert_eq!(said["crc32"], "dcc32aea", "{text}");
}

async fn download(client: &Http2) {
    let (status, text) = ask(client, "GET", "/stream?chunks=11&ms=100", Bytes::new()).await;
    assert_eq!(status, 200, "{text}");
    let version = text.split_whitespace().nth(1).unwrap_or_default();
    let lines: String = (0..11)
        .map(|index| format!("{index} {version}\n"))
        .collect();
    assert_eq!(text, lines);
}

async fn ask(client: &Http2, method: &str, path: &str, body: Bytes) -> (StatusCode, String) {
    let mut sender = client.sender.clone();
    sender.ready().await.expect("the connection is open");
    whole(
        sender
            .send_request(client.request(method, path, body))
            .await,
    )
    .await
}
