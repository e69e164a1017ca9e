//! The mixed load: 200 requests a second of every kind, all checked, each recorded.
//!
//! | what | how much |
//! | --- | --- |
//! | GETs on 10 kept connections | 100 a second |
//! | GETs on connections of their own | 60 a second |
//! | uploads of 200 KiB on 4 kept connections | 20 a second |
//! | answers that take 1.5 s on 32 kept connections | 20 a second |
//! | chunked downloads of about 3 s | one always |
//! | WebSockets that echo | two always, 10 messages a second each |

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, timeout};

use super::client::{ANSWER_WITHIN, Answer, Connection, NoAnswer, RequestBody, get, request};
use super::record::{Exchange, Kind, Record};
use super::websocket::{Ended, WebSocket};

/// Requests a second of the whole mix.
pub const RATE: f64 = 200.0;

/// GETs a second, with or without the rest.
pub const GETS_RATE: f64 = 160.0;

const UPLOAD_BYTES: usize = 200 * 1024;
const DOWNLOAD_CHUNKS: usize = 30;

/// One load at a time in a test program: two would measure each other.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A load under way. Dropped, it breaks off; [`Load::stop`] ends it in order.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    lanes: JoinSet<()>,
    _alone: MutexGuard<'static, ()>,
}

/// What all lanes share.
#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    record: std::sync::Mutex<Record>,
    answers: watch::Sender<usize>,
    phase: watch::Sender<Phase>,
    connections: AtomicU64,
    upload: Upload,
}

/// What the lanes are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The server is to stop: a lane ends without complaint where it is refused or told `Connection: close`.
    ServerLeaves,
    Stopping,
}

/// The body of uploads and what the app must say of it.
#[derive(Debug)]
struct Upload {
    body: Bytes,
    crc32: String,
}

/// A lane of requests on one connection at a time.
struct Lane {
    shared: Arc<Shared>,
    kind: Kind,
    ticks: Interval,
    connection: Option<(u64, Connection)>,
}

/// Whether a lane goes on.
enum Turn {
    On,
    End,
}

// === impl Load ===

impl Load {
    /// The whole mix against this address. Needs the app's paths: the built-in or the Tornado app.
    pub async fn start(address: SocketAddr) -> Self {
        let mut load = Self::gets(address).await;
        load.add_lanes(Kind::Upload, 4, Duration::from_millis(200));
        load.add_lanes(Kind::Slow, 32, Duration::from_millis(1600));
        load.add_lanes(Kind::Download, 1, Duration::from_millis(1));
        for _ in 0..2 {
            load.lanes.spawn(websocket_lane(Arc::clone(&load.shared)));
        }
        load
    }

    /// The GETs of the mix alone: for apps that know one path, and say their version there.
    pub async fn gets(address: SocketAddr) -> Self {
        let alone = ALONE.lock().await;
        let shared = Arc::new(Shared {
            address,
            record: std::sync::Mutex::new(Record::new()),
            answers: watch::Sender::new(0),
            phase: watch::Sender::new(Phase::Running),
            connections: AtomicU64::new(0),
            upload: Upload::new(),
        });
        let mut load = Self {
            shared,
            lanes: JoinSet::new(),
            _alone: alone,
        };
        load.add_lanes(Kind::Kept, 10, Duration::from_millis(100));
        load.add_lanes(Kind::Fresh, 6, Duration::from_millis(100));
        load
    }

    /// Lanes of one kind, their beats spread evenly.
    fn add_lanes(&mut self, kind: Kind, lanes: u32, every: Duration) {
        for lane in 0..lanes {
            let first = Instant::now() + every * lane / lanes;
            let lane = Lane {
                shared: Arc::clone(&self.shared),
                kind,
                ticks: tokio::time::interval_at(first, every),
                connection: None,
            };
            self.lanes.spawn(lane.run());
        }
    }

    /// Waits for so many answers more; 200 are about a second.
    pub async fn answers(&self, count: usize) {
        let mut answers = self.shared.answers.subscribe();
        let enough = *answers.borrow() + count;
        let waited = timeout(ANSWER_WITHIN * 2, answers.wait_for(|now| *now >= enough)).await;
        assert!(
            waited.is_ok(),
            "{count} answers did not come: {}",
            self.shared.record()
        );
    }

    /// Does something to hitless and marks the time of it in the record.
    pub async fn during<T>(&self, what: &str, deed: impl Future<Output = T>) -> T {
        let from = Instant::now();
        let done = deed.await;
        self.shared.record().push_window(what, from);
        done
    }

    /// From now on the server may refuse connections and say `Connection: close`; what it has taken it must answer.
    pub fn expect_server_to_leave(&self) {
        self.shared.phase.send_replace(Phase::ServerLeaves);
    }

    /// Lets every lane finish what it has under way.
    pub async fn stop(self) -> Record {
        self.shared.phase.send_replace(Phase::Stopping);
        self.finished().await
    }

    /// Waits until every lane has ended by itself: for a server that leaves.
    pub async fn finished(mut self) -> Record {
        while let Some(lane) = self.lanes.join_next().await {
            lane.expect("a lane does not panic");
        }
        self.shared.record().clone()
    }
}

// === impl Shared ===

impl Shared {
    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, exchange: Exchange) {
        self.record().push(exchange);
        self.answers.send_modify(|count| *count += 1);
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The next beat, or the end.
    async fn next_turn(&self, ticks: &mut Interval) -> Turn {
        let mut phase = self.phase.subscribe();
        let stopping = phase.wait_for(|phase| *phase == Phase::Stopping);
        tokio::select! {
            biased;
            _ = stopping => Turn::End,
            _ = ticks.tick() => Turn::On,
        }
    }
}

// === impl Upload ===

impl Upload {
    fn new() -> Self {
        let bytes = (0..UPLOAD_BYTES).map(|index| (index * 31 % 251).to_le_bytes()[0]);
        let body: Bytes = bytes.collect();
        let crc32 = format!("{:08x}", crc32(&body));
        Self { body, crc32 }
    }
}

/// Bit by bit, apart from the app's own table, so that both cannot be wrong alike.
fn crc32(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            let shifted = sum >> 1;
            if sum & 1 == 1 {
                shifted ^ 0xEDB8_8320
            } else {
                shifted
            }
        })
    });
    !sum
}

// === impl Lane ===

impl Lane {
    async fn run(mut self) {
        while let Turn::On = self.shared.next_turn(&mut self.ticks).await {
            match self.turn().await {
                Turn::On => {}
                Turn::End => return,
            }
        }
        if let Some((number, connection)) = &self.connection
            && !connection.is_open()
        {
            self.shared
                .record()
                .push_closed(self.kind, *number, "found closed at the end");
        }
    }

    /// One exchange, on the lane's connection if that is still open.
    async fn turn(&mut self) -> Turn {
        let began = Instant::now();
        loop {
            let (number, mut connection) = match self.connection().await {
                Ok(connection) => connection,
                Err(error) => return self.refused(began, &error),
            };
            let sent = Instant::now();
            let answer = match connection.send(self.request()).await {
                Ok(answer) => answer,
                Err(NoAnswer::Unsent) => {
                    self.closed(number, "before a request was sent");
                    if self.shared.phase() == Phase::ServerLeaves {
                        return Turn::End;
                    }
                    continue;
                }
                Err(NoAnswer::Broken(error)) => {
                    self.push(number, sent, None, Err(error));
                    return Turn::On;
                }
            };
            return self.answered(number, connection, sent, &answer);
        }
    }

    async fn connection(&mut self) -> std::io::Result<(u64, Connection)> {
        if let Some((number, connection)) = self.connection.take() {
            if connection.is_open() {
                return Ok((number, connection));
            }
            self.closed(number, "while idle");
        }
        let number = self.shared.next_connection();
        let opened = timeout(ANSWER_WITHIN, Connection::open(self.shared.address)).await;
        let connection = opened.unwrap_or_else(|late| Err(late.into()))?;
        Ok((number, connection))
    }

    fn refused(&self, began: Instant, error: &std::io::Error) -> Turn {
        let leaves = self.shared.phase() == Phase::ServerLeaves;
        if leaves && error.kind() == std::io::ErrorKind::ConnectionRefused {
            return Turn::End;
        }
        self.push(0, began, None, Err(format!("connecting: {error}")));
        Turn::On
    }

    fn closed(&self, number: u64, how: &str) {
        if self.shared.phase() != Phase::ServerLeaves {
            self.shared.record().push_closed(self.kind, number, how);
        }
    }

    fn answered(
        &mut self,
        number: u64,
        connection: Connection,
        sent: Instant,
        answer: &Answer,
    ) -> Turn {
        self.push(number, sent, Some(answer), self.check(answer));
        let closes = answer
            .field("connection")
            .is_some_and(|value| value.contains("close"));
        if closes {
            self.closed(number, "announced by Connection: close");
            if self.shared.phase() == Phase::ServerLeaves {
                return Turn::End;
            }
        } else if self.kind != Kind::Fresh {
            self.connection = Some((number, connection));
        }
        Turn::On
    }

    fn push(
        &self,
        connection: u64,
        sent: Instant,
        answer: Option<&Answer>,
        outcome: Result<(), String>,
    ) {
        let app = answer
            .and_then(|answer| answer.field("x-app-seconds"))
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs_f64);
        self.shared.push(Exchange {
            kind: self.kind,
            connection,
            sent,
            answered: answer.map(|answer| answer.head_at),
            version: answer.and_then(Answer::version),
            app: app.filter(|_| self.kind != Kind::Download),
            outcome,
        });
    }

    fn request(&self) -> Request<RequestBody> {
        match self.kind {
            Kind::Upload => request("POST", "/upload", self.shared.upload.body.clone()),
            Kind::Slow => get("/slow?ms=1500"),
            Kind::Download => get(&format!("/stream?chunks={DOWNLOAD_CHUNKS}&ms=100")),
            Kind::Kept | Kind::Fresh | Kind::WebSocket | Kind::Echo => get("/"),
        }
    }

    /// Whether the answer is whole and right.
    fn check(&self, answer: &Answer) -> Result<(), String> {
        let status = answer.status.as_u16();
        let version = answer.version().filter(|_| status == 200).ok_or_else(|| {
            format!(
                "{status}, not 200 of a version: {:?} {:?}",
                answer.headers,
                answer.text()
            )
        })?;
        let right = match self.kind {
            Kind::Upload => {
                let said = answer.json();
                said["length"] == UPLOAD_BYTES && said["crc32"] == *self.shared.upload.crc32
            }
            Kind::Download => {
                let lines = (0..DOWNLOAD_CHUNKS).map(|index| format!("{index} {version}\n"));
                answer.text() == lines.collect::<String>()
            }
            Kind::Kept | Kind::Fresh | Kind::Slow | Kind::WebSocket | Kind::Echo => answer
                .text()
                .starts_with(&format!("hello from version {version}, ")),
        };
        if right {
            Ok(())
        } else {
            Err(format!(
                "a wrong body from version {version}: {:?}",
                answer.text()
            ))
        }
    }
}

/// A WebSocket that echoes all the time, opened again when it was asked to go.
async fn websocket_lane(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while let Turn::On = shared.next_turn(&mut ticks).await {
        let (number, sent) = (shared.next_connection(), Instant::now());
        let opened = WebSocket::open(shared.address).await;
        let leaves = shared.phase() == Phase::ServerLeaves;
        let version = opened.as_ref().ok().and_then(WebSocket::version);
        let (answered, outcome) = match &opened {
            // A server that leaves is free to refuse a new one in its own words.
            Err(_) if leaves => return,
            Err(error) => (None, Err(error.clone())),
            Ok(_) if version.is_none() => (Some(Instant::now()), Err("no version".to_owned())),
            Ok(_) => (Some(Instant::now()), Ok(())),
        };
        shared.push(Exchange {
            kind: Kind::WebSocket,
            connection: number,
            sent,
            answered,
            version,
            app: None,
            outcome,
        });
        if let (Ok(socket), Some(version)) = (opened, version) {
            echo_lane(&shared, &mut ticks, number, socket, version).await;
        }
    }
}

/// Echoes until the server asks to go, something breaks or the load stops.
async fn echo_lane(
    shared: &Shared,
    ticks: &mut Interval,
    connection: u64,
    mut socket: WebSocket,
    version: u64,
) {
    let push = |sent, outcome: Result<(), String>| {
        shared.push(Exchange {
            kind: Kind::Echo,
            connection,
            sent,
            answered: outcome.is_ok().then(Instant::now),
            version: None,
            app: None,
            outcome,
        });
    };
    for message in 0_u64.. {
        if let Turn::End = shared.next_turn(ticks).await {
            break;
        }
        let sent = Instant::now();
        match socket.echo(&message.to_string()).await {
            Ok(text) if text == format!("{version} {message}") => push(sent, Ok(())),
            Ok(text) => push(sent, Err(format!("{message} came back as {text:?}"))),
            // 1012: an old generation's streams are bounded; 1001: the server leaves.
            Err(Ended::Closed(1001 | 1012)) => return shared.record().push_farewell(),
            Err(ended) => return push(sent, Err(format!("{ended:?}"))),
        }
    }
    if let Err(ended) = socket.close().await {
        push(Instant::now(), Err(format!("closing: {ended:?}")));
    }
}
