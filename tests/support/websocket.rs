//! A WebSocket client for the echo of the apps.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::client::ANSWER_WITHIN;

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    stream: WebSocketStream<TcpStream>,
    /// The fields of the answer to the handshake.
    pub headers: HeaderMap,
}

/// What came instead of an echo.
#[derive(Debug)]
pub enum Ended {
    /// The server asked to go, with this code.
    Closed(u16),
    /// Anything else.
    Broken(String),
}

// === impl WebSocket ===

impl WebSocket {
    /// # Errors
    ///
    /// Whatever keeps it from being open, in words.
    pub async fn open(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| format!("connecting: {error}"))?;
        Self::over(stream).await
    }

    /// On a connection that is there.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being open, in words.
    pub async fn over(stream: TcpStream) -> Result<Self, String> {
        let handshake = client_async("ws://app.example/ws", stream);
        match timeout(ANSWER_WITHIN, handshake).await {
            Ok(Ok((stream, answer))) => Ok(Self {
                stream,
                headers: answer.headers().clone(),
            }),
            Ok(Err(error)) => Err(format!("handshake: {error}")),
            Err(_) => Err("handshake: no answer".to_owned()),
        }
    }

    /// The version that answered the handshake.
    pub fn version(&self) -> Option<u64> {
        self.headers.get("x-version")?.to_str().ok()?.parse().ok()
    }

    /// Sends a text.
    ///
    /// # Errors
    ///
    /// Why it could not be written.
    pub async fn send(&mut self, text: &str) -> Result<(), String> {
        let sent = self.stream.send(Message::text(text)).await;
        sent.map_err(|error| error.to_string())
    }

    /// Sends a text and waits for what comes back.
    ///
    /// # Errors
    ///
    /// See [`Ended`].
    pub async fn echo(&mut self, text: &str) -> Result<String, Ended> {
        // A failed send is followed by the reason: the server's Close may be waiting to be read.
        let sent = self.stream.send(Message::text(text)).await;
        match (self.next().await, sent) {
            (Err(Ended::Broken(read)), Err(sent)) => Err(Ended::Broken(format!(
                "sending: {sent}, then reading: {read}"
            ))),
            (read, _) => read,
        }
    }

    /// The next text.
    ///
    /// # Errors
    ///
    /// See [`Ended`].
    pub async fn next(&mut self) -> Result<String, Ended> {
        loop {
            let message = match timeout(ANSWER_WITHIN, self.stream.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return Err(Ended::Broken(error.to_string())),
                Ok(None) => return Err(Ended::Broken("the end, without a Close".to_owned())),
                Err(_) => return Err(Ended::Broken("no answer".to_owned())),
            };
            match message {
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Close(frame) => return Err(self.closed(frame).await),
                Message::Binary(_) => return Err(Ended::Broken("a binary message".to_owned())),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Answers the server's Close (the library has queued the answer; the flush sends it).
    async fn closed(&mut self, frame: Option<CloseFrame>) -> Ended {
        drop(self.stream.flush().await);
        Ended::Closed(frame.map_or(1005, |frame| frame.code.into()))
    }

    /// Closes it from this side and waits for the server's Close.
    ///
    /// # Errors
    ///
    /// What came instead.
    pub async fn close(mut self) -> Result<(), Ended> {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let sent = self.stream.close(Some(frame)).await;
        sent.map_err(|error| Ended::Broken(format!("closing: {error}")))?;
        match self.next().await {
            Err(Ended::Closed(_)) => Ok(()),
            Err(ended) => Err(ended),
            Ok(text) => Err(Ended::Broken(format!("{text:?} instead of a Close"))),
        }
    }
}
