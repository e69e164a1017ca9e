//! Uploads and downloads of 50 MB, all checked, until they are told to stop.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::client::{RequestBody, request};
use super::http2::Http2;

pub const TRANSFER_BYTES: usize = 50_000_000;

/// How much a body is sent or read at a time.
const PART: usize = 64 * 1024;

/// How long one may take.
const WITHIN: Duration = Duration::from_secs(60);

/// What one client speaks.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    Http1,
    Http2,
}

/// Clients that transfer, on a thread of their own: what they compute is not to slow the others.
#[derive(Debug)]
pub struct Transfers {
    stop: watch::Sender<bool>,
    thread: thread::JoinHandle<Vec<usize>>,
}

/// One client: up and down in turn, on one connection.
struct Client {
    sender: Sender,
    bytes: Bytes,
    crc32: String,
    per_second: Option<u32>,
}

enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(Http2),
}

// === impl Transfers ===

impl Transfers {
    /// One client for each of these, with so many bytes a second each; none: as fast as it goes.
    pub fn start(address: SocketAddr, clients: &[Protocol], per_second: Option<u32>) -> Self {
        let (stop, stopping) = watch::channel(false);
        let clients = clients.to_vec();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let bytes = pattern();
            let crc32 = format!("{:08x}", crc32(&bytes));
            let one = |protocol| {
                let (bytes, crc32, stop) = (bytes.clone(), crc32.clone(), stopping.clone());
                async move {
                    let client = Client {
                        sender: Sender::open(protocol, address).await,
                        bytes,
                        crc32,
                        per_second,
                    };
                    client.run(stop).await
                }
            };
            let all = futures_util::future::join_all(clients.into_iter().map(one));
            runtime.expect("the system has room for it").block_on(all)
        });
        Self { stop, thread }
    }

    /// Lets each finish what it has under way; how many transfers each has made, all of them whole.
    pub async fn stop(self) -> Vec<usize> {
        self.stop.send_replace(true);
        let ended = tokio::task::spawn_blocking(|| self.thread.join()).await;
        ended
            .expect("it waits")
            .expect("every transfer is whole and right")
    }
}

// === impl Client ===

impl Client {
    async fn run(mut self, stop: watch::Receiver<bool>) -> usize {
        let mut count = 0;
        // Each way at least once.
        while count < 2 || !*stop.borrow() {
            let turn = async {
                match count % 2 {
                    0 => self.upload().await,
                    _ => self.download().await,
                }
            };
            timeout(WITHIN, turn).await.expect("it gets on");
            count += 1;
        }
        count
    }

    async fn upload(&mut self) {
        let (bytes, per_second) = (self.bytes.clone(), self.per_second);
        let began = Instant::now();
        let parts = stream::unfold(0, move |at| {
            let part = bytes.slice(at..(at + PART).min(bytes.len()));
            async move {
                if part.is_empty() {
                    return None;
                }
                pace(began, at, per_second).await;
                let next = at + part.len();
                Some((Ok(Frame::data(part)), next))
            }
        });
        let answer = self
            .send("POST", "/upload", StreamBody::new(parts).boxed_unsync())
            .await;
        let said = answer.into_body().collect().await.expect("it is whole");
        let said: serde_json::Value =
            serde_json::from_slice(&said.to_bytes()).expect("the app answers with JSON");
        assert_eq!(said["length"], TRANSFER_BYTES, "{said}");
        assert_eq!(said["crc32"], self.crc32, "{said}");
    }

    async fn download(&mut self) {
        let path = format!("/download?bytes={TRANSFER_BYTES}");
        let nothing = http_body_util::Empty::new().boxed_unsync();
        let mut body = self.send("GET", &path, nothing).await.into_body();
        let (began, mut at) = (Instant::now(), 0);
        while let Some(frame) = body.frame().await {
            let data = frame.expect("it is whole").into_data().unwrap_or_default();
            let wanted = self.bytes.get(at..at + data.len());
            assert!(wanted == Some(&data[..]), "other bytes from {at} on");
            at += data.len();
            pace(began, at, self.per_second).await;
        }
        assert_eq!(at, TRANSFER_BYTES, "cut short");
    }

    async fn send(&mut self, method: &str, path: &str, body: RequestBody) -> Response<Incoming> {
        let (mut head, _) = match &self.sender {
            Sender::Http1(_) => request(method, path, Bytes::new()),
            Sender::Http2(client) => client.request(method, path, Bytes::new()),
        }
        .into_parts();
        if method == "POST" {
            let length = HeaderValue::from(TRANSFER_BYTES);
            head.headers.insert(header::CONTENT_LENGTH, length);
        }
        let request = Request::from_parts(head, body);
        let answer = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.expect("the connection is kept");
                sender.send_request(request).await
            }
            Sender::Http2(client) => {
                client.sender.ready().await.expect("the connection is kept");
                client.sender.send_request(request).await
            }
        };
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer
    }
}

// === impl Sender ===

impl Sender {
    async fn open(protocol: Protocol, address: SocketAddr) -> Self {
        match protocol {
            Protocol::Http1 => {
                let stream = TcpStream::connect(address).await.expect("it listens");
                let (sender, connection) = http1::handshake(TokioIo::new(stream))
                    .await
                    .expect("nothing is sent yet");
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Protocol::Http2 => Self::Http2(Http2::open(address).await),
        }
    }
}

/// Waits until so many bytes are due.
async fn pace(began: Instant, bytes: usize, per_second: Option<u32>) {
    if let Some(per_second) = per_second {
        let due = Duration::from_secs_f64(bytes as f64 / f64::from(per_second));
        sleep_until(began + due).await;
    }
}

/// All bytes that are transferred: that at I is `I * 31 % 251`.
fn pattern() -> Bytes {
    let period: Vec<u8> = (0..251_u32)
        .map(|index| (index * 31 % 251).to_le_bytes()[0])
        .collect();
    let mut bytes = period.repeat(TRANSFER_BYTES / period.len() + 1);
    bytes.truncate(TRANSFER_BYTES);
    bytes.into()
}

/// CRC-32 a byte at a time.
fn crc32(bytes: &[u8]) -> u32 {
    let entry = |index: u32| {
        (0..8).fold(index, |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    };
    let table: Vec<u32> = (0..256).map(entry).collect();
    let step = |sum: u32, byte: &u8| (sum >> 8) ^ table[(sum as u8 ^ byte) as usize];
    !bytes.iter().fold(u32::MAX, step)
}
