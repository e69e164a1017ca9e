//! The control socket: HTTP over a unix socket of mode 0600, and the only place from which anything can be changed.
//!
//! Answers for the same user and root alone. Holds no state: it asks [`Apps`] and passes on what it
//! is told.

pub mod client;
mod problem;
pub mod socket;

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tracing::{debug, warn};

use self::problem::Problem;
use super::apps::{Apps, Error};
use super::progress::Updates;
use super::status::TriggerSource;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Answers on the control socket until it is dropped.
///
/// # Errors
///
/// The listener cannot be registered with the runtime.
pub async fn serve(listener: StdListener, apps: Apps) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve_connection(stream, apps.clone()));
            }
            Err(error) => {
                warn!(%error, "the control socket cannot accept a connection");
                // Descriptors may have run out: what is open has to end first.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: UnixStream, apps: Apps) {
    if !is_trusted(&stream) {
        warn!("a connection of another user to the control socket was closed");
        return;
    }
    let service = service_fn(|request| {
        let apps = apps.clone();
        async move { Ok::<_, Infallible>(answer(request, &apps).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "a connection to the control socket ended early");
    }
}

/// The same user, or root.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn answer(request: Request<Incoming>, apps: &Apps) -> Answer {
    let path = request.uri().path().to_owned();
    let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let method = request.method();
    match segments.as_slice() {
        ["v1", "status"] => only(method, &Method::GET, || json(&apps.status())),
        ["v1", "reload"] if method == Method::POST => reload(None, request, apps).await,
        ["v1", "apps", app, "reload"] if method == Method::POST => {
            let app = (*app).to_owned();
            reload(Some(&app), request, apps).await
        }
        ["v1", "reload"] | ["v1", "apps", _, "reload"] => {
            Problem::method_not_allowed("POST").into_answer()
        }
        _ => Problem::not_found(&path).into_answer(),
    }
}

fn only(method: &Method, allowed: &Method, then: impl FnOnce() -> Answer) -> Answer {
    if method == allowed {
        then()
    } else {
        Problem::method_not_allowed(allowed.as_str()).into_answer()
    }
}

/// Answers with JSON lines, the last of which is the verdict.
async fn reload(app: Option<&str>, request: Request<Incoming>, apps: &Apps) -> Answer {
    if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
        return Problem::unknown_option(query).into_answer();
    }
    match apps.reload(app, TriggerSource::Command).await {
        Ok(updates) => Response::builder()
            .header(header::CONTENT_TYPE, "application/jsonl")
            .body(Lines(updates).boxed())
            .expect("the parts are valid"),
        Err(error @ Error::UnknownApp { .. }) => {
            Problem::unknown_app(&error.to_string()).into_answer()
        }
        Err(error @ Error::Configuration(_)) => {
            Problem::configuration(&error.to_string()).into_answer()
        }
    }
}

fn json(value: &impl Serialize) -> Answer {
    let mut body = serde_json::to_vec(value).expect("every key of a status is a string");
    body.push(b'\n');
    Response::builder()
        .status(StatusCode::OK)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body).boxed())
        .expect("the parts are valid")
}

/// The updates of a reload as a body, one JSON value a line.
struct Lines(Updates);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|update| {
            let mut line =
                serde_json::to_vec(&update?).expect("every key of an update is a string");
            line.push(b'\n');
            Some(Ok(Frame::data(line.into())))
        })
    }
}
