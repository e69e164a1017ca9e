//! One HTTP/1.1 connection of a client, and the answers that come over it.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::ANSWER_WITHIN;

/// One HTTP/1.1 connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<Result<(), hyper::Error>>,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) head_at: Instant,
}

/// Why there is no whole answer.
pub(super) enum NoAnswer {
    /// The server had closed the connection before anything was sent.
    Unsent,
    /// Nothing came.
    Broken(String),
    /// The body ended before its end.
    BrokenOff(HeaderMap, String),
}

// === impl Connection, Answer ===

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = timeout(ANSWER_WITHIN, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        Ok(Self {
            sender,
            driver: tokio::spawn(connection),
        })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.driver.is_finished()
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        if self.sender.ready().await.is_err() {
            return Err(NoAnswer::Unsent);
        }
        let answered = self.sender.try_send_request(request).await;
        let answer = answered.map_err(|mut error| match error.take_message() {
            Some(_) => NoAnswer::Unsent,
            None => NoAnswer::Broken(causes(error.error())),
        })?;
        let head_at = Instant::now();
        let (head, body) = answer.into_parts();
        match body.collect().await {
            Ok(body) => Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
                head_at,
            }),
            Err(error) => Err(NoAnswer::BrokenOff(head.headers, causes(&error))),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The error with its causes, for hyper's own words say little.
fn causes(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
