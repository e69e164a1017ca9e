//! Promise: what `slowhttptest` does to a server holds up nobody else, and its connections end when the limits say so.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use support::app::{App, section};
use support::load::Load;
use support::program::{Ran, run};
use support::world::Hitless;

/// How many connections it tries to hold.
const CONNECTIONS: f64 = 150.0;

const CLOSED: &str = "hitless_client_connections_closed_total";

/// Runs it in this way beside other clients, who notice nothing. Hitless counts every connection
/// in this metric, for this reason.
async fn attack(path: &str, way: &[&str], (metric, reason): (&str, &str)) -> Ran {
    let (demo, files) = (App::demo(), App::python_http_server());
    fs::write(files.folder().join("large"), vec![b'x'; 16 << 20]).expect("it can be written");
    let limits = "[client]\nhead_timeout = \"2s\"\nbody_timeout = \"2s\"\nwrite_timeout = \"2s\"\n";
    let below = r#"route = [{ path = "/files", strip_prefix = true }]"#;
    let listen = "listen = [\"127.0.0.1:0\"]\n";
    let apps = section("web", &demo, "") + &section("files", &files, below);
    let mut hitless = Hitless::with_file(&format!("{listen}{limits}{apps}"))
        .begin()
        .await;
    hitless.all_live(&["web", "files"]).await;
    let others = Load::gets(hitless.address()).await;
    others.answers(50).await;
    let url = format!("http://{}{path}", hitless.address());
    let fixed = ["-c", "150", "-r", "150", "-u", &url];
    let program = Path::new("slowhttptest");
    let all = fixed.iter().chain(way);
    let ran = run(program, all, &[], Duration::from_secs(60)).await;
    others.answers(50).await;
    others.stop().await.expect_unnoticed();
    let metrics = hitless.metrics().await;
    let closed = metrics.sum(metric, &[("reason", reason)]);
    assert!(closed >= CONNECTIONS, "{closed} closed: {ran:#?}");
    ran
}

/// It leaves before its time when no connection is left to it.
fn expect_beaten(ran: &Ran) {
    assert!(ran.stdout.contains("No open connections left"), "{ran:#?}");
}

#[tokio::test]
#[ignore = "needs slowhttptest: run tests/run"]
async fn slow_heads_are_cut_off() {
    // More of the head each second, for ever: it is the whole head that has its time.
    let way = ["-H", "-i", "1", "-l", "40"];
    expect_beaten(&attack("/", &way, (CLOSED, "head_timeout")).await);
}

#[tokio::test]
#[ignore = "needs slowhttptest: run tests/run"]
async fn slow_bodies_are_cut_off() {
    let way = ["-B", "-i", "5", "-s", "8192", "-l", "40"];
    expect_beaten(&attack("/upload", &way, ("hitless_answers_total", "body_timeout")).await);
}

#[tokio::test]
#[ignore = "needs slowhttptest: run tests/run"]
async fn slow_readers_are_cut_off() {
    // It does not notice a reset before it has read what it holds, and goes on to its end.
    let way = [
        "-X", "-w", "512", "-y", "1024", "-n", "8", "-z", "32", "-l", "10",
    ];
    attack("/files/large", &way, (CLOSED, "write_timeout")).await;
}
