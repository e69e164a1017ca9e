//! A client of an event stream of the apps, as strict as a browser is lenient.

use std::net::SocketAddr;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::client::{ANSWER_WITHIN, get};

/// An open event stream.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    driver: JoinHandle<Result<(), hyper::Error>>,
    text: String,
    /// The number that the next event must have.
    next: u64,
    /// The version that answered.
    pub version: u64,
}

/// How an event stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// With a last chunk, between two events.
    Between,
    /// With a last chunk, and this of an event.
    Within(String),
    /// Without one.
    Broken(String),
}

// === impl Events ===

impl Events {
    /// # Errors
    ///
    /// Whatever keeps it from being open, in words.
    pub async fn open(address: SocketAddr, path: &str) -> Result<Self, String> {
        let opened = timeout(ANSWER_WITHIN, Self::open_patiently(address, path)).await;
        opened.map_err(|_| "no answer".to_owned())?
    }

    async fn open_patiently(address: SocketAddr, path: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| format!("connecting: {error}"))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(get(path)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let (head, body) = answer.into_parts();
        let version = head.headers.get("x-version");
        let version = version.and_then(|version| version.to_str().ok()?.parse().ok());
        match version {
            Some(version) if head.status == 200 => Ok(Self {
                body,
                driver,
                text: String::new(),
                next: 0,
                version,
            }),
            _ => Err(format!("{head:?}")),
        }
    }

    /// Waits for the next event, which must be the one that follows, of the same version.
    ///
    /// # Errors
    ///
    /// The end.
    pub async fn next(&mut self) -> Result<u64, StreamEnd> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let number = self.next;
                let expected = format!("id: {number}\ndata: {}", self.version);
                if event != expected {
                    return Err(StreamEnd::Broken(format!("{event:?}, not {expected:?}")));
                }
                self.text = rest.to_owned();
                self.next += 1;
                return Ok(number);
            }
            match timeout(ANSWER_WITHIN, self.body.frame()).await {
                Err(_) => return Err(StreamEnd::Broken("no event".to_owned())),
                Ok(Some(Err(error))) => return Err(StreamEnd::Broken(error.to_string())),
                Ok(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    self.text += std::str::from_utf8(&data).expect("the apps write ASCII");
                }
                Ok(None) if self.text.is_empty() => return Err(StreamEnd::Between),
                Ok(None) => return Err(StreamEnd::Within(self.text.clone())),
            }
        }
    }

    /// Reads events to the end, whatever it is.
    pub async fn end(&mut self) -> StreamEnd {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
