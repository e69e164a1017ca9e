//! Promise: what an app wrote last can be asked for, also of versions that have ended, and followed as it comes.

mod support;

use std::time::Duration;

use support::app::{App, Fault, Release};
use support::program::{self, Program};
use support::world::{APP, Hitless, SOON};

/// The built-in app behind a script that names its generation.
fn speaking() -> App {
    let demo = program::hitless().display();
    let script = format!("echo I am $HITLESS_GENERATION; exec {demo} demo-app --version 1");
    App::other(&["sh", "-c", &script])
}

fn follow(hitless: &Hitless, words: &[&str]) -> Program {
    let control = hitless.control().display().to_string();
    let mut all = vec!["logs", "--follow", "--control", &control];
    all.extend(words);
    Program::start(program::hitless(), all, &[])
}

async fn logs(hitless: &Hitless, words: &[&str]) -> String {
    let words = [&["logs"], words].concat();
    let ran = hitless.command(&words).await;
    ran.expect_status(0, "logs").stdout
}

#[tokio::test]
async fn the_last_lines_come_with_their_generation_and_instance() {
    let app = speaking();
    let hitless = Hitless::start(&app).await;
    hitless.reload().await.expect_status(0, "reload");
    let all = logs(&hitless, &[]).await;
    let (first, second) = (
        all.find("app 1.1 | I am 1\n"),
        all.find("app 2.1 | I am 2\n"),
    );
    assert!(first.is_some() && first < second, "{all}");
    let own = logs(&hitless, &[APP, "--generation", "1"]).await;
    assert!(own.contains("I am 1") && !own.contains("I am 2"), "{own}");
    assert_eq!(logs(&hitless, &["--lines", "1"]).await.lines().count(), 1);
    assert_eq!(logs(&hitless, &["--lines", "0"]).await, "");
}

#[tokio::test]
async fn a_version_that_did_not_go_live_can_still_be_asked_for_and_only_a_few_are_kept() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    app.deploy(&Release::broken(2, Fault::DiesAtStart));
    for _ in 0..7 {
        hitless.reload().await.expect_status(1, "reload");
    }
    let failed = logs(&hitless, &["--generation", "8"]).await;
    assert!(failed.starts_with("app 8.1 | "), "{failed}");
    assert!(
        logs(&hitless, &["--generation", "1"])
            .await
            .contains("app 1.1 | ")
    );
    let gone = hitless.command(&["logs", "--generation", "2"]).await;
    let gone = gone.expect_status(2, "logs of a generation that is long gone");
    assert!(
        gone.stderr
            .contains("no output of generation 2 is kept; there is 1, "),
        "{gone:?}"
    );
    let unknown = hitless.command(&["logs", "other"]).await;
    let unknown = unknown.expect_status(2, "logs of an unknown app");
    assert!(
        unknown.stderr.contains("there is no app other"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn following_goes_on_from_version_to_version() {
    let app = speaking();
    let hitless = Hitless::start(&app).await;
    let following = follow(&hitless, &["--lines", "1"]);
    following.says("app 1.1 | ", SOON).await;
    let begun = follow(&hitless, &[]);
    begun.says("I am 1", SOON).await;
    for generation in 2..4 {
        hitless.reload().await.expect_status(0, "reload");
        let line = format!("app {generation}.1 | I am {generation}");
        following.says(&line, SOON).await;
        begun.says(&line, SOON).await;
    }
}

#[tokio::test]
async fn following_one_generation_ends_with_it() {
    let app = speaking();
    let hitless = Hitless::of(&app).option("--probation", "0").start().await;
    let mut following = follow(&hitless, &["--generation", "1"]);
    following.says("app 1.1 | I am 1", SOON).await;
    assert_eq!(following.has_ended(), None);
    hitless.reload().await.expect_status(0, "reload");
    assert_eq!(following.ends(SOON + Duration::from_secs(10)).await, 0);
    assert!(
        !following.output().contains("I am 2"),
        "{}",
        following.output()
    );
}

#[tokio::test]
async fn the_control_socket_tells_json_lines() {
    let app = speaking();
    let hitless = Hitless::start(&app).await;
    let path = format!("/v1/apps/{APP}/logs?lines=100");
    let answer = hitless
        .control_request("GET", &path)
        .await
        .unwrap()
        .expect_status(200);
    assert_eq!(answer.field("content-type"), Some("application/jsonl"));
    let text = answer.text();
    let first = serde_json::from_str::<serde_json::Value>(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["text"], "I am 1");
    assert_eq!(
        (&first["number"], &first["stream"]),
        (&1.into(), &"stdout".into())
    );
    assert!(first["time"].as_f64().is_some());
    for (method, path, status) in [
        ("GET", "/v1/apps/app/logs?lines=x", 400),
        ("GET", "/v1/apps/app/logs?line=1", 400),
        ("GET", "/v1/apps/app/logs?generation=9", 404),
        ("GET", "/v1/apps/other/logs", 404),
        ("POST", "/v1/apps/app/logs", 405),
        ("GET", "/v1/logs", 200),
    ] {
        let answer = hitless.control_request(method, path).await.unwrap();
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{method} {path}: {answer:#?}"
        );
    }
}
