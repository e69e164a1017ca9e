//! Promise: one instance may be several processes that share the port it was given, as Tornado's `fork_processes` and
//! `start` make them: they are reloaded, stopped and killed as one.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use support::app::{App, Release, python};
use support::load::{Load, RATE};
use support::processes;
use support::world::{APP, Hitless, SOON};
use tokio::time::{Instant, timeout};

/// Processes that answer; a parent that only watches over them comes on top.
const WORKERS: usize = 3;

fn fork_processes() -> App {
    App::tornado_with(&["--processes=3"])
}

fn start() -> App {
    App::tornado_with(&["--start=3"])
}

/// Every process of the app. hitless has the same words on its own command line, but not first.
fn of_the_app(hitless: &Hitless) -> BTreeSet<i32> {
    let app = format!("{} ", python().display());
    let processes = hitless.processes().into_iter();
    let apps = processes.filter(|process| process.command.starts_with(&app));
    apps.map(|process| process.pid).collect()
}

/// Asks until so many processes have answered, each request on a connection of its own and the next beside it.
async fn answered_by(hitless: &Hitless, wanted: usize) -> BTreeSet<i32> {
    let mut seen = BTreeSet::new();
    let asked = timeout(SOON, async {
        while seen.len() < wanted {
            let slow: Vec<_> = (0..8)
                .map(|_| tokio::spawn(hitless.get("/slow?ms=100")))
                .collect();
            for answer in slow {
                let answer = answer.await.expect("the client does not panic");
                let answer = answer.expect_status(200);
                let pid = answer.field("x-pid").and_then(|pid| pid.parse().ok());
                seen.insert(pid.unwrap_or_else(|| panic!("no process: {answer:#?}")));
            }
        }
    });
    if asked.await.is_err() {
        panic!("only {seen:?} answered within {SOON:?}, not {wanted} processes");
    }
    seen
}

/// Waits until none of these runs any more.
async fn are_gone(pids: BTreeSet<i32>, what: &str) {
    let deadline = Instant::now() + SOON;
    let gone = tokio::task::spawn_blocking(move || {
        let mut pids = pids.into_iter();
        pids.find(|pid| !processes::exits(*pid, deadline))
    });
    let left = gone.await.expect("waiting does not panic");
    assert_eq!(left, None, "{what} still runs after {SOON:?}");
}

async fn is_reloaded_and_stopped_as_one(app: &App) {
    // The old one stops as soon as it is drained.
    let mut hitless = Hitless::of(app).option("--probation", "0").start().await;
    let first = of_the_app(&hitless);
    assert_eq!(first.len(), WORKERS + 1, "{first:?}");
    let answering = answered_by(&hitless, WORKERS).await;
    assert!(answering.is_subset(&first), "{answering:?} of {first:?}");
    let status = hitless.status().await;
    assert_eq!(status.live_pids(APP).len(), 1, "one instance: {status}");

    let load = Load::start(hitless.address()).await;
    load.answers(200).await;
    app.deploy(&Release::good(2));
    let reload = load.during("the reload", hitless.reload()).await;
    reload.expect_status(0, "the reload");
    load.answers(200).await;
    let second: BTreeSet<_> = of_the_app(&hitless).difference(&first).copied().collect();
    assert_eq!(second.len(), WORKERS + 1, "{second:?}");
    // WebSockets are let go only now.
    let record = load.stop().await;
    record.expect_unnoticed();
    record.expect_rate(RATE);
    assert_eq!(record.newest_version(), Some(2), "{record}");
    are_gone(first, "a process of the old generation").await;

    assert_eq!(hitless.stop().await, 0);
    are_gone(second, "a process of the last generation").await;
    let left = hitless.left_after(Duration::from_secs(1)).await;
    assert!(left.is_empty(), "left behind:\n{}", processes::list(&left));
}

/// One worker that dies is the app's own business; when the first process dies, the others are killed with it; and when
/// hitless is, all are.
async fn is_killed_as_one(app: &App) {
    let mut hitless = Hitless::start(app).await;
    let first = of_the_app(&hitless);
    let worker = answered_by(&hitless, 1).await;
    let worker = *worker.first().expect("one has answered");
    processes::send(worker, Signal::KILL);
    are_gone(BTreeSet::from([worker]), "the killed worker").await;
    // Tornado starts another in its place.
    let all = answered_by(&hitless, WORKERS).await;
    assert!(!all.is_subset(&first), "{all:?} of {first:?}");
    let status = hitless.status().await;
    assert_eq!(status.live(APP), Some(1), "the generation stays: {status}");
    assert_eq!(status.restarts(APP), 0, "{status}");

    let before = of_the_app(&hitless);
    processes::send(status.live_pid(APP), Signal::KILL);
    are_gone(before.clone(), "a process of the killed instance").await;
    hitless.get("/").await.expect_status(200);
    let again = of_the_app(&hitless);
    assert!(again.is_disjoint(&before), "{again:?} after {before:?}");

    hitless.program().signal(Signal::KILL);
    let left = hitless.left_after(Duration::from_secs(1)).await;
    assert!(left.is_empty(), "left behind:\n{}", processes::list(&left));
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn tornados_fork_processes_are_reloaded_and_stopped_as_one() {
    is_reloaded_and_stopped_as_one(&fork_processes()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn tornados_start_of_several_is_reloaded_and_stopped_as_one() {
    is_reloaded_and_stopped_as_one(&start()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn tornados_fork_processes_are_killed_as_one() {
    is_killed_as_one(&fork_processes()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn tornados_start_of_several_is_killed_as_one() {
    is_killed_as_one(&start()).await;
}
