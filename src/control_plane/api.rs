//! The control socket: HTTP over a unix socket of mode 0600, and the only place from which anything can be changed.
//!
//! Answers for the same user and root alone. Holds no state: it asks [`Apps`] and passes on what it
//! is told.

pub mod client;
mod logs;
mod options;
mod problem;
pub mod socket;

pub use self::logs::{LINES_DEFAULT, LogLine};

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

use self::options::Options;
use self::problem::Problem;
use super::apps::Apps;
use super::driver::{ReloadOptions, Wish};
use super::progress::Updates;
use super::status::TriggerSource;
use crate::descriptors::{self, Reserve};

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Answers on the control socket until it is dropped, also while there is no descriptor but those of the reserve.
///
/// # Errors
///
/// The listener cannot be registered with the runtime.
pub async fn serve(listener: StdListener, apps: Apps, reserve: Reserve) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let mut loan = None;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (apps, loan) = (apps.clone(), loan.take());
                tokio::spawn(async move {
                    serve_connection(stream, apps).await;
                    drop(loan);
                });
            }
            Err(error) if descriptors::are_out(&error) && loan.is_none() && reserve.can_lend() => {
                loan = reserve.lend();
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
    let (app, deed) = match segments.as_slice() {
        ["v1", "status"] => return only(request.method(), &Method::GET, || json(&apps.status())),
        ["v1", "logs"] => return logs::answer(&request, None, apps),
        ["v1", "apps", app, "logs"] => return logs::answer(&request, Some(app), apps),
        ["v1", deed] => (None, Deed::named(deed)),
        ["v1", "apps", app, deed] => (Some(*app), Deed::named(deed)),
        _ => (None, None),
    };
    let Some(deed) = deed else {
        return Problem::not_found(&path).into_answer();
    };
    if request.method() != Method::POST {
        return Problem::method_not_allowed("POST").into_answer();
    }
    let query = request.uri().query().unwrap_or_default();
    let done = match deed {
        Deed::Reload => reload(app, query, apps).await,
        Deed::Rollback => rollback(app, query, apps).await,
        Deed::Pause => pause(app, query, apps).await,
        Deed::Resume => resume(app, query, apps).await,
    };
    done.unwrap_or_else(Problem::into_answer)
}

/// What can be asked of one app or of all.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Reload,
    Rollback,
    Pause,
    Resume,
}

impl Deed {
    fn named(word: &str) -> Option<Self> {
        Some(match word {
            "reload" => Self::Reload,
            "rollback" => Self::Rollback,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            _ => return None,
        })
    }
}

fn only(method: &Method, allowed: &Method, then: impl FnOnce() -> Answer) -> Answer {
    if method == allowed {
        then()
    } else {
        Problem::method_not_allowed(allowed.as_str()).into_answer()
    }
}

async fn reload(app: Option<&str>, query: &str, apps: &Apps) -> Result<Answer, Problem> {
    let mut options = Options::read(query)?;
    let addresses = options.addresses("addresses")?;
    if addresses.is_some() && app.is_none() {
        let detail = "?addresses is for one app: POST /v1/apps/{app}/reload?addresses=A,B";
        return Err(Problem::bad_option(detail));
    }
    let wanted = ReloadOptions {
        wish: Wish {
            probation: options.duration("probation")?,
            addresses,
        },
        through_probation: options.flag("through_probation")?,
        only_changed: options.flag("changed")?,
    };
    options.end(&["changed", "probation", "through_probation", "addresses"])?;
    Ok(lines(
        apps.reload(app, TriggerSource::Command, wanted).await?,
    ))
}

async fn rollback(app: Option<&str>, query: &str, apps: &Apps) -> Result<Answer, Problem> {
    Options::read(query)?.end(&[])?;
    Ok(lines(apps.rollback(app).await?))
}

async fn pause(app: Option<&str>, query: &str, apps: &Apps) -> Result<Answer, Problem> {
    let mut options = Options::read(query)?;
    let lasting = options.duration("for")?;
    options.end(&["for"])?;
    apps.pause(app, lasting).await?;
    Ok(json(&apps.status()))
}

async fn resume(app: Option<&str>, query: &str, apps: &Apps) -> Result<Answer, Problem> {
    Options::read(query)?.end(&[])?;
    apps.resume(app).await?;
    Ok(json(&apps.status()))
}

/// JSON lines, the last of which is the verdict.
fn lines(updates: Updates) -> Answer {
    Response::builder()
        .header(header::CONTENT_TYPE, "application/jsonl")
        .body(Lines(updates).boxed())
        .expect("the parts are valid")
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
