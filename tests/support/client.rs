//! Clients: one connection, one request, or bytes as they are.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// How long a test waits for any single answer: longer than `hold.timeout`, shorter than `answer_timeout`.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(40);

pub type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// One HTTP/1.1 connection, kept alive as long as the server keeps it.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<RequestBody>,
    driver: JoinHandle<Result<(), hyper::Error>>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
    /// When its head was there.
    pub head_at: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The server had closed the connection before anything was sent.
    Unsent,
    /// It was sent, and this came of it.
    Broken(String),
}

/// A GET without further ado.
pub fn get(path: &str) -> Request<RequestBody> {
    request("GET", path, Bytes::new())
}

/// A request with a body of known length; none at all if it is empty.
pub fn request(method: &str, path: &str, body: Bytes) -> Request<RequestBody> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "app.example")
        .body(Full::new(body).boxed_unsync())
        .expect("tests write valid requests")
}

/// Sends one request on a connection of its own.
#[track_caller]
pub fn fetch(address: SocketAddr, request: Request<RequestBody>) -> impl Future<Output = Answer> {
    let shown = format!("{} {}", request.method(), request.uri());
    let caller = std::panic::Location::caller();
    async move {
        let mut connection = Connection::open(address)
            .await
            .unwrap_or_else(|error| panic!("{shown} at {caller}: connecting: {error}"));
        let answer = connection.send(request).await;
        answer.unwrap_or_else(|error| panic!("{shown} at {caller}: {error}"))
    }
}

/// A GET on a connection of its own.
#[track_caller]
pub fn fetch_path(address: SocketAddr, path: &str) -> impl Future<Output = Answer> + use<> {
    fetch(address, get(path))
}

/// Sends these bytes and reads until the server closes; what it said.
pub async fn exchange_bytes(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(bytes).await.expect("it reads");
    let mut answer = Vec::new();
    let read = timeout(ANSWER_WITHIN, stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match read {
        Ok(Ok(_)) => answer,
        Ok(Err(error)) => panic!("the connection broke ({error}) after {answer:?}"),
        Err(_) => panic!("the connection was not closed after {answer:?}"),
    }
}

// === impl Connection ===

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Self::over(stream).await
    }

    pub async fn open_unix(path: &Path) -> io::Result<Self> {
        Self::over(UnixStream::connect(path).await?).await
    }

    async fn over<S>(stream: S) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        Ok(Self {
            sender,
            driver: tokio::spawn(connection),
        })
    }

    /// Whether another request can be sent on it.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.driver.is_finished()
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    ///
    /// See [`NoAnswer`]; later than [`ANSWER_WITHIN`] is broken as well.
    pub async fn send(&mut self, request: Request<RequestBody>) -> Result<Answer, NoAnswer> {
        match timeout(ANSWER_WITHIN, self.send_patiently(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(NoAnswer::Broken(format!(
                "no whole answer in {ANSWER_WITHIN:?}"
            ))),
        }
    }

    async fn send_patiently(&mut self, request: Request<RequestBody>) -> Result<Answer, NoAnswer> {
        if self.sender.ready().await.is_err() {
            return Err(NoAnswer::Unsent);
        }
        let answered = self.sender.try_send_request(request).await;
        let answer = answered.map_err(|mut error| match error.take_message() {
            Some(_) => NoAnswer::Unsent,
            None => NoAnswer::broken("no answer", error.error()),
        })?;
        let head_at = Instant::now();
        let (head, body) = answer.into_parts();
        let collected = body.collect().await;
        let collected = collected.map_err(|error| {
            let part = format!("{} with a part of its body", head.status);
            NoAnswer::broken(&part, &error)
        })?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            trailers: collected.trailers().cloned(),
            body: collected.to_bytes(),
            head_at,
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

// === impl Answer ===

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let value = serde_json::from_slice(&self.body);
        value.unwrap_or_else(|error| panic!("not JSON ({error}): {self:#?}"))
    }

    /// A field's value; none if it is not there.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The version that answered.
    pub fn version(&self) -> Option<u64> {
        self.field("x-version")?.parse().ok()
    }

    /// Fails unless it has this status.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:#?}");
        self
    }
}

// === impl NoAnswer ===

impl NoAnswer {
    /// With the causes of the error, for hyper's own words say little.
    fn broken(what: &str, error: &hyper::Error) -> Self {
        let mut text = format!("{what}: {error}");
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Broken(text)
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent => f.write_str("the connection was closed before the request was sent"),
            Self::Broken(what) => f.write_str(what),
        }
    }
}
