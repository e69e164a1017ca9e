//! Promise: an app that dies again and again is started again, ever more patiently, and hitless itself is fine.

mod support;

use std::time::Duration;

use rustix::process::Signal;
use support::app::{App, End, Fault, Release};
use support::client::fetch_path;
use support::processes;
use support::world::{APP, Builder, Hitless, SOON};
use tokio::time::Instant;

/// What behaviour.md says: 0.2 s × 1.5ⁿ.
const FIRST_PAUSE: f64 = 0.2;
const GROWTH: f64 = 1.5;

/// Starting, being ready and dying again, on a busy machine.
const SLACK: f64 = 3.0;

/// A hitless whose app has served and now loops; requests do not wait for long.
async fn looping(app: &App, fault: Fault) -> Hitless {
    let mut hitless = settings(app).start().await;
    hitless.get("/").await.expect_status(200);
    app.deploy(&Release::broken(2, fault));
    let pid = hitless.status().await.live_pid(APP);
    processes::send(pid, Signal::KILL);
    hitless
        .wait_for("it was started again", SOON, |status| {
            status.restarts(APP) >= 1
        })
        .await;
    hitless
}

fn settings(app: &App) -> Builder {
    Hitless::of(app).setting("[app.app.hold]\ntimeout = \"200ms\"")
}

/// When each of so many restarts was seen.
async fn restarts(hitless: &mut Hitless, count: u64) -> Vec<Instant> {
    let mut seen = Vec::new();
    let before = hitless.status().await.restarts(APP);
    for number in before + 1..=before + count {
        hitless
            .wait_for("it was started again", SOON, |status| {
                status.restarts(APP) >= number
            })
            .await;
        seen.push(Instant::now());
    }
    seen
}

/// The pauses between restarts grow: `first` is the number of the first restart that was seen.
#[track_caller]
fn expect_backoff(seen: &[Instant], first: u64) {
    let pauses = seen
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64());
    for (number, pause) in (first..).zip(pauses) {
        let exponent = i32::try_from(number).expect("a handful of restarts");
        // The pause before restart n + 1 is the n-th, counted from 0; a little less than it where the one before was
        // seen late.
        let least = FIRST_PAUSE * GROWTH.powi(exponent) * 0.8;
        let most = FIRST_PAUSE * GROWTH.powi(exponent) + SLACK;
        assert!(
            (least..=most).contains(&pause),
            "{pause:.3} s before restart {}, not {least:.3} to {most:.3}: {seen:?}",
            number + 1
        );
    }
}

async fn backs_off(fault: Fault) {
    let app = App::demo();
    let mut hitless = looping(&app, fault).await;
    let first = hitless.status().await.restarts(APP) + 1;
    let seen = restarts(&mut hitless, 5).await;
    expect_backoff(&seen, first);
}

#[tokio::test]
async fn the_pauses_grow_for_a_version_that_dies_at_start() {
    backs_off(Fault::DiesAtStart).await;
}

#[tokio::test]
async fn the_pauses_grow_for_a_version_that_dies_once_it_serves() {
    backs_off(Fault::Ends(End::Exits, Duration::from_millis(300))).await;
}

#[tokio::test]
async fn meanwhile_hitless_answers_and_computes_next_to_nothing() {
    /// Long enough for several restarts.
    const MEASURED: Duration = Duration::from_secs(6);
    const SHARE_MAX: f64 = 0.03;
    let app = App::demo();
    let mut hitless = looping(&app, Fault::DiesAtStart).await;
    let answer = hitless.get("/").await.expect_status(503);
    let said = answer.field("proxy-status").unwrap_or_default();
    assert!(said.starts_with("hitless; error="), "{answer:#?}");
    assert!(answer.field("retry-after").is_some(), "{answer:#?}");
    assert!(!answer.text().trim().is_empty(), "the reason: {answer:#?}");
    hitless.get_admin("/healthz").await.expect_status(200);
    hitless.get_admin("/readyz/app").await.expect_status(503);
    let asked = Instant::now();
    hitless.status().await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(1), "status took {took:?}");
    let shown = hitless.command(&["status"]).await;
    shown.expect_status(1, "status while nothing is live");

    // Nobody asks anything in the time that is measured.
    let pid = hitless.program().pid();
    let (before, began) = (processes::computed(pid), Instant::now());
    tokio::time::sleep(MEASURED).await;
    let computed = (processes::computed(pid) - before).as_secs_f64();
    let share = computed / began.elapsed().as_secs_f64();
    println!("hitless computed {:.2} % of a core", share * 100.0);
    assert!(share < SHARE_MAX, "{:.2} % of a core", share * 100.0);
    assert_eq!(hitless.program().has_ended(), None);
}

#[tokio::test]
async fn a_good_reload_ends_it_at_once() {
    let app = App::demo();
    let mut hitless = looping(&app, Fault::DiesAtStart).await;
    // The pause before the next restart is more than two seconds by now.
    hitless
        .wait_for("it has died many times", SOON * 2, |status| {
            status.restarts(APP) >= 6
        })
        .await;
    app.deploy(&Release::good(3));
    let reload = hitless.reload().await;
    let reload = reload.expect_status(0, "the good reload");
    let took = reload.took;
    assert!(
        took < Duration::from_secs(2),
        "waited a pause out: {took:?}"
    );
    let answer = fetch_path(hitless.address(), "/").await.expect_status(200);
    assert_eq!(answer.version(), Some(3), "{answer:#?}");
    let status = hitless.status().await;
    assert!(!status.stale(APP), "{status}");
}
