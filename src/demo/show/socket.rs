//! The WebSocket client of the show: the least of RFC 6455 that the app's echo needs.
//!
//! No extension, no fragmented message, no message above 125 bytes; whatever else comes is an error.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::websocket::{CLOSE, PING, PONG, TEXT, accept_key, base64};

/// The longest payload whose length stands in the second byte.
const PAYLOAD_BYTES_MAX: u8 = 125;

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket {
    stream: TokioIo<Upgraded>,
    version: u64,
}

/// What came instead of an echo.
#[derive(Debug)]
pub(super) enum Ended {
    /// The server asked to go, with this code.
    Closed(u16),
    /// Anything else.
    Broken(io::Error),
}

// === impl WebSocket ===

impl WebSocket {
    /// Opens one (RFC 6455 4.1).
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection.with_upgrades());
        let key = base64(&fastrand::u128(..).to_le_bytes());
        let request = Request::get("/ws")
            .header(header::HOST, address.to_string())
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", &key)
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let field = |name: &str| answer.headers().get(name)?.to_str().ok();
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let version = field("x-version").unwrap_or("none");
            let what = format!("{} of version {version}, not 101", answer.status());
            return Err(io::Error::other(what));
        }
        if field("sec-websocket-accept") != Some(&accept_key(key.as_bytes())) {
            return Err(io::Error::other("101 with another Sec-WebSocket-Accept"));
        }
        let version = field("x-version").and_then(|version| version.parse().ok());
        let version = version.ok_or_else(|| io::Error::other("101 of no version"))?;
        let upgraded = hyper::upgrade::on(answer).await.map_err(io::Error::other)?;
        Ok(Self {
            stream: TokioIo::new(upgraded),
            version,
        })
    }

    /// The version at its other end.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Sends a text and waits until it comes back after the version.
    pub(super) async fn echo(&mut self, text: &str) -> Result<(), Ended> {
        // A failed send is followed by the reason: the server's Close may be waiting to be read.
        let sent = self.write(TEXT, text.as_bytes()).await;
        let back = match (self.next().await, sent) {
            (Err(Ended::Broken(_)), Err(sent)) => return Err(Ended::Broken(sent)),
            (back, _) => back?,
        };
        let wanted = format!("{} {text}", self.version);
        if back == wanted.as_bytes() {
            Ok(())
        } else {
            let back = String::from_utf8_lossy(&back);
            let what = format!("{back:?} came back, not {wanted:?}");
            Err(Ended::Broken(io::Error::other(what)))
        }
    }

    /// Closes it from this side and waits for the server's Close.
    pub(super) async fn close(mut self) -> Result<(), Ended> {
        let normal = 1000_u16.to_be_bytes();
        self.write(CLOSE, &normal).await.map_err(Ended::Broken)?;
        match self.next().await {
            Err(Ended::Closed(_)) => Ok(()),
            Err(ended) => Err(ended),
            Ok(_) => Err(Ended::Broken(io::Error::other("a message, not a Close"))),
        }
    }

    /// The next text.
    async fn next(&mut self) -> Result<Vec<u8>, Ended> {
        loop {
            let (opcode, payload) = self.read().await.map_err(Ended::Broken)?;
            match opcode {
                TEXT => return Ok(payload),
                CLOSE => return Err(self.closed(&payload).await),
                PING => self.write(PONG, &payload).await.map_err(Ended::Broken)?,
                PONG => {}
                other => {
                    let what = format!("a frame of opcode {other}");
                    return Err(Ended::Broken(io::Error::other(what)));
                }
            }
        }
    }

    /// Answers the server's Close.
    async fn closed(&mut self, payload: &[u8]) -> Ended {
        // It has said why it goes: whether it still listens changes nothing.
        let _ = self.write(CLOSE, payload).await;
        Ended::Closed(match payload {
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            // RFC 6455 7.1.5: no status.
            _ => 1005,
        })
    }

    /// RFC 6455 5.2: a server's frames are not masked.
    async fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let [first, length] = [self.stream.read_u8().await?, self.stream.read_u8().await?];
        if first & 0xF0 != 0x80 || length > PAYLOAD_BYTES_MAX {
            return Err(io::Error::other("a frame that this client does not speak"));
        }
        let mut payload = vec![0; length.into()];
        self.stream.read_exact(&mut payload).await?;
        Ok((first & 0x0F, payload))
    }

    /// RFC 6455 5.3: a client's frames are.
    async fn write(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
        if length > PAYLOAD_BYTES_MAX {
            return Err(io::Error::other("a message that this client does not send"));
        }
        let mask = fastrand::u32(..).to_le_bytes();
        let mut frame = vec![0x80 | opcode, 0x80 | length];
        frame.extend(mask);
        let masked = payload.iter().zip(mask.iter().cycle());
        frame.extend(masked.map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }
}
