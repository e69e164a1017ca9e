//! Promise: what hitless answers by itself looks as the operator wants it, a mistake in a page is told before anybody
//! sees it, and no page ever stands in the way of what serves.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use support::app::{App, Fault, Release};
use support::client::{Answer, exchange_bytes, fetch, get, request};
use support::processes;
use support::program::{self, Ran};
use support::status::Status;
use support::world::{APP, Builder, Hitless, SOON};
use tempfile::TempDir;
use tokio::time::Instant;

const HTML: &str = "text/html, */*;q=0.5";
const JSON: &str = "application/problem+json";

/// A folder of pages.
struct Folder(TempDir);

impl Folder {
    fn new(pages: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().expect("the system has a temporary folder"));
        for (name, text) in pages {
            folder.put(name, text);
        }
        folder
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("the folder can be written to");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn setting(&self) -> String {
        format!(
            "[errors]\nfolder = {:?}",
            self.0.path().display().to_string()
        )
    }

    /// `hitless check` of a file with this folder.
    async fn check(&self) -> Ran {
        check(&format!(
            "{}\n[app.web]\ncommand = [\"./app\"]\n",
            self.setting()
        ))
        .await
    }
}

async fn check(text: &str) -> Ran {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let file = folder.path().join("hitless.toml");
    fs::write(&file, text).expect("the folder can be written to");
    let file = file.display().to_string();
    program::run(program::hitless(), ["check", "--config", &file], &[], SOON).await
}

/// In front of the built-in app, which is never waited for longer than a moment.
fn with_pages(app: &App, folder: &Folder) -> Builder {
    Hitless::of(app)
        .global("")
        .setting("answer_timeout = \"200ms\"")
        .setting("[app.app.drain]\ntimeout = \"1s\"")
        .setting("[app.app.hold]\nrequests = 0")
        .setting(&folder.setting())
}

/// Asks for something that the app is too slow for.
async fn late(hitless: &Hitless, accept: &str) -> Answer {
    ask(hitless, "/slow?ms=60000", accept)
        .await
        .expect_status(504)
}

async fn ask(hitless: &Hitless, path: &str, accept: &str) -> Answer {
    let mut request = get(path);
    let accept = accept.parse().expect("tests write valid fields");
    request.headers_mut().insert(http::header::ACCEPT, accept);
    fetch(hitless.address(), request).await
}

/// A request id that hitless has made: what stands after `marker`, to the end of the line.
#[track_caller]
fn id_after(text: &str, marker: &str) -> String {
    let (_, id) = text
        .split_once(marker)
        .unwrap_or_else(|| panic!("no {marker:?} in {text:?}"));
    let id = id.lines().next().unwrap_or_default().to_owned();
    assert!(
        id.len() >= 8 && !id.contains('{'),
        "no request id in {text:?}"
    );
    id
}

#[tokio::test]
async fn each_status_gets_its_own_page_or_that_of_its_class() {
    let app = App::demo();
    let folder = Folder::new(&[
        (
            "502.html",
            "<h1>broken</h1>\n{status} {reason} id={request_id}\n",
        ),
        (
            "5xx.html",
            "<style>b{color:red}</style>\n{status} {reason} id={request_id}\n",
        ),
        (
            "5xx.json",
            "{\"own\": true, \"status\": {status}, \"why\": \"{reason}\", \"id\": \"{request_id}\"}",
        ),
        ("4xx.html", "<p>yours: {status}</p>"),
    ]);
    let hitless = with_pages(&app, &folder).start().await;

    let answer = late(&hitless, HTML).await;
    let text = answer.text();
    assert_eq!(
        answer.field("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(
        answer.field("proxy-status"),
        Some("hitless; error=http_response_timeout")
    );
    assert!(
        text.starts_with("<style>b{color:red}</style>\n504 answer_timeout id="),
        "{text}"
    );
    let first = id_after(&text, "id=");
    let second = id_after(&late(&hitless, HTML).await.text(), "id=");
    assert_ne!(first, second, "each request has an id of its own");

    let answer = late(&hitless, JSON).await;
    let json = answer.json();
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!((&json["own"], &json["status"]), (&true.into(), &504.into()));
    assert_eq!(json["why"], "answer_timeout");
    assert!(
        json["id"].as_str().is_some_and(|id| id.len() >= 8),
        "{json}"
    );

    // Nothing of theirs is asked for here, or is there.
    let plain = late(&hitless, "*/*").await;
    assert!(
        plain.text().starts_with("504 Gateway Timeout\n"),
        "{plain:#?}"
    );
    let refused = exchange_bytes(hitless.address(), &two_hosts(HTML)).await;
    assert!(
        refused.starts_with("HTTP/1.1 400") && refused.ends_with("<p>yours: 400</p>"),
        "{refused}"
    );
    let refused = exchange_bytes(hitless.address(), &two_hosts(JSON)).await;
    assert!(
        refused.contains("\"reason\":\"bad_request\""),
        "the built-in one: {refused}"
    );

    // The app's own errors are the app's.
    let own = ask(&hitless, "/status?code=503", HTML)
        .await
        .expect_status(503);
    assert!(
        own.version() == Some(1) && !own.text().contains("id="),
        "{own:#?}"
    );
}

fn two_hosts(accept: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nAccept: {accept}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn an_app_that_dies_under_a_request_has_the_page_of_502() {
    let app = App::demo();
    let folder = Folder::new(&[
        (
            "502.html",
            "<h1>broken</h1>\n{status} {reason} id={request_id}\n",
        ),
        ("5xx.html", "not this one"),
    ]);
    let mut hitless = Hitless::of(&app).setting(&folder.setting()).start().await;
    let address = hitless.address();
    let served = served(&hitless).await;
    // One that must not be sent again.
    let mut request = request("POST", "/slow?ms=60000", bytes::Bytes::new());
    let accept = HTML.parse().expect("a valid field");
    request.headers_mut().insert(http::header::ACCEPT, accept);
    let asked = tokio::spawn(fetch(address, request));
    let busy = |status: &Status| status.0["apps"][0]["generations"][0]["requests"] == 1;
    let status = hitless
        .wait_for("the request is under way", SOON, busy)
        .await;
    until_the_app_has_it(&hitless, served).await;
    processes::send(status.live_pid(APP), Signal::KILL);
    let answer = asked.await.expect("asking does not panic");
    let answer = answer.expect_status(502);
    let text = answer.text();
    let wanted = "<h1>broken</h1>\n502 connection_lost id=";
    assert!(text.starts_with(wanted), "{text}");
    id_after(&text, "id=");
}

#[tokio::test]
async fn what_a_trusted_peer_calls_its_request_is_escaped() {
    let app = App::demo();
    let page = "<p title=\"{request_id}\">{status} {reason}</p>";
    let folder = Folder::new(&[
        ("4xx.html", page),
        (
            "413.json",
            "{\"id\": \"{request_id}\", \"why\": \"{reason}\"}",
        ),
    ]);
    let hitless = Hitless::of(&app)
        .global("trusted_proxies = [\"127.0.0.1\"]")
        .setting("body_bytes_max = \"1KiB\"")
        .setting(&folder.setting())
        .start()
        .await;
    let id = "\"><script>'&\\x";
    let upload = |accept: &'static str| {
        let mut request = request("POST", "/upload", bytes::Bytes::from(vec![b'x'; 2048]));
        let fields = request.headers_mut();
        fields.insert("x-request-id", id.parse().expect("visible ASCII"));
        fields.insert(http::header::ACCEPT, accept.parse().expect("a valid field"));
        fetch(hitless.address(), request)
    };
    let answer = upload(HTML).await.expect_status(413);
    let escaped = "&quot;&gt;&lt;script&gt;&#39;&amp;\\x";
    let wanted = format!("<p title=\"{escaped}\">413 body_too_large</p>");
    assert_eq!(answer.text(), wanted);
    let answer = upload(JSON).await.expect_status(413);
    assert_eq!(answer.json()["id"], id);
    assert_eq!(answer.json()["why"], "body_too_large");
}

/// How many requests the app has had, with this one.
async fn served(hitless: &Hitless) -> u64 {
    let answer = hitless.get("/").await.expect_status(200);
    let served = answer
        .field("x-served")
        .and_then(|count| count.parse().ok());
    served.expect("the built-in app counts")
}

/// Asks until the app has had one request more than it was asked here.
async fn until_the_app_has_it(hitless: &Hitless, before: u64) {
    let mut asked = before;
    let deadline = Instant::now() + SOON;
    loop {
        asked += 1;
        if served(hitless).await > asked {
            return;
        }
        assert!(Instant::now() < deadline, "the app never got the request");
    }
}

#[tokio::test]
async fn nothing_live_has_a_page_too() {
    let folder = Folder::new(&[
        ("503.html", "closed {reason}"),
        ("503.json", "[\"{reason}\"]"),
    ]);
    let app = App::demo();
    app.deploy(&Release::broken(1, Fault::NeverListens));
    let hitless = with_pages(&app, &folder).begin().await;
    let answer = ask(&hitless, "/", HTML).await.expect_status(503);
    assert_eq!(answer.text(), "closed hold_full");
    assert_eq!(answer.field("retry-after"), Some("1"));
    let answer = ask(&hitless, "/", JSON).await.expect_status(503);
    assert_eq!(answer.text(), "[\"hold_full\"]");
}

#[tokio::test]
async fn a_reload_and_a_hangup_take_new_pages() {
    let app = App::demo();
    let folder = Folder::new(&[("5xx.html", "one")]);
    let mut hitless = with_pages(&app, &folder).start().await;
    assert_eq!(late(&hitless, HTML).await.text(), "one");

    folder.put("5xx.html", "two");
    assert_eq!(
        late(&hitless, HTML).await.text(),
        "one",
        "not before the reload"
    );
    hitless.reload().await.expect_status(0, "a good reload");
    assert_eq!(late(&hitless, HTML).await.text(), "two");

    folder.put("504.html", "three {status}");
    hitless.reload_by_signal().await;
    assert_eq!(late(&hitless, HTML).await.text(), "three 504");

    fs::remove_file(folder.path("504.html")).expect("it is there");
    fs::remove_file(folder.path("5xx.html")).expect("it is there");
    hitless.reload().await.expect_status(0, "a good reload");
    assert!(
        late(&hitless, HTML)
            .await
            .text()
            .contains("<h1>Gateway Timeout</h1>")
    );
}

#[tokio::test]
async fn a_broken_page_changes_nothing_and_is_told() {
    let app = App::demo();
    let folder = Folder::new(&[("5xx.html", "good")]);
    let hitless = with_pages(&app, &folder).start().await;
    let before = hitless.status().await.live(APP);

    folder.put("5xx.html", "<h1>Sorry</h1>\n<p>It is {stauts}</p>\n");
    folder.put("502.html", "also new");
    let reload = hitless.reload().await;
    let reload = reload.expect_status(78, "a reload with a broken page");
    let place = format!(
        "{}:2:10: unknown placeholder {{stauts}}",
        folder.path("5xx.html").display()
    );
    assert!(reload.stderr.contains(&place), "{place}: {reload:#?}");
    assert!(
        reload.stderr.contains("did you mean {status}?"),
        "{reload:#?}"
    );
    assert_eq!(
        hitless.status().await.live(APP),
        before,
        "nothing was started"
    );
    assert_eq!(late(&hitless, HTML).await.text(), "good");

    let mut hitless = hitless;
    hitless.program().signal(Signal::HUP);
    hitless.program().says(&place, SOON).await;
    assert_eq!(late(&hitless, HTML).await.text(), "good");
    let failed = hitless.metrics().await;
    assert_eq!(
        failed.sum("hitless_config_reloads_total", &[("result", "failure")]),
        2.0
    );

    folder.put("5xx.html", "better");
    hitless.reload().await.expect_status(0, "a good reload");
    assert_eq!(late(&hitless, HTML).await.text(), "better");
}

#[tokio::test]
async fn hitless_does_not_start_with_a_broken_page() {
    let app = App::demo();
    let folder = Folder::new(&[("502.json", "{\"id\": {request_id}}")]);
    let mut hitless = with_pages(&app, &folder).spawn();
    let program = hitless.program();
    assert_eq!(program.ends(SOON).await, 78, "{}", program.output());
    let place = format!(
        "{}:1:8: the page is no JSON",
        folder.path("502.json").display()
    );
    program.says(&place, SOON).await;
}

#[tokio::test]
async fn check_tells_every_mistake_of_every_page() {
    let folder = Folder::new(&[
        ("50x.html", "text"),
        ("500.html", "<p>{status</p>"),
        ("502.html", ""),
        ("503.json", "{\"status\": {status},}"),
        ("5xx.html", "fine"),
        ("404.htm", "text"),
    ]);
    folder.put("504.html", b"caf\xe9");
    folder.put("4xx.html", vec![b'x'; (1 << 20) + 1]);
    fs::create_dir(folder.path("5xx.json")).expect("the folder can be written to");
    let checked = folder.check().await.expect_status(78, "check");
    let told = checked
        .stderr
        .replace(&folder.path("").display().to_string(), "F/");
    for expected in [
        "F/50x.html: 50x.html is no name of a page",
        "F/404.htm: 404.htm is no name of a page",
        "F/500.html:1:4: {status is not closed\n  |\n1 | <p>{status</p>\n  |    ^^^^^^^",
        "F/502.html:1:1: the page is empty",
        "F/503.json:1:21: the page is no JSON once it is filled in: trailing comma",
        "F/504.html:1:4: the page is not UTF-8",
        "F/4xx.html: the page is larger than 1MiB",
        "F/5xx.json: the page cannot be read: it is no file",
        "8 problems",
    ] {
        assert!(told.contains(expected), "no {expected:?} in:\n{told}");
    }
    assert!(
        !told.contains("5xx.html:"),
        "a good page is no problem:\n{told}"
    );
}

#[tokio::test]
async fn check_tells_of_a_folder_that_is_none() {
    let folder = Folder::new(&[]);
    folder.put("file", "text");
    for (path, why) in [("none", "No such file"), ("file", "Not a directory")] {
        let path = folder.path(path).display().to_string();
        let text = format!("[errors]\nfolder = {path:?}\n[app.web]\ncommand = [\"./app\"]\n");
        let checked = check(&text).await.expect_status(78, "check");
        let message = format!("hitless.toml:2:10: `errors.folder` {path} cannot be read: {why}");
        assert!(checked.stderr.contains(&message), "{message}: {checked:#?}");
    }
    fs::remove_file(folder.path("file")).expect("it is there");
    let checked = folder
        .check()
        .await
        .expect_status(0, "check of an empty folder");
    assert!(checked.stderr.contains("has no page in it"), "{checked:#?}");
}

#[tokio::test]
async fn the_pages_to_begin_with_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/errors");
    let text = format!("[errors]\nfolder = {folder:?}\n[app.web]\ncommand = [\"sh\"]\n");
    let checked = check(&text).await.expect_status(0, "check");
    assert_eq!(checked.stderr, "", "no warning either");
}
