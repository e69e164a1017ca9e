//! Promise: hitless killed with SIGKILL leaves nothing behind, and the next one starts at the same address at once.

mod support;

use std::time::Duration;

use rustix::process::Signal;
use support::app::App;
use support::load::Load;
use support::processes;
use support::program;
use support::world::{APP, Hitless};

async fn killed_it_leaves_nothing_behind(app: &App, processes_at_least: usize) {
    let mut hitless = Hitless::start(app).await;
    let load = Load::start(hitless.address()).await;
    load.answers(200).await;
    let before = hitless.processes();
    assert!(
        before.len() >= processes_at_least,
        "too few processes to test anything:\n{}",
        processes::list(&before)
    );

    hitless.program().signal(Signal::KILL);
    let left = hitless.left_after(Duration::from_secs(1)).await;
    assert!(
        left.is_empty(),
        "a second after SIGKILL of hitless these are left:\n{}\nof:\n{}",
        processes::list(&left),
        processes::list(&before)
    );
    // Killed, it may fail requests; here the load only keeps the processes busy.
    drop(load);

    let next = Hitless::of(app).in_place_of(&hitless).start().await;
    assert_eq!(next.address(), hitless.address());
    assert_eq!(
        next.control(),
        hitless.control(),
        "the stale control socket is replaced"
    );
    next.get("/").await.expect_status(200);
    assert!(next.status().await.live(APP).is_some());
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn killed_in_front_of_a_forking_tornado_it_leaves_nothing_behind() {
    // hitless, its keeper, the app and its two workers.
    killed_it_leaves_nothing_behind(&App::tornado_with(&["--processes=2"]), 5).await;
}

#[tokio::test]
async fn killed_in_front_of_an_app_with_children_in_other_sessions_it_leaves_nothing_behind() {
    let program = program::hitless().display();
    // A child; one with a session of its own; and one whose parent has gone, so that only the keeper can know of it.
    let script = format!(
        "sleep 300 & setsid sleep 301 & (setsid sh -c 'trap \"\" HUP TERM; sleep 302 & wait' &) ; exec {program} demo-app"
    );
    let app = App::other(&["/bin/sh", "-c", &script]);
    // hitless, its keeper, the app, three sleeps and a shell.
    killed_it_leaves_nothing_behind(&app, 7).await;
}

#[tokio::test]
async fn a_killed_keeper_is_replaced_and_the_app_started_again() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let before = hitless.status().await.live(APP);
    let own = hitless.program().pid();
    let keeper = hitless
        .processes()
        .into_iter()
        .find(|process| process.pid != own && !process.command.contains("demo-app"));
    let keeper = keeper
        .unwrap_or_else(|| panic!("no keeper in:\n{}", processes::list(&hitless.processes())));
    processes::send(keeper.pid, Signal::KILL);
    let again = hitless.get("/").await.expect_status(200);
    assert_eq!(again.version(), Some(1), "{again:#?}");
    let wanted = "a younger generation is live";
    hitless
        .wait_for(wanted, Duration::from_secs(10), |status| {
            status.live(APP) > before
        })
        .await;
}
