//! What the app answers: each path a small promise that a client can check.
//!
//! | path | answer |
//! | --- | --- |
//! | `/` | a greeting that names version, generation and process |
//! | `/slow?ms=N` | the same after N ms |
//! | `/upload` | length and CRC-32 of the request's body |
//! | `/download?bytes=N` | N bytes, of announced length: the byte at I is `I * 31 % 251` |
//! | `/stream?chunks=N&ms=M` | N lines `INDEX VERSION`, M ms apart |
//! | `/events?ms=M` | an endless event stream, an event every M ms |
//! | `/headers` | the request's method, target, version and fields as JSON |
//! | `/trailers` | a body with the trailer `X-Checksum` |
//! | `/status?code=N` | status N |
//! | `/warm` | an app that is cold serves from then on |
//! | `/ws` | a WebSocket that sends each message back after its version |
//!
//! Every answer names version, generation, instance and process in its fields, in `X-App-Seconds` the time from the
//! request's head to the answer's, and in `X-Served` the how-manieth request of its process it was, probes included.

use std::cell::Cell;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::app::{Options, say};
use super::checksum::Crc32;
use super::websocket;

pub(super) type AnswerBody = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// How the app answers, from its options.
#[derive(Debug)]
pub(super) struct Routes {
    version: HeaderValue,
    version_text: String,
    generation: u64,
    probe_status: Option<StatusCode>,
    fail_traffic: Option<StatusCode>,
    fail_file: Option<PathBuf>,
    /// Whether /warm was asked for; always where that does not matter.
    warm: Cell<bool>,
    warm_status: StatusCode,
    hangs_from: Option<Instant>,
    closes_from: Option<Instant>,
    instance: u32,
    /// How many requests have come.
    served: Cell<u64>,
}

/// A body of numbered lines, one every so often.
struct Lines {
    ticks: Interval,
    next: u64,
    end: u64,
    line: Box<dyn Fn(u64) -> String + Send>,
}

// === impl Routes ===

impl Routes {
    pub(super) fn new(options: &Options) -> Self {
        let status =
            |code: u16| StatusCode::from_u16(code).expect("the option's range was checked");
        let faults = &options.faults;
        Self {
            version: HeaderValue::from_str(&options.version)
                .unwrap_or(HeaderValue::from_static("unprintable")),
            version_text: options.version.clone(),
            generation: options.generation,
            probe_status: options.probe_status.map(status),
            fail_traffic: faults.fail_traffic.map(status),
            fail_file: faults.fail_file.clone(),
            warm: Cell::new(!faults.cold),
            warm_status: status(faults.warm_status),
            hangs_from: faults.hangs_from(),
            closes_from: faults.closes_from(),
            instance: options.instance,
            served: Cell::new(0),
        }
    }

    /// Answers one request, unless the app hangs.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let began = Instant::now();
        let number = self.served.get() + 1;
        self.served.set(number);
        if self.hangs_from.is_some_and(|from| began >= from) {
            std::future::pending::<()>().await;
        }
        let mut answer = match self.fault(&request) {
            Some(status) => {
                // Read before it is answered, as frameworks do: an answer over an unread body may be lost with it.
                drop(request.into_body().collect().await);
                with_status(status, text(format!("{status}, as told\n")))
            }
            None => self.dispatch(request).await,
        };
        let seconds = format!("{:.6}", began.elapsed().as_secs_f64());
        let headers = answer.headers_mut();
        headers.insert("x-version", self.version.clone());
        headers.insert("x-generation", self.generation.into());
        headers.insert("x-instance", self.instance.into());
        headers.insert("x-pid", std::process::id().into());
        headers.insert("x-served", number.into());
        headers.insert(
            "x-app-seconds",
            HeaderValue::from_str(&seconds).expect("digits and a point are a field value"),
        );
        if self.closes_from.is_some_and(|from| Instant::now() >= from) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    fn fault(&self, request: &Request<Incoming>) -> Option<StatusCode> {
        let agent = request.headers().get(header::USER_AGENT);
        if agent.is_some_and(|agent| agent == "hitless-probe") {
            return self.probe_status;
        }
        if self.fail_file.as_ref().is_some_and(|file| file.exists()) {
            return Some(StatusCode::INTERNAL_SERVER_ERROR);
        }
        if !self.warm.get() && request.uri().path() != "/warm" {
            return Some(StatusCode::SERVICE_UNAVAILABLE);
        }
        self.fail_traffic
    }

    async fn dispatch(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        match request.uri().path() {
            "/" => text(self.greeting()),
            "/slow" => self.slow(&request).await,
            "/upload" => upload(request).await,
            "/download" => download(&request),
            "/stream" => self.stream(&request),
            "/events" => self.events(&request),
            "/headers" => headers(&request),
            "/trailers" => trailers(),
            "/status" => status(&request),
            "/warm" => {
                self.warm.set(true);
                with_status(self.warm_status, text("warm\n".into()))
            }
            "/ws" => websocket::accept(request, self.version_text.clone()),
            path => with_status(StatusCode::NOT_FOUND, text(format!("nothing at {path}\n"))),
        }
    }

    fn greeting(&self) -> String {
        format!(
            "hello from version {}, generation {}, process {}\n",
            self.version_text,
            self.generation,
            std::process::id()
        )
    }

    async fn slow(&self, request: &Request<Incoming>) -> Response<AnswerBody> {
        tokio::time::sleep(Duration::from_millis(number(request, "ms", 1500))).await;
        text(self.greeting())
    }

    fn stream(&self, request: &Request<Incoming>) -> Response<AnswerBody> {
        let version = self.version_text.clone();
        let lines = Lines::new(
            number(request, "ms", 100),
            number(request, "chunks", 10),
            move |index| format!("{index} {version}\n"),
        );
        with_type("text/plain; charset=utf-8", lines.boxed_unsync())
    }

    fn events(&self, request: &Request<Incoming>) -> Response<AnswerBody> {
        let version = self.version_text.clone();
        let lines = Lines::new(number(request, "ms", 100), u64::MAX, move |index| {
            format!("id: {index}\ndata: {version}\n\n")
        });
        with_type("text/event-stream", lines.boxed_unsync())
    }
}

fn download(request: &Request<Incoming>) -> Response<AnswerBody> {
    let body = Repeated::new(number(request, "bytes", 1 << 20));
    with_type("application/octet-stream", body.boxed_unsync())
}

async fn upload(request: Request<Incoming>) -> Response<AnswerBody> {
    let mut body = request.into_body();
    let (mut length, mut checksum) = (0, Crc32::new());
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                if let Some(data) = frame.data_ref() {
                    length += data.len();
                    checksum.update(data);
                }
            }
            Err(error) => {
                say(&format!(
                    "an upload broke off after {length} bytes: {error}"
                ));
                return with_status(StatusCode::BAD_REQUEST, text("broken off\n".into()));
            }
        }
    }
    let crc32 = format!("{:08x}", checksum.value());
    json(&serde_json::json!({ "length": length, "crc32": crc32 }))
}

fn headers(request: &Request<Incoming>) -> Response<AnswerBody> {
    let fields: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    json(&serde_json::json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "version": format!("{:?}", request.version()),
        "fields": fields,
    }))
}

/// RFC 9110 6.5: the field names are announced in `Trailer`.
fn trailers() -> Response<AnswerBody> {
    const TEXT: &[u8] = b"a body with a trailer\n";
    let mut checksum = Crc32::new();
    checksum.update(TEXT);
    let checksum = HeaderValue::from_str(&format!("{:08x}", checksum.value()))
        .expect("hexadecimal digits are a field value");
    let mut trailers = http::HeaderMap::new();
    trailers.insert(HeaderName::from_static("x-checksum"), checksum);
    let body =
        Full::new(Bytes::from_static(TEXT)).with_trailers(std::future::ready(Some(Ok(trailers))));
    // Of unknown length, so that it is chunked and has room for trailers.
    let mut answer = with_type("text/plain; charset=utf-8", Unsized(body).boxed_unsync());
    answer
        .headers_mut()
        .insert(header::TRAILER, HeaderValue::from_static("x-checksum"));
    answer
}

fn status(request: &Request<Incoming>) -> Response<AnswerBody> {
    let code = number(request, "code", 200);
    let known = u16::try_from(code)
        .ok()
        .filter(|code| (200..=599).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok());
    match known {
        Some(code @ (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)) => {
            with_status(code, Response::new(Full::default().boxed_unsync()))
        }
        Some(code) if request.method() == Method::HEAD => with_status(code, text(String::new())),
        Some(code) => with_status(code, text(format!("{code}\n"))),
        None => with_status(StatusCode::BAD_REQUEST, text("200 to 599\n".into())),
    }
}

// === impl Lines ===

impl Lines {
    fn new(every_ms: u64, end: u64, line: impl Fn(u64) -> String + Send + 'static) -> Self {
        let mut ticks = tokio::time::interval(Duration::from_millis(every_ms.max(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            next: 0,
            end,
            line: Box::new(line),
        }
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.next == self.end {
            return Poll::Ready(None);
        }
        ready!(self.ticks.poll_tick(context));
        let line = (self.line)(self.next);
        self.next += 1;
        Poll::Ready(Some(Ok(Frame::data(line.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.end
    }
}

/// The same block again and again.
struct Repeated {
    block: Bytes,
    left: u64,
}

impl Repeated {
    fn new(length: u64) -> Self {
        // As long as many periods, so that the next block goes on where this one ends.
        let block = (0..251_u32 * 256).map(|index| (index * 31 % 251).to_le_bytes()[0]);
        Self {
            block: block.collect(),
            left: length,
        }
    }
}

impl Body for Repeated {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let data = self.block.slice(..self.block.len().min(left));
        self.left -= data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A body that keeps its length to itself.
struct Unsized<B>(B);

impl<B: Body + Unpin> Body for Unsized<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }
}

/// The number that a query names; the default if it names none.
fn number(request: &Request<Incoming>, name: &str, default: u64) -> u64 {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(default)
}

pub(super) fn text(text: String) -> Response<AnswerBody> {
    with_type("text/plain; charset=utf-8", Full::from(text).boxed_unsync())
}

fn json(value: &serde_json::Value) -> Response<AnswerBody> {
    with_type(
        "application/json",
        Full::from(value.to_string()).boxed_unsync(),
    )
}

fn with_type(content_type: &'static str, body: AnswerBody) -> Response<AnswerBody> {
    let mut answer = Response::new(body);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

pub(super) fn with_status(
    status: StatusCode,
    mut answer: Response<AnswerBody>,
) -> Response<AnswerBody> {
    *answer.status_mut() = status;
    answer
}
