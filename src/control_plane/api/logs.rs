//! What the apps have written, as JSON lines: the last ones, and with `follow` those to come.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::Answer;
use super::options::Options;
use super::problem::Problem;
use crate::control_plane::apps::Apps;
use crate::control_plane::process::{Cursor, Journals, Line, Selection, Stream};
use crate::control_plane::status;
use crate::generation::{AppName, GenerationId};

/// How many lines are shown where nothing is said.
pub const LINES_DEFAULT: u64 = 200;

/// How many pieces wait for a reader; each has at most what is kept.
const PIECES_MAX: usize = 4;

/// One line of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read.
    #[serde(with = "status::seconds")]
    pub time: SystemTime,
    /// Whose it is.
    pub app: AppName,
    /// Which start of the app wrote it.
    pub generation: GenerationId,
    /// Which instance of the generation, from 1.
    pub instance: u32,
    /// Where it was written to.
    pub stream: Stream,
    /// Which line of its generation, from 1: a gap is what a slow reader missed.
    pub number: u64,
    /// What was written; what is not UTF-8 is replaced.
    pub text: Arc<str>,
}

/// Pieces of lines as a body.
struct Pieces(mpsc::Receiver<Bytes>);

/// Answers `GET …/logs`.
pub(super) fn answer(request: &Request<Incoming>, app: Option<&str>, apps: &Apps) -> Answer {
    if request.method() != Method::GET {
        return Problem::method_not_allowed("GET").into_answer();
    }
    let query = request.uri().query().unwrap_or_default();
    logs(app, query, apps).unwrap_or_else(Problem::into_answer)
}

fn logs(app: Option<&str>, query: &str, apps: &Apps) -> Result<Answer, Problem> {
    let mut options = Options::read(query)?;
    let generation = options.number("generation", 1..=u64::MAX)?;
    let lines = options.number("lines", 0..=u64::MAX)?;
    let follow = options.flag("follow")?;
    options.end(&["generation", "lines", "follow"])?;
    let (journals, selection) = apps.logs(app, generation.map(GenerationId::from))?;

    // Listening begins before reading, so that nothing is missed in between.
    let changes = journals.changes();
    let mut cursor = Cursor::default();
    let mut last = journals.read(&selection, &mut cursor);
    let wanted = usize::try_from(lines.unwrap_or(LINES_DEFAULT)).unwrap_or(usize::MAX);
    last.drain(..last.len().saturating_sub(wanted));
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    if !last.is_empty() {
        // The channel is new, so there is room.
        let _ = sender.try_send(json_lines(&last));
    }
    if follow {
        tokio::spawn(go_on(journals, selection, cursor, changes, sender));
    }
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, "application/jsonl")
        .body(Pieces(pieces).boxed())
        .expect("the parts are valid"))
}

/// Passes on what comes, until nothing can come any more or nobody listens.
async fn go_on(
    journals: Arc<Journals>,
    selection: Selection,
    mut cursor: Cursor,
    mut changes: watch::Receiver<()>,
    sender: mpsc::Sender<Bytes>,
) {
    loop {
        // Asked first: what comes between is read below.
        let is_over = journals.is_over(&selection);
        let new = journals.read(&selection, &mut cursor);
        if !new.is_empty() && sender.send(json_lines(&new)).await.is_err() {
            return;
        }
        if is_over {
            return;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
        }
    }
}

fn json_lines(lines: &[Line]) -> Bytes {
    let mut json = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut json, &LogLine::from(line))
            .expect("every key of a line is a string");
        json.push(b'\n');
    }
    json.into()
}

impl From<&Line> for LogLine {
    fn from(line: &Line) -> Self {
        Self {
            time: line.time,
            app: line.app.clone(),
            generation: line.generation,
            instance: line.instance,
            stream: line.stream,
            number: line.number,
            text: Arc::clone(&line.text),
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| Some(Ok(Frame::data(piece?))))
    }
}
