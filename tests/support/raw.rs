//! Bare sockets on both sides: an app of the test's own behind hitless, and clients that send bytes as they are.
//!
//! hitless starts a program that only waits, and the test listens in its place (`owner = false` lets it): so every byte
//! that goes upstream can be looked at.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::app::App;
use super::world::{Hitless, SOON};

/// How long a client waits for what must come.
const WAIT: Duration = Duration::from_secs(10);

/// A hitless whose app is a listening socket of the test.
pub async fn start(settings: &str) -> (Hitless, TcpListener) {
    let app = App::stand_in();
    let ready = "[app.app.ready]\ntcp = true\nowner = false";
    let mut hitless = Hitless::of(&app)
        .option("--threads", "1")
        .setting(settings)
        .setting(ready)
        .begin()
        .await;
    let listener = listen(port(&app).await);
    let live = |status: &super::status::Status| status.live(super::world::APP).is_some();
    hitless.wait_for("a generation is live", SOON, live).await;
    // The folder has told the port, and the app needs it no more.
    drop(app);
    (hitless, listener)
}

/// The port that the app was given, once it has been started.
async fn port(app: &App) -> u16 {
    let deadline = Instant::now() + SOON;
    let mut ticks = interval(Duration::from_millis(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok(text) = std::fs::read_to_string(app.folder().join("port")) {
            return text.trim().parse().expect("the program writes its port");
        }
        assert!(Instant::now() < deadline, "the app was not started");
    }
}

/// hitless keeps the port bound, so that nobody else gets it.
fn listen(port: u16) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("there are descriptors");
    socket.set_reuseaddr(true).expect("it is a TCP socket");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    socket.bind(address).expect("the port is kept for this app");
    socket.listen(64).expect("nobody else listens there")
}

/// A request as it came, in the strictest reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub line: String,
    /// Names as they came; values without the space around them, a character for each byte.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// The message that these bytes begin with and its length; none: it is not there to its end.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = find(bytes, b"\r\n\r\n")?;
        let head = latin(&bytes[..end]);
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields: Vec<_> = lines.map(field).collect();
        let mut at = end + 4;
        let (mut body, mut trailers) = (Vec::new(), Vec::new());
        if value(&fields, "transfer-encoding").is_some() {
            loop {
                let (size, next) = line_at(bytes, at)?;
                let size = usize::from_str_radix(&size, 16).expect("hitless writes plain sizes");
                at = next;
                if size == 0 {
                    break;
                }
                body.extend_from_slice(bytes.get(at..at + size)?);
                at += size + 2;
            }
            loop {
                let (trailer, next) = line_at(bytes, at)?;
                at = next;
                if trailer.is_empty() {
                    break;
                }
                trailers.push(field(&trailer));
            }
        } else if let Some(length) = value(&fields, "content-length") {
            let length: usize = length.parse().expect("hitless passes on plain lengths");
            body.extend_from_slice(bytes.get(at..at + length)?);
            at += length;
        }
        let message = Self {
            line,
            fields,
            body,
            trailers,
        };
        Some((message, at))
    }

    /// A field's first value.
    pub fn field(&self, name: &str) -> Option<&str> {
        value(&self.fields, name)
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

fn value<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    let mut same = fields
        .iter()
        .filter(|field| field.0.eq_ignore_ascii_case(name));
    same.next().map(|field| field.1.as_str())
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line
        .split_once(':')
        .unwrap_or_else(|| panic!("not a field: {line:?}"));
    (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
}

fn line_at(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let length = find(bytes.get(at..)?, b"\r\n")?;
    Some((latin(&bytes[at..at + length]), at + length + 2))
}

pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A character for each byte, so that nothing is lost or judged.
pub fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// A client that sends bytes as they are.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    /// From the status line to the empty one.
    pub head: String,
    pub body: Body,
}

/// How the body of an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Whole(Vec<u8>),
    /// The connection ended first.
    Broken,
}

/// How a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Closed,
    Open,
}

// === impl Raw ===

impl Raw {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Sends as much as the other side takes: it may have closed before the last byte.
    pub async fn send(&mut self, bytes: &[u8]) {
        drop(timeout(WAIT, self.stream.write_all(bytes)).await);
    }

    /// Says that nothing more comes.
    pub async fn finish(&mut self) {
        drop(self.stream.shutdown().await);
    }

    /// The next answer; none: the connection has ended without one. `is_head`: it has no body whatever its head says.
    pub async fn answer(&mut self, is_head: bool) -> Option<RawAnswer> {
        let head = loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                break self.take(end + 4);
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "half a head: {}", latin(&self.read));
                return None;
            }
        };
        let head = latin(&head);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no answer: {head}"));
        let body = if is_head || matches!(status, 100..=199 | 204 | 304) {
            Body::Whole(Vec::new())
        } else {
            self.body(&head.to_lowercase()).await
        };
        Some(RawAnswer { status, head, body })
    }

    async fn body(&mut self, head: &str) -> Body {
        if head.contains("\r\ntransfer-encoding: chunked") {
            return self.chunks().await;
        }
        let length = head.split_once("\r\ncontent-length: ").map(|(_, rest)| {
            let length = rest.split("\r\n").next().unwrap_or_default();
            length.parse::<usize>().expect("a length is a number")
        });
        match length {
            Some(length) => match self.exactly(length).await {
                Some(body) => Body::Whole(body),
                None => Body::Broken,
            },
            None => {
                while self.more().await {}
                Body::Whole(std::mem::take(&mut self.read))
            }
        }
    }

    async fn chunks(&mut self) -> Body {
        let mut body = Vec::new();
        loop {
            let Some(size) = self.line().await else {
                return Body::Broken;
            };
            let size = usize::from_str_radix(&size, 16).expect("hitless writes plain sizes");
            if size == 0 {
                break;
            }
            let Some(chunk) = self.exactly(size + 2).await else {
                return Body::Broken;
            };
            body.extend_from_slice(&chunk[..size]);
        }
        loop {
            match self.line().await {
                Some(line) if line.is_empty() => return Body::Whole(body),
                Some(_) => {}
                None => return Body::Broken,
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n") {
                let line = self.take(end + 2);
                return Some(latin(&line[..end]));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.read.len() < length {
            if !self.more().await {
                return None;
            }
        }
        Some(self.take(length))
    }

    /// Whether the other side has closed, or does within a moment.
    ///
    /// # Panics
    ///
    /// When something more has come or comes.
    pub async fn ends(&mut self, within: Duration) -> Ends {
        assert!(
            self.read.is_empty(),
            "something more: {}",
            latin(&self.read)
        );
        match timeout(within, self.stream.read_buf(&mut self.read)).await {
            Ok(Ok(0) | Err(_)) => Ends::Closed,
            Ok(Ok(_)) => panic!("something more: {}", latin(&self.read)),
            Err(_) => Ends::Open,
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.read.split_off(length);
        std::mem::replace(&mut self.read, rest)
    }

    /// A reset counts as an end.
    async fn more(&mut self) -> bool {
        let read = timeout(WAIT, self.stream.read_buf(&mut self.read)).await;
        let read = read.unwrap_or_else(|_| panic!("nothing came after {}", latin(&self.read)));
        read.is_ok_and(|length| length > 0)
    }
}
