//! The clients of the show: a steady mix of requests, each answer checked, each exchange told to the ledger.
//!
//! | what | how much |
//! | --- | --- |
//! | GETs on 5 kept connections | 50 a second |
//! | GETs on connections of their own | 30 a second |
//! | uploads of 100 KiB on 2 kept connections | 10 a second |
//! | answers that take 0.8 s on 8 kept connections | 9 a second |
//! | chunked downloads of about 2 s | two always, one of which begins each second |
//! | WebSockets that echo 10 messages a second | one all the time, one that is opened anew every 2 s |
//!
//! They have a thread of their own, so that what the show draws costs no client time. They know nothing of reloads.

mod connection;
mod websockets;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, timeout};

use self::connection::{Answer, Connection, NoAnswer};
use super::super::checksum::Crc32;
use super::ledger::{Exchange, How, Kind, Ledger, Trouble};

/// How long a client waits for a whole answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// How often a client tries again where its connection was closed before anything was sent.
const TRIES_MAX: usize = 3;

const UPLOAD_BYTES: usize = 100 * 1024;
const DOWNLOAD_CHUNKS: usize = 20;

/// How many messages the second WebSocket sends before it is opened anew.
const MESSAGES_SHORT: u64 = 20;

/// All clients, at work.
#[derive(Debug)]
pub(super) struct Clients {
    thread: JoinHandle<()>,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

/// What all lanes share.
#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    upload: Bytes,
    /// What the app must say of it.
    crc32: String,
}

/// Requests of one kind, one after the other.
struct Lane {
    shared: Arc<Shared>,
    kind: Kind,
    ticks: Interval,
    connection: Option<Connection>,
}

// === impl Clients ===

impl Clients {
    /// Starts all of them against this address, where the built-in app must be.
    ///
    /// # Errors
    ///
    /// The system refuses a thread or what a runtime needs.
    pub(super) fn start(address: SocketAddr, ledger: Arc<Ledger>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let (ending, ended) = oneshot::channel();
        let shared = Arc::new(Shared::new(address, ledger));
        let thread = thread::Builder::new()
            .name("demo-clients".to_owned())
            .spawn(move || {
                runtime.block_on(work(&shared, &stopped));
                drop(ending);
            })?;
        Ok(Self {
            thread,
            stop,
            ended,
        })
    }

    /// Lets each of them finish what it has under way.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        // Dropped when they have all ended: that is the news.
        let _ = self.ended.await;
        // It has nothing left to do; a panic was printed already.
        let _ = self.thread.join();
    }
}

async fn work(shared: &Arc<Shared>, stop: &watch::Receiver<bool>) {
    let mut lanes = JoinSet::new();
    let mix: [(Kind, u32, u64); 5] = [
        (Kind::Kept, 5, 100),
        (Kind::Fresh, 3, 100),
        (Kind::Upload, 2, 200),
        (Kind::Slow, 8, 900),
        // One begins every second, so that one has always begun a while ago.
        (Kind::Download, 2, 2000),
    ];
    for (kind, count, every) in mix {
        let every = Duration::from_millis(every);
        for lane in 0..count {
            // Their beats are spread evenly.
            let lane = Lane {
                shared: Arc::clone(shared),
                kind,
                ticks: ticks(Instant::now() + every * lane / count, every),
                connection: None,
            };
            lanes.spawn(lane.run(stop.clone()));
        }
    }
    for messages in [u64::MAX, MESSAGES_SHORT] {
        lanes.spawn(websockets::lane(Arc::clone(shared), stop.clone(), messages));
    }
    while lanes.join_next().await.is_some() {}
}

fn ticks(first: Instant, every: Duration) -> Interval {
    let mut ticks = tokio::time::interval_at(first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits for the next beat; false at the end.
async fn goes_on(ticks: &mut Interval, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        // An error says that nobody can stop it any more, which is the end as well.
        _ = stop.wait_for(|stop| *stop) => false,
        _ = ticks.tick() => true,
    }
}

// === impl Shared ===

impl Shared {
    fn new(address: SocketAddr, ledger: Arc<Ledger>) -> Self {
        let bytes = (0..UPLOAD_BYTES).map(|index| (index * 31 % 251).to_le_bytes()[0]);
        let upload: Bytes = bytes.collect();
        let mut checksum = Crc32::new();
        checksum.update(&upload);
        Self {
            address,
            ledger,
            crc32: format!("{:08x}", checksum.value()),
            upload,
        }
    }

    fn push(&self, kind: Kind, sent: Instant, version: Option<u64>, trouble: Option<Trouble>) {
        self.ledger.push(&Exchange {
            kind,
            sent,
            wait: trouble.is_none().then(|| sent.elapsed()),
            version,
            trouble,
        });
    }
}

// === impl Lane ===

impl Lane {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        while goes_on(&mut self.ticks, &mut stop).await {
            self.turn().await;
        }
        if let Some(connection) = &self.connection
            && !connection.is_open()
        {
            self.closed();
        }
    }

    /// One exchange, on the lane's connection if that is still open.
    async fn turn(&mut self) {
        for _ in 0..TRIES_MAX {
            let sent = Instant::now();
            let mut connection = match self.connection().await {
                Ok(connection) => connection,
                Err(error) => return self.no_answer(sent, format!("connecting: {error}")),
            };
            let answer = timeout(ANSWER_WITHIN, connection.send(self.request())).await;
            match answer {
                Ok(Ok(answer)) => return self.answered(connection, sent, &answer),
                Ok(Err(NoAnswer::Unsent)) => self.closed(),
                Ok(Err(NoAnswer::Broken(what))) => return self.no_answer(sent, what),
                Ok(Err(NoAnswer::BrokenOff(headers, what))) => {
                    let trouble = Trouble::new(How::BrokenOff, what);
                    return self
                        .shared
                        .push(self.kind, sent, version(&headers), Some(trouble));
                }
                Err(_) => return self.no_answer(sent, format!("no answer in {ANSWER_WITHIN:?}")),
            }
        }
        self.no_answer(Instant::now(), "closed again and again".to_owned());
    }

    async fn connection(&mut self) -> io::Result<Connection> {
        if let Some(connection) = self.connection.take() {
            if connection.is_open() {
                return Ok(connection);
            }
            self.closed();
        }
        Connection::open(self.shared.address).await
    }

    /// An upload's connection may go with the upload, which is told by itself; the others are to stay.
    fn closed(&self) {
        if matches!(self.kind, Kind::Kept | Kind::Slow) {
            self.shared.ledger.push_closed();
        }
    }

    fn no_answer(&self, sent: Instant, what: String) {
        let trouble = Trouble::new(How::NoAnswer, what);
        self.shared.push(self.kind, sent, None, Some(trouble));
    }

    fn answered(&mut self, connection: Connection, sent: Instant, answer: &Answer) {
        let app = answer
            .field("x-app-seconds")
            .and_then(|seconds| seconds.parse().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let waited = answer.head_at - sent;
        self.shared.ledger.push(&Exchange {
            kind: self.kind,
            sent,
            wait: Some(waited.saturating_sub(app.unwrap_or_default())),
            version: version(&answer.headers),
            trouble: self.check(answer),
        });
        let closes = answer
            .field("connection")
            .is_some_and(|value| value == "close");
        if closes {
            self.closed();
        } else if self.kind != Kind::Fresh {
            self.connection = Some(connection);
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let (method, path, body) = match self.kind {
            Kind::Upload => ("POST", "/upload".to_owned(), self.shared.upload.clone()),
            Kind::Slow => ("GET", "/slow?ms=800".to_owned(), Bytes::new()),
            Kind::Download => {
                let path = format!("/stream?chunks={DOWNLOAD_CHUNKS}&ms=100");
                ("GET", path, Bytes::new())
            }
            Kind::Kept | Kind::Fresh | Kind::WebSocket | Kind::Echo => {
                ("GET", "/".to_owned(), Bytes::new())
            }
        };
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.shared.address.to_string())
            .body(Full::new(body))
            .expect("its parts are valid")
    }

    /// What is wrong with a whole answer.
    fn check(&self, answer: &Answer) -> Option<Trouble> {
        let status = answer.status;
        let Some(version) = version(&answer.headers) else {
            // hitless's own words.
            let text = String::from_utf8_lossy(&answer.body);
            let text = text.lines().next().unwrap_or_default();
            return Some(Trouble::new(How::NoAnswer, format!("{status}: {text}")));
        };
        if status != StatusCode::OK {
            let what = format!("{status} of version {version}");
            return Some(Trouble::new(How::Refused, what));
        }
        let right = match self.kind {
            Kind::Upload => {
                serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok_and(|said| {
                    said["length"] == UPLOAD_BYTES && said["crc32"] == *self.shared.crc32
                })
            }
            Kind::Download => {
                let lines = (0..DOWNLOAD_CHUNKS).map(|index| format!("{index} {version}\n"));
                answer.body == lines.collect::<String>()
            }
            Kind::Kept | Kind::Fresh | Kind::Slow | Kind::WebSocket | Kind::Echo => {
                let greeting = format!("hello from version {version}, ");
                answer.body.starts_with(greeting.as_bytes())
            }
        };
        let what = || format!("a wrong body of version {version}");
        (!right).then(|| Trouble::new(How::Wrong, what()))
    }
}

fn version(headers: &HeaderMap) -> Option<u64> {
    headers.get("x-version")?.to_str().ok()?.parse().ok()
}
