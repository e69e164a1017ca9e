//! Promise: an app may be a list of addresses where something runs that hitless neither starts nor stops. A reload moves
//! to another list without a failed request, and a list that does not answer changes nothing.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::load::Load;
use support::server::Server;
use support::status::Status;
use support::steady::{Steady, Target};
use support::world::{Hitless, SOON};

/// A file of one app `web` with these addresses.
fn file(addresses: &[SocketAddr], lines: &str) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let addresses = serde_json::to_string(&addresses).expect("strings are JSON");
    format!("listen = [\"127.0.0.1:0\"]\n[app.web]\naddresses = {addresses}\n{lines}\n")
}

/// Streams of the old list are told to go at once, so that its processes can be stopped soon.
const CLOSES: &str = "[app.web.drain]\nstreams = \"close\"\nclose_spread = 0\n";

async fn live(text: &str) -> Hitless {
    let mut hitless = Hitless::with_file(text).begin().await;
    hitless.all_live(&["web"]).await;
    hitless
}

async fn move_to(hitless: &Hitless, addresses: &[SocketAddr]) -> support::program::Ran {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let list = addresses.join(",");
    hitless
        .command(&["reload", "web", "--addresses", &list])
        .await
}

/// Whether no generation but the live one has anything under way.
fn is_left(status: &Status) -> bool {
    let live = status.live("web");
    let app = &status.0["apps"][0]["generations"];
    let generations = app.as_array().into_iter().flatten();
    let mut others = generations.filter(|one| one["generation"].as_u64() != live);
    others.all(|one| one["requests"] == 0 && one["streams"] == 0)
}

/// What a deploy tool does: start the new processes, swap, wait for the old ones to be left, stop them.
#[tokio::test]
async fn a_deploy_tool_that_starts_its_own_processes_swaps_twenty_times_and_nobody_notices() {
    let mut servers = vec![Server::start(1).await, Server::start(1).await];
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let mut hitless = live(&file(&addresses, CLOSES)).await;
    let load = Load::start(hitless.address()).await;
    for version in 2..22 {
        load.answers(60).await;
        let new = vec![Server::start(version).await, Server::start(version).await];
        let addresses: Vec<_> = new.iter().map(|server| server.address).collect();
        let ran = load
            .during(&format!("move {version}"), move_to(&hitless, &addresses))
            .await;
        ran.expect_status(0, "a move to addresses that answer");
        let answer = hitless.get("/").await.expect_status(200);
        assert_eq!(answer.version(), Some(version), "{answer:#?}");
        hitless
            .wait_for("the old ones are left", SOON, is_left)
            .await;
        for old in std::mem::replace(&mut servers, new) {
            old.stop();
        }
    }
    load.answers(100).await;
    let status = hitless.status().await;
    assert_eq!(status.failovers("web"), 0, "{status}");
    let record = load.stop().await;
    record.show();
    record.expect_none_failed();
    record.expect_order();
}

#[tokio::test]
async fn there_and_back_between_two_lists_is_not_noticed() {
    let (blue, green) = (Server::start(1).await, Server::start(2).await);
    let hitless = live(&file(&[blue.address], "")).await;
    let target = [Target::get("web", "a.org", "/", "hello from version")];
    let load = Steady::start(hitless.address(), &target, 8, Duration::from_millis(20));
    for _ in 0..10 {
        for server in [&green, &blue] {
            load.answers(20).await;
            let ran = move_to(&hitless, &[server.address]).await;
            ran.expect_status(0, "a move");
        }
    }
    load.stop().await.expect_none_failed(&["web"]);
    let status = hitless.status().await;
    assert!(
        status.0["apps"][0]["moved"].is_null(),
        "back where the file says: {status}"
    );
}

#[tokio::test]
async fn a_list_that_never_answers_leaves_the_old_one_in_place() {
    let (server, gone) = (Server::start(1).await, Server::start(2).await);
    let nobody = gone.address;
    gone.stop();
    let lines = "[app.web.ready]\nstart_timeout = \"1s\"";
    let hitless = live(&file(&[server.address], lines)).await;
    let target = [Target::get("web", "a.org", "/", "hello from version 1")];
    let load = Steady::start(hitless.address(), &target, 4, Duration::from_millis(20));
    let ran = move_to(&hitless, &[nobody]).await;
    let ran = ran.expect_status(1, "a move to where nobody listens");
    let refused = format!("last check: {nobody}: connection refused");
    assert!(ran.stderr.contains(&refused), "{ran:#?}");
    let half = move_to(&hitless, &[server.address, nobody]).await;
    let half = half.expect_status(1, "a move to a list of which one does not answer");
    assert!(half.stderr.contains("did not go live"), "{half:#?}");
    assert!(half.stderr.contains(&refused), "{half:#?}");
    load.answers(20).await;
    load.stop().await.expect_none_failed(&["web"]);
    let status = hitless.status().await;
    assert_eq!(status.live("web"), Some(1), "{status}");
    assert!(status.stale("web"), "{status}");
    assert!(status.0["apps"][0]["moved"].is_null(), "{status}");
    // The next reload is of what the file says, not of what failed.
    hitless.reload().await.expect_status(0, "a reload");
}

#[tokio::test]
async fn a_move_lasts_until_the_file_names_other_addresses() {
    let servers = [
        Server::start(1).await,
        Server::start(2).await,
        Server::start(3).await,
    ];
    let [first, second, third] = servers.each_ref().map(|server| server.address);
    let hitless = live(&file(&[first], "")).await;
    let version = async || hitless.get("/").await.version();
    move_to(&hitless, &[second])
        .await
        .expect_status(0, "a move");
    assert_eq!(version().await, Some(2));
    let status = hitless.status().await;
    let moved = &status.0["apps"][0]["moved"];
    assert_eq!(moved["addresses"][0], second.to_string(), "{status}");
    assert_eq!(moved["configured"][0], first.to_string(), "{status}");
    let shown = hitless.command(&["status"]).await;
    assert!(
        shown.stdout.contains(&format!("moved to {second}")),
        "{shown:#?}"
    );

    hitless
        .reload()
        .await
        .expect_status(0, "a reload that changes nothing");
    assert_eq!(version().await, Some(2));
    hitless
        .command(&["rollback"])
        .await
        .expect_status(0, "a rollback");
    hitless
        .command(&["rollback"])
        .await
        .expect_status(0, "asked twice");
    assert_eq!(version().await, Some(2), "what generation 2 ran");

    hitless.rewrite(&file(&[third], ""));
    hitless
        .reload()
        .await
        .expect_status(0, "a reload to other addresses");
    assert_eq!(version().await, Some(3));
    let status = hitless.status().await;
    assert!(status.0["apps"][0]["moved"].is_null(), "{status}");
}

#[tokio::test]
async fn a_move_is_undone_by_a_rollback() {
    let (one, two) = (Server::start(1).await, Server::start(2).await);
    let hitless = live(&file(&[one.address], "")).await;
    move_to(&hitless, &[two.address])
        .await
        .expect_status(0, "a move");
    hitless
        .command(&["rollback"])
        .await
        .expect_status(0, "a rollback");
    let status = hitless.status().await;
    assert!(status.0["apps"][0]["moved"].is_null(), "{status}");
    hitless.reload().await.expect_status(0, "a reload");
    assert_eq!(hitless.get("/").await.version(), Some(1));
}

#[tokio::test]
async fn a_version_that_stops_answering_on_probation_is_taken_back() {
    let (old, new) = (Server::start(1).await, Server::start(2).await);
    let mut hitless = live(&file(&[old.address], "")).await;
    let target = [Target::get("web", "a.org", "/", "hello from version")];
    let load = Steady::start(hitless.address(), &target, 4, Duration::from_millis(20));
    move_to(&hitless, &[new.address])
        .await
        .expect_status(0, "a move");
    hitless.has_standby_of("web").await;
    load.answers(20).await;
    new.stop();
    let told = |status: &Status| status.failovers("web") == 1;
    let status = hitless.wait_for("it is taken back", SOON, told).await;
    assert_eq!(status.live("web"), Some(1), "{status}");
    assert!(status.0["apps"][0]["moved"].is_null(), "{status}");
    load.answers(20).await;
    load.stop().await.expect_none_failed(&["web"]);
}

/// How many addresses of the live generation get requests.
fn in_balance(status: &Status) -> usize {
    let live = status.live("web");
    let generations = status.0["apps"][0]["generations"].as_array();
    let mut generations = generations.into_iter().flatten();
    let live = generations.find(|one| one["generation"].as_u64() == live);
    live.map_or(0, |live| live["ready"].as_u64().unwrap_or(0) as usize)
}

#[tokio::test]
async fn one_of_several_that_stops_answering_is_out_of_balance_until_it_answers_again() {
    let (one, two) = (Server::start(1).await, Server::start(1).await);
    let (port, mut other) = (one.address.port(), two);
    let lines = "failover = { probation = 0 }";
    let mut hitless = live(&file(&[one.address, other.address], lines)).await;
    let target = [Target::get("web", "a.org", "/", "hello from version")];
    let load = Steady::start(hitless.address(), &target, 4, Duration::from_millis(20));
    load.answers(20).await;
    one.stop();
    hitless
        .wait_for("one is out", SOON, |status| in_balance(status) == 1)
        .await;
    load.answers(40).await;
    let again = Server::with(2, port, &[]).await;
    hitless
        .wait_for("it is back", SOON, |status| in_balance(status) == 2)
        .await;
    load.answers(40).await;
    let status = hitless.status().await;
    assert_eq!(
        status.live("web"),
        Some(1),
        "the generation went on: {status}"
    );
    assert_eq!(status.restarts("web"), 0, "nothing was started: {status}");
    load.stop().await.expect_none_failed(&["web"]);

    assert_eq!(hitless.stop().await, 0);
    assert!(other.is_running(), "nothing is stopped");
    drop(again);
}

#[tokio::test]
async fn requests_wait_while_the_only_address_does_not_answer() {
    let server = Server::start(1).await;
    let port = server.address.port();
    let hitless = live(&file(&[server.address], "")).await;
    let target = [Target::get("web", "a.org", "/", "hello from version")];
    let load = Steady::start(hitless.address(), &target, 4, Duration::from_millis(50));
    load.answers(20).await;
    server.stop();
    let held = hitless
        .metrics_until("hitless_held_requests", "web", 4.0)
        .await;
    assert!(held >= 4.0, "{held} wait");
    let _again = Server::with(1, port, &[]).await;
    load.answers(40).await;
    load.stop().await.expect_none_failed(&["web"]);
}

#[tokio::test]
async fn a_name_is_looked_up_and_the_addresses_that_answer_are_used() {
    // Where localhost is ::1 as well, nobody listens there.
    let server = Server::start(1).await;
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[app.web]\naddresses = [\"localhost:{}\"]\n",
        server.address.port()
    );
    let hitless = live(&text).await;
    assert_eq!(hitless.get("/").await.version(), Some(1));
    let status = hitless.status().await.to_string();
    assert!(status.contains(&server.address.to_string()), "{status}");

    hitless.rewrite(&text.replace("localhost", "nobody.invalid"));
    let late = hitless.command(&["reload", "--timeout", "2s"]).await;
    let late = late.expect_status(1, "a reload to a name that nobody knows");
    assert!(
        late.stderr.contains("cannot look up nobody.invalid"),
        "{late:#?}"
    );
    assert_eq!(hitless.get("/").await.version(), Some(1));
}

#[tokio::test]
async fn what_cannot_be_moved_says_so() {
    let app = support::app::App::demo();
    let hitless = Hitless::start(&app).await;
    let refused = hitless
        .command(&["reload", "app", "--addresses", "127.0.0.1:1"])
        .await;
    assert_ne!(refused.status, 0, "{refused:#?}");
    assert!(
        refused.stderr.contains("app runs a command"),
        "{refused:#?}"
    );
    let usage = hitless
        .command(&["reload", "--addresses", "127.0.0.1:1"])
        .await;
    usage.expect_status(2, "which app is not said");
    let all = hitless.control_request("POST", "/v1/reload?addresses=127.0.0.1:1");
    all.await.expect("it answers").expect_status(400);
}
