//! The other end of the control socket: what the commands of a person ask a running hitless.

use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::LogLine;
use super::problem::Problem;
use crate::control_plane::apps::Status;
use crate::control_plane::driver::ReloadOptions;
use crate::control_plane::progress::Progress;
use crate::units;

/// One running hitless, by its control socket.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

/// What a running hitless says, line by line: about a reload unless it is something else.
#[derive(Debug)]
pub struct Lines<T = Progress> {
    body: Incoming,
    buffer: Vec<u8>,
    of: PhantomData<fn() -> T>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there.
    #[error("no hitless is running at {}: `hitless run` starts one", .0.display())]
    NotRunning(PathBuf),
    /// Something else is there.
    #[error(
        "{} is not a socket but a {what}: name the control socket of a running hitless, NAME.sock in its folder",
        path.display()
    )]
    NoSocket {
        /// Where it was looked for.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The socket is there and may not be used.
    #[error(
        "no permission to use {}: it belongs to another user; ask as that user, or as root",
        .0.display()
    )]
    Permission(PathBuf),
    /// The connection broke.
    #[error("the connection to hitless broke: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// hitless refuses, in its own words.
    #[error("{detail}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// Its words.
        detail: String,
    },
}

impl Client {
    /// The hitless that listens there.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// How it is now.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn status(&self) -> Result<Status, Error> {
        read_status(self.ask(Method::GET, "/v1/status").await?).await
    }

    /// Asks for a reload of one app or of all. To stop listening does not stop the reload.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn reload(&self, app: Option<&str>, options: ReloadOptions) -> Result<Lines, Error> {
        let mut query = Vec::new();
        if let Some(probation) = options.wish.probation {
            query.push(format!("probation={}", units::show_duration(probation)));
        }
        if let Some(addresses) = &options.wish.addresses {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            query.push(format!("addresses={}", encoded(&addresses.join(","))));
        }
        if options.only_changed {
            query.push("changed".to_owned());
        }
        if options.through_probation {
            query.push("through_probation".to_owned());
        }
        self.lines(&path(app, "reload", &query)).await
    }

    /// Asks one app or all to undo the newest reload.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn rollback(&self, app: Option<&str>) -> Result<Lines, Error> {
        self.lines(&path(app, "rollback", &[])).await
    }

    /// Asks one app or all to hold requests, for so long or until [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn pause(
        &self,
        app: Option<&str>,
        lasting: Option<Duration>,
    ) -> Result<Status, Error> {
        let query = lasting.map(|lasting| format!("for={}", units::show_duration(lasting)));
        let path = path(app, "pause", query.as_slice());
        read_status(self.ask(Method::POST, &path).await?).await
    }

    /// Asks one app or all to let requests go on.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn resume(&self, app: Option<&str>) -> Result<Status, Error> {
        let path = path(app, "resume", &[]);
        read_status(self.ask(Method::POST, &path).await?).await
    }

    async fn lines(&self, path: &str) -> Result<Lines, Error> {
        Ok(Lines::of(self.ask(Method::POST, path).await?))
    }

    /// The last lines that one app or all of them wrote, of one generation or all that are kept; `follow`: and those to
    /// come.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn logs(
        &self,
        app: Option<&str>,
        generation: Option<u64>,
        lines: u64,
        follow: bool,
    ) -> Result<Lines<LogLine>, Error> {
        let mut query = vec![format!("lines={lines}")];
        query.extend(generation.map(|generation| format!("generation={generation}")));
        query.extend(follow.then(|| "follow".to_owned()));
        let path = path(app, "logs", &query);
        Ok(Lines::of(self.ask(Method::GET, &path).await?))
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Response<Incoming>, Error> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|error| self.refused(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "hitless");
        let request = request.body(Empty::<Bytes>::new()).map_err(broken)?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(broken)?
            .to_bytes();
        let detail = serde_json::from_slice::<Problem>(&body)
            .map_or_else(|_| status.to_string(), |problem| problem.detail);
        Err(Error::Refused { status, detail })
    }

    fn refused(&self, error: io::Error) -> Error {
        let found = std::fs::metadata(&self.path).map(|found| found.file_type());
        if let Ok(found) = found
            && !found.is_socket()
        {
            let what = if found.is_dir() { "folder" } else { "file" };
            let path = self.path.clone();
            return Error::NoSocket { path, what };
        }
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Error::NotRunning(self.path.clone())
            }
            io::ErrorKind::PermissionDenied => Error::Permission(self.path.clone()),
            _ => broken(error),
        }
    }
}

impl<T: DeserializeOwned> Lines<T> {
    fn of(answer: Response<Incoming>) -> Self {
        Self {
            body: answer.into_body(),
            buffer: Vec::new(),
            of: PhantomData,
        }
    }

    /// The next line; none at the end.
    ///
    /// # Errors
    ///
    /// The connection broke, as it does when hitless is killed.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(broken);
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

fn path(app: Option<&str>, wish: &str, query: &[String]) -> String {
    let path = app.map_or_else(
        || format!("/v1/{wish}"),
        |app| format!("/v1/apps/{app}/{wish}"),
    );
    match query {
        [] => path,
        _ => format!("{path}?{}", query.join("&")),
    }
}

/// For a query: all but what needs no encoding there.
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:/,[]".contains(byte);
    let bytes = text.bytes().map(|byte| match plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    bytes.collect()
}

async fn read_status(answer: Response<Incoming>) -> Result<Status, Error> {
    let body = answer.into_body().collect().await.map_err(broken)?;
    serde_json::from_slice(&body.to_bytes()).map_err(broken)
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Broken(error.into())
}
