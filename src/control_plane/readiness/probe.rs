//! One check of one address, and what came of it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Builder;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Config;
use crate::generation::{Address, AppProtocol};

/// How long the rest of an answer is read, so that the app sees no broken pipe.
const REST_MAX: Duration = Duration::from_millis(100);

/// What one look at an instance brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nothing has been tried yet.
    Connecting,
    /// Nothing listens there.
    Refused,
    /// No connection for another reason, in the system's words.
    Unreachable(Arc<str>),
    /// Something accepts connections.
    Connected,
    /// `READY=1` is waited for.
    AwaitingNotify,
    /// `READY=1` was said.
    Notified,
    /// Nothing came within this time.
    TimedOut(Duration),
    /// The connection ended without an answer, or the answer is no HTTP.
    Broken(Arc<str>),
    /// It answered with this status.
    Answered(u16),
    /// The check passed so many times in a row, of those that are wanted.
    Passed(u32, u32),
}

// === impl Probe ===

impl Probe {
    /// In words, as long as it is asked: what is refused now is not yet a fault.
    pub fn on_the_way(&self) -> String {
        match self {
            Self::Refused => "not listening yet".to_owned(),
            _ => self.to_string(),
        }
    }

    /// Whether it is the result of a check, and which; none: it is a step on the way to one.
    pub fn result(&self) -> Option<bool> {
        match self {
            Self::Passed(..) => Some(true),
            Self::TimedOut(_) | Self::Broken(_) | Self::Answered(_) => Some(false),
            Self::Connecting
            | Self::Refused
            | Self::Unreachable(_)
            | Self::Connected
            | Self::AwaitingNotify
            | Self::Notified => None,
        }
    }
}

/// A connection to an instance.
enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Asks once what the configuration asks for: the HTTP check, else a connection. Takes `config.timeout` at most.
/// `READY=1`, which is said once, is not asked for again.
///
/// # Errors
///
/// With what came instead.
///
/// # Cancel safety
///
/// Cancel safe: the connection is closed.
pub async fn check(config: &Config, address: &Address) -> Result<(), Probe> {
    ask(config, address).await.map(|_| ())
}

/// The same, with what came either way.
pub(super) async fn ask(config: &Config, address: &Address) -> Result<Probe, Probe> {
    let asked = async {
        let connection = open(address).await?;
        let Some(path) = &config.http else {
            return Ok(Probe::Connected);
        };
        let status = match connection {
            Connection::Tcp(stream) => get(stream, path, config).await,
            Connection::Unix(stream) => get(stream, path, config).await,
        }?;
        if config.status.iter().any(|range| range.contains(&status)) {
            Ok(Probe::Answered(status))
        } else {
            Err(Probe::Answered(status))
        }
    };
    within(config.timeout, asked).await
}

/// Connects once. On a unix socket the kernel says which process listens.
pub(super) async fn connect(address: &Address, limit: Duration) -> Result<Option<u32>, Probe> {
    within(limit, async {
        Ok(match open(address).await? {
            Connection::Tcp(_) => None,
            Connection::Unix(stream) => stream
                .peer_cred()
                .ok()
                .and_then(|peer| u32::try_from(peer.pid()?).ok()),
        })
    })
    .await
}

async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, Probe>>,
) -> Result<T, Probe> {
    timeout(limit, asked)
        .await
        .unwrap_or(Err(Probe::TimedOut(limit)))
}

async fn open(address: &Address) -> Result<Connection, Probe> {
    let opened = match address {
        Address::Tcp(address) => TcpStream::connect(address).await.and_then(|stream| {
            // A free port may be given to the very connection that looks for it, which then meets itself.
            if stream.local_addr()? == stream.peer_addr()? {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Ok(Connection::Tcp(stream))
        }),
        Address::Unix(path) => UnixStream::connect(path).await.map(Connection::Unix),
    };
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Probe::Refused,
        _ => Probe::Unreachable(error.to_string().into()),
    })
}

/// The status of the answer to one GET. No redirect is followed: the answer is what counts.
async fn get<IO>(io: IO, path: &str, config: &Config) -> Result<u16, Probe>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The connection ends with this function, whichever way it ends.
    let mut tasks = JoinSet::new();
    let answer = match config.protocol {
        AppProtocol::Http1 => {
            let request = request(path).header(HOST, &config.host);
            let request = request
                .header(CONNECTION, "close")
                .body(Empty::<Bytes>::new());
            let handshake = http1::handshake(TokioIo::new(io)).await;
            let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
            tasks.spawn(connection);
            sender
                .send_request(request.map_err(|error| broken(&error))?)
                .await
        }
        AppProtocol::H2c => {
            let request =
                request(&format!("http://{}{path}", config.host)).body(Empty::<Bytes>::new());
            let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await;
            let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
            tasks.spawn(connection);
            sender
                .send_request(request.map_err(|error| broken(&error))?)
                .await
        }
    };
    let answer = answer.map_err(|error| broken(&error))?;
    let status = answer.status().as_u16();
    // Whatever comes, the head has been judged.
    let _ = timeout(REST_MAX, read_rest(answer)).await;
    Ok(status)
}

fn request(target: &str) -> Builder {
    Request::get(target)
        .header(USER_AGENT, "hitless-probe")
        .header(ACCEPT, "*/*")
}

async fn read_rest(answer: Response<Incoming>) {
    let mut body = answer.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}

/// With the cause, which hyper keeps apart: `connection error: Connection reset by peer`.
fn broken(error: &dyn std::error::Error) -> Probe {
    let mut said = error.to_string();
    if let Some(source) = error.source() {
        said = format!("{said}: {source}");
    }
    Probe::Broken(said.into())
}

// === impl Probe ===

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Refused => f.write_str("connection refused: nothing listens there"),
            Self::Unreachable(error) => write!(f, "cannot connect: {error}"),
            Self::Connected => f.write_str("connected"),
            Self::AwaitingNotify => f.write_str("READY=1 has not been said on the notify socket"),
            Self::Notified => f.write_str("READY=1 was said"),
            Self::TimedOut(limit) => {
                write!(f, "no answer within {}", humantime::format_duration(*limit))
            }
            Self::Broken(error) => write!(f, "no answer: {error}"),
            Self::Answered(status) => write!(f, "answered {status}"),
            Self::Passed(times, of) => write!(f, "check passed ({times} of {of})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers one connection each with these words and returns what was asked.
    async fn server(answers: &[&str]) -> (Address, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let mut answers: VecDeque<String> = answers.iter().map(|it| (*it).to_owned()).collect();
        let task = tokio::spawn(async move {
            let mut asked = Vec::new();
            while let Some(answer) = answers.pop_front() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                asked.push(String::from_utf8_lossy(&head[..length]).to_lowercase());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (address, task)
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let redirect = "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n";
        let (address, asked) = server(&[redirect, redirect]).await;
        let config = Config::default();
        assert_eq!(ask(&config, &address).await, Ok(Probe::Answered(302)));
        let strict = Config {
            status: vec![200..=200],
            ..config
        };
        assert_eq!(check(&strict, &address).await, Err(Probe::Answered(302)));
        let asked = asked.await.unwrap();
        for head in &asked {
            assert!(head.starts_with("get / http/1.1\r\n"), "{head}");
            assert!(head.contains("host: localhost\r\n"), "{head}");
            assert!(head.contains("user-agent: hitless-probe\r\n"), "{head}");
        }
        assert_eq!(asked.len(), 2);
    }

    #[tokio::test]
    async fn an_app_of_http2_is_asked_in_its_words() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            let answer = Response::builder().status(204).body(()).unwrap();
            respond.send_response(answer, true).unwrap();
            while connection.accept().await.is_some() {}
            request
        });
        let config = Config {
            protocol: AppProtocol::H2c,
            http: Some("/health?full".to_owned()),
            ..Config::default()
        };
        assert_eq!(ask(&config, &address).await, Ok(Probe::Answered(204)));
        let request = server.await.unwrap();
        assert_eq!(request.uri(), "http://localhost/health?full");
        assert_eq!(request.headers()["user-agent"], "hitless-probe");
    }

    #[tokio::test]
    async fn no_answer_is_told_apart_from_a_bad_one() {
        let (address, _asked) = server(&["", "SSH-2.0-x\r\n"]).await;
        let config = Config::default();
        for _ in 0..2 {
            let answer = check(&config, &address).await;
            assert!(matches!(answer, Err(Probe::Broken(_))), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_silent_server_costs_the_timeout_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let limit = Duration::from_millis(50);
        let config = Config {
            timeout: limit,
            ..Config::default()
        };
        let answer = check(&config, &address).await.unwrap_err();
        assert_eq!(answer.to_string(), "no answer within 50ms");
        let tcp = Config {
            http: None,
            tcp: true,
            ..config
        };
        assert_eq!(check(&tcp, &address).await, Ok(()));
        drop(listener);
        assert_eq!(check(&tcp, &address).await, Err(Probe::Refused));
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_judged_by_its_head() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: x\n\n";
            stream.write_all(head).await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
        });
        assert_eq!(check(&Config::default(), &address).await, Ok(()));
        server.await.unwrap();
    }
}
