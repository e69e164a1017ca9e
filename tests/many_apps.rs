//! Promise: a machine full of apps is started without a stampede, and those of them that are broken change nothing for
//! the others.

mod support;

use std::fmt::Write;
use std::time::Duration;

use support::processes;
use support::program;
use support::status::Status;
use support::steady::{Steady, Target};
use support::world::{Hitless, SOON};
use tokio::time::Instant;

/// How many apps, how many of them broken, how long each measurement takes, and how often it is made.
struct Size {
    apps: usize,
    broken: usize,
    measured: Duration,
    pairs: usize,
}

/// The full size with `HITLESS_TEST_LONG`, which takes minutes.
fn size() -> Size {
    if std::env::var_os("HITLESS_TEST_LONG").is_some() {
        Size {
            apps: 50,
            broken: 5,
            measured: Duration::from_secs(20),
            pairs: 3,
        }
    } else {
        Size {
            apps: 10,
            broken: 2,
            measured: Duration::from_secs(3),
            pairs: 1,
        }
    }
}

/// The last ones of these apps are broken: they die as soon as they are started.
fn file(well: usize, broken: usize, lines: &str) -> (String, Vec<String>) {
    let program = program::hitless().display().to_string();
    let mut text = format!("listen = [\"127.0.0.1:0\"]\n{lines}\n");
    let mut names = Vec::new();
    for number in 0..well + broken {
        let name = format!("app-{number}");
        let mut command = vec![program.as_str(), "demo-app"];
        if number >= well {
            command.extend(["--die-at-start", "1"]);
        }
        let command = serde_json::to_string(&command).expect("strings are JSON");
        writeln!(
            text,
            "[app.{name}]\ncommand = {command}\nroute = [{{ host = \"{name}.org\" }}]"
        )
        .expect("a String takes it");
        names.push(name);
    }
    (text, names)
}

async fn start(text: &str, well: &[String]) -> Hitless {
    let mut hitless = Hitless::with_file(text).begin().await;
    let all = |status: &Status| well.iter().all(|app| status.live(app).is_some());
    let within = SOON + SOON * u32::try_from(well.len() / 10).expect("not so many");
    hitless
        .wait_for("all that are well are live", within, all)
        .await;
    hitless
}

/// The p99 over all apps that are well, and the share of a core that hitless takes while nobody asks for anything.
async fn measured(size: &Size, broken: usize) -> (Duration, f64) {
    let well = size.apps - size.broken;
    let (text, names) = file(well, broken, "");
    let mut hitless = start(&text, &names[..well]).await;
    let pid = hitless.program().pid();
    let (before, since) = (processes::computed(pid), Instant::now());
    // Nothing is waited for: the time itself is what is measured.
    tokio::time::sleep(size.measured).await;
    let idle = (processes::computed(pid) - before).div_duration_f64(since.elapsed());

    let targets: Vec<_> = names[..well]
        .iter()
        .map(|name| Target::get(name, &format!("{name}.org"), "/", "hello from version"))
        .collect();
    let every = Duration::from_millis(5) * u32::try_from(well).expect("not so many");
    let load = Steady::start(hitless.address(), &targets, 1, every);
    let a_second = 400;
    load.answers(a_second * usize::try_from(size.measured.as_secs()).expect("not so long"))
        .await;
    let report = load.stop().await;
    let apps: Vec<_> = names[..well].iter().map(String::as_str).collect();
    report.expect_none_failed(&apps);
    for name in &names[well..] {
        let status = hitless.status().await;
        assert_eq!(status.live(name), None, "{status}");
        let unready = hitless.get_admin(&format!("/readyz/{name}")).await;
        unready.expect_status(503);
    }
    hitless.get_admin("/readyz").await.expect_status(200);
    hitless.get_admin("/readyz/app-0").await.expect_status(200);
    (report.p99_without(&[]), idle)
}

#[tokio::test]
async fn broken_apps_change_nothing_for_the_others() {
    let size = size();
    let mut ratios = Vec::new();
    for _ in 0..size.pairs {
        let (alone, quiet) = measured(&size, 0).await;
        let (beside, idle) = measured(&size, size.broken).await;
        println!(
            "{} apps: p99 {alone:.1?} alone, {beside:.1?} beside {} that crash-loop; {:.1} % and {:.1} % of a core while idle",
            size.apps,
            size.broken,
            quiet * 100.0,
            idle * 100.0
        );
        assert!(idle < 0.05, "{:.1} % of a core", idle * 100.0);
        ratios.push(beside.as_secs_f64() / (alone.as_secs_f64() + 0.002));
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    // Machines that run tests do other things as well; a broken app in the way would cost hundreds of milliseconds.
    assert!(median < 3.0, "{ratios:?}");
}

/// How many apps have a process that is not ready.
fn starting(status: &Status, apps: &[String]) -> usize {
    let starts = |app: &&String| {
        let pids = status.pids_in(app, "starting");
        status.live(app).is_none() && !pids.is_empty()
    };
    apps.iter().filter(starts).count()
}

#[tokio::test]
async fn no_more_apps_than_may_start_at_once() {
    let (text, names) = file(8, 0, "starts_max = 2");
    let text = text.replace("\"demo-app\"", "\"demo-app\", \"--boot\", \"150ms\"");
    let mut hitless = Hitless::with_file(&text).begin().await;
    let most = std::cell::Cell::new(0);
    let all = |status: &Status| {
        most.set(most.get().max(starting(status, &names)));
        names.iter().all(|app| status.live(app).is_some())
    };
    hitless.wait_for("all are live", SOON, all).await;
    assert_eq!(most.get(), 2, "at once");
}

#[tokio::test]
async fn an_app_that_hangs_at_its_start_keeps_no_other_down() {
    let (text, names) = file(3, 0, "starts_max = 1");
    let hangs = "[app.hangs]\ncommand = [\"sleep\", \"1000\"]\nroute = [{ path = \"/hangs\" }]\n";
    let first = text.replacen("[app.app-0]", &format!("{hangs}[app.app-0]"), 1);
    let mut hitless = start(&first, &names).await;
    let unready = hitless.get_admin("/readyz").await.expect_status(503);
    assert!(
        unready.text().contains("hangs is being started"),
        "{unready:?}"
    );
    let refused = hitless.command(&["reload", "app-1"]).await;
    refused.expect_status(0, "a reload beside it");
    hitless.program().signal(rustix::process::Signal::TERM);
    hitless.program().signal(rustix::process::Signal::TERM);
    assert_eq!(hitless.program().ends(SOON).await, 0);
}
