//! Promise: in a browser WebSockets and event streams outlive reloads; and where they are to be closed, the browser is told
//! so that it can tell a reload from a fault, and comes back to the new version by itself.
//!
//! What runs in the browser is `tests/browser/page.html`.

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::app::real::on_path;
use support::app::{App, Release};
use support::program::Program;
use support::status::Status;
use support::world::{APP, Hitless, SOON};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

const PAGE: &str = include_str!("browser/page.html");

/// The page, and what it tells.
struct Page {
    address: SocketAddr,
    told: mpsc::UnboundedReceiver<Value>,
    /// Everything up to now.
    seen: Vec<Value>,
    _server: JoinSet<()>,
}

/// A browser that shows a page.
struct Browser {
    program: Program,
    _profile: TempDir,
}

// === impl Page ===

impl Page {
    async fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (tell, told) = mpsc::unbounded_channel();
        let mut server = JoinSet::new();
        server.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tell = tell.clone();
                let service = service_fn(move |request| answer(request, tell.clone()));
                // It ends with the browser, or with the check that only connects.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            address,
            told,
            seen: Vec::new(),
            _server: server,
        }
    }

    /// Waits until it tells this, and gives it back. A fault is none that is waited for.
    async fn tells(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let told = timeout(SOON * 2, async {
            loop {
                let told = self.told.recv().await.expect("the server is there");
                self.seen.push(told.clone());
                assert_ne!(told["what"], "fault", "{:#?}", self.seen);
                if told["what"] == what && wanted(&told) {
                    return told;
                }
            }
        });
        match told.await {
            Ok(told) => told,
            Err(_) => panic!("{what} was not told: {:#?}", self.seen),
        }
    }

    /// Waits for both streams to have come further, with this version.
    async fn goes_on_with(&mut self, version: u64) {
        for what in ["websocket", "events"] {
            let now = self.tells(what, |told| told["version"] == version).await;
            let further = |told: &Value| {
                told["version"] == version && told["count"].as_u64() > now["count"].as_u64()
            };
            self.tells(what, further).await;
        }
    }

    /// What it has told of this.
    fn has_told(&self, what: &str) -> Vec<&Value> {
        self.seen
            .iter()
            .filter(|told| told["what"] == what)
            .collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    tell: mpsc::UnboundedSender<Value>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST {
        let page = Response::new(Full::new(Bytes::from(PAGE)));
        let (mut head, body) = page.into_parts();
        let html = http::HeaderValue::from_static("text/html");
        head.headers.insert(http::header::CONTENT_TYPE, html);
        return Ok(Response::from_parts(head, body));
    }
    let body = request.into_body().collect().await;
    let body = body.expect("the browser sends all of it").to_bytes();
    let told = serde_json::from_slice(&body).expect("the page sends JSON");
    // The test may have its result.
    let _ = tell.send(told);
    Ok(Response::new(Full::default()))
}

// === impl Browser ===

impl Browser {
    /// Chromium without a window. Root needs `--no-sandbox`.
    fn show(url: &str) -> Self {
        let profile = tempfile::tempdir().expect("the system has a temporary folder");
        let data = format!("--user-data-dir={}", profile.path().display());
        let options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-breakpad",
            "--no-first-run",
            // Or it would show the page and go.
            "--remote-debugging-port=0",
        ];
        let words = options.into_iter().chain([data.as_str(), url]);
        Self {
            program: Program::start(&on_path("chromium"), words, &[]),
            _profile: profile,
        }
    }

    /// In order, so that it ends its own processes.
    async fn close(mut self) {
        self.program.signal(Signal::TERM);
        self.program.ends(SOON).await;
    }
}

/// The built-in app, and beside it the page of the test.
async fn start(app: &App, page: &Page, streams: &str) -> Hitless {
    let settings = format!(
        "route = [{{ path = \"/\" }}]\n[app.{APP}.failover]\nprobation = 0\n[app.{APP}.drain]\n\
         streams = \"{streams}\"\nclose_spread = \"500ms\"\n\
         [app.page]\naddresses = [\"{}\"]\nroute = [{{ path = \"/page\" }}]\n[app.page.ready]\ntcp = true",
        page.address
    );
    let mut hitless = Hitless::of(app).setting(&settings).start().await;
    hitless.all_live(&[APP, "page"]).await;
    hitless
}

/// A browser in which both streams are under way.
async fn browser(hitless: &Hitless, page: &mut Page) -> Browser {
    let browser = Browser::show(&format!("http://{}/page", hitless.address()));
    page.goes_on_with(1).await;
    browser
}

async fn reload(app: &App, hitless: &Hitless, version: u64) {
    app.deploy(&Release::good(version));
    let reload = hitless.command(&["reload", APP]);
    reload.await.expect_status(0, "a reload");
}

#[tokio::test]
#[ignore = "needs Chromium: run tests/run"]
async fn a_page_in_a_browser_keeps_its_streams_over_reloads() {
    let app = App::demo();
    let mut page = Page::serve().await;
    let hitless = start(&app, &page, "wait").await;
    let browser = browser(&hitless, &mut page).await;
    for version in 2..=4 {
        reload(&app, &hitless, version).await;
        page.goes_on_with(1).await;
    }
    let unrest = [page.has_told("closed"), page.has_told("interrupted")].concat();
    assert!(unrest.is_empty(), "{unrest:#?}");
    browser.close().await;
}

#[tokio::test]
#[ignore = "needs Chromium: run tests/run"]
async fn a_page_in_a_browser_comes_back_to_the_new_version_when_its_streams_are_closed() {
    let app = App::demo();
    let mut page = Page::serve().await;
    let mut hitless = start(&app, &page, "close").await;
    let browser = browser(&hitless, &mut page).await;
    reload(&app, &hitless, 2).await;
    let closed = page.tells("closed", |_| true).await;
    let expected = json!({"what": "closed", "version": 1, "code": 1012, "clean": true});
    assert_eq!(closed, expected);
    page.goes_on_with(2).await;
    assert_eq!(page.has_told("closed").len(), 1, "{:#?}", page.seen);
    assert_eq!(page.has_told("interrupted").len(), 1, "{:#?}", page.seen);
    let alone = |status: &Status| status.generations(APP) == 1;
    hitless.wait_for("the old one is gone", SOON, alone).await;
    browser.close().await;
}
