//! Promise: paused, requests wait and nothing is lost; they go on in order when asked to, or when the time is over.

mod support;

use std::time::Duration;

use support::app::{App, Release};
use support::client::{Answer, fetch_path};
use support::load::{Load, RATE};
use support::world::{APP, Hitless, SOON};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How many of the oldest a worker lets go at a time, as behaviour.md has it.
const AT_A_TIME: usize = 32;

/// A request that will be held.
fn held(hitless: &Hitless) -> JoinHandle<Answer> {
    tokio::spawn(fetch_path(hitless.address(), "/"))
}

async fn answer(held: JoinHandle<Answer>) -> Answer {
    held.await
        .expect("the client does not panic")
        .expect_status(200)
}

/// How loudly it says that it is paused.
async fn expect_paused(hitless: &Hitless, paused: bool) {
    let status = hitless.status().await;
    assert_eq!(status.paused(APP), paused, "{status}");
    let metrics = hitless.metrics().await;
    let metric = metrics.sum("hitless_paused", &[("app", APP)]);
    assert_eq!(metric, f64::from(u8::from(paused)), "hitless_paused");
    let shown = hitless.command(&["status"]).await;
    let shown = shown.expect_status(i32::from(paused), "status");
    assert_eq!(shown.stdout.contains("app: PAUSED"), paused, "{shown:#?}");
    // Whoever balances is to send requests here all the same.
    hitless.get_admin("/readyz").await.expect_status(200);
}

#[tokio::test]
async fn requests_wait_until_they_are_let_go() {
    let hitless = Hitless::start(&App::demo()).await;
    hitless.command(&["pause"]).await.expect_status(0, "pause");
    expect_paused(&hitless, true).await;
    let request = held(&hitless);
    hitless.holds(1).await;
    assert!(!request.is_finished(), "it was let through");

    hitless
        .command(&["resume"])
        .await
        .expect_status(0, "resume");
    let answer = answer(request).await;
    assert_eq!(answer.version(), Some(1), "{answer:#?}");
    hitless.holds(0).await;
    expect_paused(&hitless, false).await;
}

#[tokio::test]
async fn what_was_not_paused_says_so_and_what_is_says_how_to_go_on() {
    let hitless = Hitless::start(&App::demo()).await;
    let ran = hitless.command(&["resume"]).await;
    let ran = ran.expect_status(0, "resume");
    assert!(ran.stderr.contains("it was not paused"), "{ran:#?}");
    let ran = hitless.command(&["pause", APP]).await;
    let ran = ran.expect_status(0, "pause");
    let told = format!("paused until `hitless resume {APP}`; a request waits for `hold.timeout`");
    assert!(ran.stderr.contains(&told), "{ran:#?}");
    let ran = hitless.command(&["resume", APP]).await;
    let ran = ran.expect_status(0, "resume");
    assert!(ran.stderr.contains("requests go on"), "{ran:#?}");
    assert!(!ran.stderr.contains("not paused"), "{ran:#?}");
}

#[tokio::test]
async fn the_oldest_go_first() {
    let app = App::demo();
    // Each worker has a queue of its own.
    let hitless = Hitless::of(&app).option("--threads", "1").start().await;
    hitless.command(&["pause"]).await.expect_status(0, "pause");
    let mut requests = Vec::new();
    for count in 1..=3 * AT_A_TIME {
        requests.push(held(&hitless));
        hitless.holds(count).await;
    }
    hitless
        .command(&["resume"])
        .await
        .expect_status(0, "resume");
    let mut served = Vec::new();
    for request in requests {
        let answer = answer(request).await;
        let number = answer
            .field("x-served")
            .and_then(|number| number.parse().ok());
        served.push(number.unwrap_or_else(|| panic!("no number in {answer:#?}")));
    }
    expect_order(&served);
}

/// Those let go at the same time may overtake one another, but nobody else.
#[track_caller]
fn expect_order(served: &[u64]) {
    let mut sorted = served.to_vec();
    sorted.sort_unstable();
    for (came, number) in served.iter().enumerate() {
        let went = sorted.iter().position(|one| one == number);
        let went = went.expect("it is one of them");
        assert!(
            went.abs_diff(came) < AT_A_TIME,
            "number {came} in the queue went as number {went}: {served:?}"
        );
    }
}

#[tokio::test]
async fn a_pause_with_an_end_ends_by_itself() {
    let mut hitless = Hitless::start(&App::demo()).await;
    let began = Instant::now();
    let pause = hitless.command(&["pause", "--for", "500ms"]).await;
    pause.expect_status(0, "pause --for");
    let answer = answer(held(&hitless)).await;
    assert_eq!(answer.version(), Some(1), "{answer:#?}");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500), "only {took:?}");
    assert!(took < SOON, "only after {took:?}");
    hitless
        .wait_for("it is not paused", SOON, |status| !status.paused(APP))
        .await;
}

#[tokio::test]
async fn a_reload_while_paused_goes_live_and_lets_nothing_through() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    hitless.command(&["pause"]).await.expect_status(0, "pause");
    let request = held(&hitless);
    hitless.holds(1).await;
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "reload");
    let status = hitless.status().await;
    assert_eq!(status.live(APP), Some(2), "{status}");
    assert!(!request.is_finished(), "it was let through");
    hitless.holds(1).await;
    expect_paused(&hitless, true).await;

    hitless
        .command(&["resume"])
        .await
        .expect_status(0, "resume");
    let answer = answer(request).await;
    assert_eq!(answer.version(), Some(2), "{answer:#?}");
}

#[tokio::test]
async fn a_pause_under_load_is_noticed_by_nobody_but_in_time() {
    let hitless = Hitless::start(&App::demo()).await;
    let load = Load::start(hitless.address()).await;
    load.answers(200).await;
    let paused = async {
        let pause = hitless.command(&["pause", "--for", "1s"]).await;
        pause.expect_status(0, "pause --for");
    };
    load.during("the pause", paused).await;
    load.answers(600).await;
    let record = load.stop().await;
    record.show();
    record.expect_unnoticed();
    record.expect_rate(RATE * 0.5);
}
