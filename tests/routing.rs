//! Promise: several apps behind one hitless are told apart by host and path, and what happens to one is nothing to the
//! others.

mod support;

use std::time::Duration;

use hitless::data_plane::route::{HostPattern, Route, Routes};
use http::{HeaderValue, header};
use support::app::{App, Release, section};
use support::client::{Answer, fetch, get};
use support::server::Server;
use support::steady::{Steady, Target};
use support::world::Hitless;
use tokio::time::Instant;

async fn ask(hitless: &Hitless, host: &str, path: &str) -> Answer {
    let mut request = get(path);
    let host = HeaderValue::from_str(host).expect("a test names valid hosts");
    request.headers_mut().insert(header::HOST, host);
    fetch(hitless.address(), request).await
}

const LISTEN: &str = "listen = [\"127.0.0.1:0\"]\n";

#[tokio::test]
async fn each_request_finds_its_app_and_nobody_else_s_generations_move() {
    let (web, api, blue) = (App::demo(), App::demo(), App::demo());
    let file = [
        LISTEN.to_owned(),
        section("web", &web, ""),
        section(
            "api",
            &api,
            r#"route = [{ host = "api.example.org" }, { path = "/api", strip_prefix = true }]"#,
        ),
        section(
            "blue",
            &blue,
            r#"route = [{ host = "*.blue.example.org" }]"#,
        ),
    ];
    let mut hitless = Hitless::with_file(&file.concat()).begin().await;
    hitless.all_live(&["web", "api", "blue"]).await;
    for (name, app) in [("web", &web), ("api", &api), ("blue", &blue)] {
        // Their versions tell them apart.
        let version = match name {
            "web" => 10,
            "api" => 20,
            _ => 30,
        };
        app.deploy(&Release::good(version));
        let before = hitless.status().await;
        let ran = hitless.command(&["reload", name]).await;
        ran.expect_status(0, "a reload of one app");
        let after = hitless.status().await;
        for other in ["web", "api", "blue"] {
            let moved = before.live(other) != after.live(other);
            assert_eq!(moved, other == name, "{after}");
        }
    }
    let version = async |host, path| ask(&hitless, host, path).await.version();
    assert_eq!(version("example.org", "/").await, Some(10));
    assert_eq!(version("example.org", "/apis").await, Some(10));
    assert_eq!(version("API.example.org:8080", "/").await, Some(20));
    assert_eq!(
        version("example.org", "/api/status?code=200").await,
        Some(20)
    );
    assert_eq!(version("a.b.blue.example.org", "/").await, Some(30));
    let seen = ask(&hitless, "example.org", "/api/headers?a=/api").await;
    assert_eq!(seen.json()["target"], "/headers?a=/api");
    let whole = ask(&hitless, "api.example.org", "/headers").await;
    assert_eq!(whole.json()["target"], "/headers");

    let metrics = hitless.metrics().await;
    let count = |app| metrics.sum("hitless_http_requests_total", &[("app", app)]);
    assert_eq!((count("web"), count("api"), count("blue")), (2.0, 4.0, 1.0));
}

#[tokio::test]
async fn what_no_app_is_there_for_is_a_404_with_its_reason() {
    let app = App::demo();
    let file = format!(
        "{LISTEN}{}",
        section("web", &app, r#"route = [{ host = "a.org", path = "/x" }]"#)
    );
    let mut hitless = Hitless::with_file(&file).begin().await;
    hitless.all_live(&["web"]).await;
    ask(&hitless, "a.org", "/x").await.expect_status(404);
    for (host, path) in [("b.org", "/x"), ("a.org", "/xy"), ("a.org", "/")] {
        let answer = ask(&hitless, host, path).await.expect_status(404);
        let said = answer.field("proxy-status");
        assert_eq!(
            said,
            Some("hitless; error=destination_not_found"),
            "{answer:?}"
        );
        assert!(answer.text().contains("no_route"), "{answer:?}");
    }
    let broken = support::client::exchange_bytes(
        hitless.address(),
        b"GET / HTTP/1.1\r\nhost: b.org\r\nhost: a.org\r\n\r\n",
    )
    .await;
    assert!(broken.starts_with("HTTP/1.1 400 "), "{broken}");
    let metrics = hitless.metrics().await;
    let counted = metrics.sum(
        "hitless_answers_total",
        &[("app", "-"), ("reason", "no_route")],
    );
    assert_eq!(counted, 3.0, "{}", metrics.0);
    let own = metrics.sum("hitless_http_requests_total", &[("app", "web")]);
    assert_eq!(own, 1.0, "{}", metrics.0);
}

/// One load on all, and each of these apps reloaded in turn: nobody notices, and the others stay where they are.
async fn reloads_in_turn(hitless: &mut Hitless, targets: &[Target], apps: &[(&str, Option<&App>)]) {
    let names: Vec<_> = apps.iter().map(|(name, _)| *name).collect();
    hitless.all_live(&names).await;
    let load = Steady::start(hitless.address(), targets, 3, Duration::from_millis(50));
    for round in 2..5 {
        for (name, app) in apps {
            load.answers(50).await;
            if let Some(app) = app {
                app.deploy(&Release::good(round));
            }
            let before = hitless.status().await;
            let ran = hitless.command(&["reload", name]).await;
            ran.expect_status(0, name);
            let after = hitless.status().await;
            for other in &names {
                let moved = before.live(other) != after.live(other);
                assert_eq!(moved, other == name, "{name} was reloaded: {after}");
            }
        }
    }
    load.answers(50).await;
    load.stop().await.expect_none_failed(&names);
}

#[tokio::test]
async fn reloads_in_turn_under_load_are_not_noticed() {
    let (web, api) = (App::demo(), App::demo());
    let somebody_elses = Server::start(7).await;
    let file = [
        LISTEN.to_owned(),
        section("web", &web, ""),
        section(
            "api",
            &api,
            r#"route = [{ path = "/api", strip_prefix = true }]"#,
        ),
        format!(
            "[app.else]\naddresses = [\"{}\"]\nroute = [{{ host = \"else.org\" }}]\n",
            somebody_elses.address
        ),
    ];
    let mut hitless = Hitless::with_file(&file.concat()).begin().await;
    let targets = [
        Target::get("web", "example.org", "/", "hello from version"),
        Target::get(
            "api",
            "example.org",
            "/api/slow?ms=300",
            "hello from version",
        ),
        Target::get("else", "else.org", "/", "hello from version 7"),
    ];
    let apps = [("web", Some(&web)), ("api", Some(&api)), ("else", None)];
    reloads_in_turn(&mut hitless, &targets, &apps).await;
}

#[tokio::test]
#[ignore = "needs Tornado, gunicorn and Node: run tests/run"]
async fn three_kinds_of_apps_and_a_list_of_addresses_are_reloaded_in_turn() {
    let (tornado, gunicorn, node) = (App::tornado(), App::gunicorn(), App::node());
    let somebody_elses = [Server::start(7).await, Server::start(7).await];
    let addresses = format!(
        "[app.else]\naddresses = [\"{}\", \"{}\"]\n",
        somebody_elses[0].address, somebody_elses[1].address
    );
    let below = r#"route = [{ path = "/node", strip_prefix = true }]"#;
    let file = [
        LISTEN.to_owned(),
        section(
            "tornado",
            &tornado,
            r#"route = [{ host = "*.tornado.org" }]"#,
        ),
        section("gunicorn", &gunicorn, r#"route = [{ host = "g.org" }]"#),
        section("node", &node, below),
        addresses,
    ];
    let mut hitless = Hitless::with_file(&file.concat()).begin().await;
    let upload = Target {
        method: "POST",
        body: vec![b'x'; 100_000].into(),
        ..Target::get("tornado", "www.tornado.org", "/upload", "100000")
    };
    let hello = "hello from version";
    let targets = [
        Target::get("tornado", "www.tornado.org", "/", hello),
        upload,
        Target::get("gunicorn", "g.org", "/", hello),
        Target::get("node", "example.org", "/node/", hello),
        Target::get("else", "example.org", "/", "hello from version 7"),
    ];
    let apps = [
        ("tornado", Some(&tornado)),
        ("gunicorn", Some(&gunicorn)),
        ("node", Some(&node)),
        ("else", None),
    ];
    reloads_in_turn(&mut hitless, &targets, &apps).await;
}

#[tokio::test]
async fn a_reload_of_all_is_done_when_all_are_live_and_says_which_is_not() {
    let (web, api) = (App::demo(), App::demo());
    let file = [
        LISTEN.to_owned(),
        section("web", &web, ""),
        section("api", &api, r#"route = [{ path = "/api" }]"#),
    ];
    let mut hitless = Hitless::with_file(&file.concat()).begin().await;
    let before = hitless.all_live(&["web", "api"]).await;
    let ran = hitless.reload().await.expect_status(0, "a reload of both");
    for app in ["web", "api"] {
        assert!(
            ran.stderr.contains(&format!("{app}: generation 2 is live")),
            "{ran:#?}"
        );
    }
    api.deploy(&Release::broken(2, support::app::Fault::DiesAtStart));
    web.deploy(&Release::good(2));
    let ran = hitless
        .reload()
        .await
        .expect_status(1, "one of them is broken");
    assert!(
        ran.stderr.contains("api: generation 3 did not go live"),
        "{ran:#?}"
    );
    assert!(ran.stderr.contains("web: generation 3 is live"), "{ran:#?}");
    let after = hitless.status().await;
    assert!(after.live("web") > before.live("web"), "{after}");
    assert_eq!(after.live("api"), Some(2), "{after}");
    let shown = hitless.command(&["status", "web"]).await;
    shown.expect_status(0, "the status of the one that is well");
    let shown = hitless.command(&["status"]).await;
    shown.expect_status(1, "the status of both");
    let nobody = hitless.command(&["reload", "nobody"]).await;
    let nobody = nobody.expect_status(2, "an unknown app");
    assert!(nobody.stderr.contains("there is web, api"), "{nobody:#?}");
}

fn nanoseconds_a_lookup(routes: &[(usize, Route)], lookups: &[(&str, &str, usize)]) -> f64 {
    const ROUNDS: usize = 2_000;
    let table = Routes::new(routes.iter().map(|(app, route)| (*app, route)));
    // The best of many short ones: whatever else the machine does can only make it slower, and not all of them.
    let best = (0..100).map(|_| {
        let since = Instant::now();
        for round in 0..ROUNDS {
            let (host, path, app) = lookups[round % lookups.len()];
            let found = table.find(Some(host.as_bytes()), path);
            assert_eq!(found.map(|target| target.app), Some(app));
        }
        since.elapsed()
    });
    let best = best.min().expect("there are some");
    best.as_secs_f64() * 1e9 / ROUNDS as f64
}

/// 200 apps with five routes each, against one app with one route that has the same shape.
#[test]
fn a_thousand_routes_cost_no_more_than_one() {
    let route = |host: String, path: String| Route {
        host: HostPattern::Exact(host),
        path,
        strip_prefix: false,
    };
    let shape = |app: usize| {
        let host = move |route: usize| format!("app-{app}-{route}.example.org");
        (0..5).map(move |number| (app, route(host(number), format!("/api/v{number}"))))
    };
    let many: Vec<_> = (0..200).flat_map(shape).collect();
    assert_eq!(many.len(), 1000);
    let one = [(
        0,
        route("app-0-0.example.org".to_owned(), "/api/v0".to_owned()),
    )];
    let names: Vec<_> = (0..200)
        .map(|app| {
            (
                format!("app-{app}-3.example.org"),
                "/api/v3/users/17".to_owned(),
                app,
            )
        })
        .collect();
    let spread: Vec<_> = names
        .iter()
        .map(|(host, path, app)| (host.as_str(), path.as_str(), *app))
        .collect();
    let same = [("app-0-0.example.org", "/api/v0/users/17", 0)];
    let (alone, among) = (
        nanoseconds_a_lookup(&one, &same),
        nanoseconds_a_lookup(&many, &spread),
    );
    println!("one route: {alone:.0} ns a lookup; 1000 routes of 200 apps: {among:.0} ns");
    // A walk over the routes would take hundreds of times as long.
    assert!(
        among < alone * 3.0 + 200.0,
        "{alone:.0} ns became {among:.0} ns"
    );
}
