//! Promise: of several instances, one that fails costs nobody a request, and is started again.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::process::Signal;
use support::app::{App, Release};
use support::client::Answer;
use support::load::{Load, RATE};
use support::processes;
use support::record::Kind;
use support::world::{APP, Hitless, SOON};
use tokio::time::{Instant, timeout};

/// Which process of which instance answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    instance: u32,
    pid: i32,
}

fn who(answer: &Answer) -> Who {
    let number = |name| answer.field(name).and_then(|value| value.parse().ok());
    let instance = number("x-instance").and_then(|number: i32| number.try_into().ok());
    match (instance, number("x-pid")) {
        (Some(instance), Some(pid)) => Who { instance, pid },
        _ => panic!("not the built-in app: {answer:#?}"),
    }
}

/// Asks until this instance answers, in another process than this one.
async fn answers_again(hitless: &Hitless, instance: u32, not: Option<i32>) -> Who {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let answered = timeout(SOON, async {
        loop {
            ticks.tick().await;
            let who = who(&hitless.get("/").await.expect_status(200));
            if who.instance == instance && Some(who.pid) != not {
                return who;
            }
        }
    });
    let within = answered.await;
    within.unwrap_or_else(|_| panic!("instance {instance} has not answered within {SOON:?}"))
}

#[tokio::test]
async fn every_instance_gets_its_share() {
    let app = App::demo();
    let hitless = Hitless::of(&app).option("--instances", "2").start().await;
    let mut shares: BTreeMap<Who, usize> = BTreeMap::new();
    for _ in 0..200 {
        let answer = hitless.get("/").await.expect_status(200);
        *shares.entry(who(&answer)).or_default() += 1;
    }
    let instances: BTreeSet<_> = shares.keys().map(|who| who.instance).collect();
    assert_eq!(instances, BTreeSet::from([1, 2]), "{shares:?}");
    assert!(shares.values().all(|share| *share >= 50), "{shares:?}");
    let status = hitless.status().await;
    assert_eq!(status.live_pids(APP).len(), 2, "{status}");
}

#[tokio::test]
async fn the_one_with_fewer_requests_is_preferred() {
    let app = App::demo();
    // Each worker counts its own.
    let hitless = Hitless::of(&app)
        .option("--instances", "2")
        .option("--threads", "1")
        .start()
        .await;
    let slow = tokio::spawn(hitless.get("/slow?ms=3000"));
    let deadline = Instant::now() + SOON;
    let in_flight = "hitless_http_requests_in_flight";
    while hitless.metrics().await.sum(in_flight, &[("app", APP)]) < 1.0 {
        assert!(Instant::now() < deadline, "the slow request never began");
    }
    let mut quick = BTreeSet::new();
    for _ in 0..20 {
        quick.insert(who(&hitless.get("/").await.expect_status(200)));
    }
    let slow = who(&slow.await.expect("the client does not panic"));
    assert!(!quick.contains(&slow), "{quick:?} while {slow:?} was busy");
}

/// For how long an instance is killed again and again; the whole half minute on request.
fn long() -> Duration {
    let seconds = if std::env::var_os("HITLESS_TEST_LONG").is_some() {
        30
    } else {
        8
    };
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn one_that_is_killed_whenever_it_is_ready_costs_no_get() {
    let app = App::demo();
    let mut hitless = Hitless::of(&app).option("--instances", "2").start().await;
    let load = Load::start(hitless.address()).await;
    load.answers(200).await;
    let until = Instant::now() + long();
    let (mut kills, mut last) = (0, None);
    while Instant::now() < until {
        let who = answers_again(&hitless, 1, last).await;
        processes::send(who.pid, Signal::KILL);
        last = Some(who.pid);
        kills += 1;
    }
    answers_again(&hitless, 1, last).await;
    load.answers(100).await;
    let record = load.stop().await;
    record.show();
    assert!(kills >= 3, "killed only {kills} times");
    record.expect_rate(RATE);
    // Each time at most four uploads under way and one answer begun.
    record.expect_failed_only(&[Kind::Upload, Kind::Download], kills * 5);
    record.expect_losses_told();
    record.expect_none_closed(Kind::Kept);
    let status = hitless.status().await;
    assert_eq!(status.live(APP), Some(1), "the generation stays: {status}");
    let both = "both instances run";
    hitless
        .wait_for(both, SOON, |status| status.live_pids(APP).len() == 2)
        .await;
}

/// A version whose second instance never listens.
fn half_broken(version: u64) -> Release {
    Release::with_options(version, &["--faulty-instance=2", "--never-listen"])
}

#[tokio::test]
async fn a_swap_waits_for_all_of_them() {
    let app = App::demo();
    let hitless = Hitless::of(&app)
        .option("--instances", "2")
        .option("--start-timeout", "2s")
        .start()
        .await;
    app.deploy(&half_broken(2));
    let reload = hitless.reload().await;
    let reload = reload.expect_status(1, "a reload of which one instance never listens");
    assert!(reload.took >= Duration::from_secs(2), "{reload:#?}");
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(1), "{answer:#?}");
}

#[tokio::test]
async fn a_swap_waits_for_no_more_than_min_ready() {
    let app = App::demo();
    let hitless = Hitless::of(&app)
        .setting("instances = 2\nmin_ready = 1")
        .start()
        .await;
    app.deploy(&half_broken(2));
    hitless.reload().await.expect_status(0, "reload");
    for _ in 0..20 {
        let answer = hitless.get("/").await.expect_status(200);
        assert_eq!(answer.version(), Some(2), "{answer:#?}");
        assert_eq!(who(&answer).instance, 1, "{answer:#?}");
    }
}

#[tokio::test]
async fn one_that_hangs_is_started_again() {
    let app = App::demo();
    let hangs = ["--faulty-instance=1", "--hang-after=1s"];
    app.deploy(&Release::with_options(1, &hangs));
    let hitless = Hitless::of(&app)
        .setting("instances = 2\n[app.app.liveness]\nhttp = \"/\"\ninterval = \"200ms\"\ntimeout = \"500ms\"\nfailures = 2")
        .start()
        .await;
    let load = Load::start(hitless.address()).await;
    let first = answers_again(&hitless, 1, None).await;
    // What it is started again as is well.
    app.deploy(&Release::good(1));
    let second = answers_again(&hitless, 1, Some(first.pid)).await;
    assert_ne!(first, second);
    load.answers(200).await;
    let record = load.stop().await;
    record.show();
    // Uploads hang for about a second and a half; nobody may send them again.
    record.expect_failed_only(&[Kind::Upload, Kind::Download], 25);
    let status = hitless.status().await;
    assert_eq!(status.live(APP), Some(1), "the generation stays: {status}");
}
