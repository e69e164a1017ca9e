//! Promise: another configuration is put in force as a whole while hitless serves, and nobody notices who is not meant;
//! one that is broken, or that the system refuses, changes nothing and is loud.

mod support;

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rustix::process::Signal;
use support::client::{Answer, Connection, fetch, fetch_path, get, request};
use support::program::{self, Ran};
use support::status::Status;
use support::steady::{Steady, Target};
use support::websocket::WebSocket;
use support::world::{Hitless, SOON};

/// Text of a configuration file.
#[derive(Clone, Debug, Default)]
struct File {
    globals: String,
    apps: String,
}

// === impl File ===

impl File {
    fn listening(addresses: &[&str]) -> Self {
        Self::default().global(&format!("listen = {addresses:?}"))
    }

    fn global(mut self, line: &str) -> Self {
        writeln!(self.globals, "{line}").expect("a String takes it");
        self
    }

    /// An app that says that it is this version.
    fn app(self, name: &str, version: &str, lines: &str) -> Self {
        self.app_with(name, &["--version", version], lines)
    }

    fn app_with(mut self, name: &str, options: &[&str], lines: &str) -> Self {
        let program = program::hitless().display().to_string();
        let command = [&[program.as_str(), "demo-app"], options].concat();
        // A JSON array of strings is a TOML array of strings.
        let command = serde_json::to_string(&command).expect("strings are JSON");
        write!(self.apps, "[app.{name}]\ncommand = {command}\n{lines}\n")
            .expect("a String takes it");
        self
    }

    fn text(&self) -> String {
        format!("{}{}", self.globals, self.apps)
    }

    async fn start(&self, apps: &[&str]) -> Hitless {
        let mut hitless = Hitless::with_file(&self.text()).begin().await;
        hitless.all_live(apps).await;
        hitless
    }
}

fn host(name: &str) -> String {
    format!("route = [{{ host = \"{name}.org\" }}]")
}

/// Where it listens, in the order of the file.
async fn listens(hitless: &Hitless) -> Vec<SocketAddr> {
    let status = hitless.status().await;
    let listen = status.0["listen"].as_array().cloned().unwrap_or_default();
    let listen = listen.iter().filter_map(|one| one.as_str());
    let tcp = listen.map(|address| address.parse().expect("it is a TCP address"));
    tcp.collect()
}

fn live(status: &Status, apps: &[&str]) -> Vec<Option<u64>> {
    apps.iter().map(|app| status.live(app)).collect()
}

fn names(status: &Status) -> Vec<String> {
    let apps = status.0["apps"].as_array().cloned().unwrap_or_default();
    let names = apps.iter().filter_map(|app| app["name"].as_str());
    names.map(ToOwned::to_owned).collect()
}

async fn fetch_from(address: SocketAddr, host: &str, path: &str) -> Answer {
    let mut request = get(path);
    let host = http::HeaderValue::from_str(host).expect("tests name valid hosts");
    request.headers_mut().insert(http::header::HOST, host);
    fetch(address, request).await
}

/// Waits until nobody listens there any more.
async fn is_closed(address: SocketAddr) {
    let deadline = tokio::time::Instant::now() + SOON;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "{address} listens");
        ticks.tick().await;
    }
}

async fn reload_changed(hitless: &Hitless) -> Ran {
    hitless.command(&["reload", "--changed", "--json"]).await
}

#[tokio::test]
async fn addresses_limits_and_one_of_three_apps_change_under_load() {
    let before = File::listening(&["127.0.0.1:0", "127.0.0.1:0"])
        .app("one", "1", &host("one"))
        .app("two", "1", &host("two"))
        .app("three", "1", &host("three"));
    let apps = ["one", "two", "three"];
    let hitless = before.start(&apps).await;
    let old = listens(&hitless).await;
    let target = |name: &str| Target::get(name, &format!("{name}.org"), "/", "hello from version");
    let load = Steady::start(old[0], &apps.map(target), 2, Duration::from_millis(15));
    load.answers(300).await;

    let after = File::listening(&["127.0.0.1:0", "[::1]:0"])
        .app("one", "2", &host("one"))
        .app(
            "two",
            "1",
            &format!("{}\nbody_bytes_max = \"10B\"", host("two")),
        )
        .app(
            "three",
            "1",
            &format!("{}\n[client]\nhead_bytes_max = \"8KiB\"", host("three")),
        );
    hitless.rewrite(&after.text());
    let ran = reload_changed(&hitless).await.expect_status(0, "reload");
    let told = &ran.json()[0];
    assert_eq!(told["event"], "configured", "{told}");
    let expected = ["listen", "client", "app.two (times and limits of requests)"];
    assert_eq!(told["in_force"], serde_json::json!(expected), "{told}");
    assert_eq!(told["apps"], serde_json::json!(["one"]), "{told}");
    load.answers(300).await;
    load.stop().await.expect_none_failed(&apps);

    let status = hitless.status().await;
    assert_eq!(
        live(&status, &apps),
        [Some(2), Some(1), Some(1)],
        "{status}"
    );
    let new = listens(&hitless).await;
    assert_eq!(new[0], old[0], "it stays");
    fetch_from(new[1], "one.org", "/").await.expect_status(200);
    is_closed(old[1]).await;
    // The limits of one app and of all clients.
    let mut large = request("POST", "/upload", vec![b'x'; 20].into());
    large
        .headers_mut()
        .insert("host", http::HeaderValue::from_static("two.org"));
    fetch(new[0], large).await.expect_status(413);
    let long = format!("/?{}", "x".repeat(9000));
    let refused = fetch_from(new[0], "three.org", &long).await;
    assert!(matches!(refused.status.as_u16(), 414 | 431), "{refused:?}");
}

#[tokio::test]
async fn a_connection_that_came_in_by_a_removed_address_ends_with_its_answer() {
    let before = File::listening(&["127.0.0.1:0", "127.0.0.1:0"]).app("web", "1", "");
    let hitless = before.start(&["web"]).await;
    let old = listens(&hitless).await[1];
    let mut idle = Connection::open(old).await.expect("it listens");
    idle.send(get("/")).await.expect("it answers");
    let mut busy = Connection::open(old).await.expect("it listens");
    let slow = tokio::spawn(async move {
        let answer = busy.send(get("/slow?ms=2500")).await;
        (answer.expect("it is answered"), busy)
    });
    hitless
        .metrics_until("hitless_http_requests_in_flight", "web", 1.0)
        .await;

    hitless.rewrite(&File::listening(&["127.0.0.1:0"]).app("web", "1", "").text());
    reload_changed(&hitless).await.expect_status(0, "reload");
    is_closed(old).await;
    let (answer, busy) = slow.await.expect("a client does not panic");
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.field("connection"), Some("close"), "{answer:?}");
    assert!(!busy.is_open());
    // The idle one was closed while the other one waited.
    assert!(idle.send(get("/")).await.is_err(), "it is closed");
    assert_eq!(hitless.status().await.live("web"), Some(1));
}

#[tokio::test]
async fn a_kept_connection_of_a_removed_address_is_told_to_close_with_its_next_answer() {
    // Time enough for a client to ask again.
    let globals = "[shutdown]\nidle = \"60s\"\n";
    let before = File::listening(&["127.0.0.1:0", "127.0.0.1:0"]).app("web", "1", globals);
    let hitless = before.start(&["web"]).await;
    let old = listens(&hitless).await[1];
    let mut kept = Connection::open(old).await.expect("it listens");
    let first = kept.send(get("/")).await.expect("it answers");
    assert_eq!(first.field("connection"), None, "{first:?}");

    let after = File::listening(&["127.0.0.1:0"]).app("web", "1", globals);
    hitless.rewrite(&after.text());
    reload_changed(&hitless).await.expect_status(0, "reload");
    is_closed(old).await;
    let last = kept.send(get("/")).await.expect("it is still answered");
    assert_eq!(last.status.as_u16(), 200);
    assert_eq!(last.field("connection"), Some("close"), "{last:?}");
}

#[tokio::test]
async fn a_websocket_that_came_in_by_a_removed_address_lives_on_to_its_end() {
    let before = File::listening(&["127.0.0.1:0", "127.0.0.1:0"]).app("web", "1", "");
    let hitless = before.start(&["web"]).await;
    let old = listens(&hitless).await[1];
    let mut socket = WebSocket::open(old).await.expect("it listens");
    socket.echo("before").await.expect("it talks");
    let mut idle = Connection::open(old).await.expect("it listens");
    idle.send(get("/")).await.expect("it answers");

    hitless.rewrite(&File::listening(&["127.0.0.1:0"]).app("web", "1", "").text());
    reload_changed(&hitless).await.expect_status(0, "reload");
    is_closed(old).await;
    let deadline = tokio::time::Instant::now() + SOON;
    while idle.is_open() {
        assert!(tokio::time::Instant::now() < deadline, "an idle one stays");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Those that do nothing are gone, and the one that talks goes on.
    for round in 0..10 {
        let text = format!("after {round}");
        assert!(
            socket
                .echo(&text)
                .await
                .is_ok_and(|echo| echo.contains(&text))
        );
    }
    socket.close().await.expect("it ends as it began: in order");
}

#[tokio::test]
async fn a_request_that_waits_for_an_app_that_is_removed_is_answered_at_once() {
    let lines = format!("{}\n[app.down.hold]\ntimeout = \"10m\"", host("down"));
    let web = File::listening(&["127.0.0.1:0"]).app("web", "1", &host("web"));
    let both = web
        .clone()
        .app_with("down", &["--die-at-start", "1"], &lines);
    let hitless = both.start(&["web"]).await;
    let address = hitless.address();
    let waiting = tokio::spawn(fetch_from(address, "down.org", "/"));
    hitless
        .metrics_until("hitless_held_requests", "down", 1.0)
        .await;

    hitless.rewrite(&web.text());
    reload_changed(&hitless).await.expect_status(0, "reload");
    let answer = tokio::time::timeout(SOON, waiting).await;
    let answer = answer.expect("at once").expect("a client does not panic");
    assert_eq!(answer.status.as_u16(), 503, "{answer:?}");
    assert!(answer.field("retry-after").is_some(), "{answer:?}");
    let status = answer.field("proxy-status").unwrap_or_default();
    assert!(status.contains("destination_unavailable"), "{status}");
    // Whoever asks now is told that there is nothing.
    fetch_from(address, "down.org", "/")
        .await
        .expect_status(404);
}

#[tokio::test]
async fn a_renamed_app_takes_over_once_it_is_live() {
    let before = File::listening(&["127.0.0.1:0"]).app("old", "1", "");
    let mut hitless = before.start(&["old"]).await;
    let pids = hitless.status().await.pids_in("old", "live");
    let target = Target::get("both", "any.org", "/", "hello from version");
    let load = Steady::start(hitless.address(), &[target], 2, Duration::from_millis(10));
    load.answers(100).await;

    let after = File::listening(&["127.0.0.1:0"]);
    let after = after.app_with("new", &["--version", "2", "--boot", "700ms"], "");
    hitless.rewrite(&after.text());
    let ran = hitless.command(&["reload", "--changed"]).await;
    let ran = ran.expect_status(0, "reload");
    assert!(ran.stderr.contains("new: new; gone: old"), "{ran:?}");
    // Told only once it is true.
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(2), "{answer:?}");
    load.answers(100).await;
    load.stop().await.expect_none_failed(&["both"]);
    assert_eq!(names(&hitless.status().await), ["new"]);
    let gone = |processes: &[support::processes::Process]| {
        !processes
            .iter()
            .any(|one| pids.contains(&i64::from(one.pid)))
    };
    let deadline = tokio::time::Instant::now() + SOON;
    while !gone(&hitless.processes()) {
        assert!(tokio::time::Instant::now() < deadline, "it is not stopped");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!hitless.metrics().await.0.contains("app=\"old\""));

    // An app that comes back uses no number twice.
    hitless.rewrite(&before.text());
    hitless
        .command(&["reload", "--changed"])
        .await
        .expect_status(0, "back");
    assert_eq!(hitless.get("/").await.expect_status(200).version(), Some(1));
    assert_eq!(hitless.status().await.live("old"), Some(2));
    assert_eq!(hitless.stop().await, 0);
}

#[tokio::test]
async fn a_new_app_that_is_broken_takes_nothing_from_what_serves() {
    let before = File::listening(&["127.0.0.1:0"]).app("old", "1", "");
    let hitless = before.start(&["old"]).await;
    let after = File::listening(&["127.0.0.1:0"]);
    let broken = after.clone().app_with("new", &["--die-at-start", "1"], "");
    hitless.rewrite(&broken.text());
    let ran = hitless
        .command(&["reload"])
        .await
        .expect_status(1, "broken");
    assert!(
        ran.stderr.contains("new: generation 1 did not go live"),
        "{ran:?}"
    );
    let told = "new: its routes are not in force until it is live";
    assert!(ran.stderr.contains(told), "{ran:?}");
    assert!(!ran.stderr.contains("what served before"), "{ran:?}");
    // And so it is when it is asked for by its name.
    let ran = hitless.command(&["reload", "new"]).await;
    assert!(ran.expect_status(1, "new").stderr.contains(told));
    let status = hitless.status().await;
    assert_eq!(
        status.0["configuration"]["awaited"],
        serde_json::json!(["new"])
    );
    assert_eq!(hitless.get("/").await.expect_status(200).version(), Some(1));
    let shown = hitless
        .command(&["status"])
        .await
        .expect_status(1, "status");
    assert!(shown.stdout.contains("waits for new"), "{shown:?}");

    // Mended, it takes over with the next reload.
    hitless.rewrite(&after.app("new", "2", "").text());
    hitless
        .command(&["reload", "--changed"])
        .await
        .expect_status(0, "mended");
    assert_eq!(hitless.get("/").await.expect_status(200).version(), Some(2));
    let status = hitless.status().await;
    assert_eq!(status.0["configuration"]["awaited"], serde_json::json!([]));
    assert_eq!(names(&status), ["new"]);
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_loud() {
    let before = File::listening(&["127.0.0.1:0"]).app("web", "1", "");
    let mut hitless = before.start(&["web"]).await;
    let broken = format!(
        "lisen = [\":80\"]\n{}",
        before.clone().app("api", "1", "comand = 1").text()
    );
    hitless.rewrite(&broken);
    let config = hitless.folder().join("hitless.toml").display().to_string();
    let check = program::run(
        program::hitless(),
        ["check", "--config", &config],
        &[],
        SOON,
    )
    .await;
    let check = check.expect_status(78, "check");
    let report = check
        .stderr
        .trim_end()
        .rsplit_once("\n\n")
        .expect("a report and a count")
        .0;
    for words in [
        &["reload"][..],
        &["reload", "--changed"],
        &["reload", "web"],
    ] {
        let ran = hitless.command(words).await.expect_status(78, "reload");
        assert!(
            ran.stderr.contains(report),
            "{} is not in {}",
            report,
            ran.stderr
        );
    }
    hitless.program().signal(Signal::HUP);
    hitless
        .program()
        .says(
            "the configuration is refused, and nothing was changed",
            SOON,
        )
        .await;
    let metrics = hitless.metrics_where(
        "hitless_config_reloads_total",
        &[("result", "failure")],
        4.0,
    );
    metrics.await;
    let status = hitless.status().await;
    assert_eq!(live(&status, &["web"]), [Some(1)]);
    let problem = status.0["configuration"]["refused"]["problem"]
        .as_str()
        .expect("it is told");
    assert_eq!(problem, report);
    let shown = hitless
        .command(&["status"])
        .await
        .expect_status(1, "status");
    assert!(shown.stdout.contains("did you mean `listen`?"), "{shown:?}");

    hitless.rewrite(&before.text());
    hitless
        .command(&["reload", "--changed"])
        .await
        .expect_status(0, "mended");
    hitless
        .command(&["status"])
        .await
        .expect_status(0, "status");
}

#[tokio::test]
async fn what_the_system_refuses_changes_nothing() {
    let before = File::listening(&["127.0.0.1:0"]).app("web", "1", "");
    let hitless = before.start(&["web"]).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("the system has a port");
    let address = taken.local_addr().expect("it listens").to_string();
    let after = File::listening(&["127.0.0.1:0", "[::1]:0", &address]).app("web", "2", "");
    hitless.rewrite(&after.text());
    let ran = hitless
        .command(&["reload"])
        .await
        .expect_status(1, "reload");
    assert!(!ran.stderr.contains("invalid"), "{ran:?}");
    assert!(ran.stderr.contains("could not be put in force"), "{ran:?}");
    let own = format!(
        "cannot listen on {address}: process {} (",
        std::process::id()
    );
    assert!(ran.stderr.contains(&own), "{ran:?}");
    let shown = hitless
        .command(&["status"])
        .await
        .expect_status(1, "status");
    assert!(shown.stdout.contains("Next: mend that"), "{shown:?}");
    let status = hitless.status().await;
    assert_eq!(
        (live(&status, &["web"]), listens(&hitless).await.len()),
        (vec![Some(1)], 1)
    );
    drop(taken);
    hitless
        .command(&["reload"])
        .await
        .expect_status(0, "reload");
    let after = listens(&hitless).await;
    assert_eq!(after.len(), 3);
    for address in after {
        assert_eq!(
            fetch_path(address, "/").await.expect_status(200).version(),
            Some(2)
        );
    }
}

#[tokio::test]
async fn an_address_can_grow_into_all_addresses_under_load() {
    let free = TcpListener::bind("127.0.0.1:0").expect("the system has a port");
    let port = free.local_addr().expect("it listens").port();
    drop(free);
    let narrow = format!("127.0.0.1:{port}");
    let before = File::listening(&[&narrow]).app("web", "1", "");
    let hitless = before.start(&["web"]).await;
    let target = Target::get("web", "any.org", "/", "hello from version");
    let load = Steady::start(hitless.address(), &[target], 2, Duration::from_millis(5));
    load.answers(100).await;
    for address in [format!("0.0.0.0:{port}"), narrow] {
        hitless.rewrite(&File::listening(&[&address]).app("web", "1", "").text());
        reload_changed(&hitless).await.expect_status(0, "reload");
        assert_eq!(
            listens(&hitless).await,
            [address.parse().expect("it is one")]
        );
        load.answers(100).await;
    }
    load.stop().await.expect_none_failed(&["web"]);
}

#[tokio::test]
async fn logs_admin_and_trust_change_in_place() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let log = |name: &str| folder.path().join(name);
    let file = |level: &str, name: &str, trusted: &str| {
        let access = log(name).display().to_string();
        File::listening(&["127.0.0.1:0"])
            .global("admin = \"127.0.0.1:0\"")
            .global(&format!("trusted_proxies = [{trusted}]"))
            .app("web", "1", "")
            .app("api", "1", "route = [{ path = \"/none\" }]")
            .text()
            + &format!(
                "[log]\nlevel = \"{level}\"\naccess = \"{access}\"\n[client]\nidle_timeout = \"70s\"\n"
            )
    };
    let text = file("warn", "one.log", "");
    let mut hitless = Hitless::with_file(&text).all_by_file().begin().await;
    hitless.all_live(&["web"]).await;
    let forwarded = async |hitless: &Hitless| {
        let mut request = get("/headers");
        request.headers_mut().insert(
            "x-forwarded-for",
            http::HeaderValue::from_static("192.0.2.7"),
        );
        fetch(hitless.address(), request)
            .await
            .expect_status(200)
            .text()
            .contains("192.0.2.7")
    };
    assert!(!forwarded(&hitless).await, "a stranger is not believed");

    let text = file("info", "two.log", "\"127.0.0.0/8\"")
        .replace("admin = \"127.0.0.1:0\"", "admin = \"[::1]:0\"");
    hitless.rewrite(&text);
    let old = hitless.admin();
    let ran = reload_changed(&hitless).await.expect_status(0, "reload");
    assert_eq!(ran.json()[0]["apps"], serde_json::json!([]), "{ran:?}");
    hitless
        .program()
        .says("the configuration has changed", SOON)
        .await;
    assert!(forwarded(&hitless).await, "now it is");
    let admin = hitless.status().await.admin();
    assert!(admin.is_ipv6(), "{admin}");
    is_closed(old).await;
    fetch_from(admin, "localhost", "/healthz")
        .await
        .expect_status(200);
    assert_eq!(hitless.stop().await, 0);
    let lines = |name: &str| std::fs::read_to_string(log(name)).expect("it is written");
    let (one, two) = (lines("one.log"), lines("two.log"));
    assert_eq!(
        (one.lines().count(), two.lines().count()),
        (1, 1),
        "{one}\n{two}"
    );
}

#[tokio::test]
async fn only_what_has_changed_is_started_anew() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let variables = folder.path().join("env");
    std::fs::write(&variables, "GREETING=a\n").expect("the folder can be written to");
    let with_file = format!("{}\nenv_file = {:?}", host("two"), variables);
    let file = |lines: &str| {
        File::listening(&["127.0.0.1:0"])
            .app("one", "1", &host("one"))
            .app("two", "1", &with_file)
            .text()
            + lines
    };
    let mut hitless = Hitless::with_file(&file("")).begin().await;
    let apps = ["one", "two"];
    hitless.all_live(&apps).await;
    let ran = hitless
        .command(&["reload", "--changed"])
        .await
        .expect_status(0, "nothing");
    assert!(
        ran.stderr
            .contains("nothing changed in place; no app is started anew"),
        "{ran:?}"
    );
    assert_eq!(live(&hitless.status().await, &apps), [Some(1), Some(1)]);

    std::fs::write(&variables, "GREETING=b\n").expect("the folder can be written to");
    hitless
        .command(&["reload", "--changed"])
        .await
        .expect_status(0, "variables");
    assert_eq!(live(&hitless.status().await, &apps), [Some(1), Some(2)]);

    // Times of draining need no start; the number of workers needs another hitless.
    hitless.rewrite(&format!(
        "threads = 7\n{}",
        file("[app.two.drain]\nstop_timeout = \"3s\"\n")
    ));
    let ran = hitless
        .command(&["reload", "--changed"])
        .await
        .expect_status(0, "times");
    assert!(
        ran.stderr.contains("needs a restart of hitless: threads"),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .contains("in force: app.two (times of generations)"),
        "{ran:?}"
    );
    let status = hitless.status().await;
    assert_eq!(live(&status, &apps), [Some(1), Some(2)]);
    assert_eq!(
        status.0["configuration"]["needs_restart"],
        serde_json::json!(["threads"])
    );

    // Without the option every app is, and by its name one.
    hitless
        .command(&["reload", "one"])
        .await
        .expect_status(0, "one");
    hitless.command(&["reload"]).await.expect_status(0, "all");
    assert_eq!(live(&hitless.status().await, &apps), [Some(3), Some(3)]);
    let unknown = hitless
        .command(&["reload", "onne"])
        .await
        .expect_status(2, "unknown");
    assert!(
        unknown.stderr.contains("there is no app onne"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn one_app_keeps_its_route_and_the_rest_of_the_file_is_told() {
    let before = File::listening(&["127.0.0.1:0"]).app("shop", "1", &host("shop"));
    let hitless = before.start(&["shop"]).await;
    let after = File::listening(&["127.0.0.1:0", "[::1]:0"])
        .app("shop", "2", &host("store"))
        .app("wiki", "1", &host("wiki"));
    hitless.rewrite(&after.text());
    // An app that is in the file alone.
    let ran = hitless
        .command(&["reload", "wiki"])
        .await
        .expect_status(2, "wiki");
    let told = "there is no app wiki; there is shop; the file has it: `hitless reload --changed` starts it";
    assert!(ran.stderr.contains(told), "{ran:?}");

    let ran = hitless
        .command(&["reload", "shop"])
        .await
        .expect_status(0, "shop");
    for told in [
        "started anew: shop",
        "the file also changes: listen, app.shop.route, app.wiki (new); not in force until `hitless reload --changed`",
    ] {
        assert!(ran.stderr.contains(told), "{ran:?}");
    }
    let address = hitless.address();
    let answer = fetch_from(address, "shop.org", "/").await;
    assert_eq!(answer.expect_status(200).version(), Some(2));
    fetch_from(address, "store.org", "/")
        .await
        .expect_status(404);
    assert_eq!(listens(&hitless).await.len(), 1);
    assert_eq!(names(&hitless.status().await), ["shop"]);

    let ran = hitless
        .command(&["reload", "--changed"])
        .await
        .expect_status(0, "changed");
    assert!(!ran.stderr.contains("also changes"), "{ran:?}");
    assert_eq!(names(&hitless.status().await), ["shop", "wiki"]);

    // One that the file speaks of no more goes on.
    hitless.rewrite(
        &File::listening(&["127.0.0.1:0"])
            .app("wiki", "1", "")
            .text(),
    );
    let ran = hitless
        .command(&["reload", "shop"])
        .await
        .expect_status(1, "gone");
    assert!(
        ran.stderr.contains("the file speaks of shop no more"),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("invalid"), "{ran:?}");
    fetch_from(address, "store.org", "/")
        .await
        .expect_status(200);
}

#[tokio::test]
async fn what_is_refused_is_a_value_for_whoever_asked_for_json() {
    let before = File::listening(&["127.0.0.1:0"]).app("web", "1", "");
    let hitless = before.start(&["web"]).await;
    hitless.rewrite(&format!("lisen = [\":80\"]\n{}", before.text()));
    let ran = hitless
        .command(&["reload", "--json"])
        .await
        .expect_status(78, "reload");
    let [refused] = &ran.json()[..] else {
        panic!("one line: {ran:?}");
    };
    assert_eq!(refused["event"], "refused", "{refused}");
    let told = refused["problem"].as_str().expect("it is a string");
    assert!(told.contains("did you mean `listen`?"), "{told}");
    assert!(ran.stderr.contains(told), "{ran:?}");
}
