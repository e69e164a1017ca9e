//! Promise: reloads leave nothing behind. After 200 of them under load hitless is as large as after 20, holds as many
//! descriptors, has no child that nobody waits for, and leaves no file anywhere.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::app::{App, Release};
use support::load::Load;
use support::world::{APP, Hitless, SOON};
use tokio::time::Instant;

/// How many reloads there are, and after how many of them everything has its size.
const RELOADS: u64 = 200;
const WARM: u64 = 20;

/// How many answers there are before each look, so that what it keeps for its busiest moment is there both times.
const ANSWERS: usize = 1_500;

/// How often it is looked at in the end, at most.
const LOOKS: usize = 3;

/// For how long nothing may have changed to be at rest: longer than idle connections to the app are kept.
const REST: Duration = Duration::from_secs(2);

/// How many threads may be there for what blocks: the runtime starts them as needed, and they end after 10 s without work.
const BLOCKING: u64 = 4;

/// How much larger it may be afterwards. In kilobytes, as the kernel counts.
const GROWTH_KB: u64 = 3 * 1024;

/// What a process holds while nothing is under way.
#[derive(Debug)]
struct Size {
    resident_kb: u64,
    /// What each of its descriptors is, without the numbers of sockets and pipes.
    descriptors: Vec<String>,
    threads: u64,
}

impl Size {
    fn of(pid: i32) -> Self {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let status = fs::read_to_string(process.join("status")).expect("it runs");
        Self {
            resident_kb: number(&status, "VmRSS:"),
            threads: number(&status, "Threads:"),
            descriptors: descriptors(&process),
        }
    }
}

fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {status}"))
}

fn descriptors(process: &Path) -> Vec<String> {
    let entries = fs::read_dir(process.join("fd")).expect("it runs");
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|target| {
            let target = target.display().to_string();
            let kind = target.split_once(":[").map(|(kind, _)| kind.to_owned());
            kind.unwrap_or(target)
        })
        .collect();
    found.sort();
    found
}

/// The children of a process that have exited and that nobody has waited for.
fn zombies() -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| {
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
            state.is_some_and(|state| state.starts_with('Z'))
        })
        .collect()
}

/// Those of them that descend from hitless: its own children, and the keeper's.
fn zombies_of(parents: &[i32]) -> Vec<String> {
    let is_child = |stat: &String| {
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split_whitespace().nth(1))
            .and_then(|parent| parent.parse().ok());
        parent.is_some_and(|parent| parents.contains(&parent))
    };
    zombies().into_iter().filter(is_child).collect()
}

/// Every name below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Reloads up to this version, each one live.
async fn reload_to(last: u64, version: &mut u64, app: &App, hitless: &Hitless) {
    while *version < last {
        *version += 1;
        app.deploy(&Release::good(*version));
        let path = format!("/v1/apps/{APP}/reload");
        let answer = hitless.control_request("POST", &path).await;
        let text = answer.expect("it can be asked").expect_status(200).text();
        let verdict = text.lines().last().unwrap_or_default();
        assert!(verdict.contains(r#""verdict":"live""#), "{text}");
    }
}

/// Waits until only one generation is left, and tells the sizes of hitless and its keeper with the clients gone.
async fn at_rest(hitless: &mut Hitless) -> (Size, Size) {
    let status = hitless
        .wait_for("only the newest generation is left", SOON, |status| {
            status.generations(APP) == 1
        })
        .await;
    no_client_is_left(hitless).await;
    let app = status.live_pid(APP);
    let own = hitless.program().pid();
    let keeper = hitless.processes();
    let keeper = keeper
        .iter()
        .find(|process| ![app, own].contains(&process.pid))
        .unwrap_or_else(|| panic!("no keeper in {keeper:?}"))
        .pid;
    let size = resting(own).await;
    let zombies = zombies_of(&[own, keeper]);
    assert!(zombies.is_empty(), "{zombies:#?}");
    (size, Size::of(keeper))
}

/// The same, looked at again after more load where it is larger than it may be: the allocator gives back what it likes
/// and when it likes, some MiB more or less. What is lost does not come back in that way.
async fn at_rest_again(hitless: &mut Hitless, before: &Size) -> (Size, Size) {
    let mut sizes = at_rest(hitless).await;
    for _ in 1..LOOKS {
        if sizes.0.resident_kb <= before.resident_kb + GROWTH_KB {
            break;
        }
        let load = Load::start(hitless.address()).await;
        load.answers(ANSWERS).await;
        load.stop().await.expect_unnoticed();
        sizes = at_rest(hitless).await;
    }
    sizes
}

/// Waits until hitless has seen that its clients have gone.
async fn no_client_is_left(hitless: &Hitless) {
    let deadline = Instant::now() + SOON;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while hitless
        .metrics()
        .await
        .sum("hitless_client_connections", &[])
        > 0.0
    {
        ticks.tick().await;
        assert!(Instant::now() < deadline, "clients are left");
    }
}

/// Waits until the descriptors of a process have been the same for a while.
async fn resting(pid: i32) -> Size {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let deadline = Instant::now() + SOON;
    let (mut last, mut since) = (Size::of(pid), Instant::now());
    while since.elapsed() < REST {
        ticks.tick().await;
        let now = Size::of(pid);
        if now.descriptors != last.descriptors {
            assert!(Instant::now() < deadline, "never at rest: {now:?}");
            since = Instant::now();
        }
        last = now;
    }
    last
}

#[expect(
    clippy::print_stdout,
    reason = "the figures, for whoever runs it with --nocapture"
)]
fn expect_no_growth(what: &str, before: &Size, after: &Size) {
    println!(
        "{what}: {} kB after {WARM} reloads, {} kB after {RELOADS}; {} descriptors, {} threads",
        before.resident_kb,
        after.resident_kb,
        after.descriptors.len(),
        after.threads
    );
    assert!(
        after.resident_kb <= before.resident_kb + GROWTH_KB,
        "{what} grew from {} kB to {} kB",
        before.resident_kb,
        after.resident_kb
    );
    assert_eq!(after.descriptors, before.descriptors, "{what}");
    assert!(
        after.threads <= before.threads + BLOCKING,
        "{what}: {before:?}, {after:?}"
    );
}

/// On a socket each, so that there are files that could be left.
#[tokio::test]
async fn two_hundred_reloads_under_load_leave_nothing_behind() {
    let app = App::demo_on_a_socket();
    let runtime = tempfile::tempdir().expect("the system has a temporary folder");
    let folder = runtime.path().display().to_string();
    let mut hitless = Hitless::of(&app)
        .option("--probation", "0")
        .variable("XDG_RUNTIME_DIR", &folder)
        .start()
        .await;
    let mut version = 1;
    let load = Load::start(hitless.address()).await;
    reload_to(WARM, &mut version, &app, &hitless).await;
    load.answers(ANSWERS).await;
    let first = load.stop().await;
    let before = at_rest(&mut hitless).await;
    let kept = files(runtime.path()).len();

    let load = Load::start(hitless.address()).await;
    reload_to(RELOADS, &mut version, &app, &hitless).await;
    load.answers(ANSWERS).await;
    let second = load.stop().await;
    let after = at_rest_again(&mut hitless, &before.0).await;
    for record in [first, second] {
        record.show();
        record.expect_unnoticed();
    }
    expect_no_growth("hitless", &before.0, &after.0);
    expect_no_growth("the keeper", &before.1, &after.1);
    assert_eq!(
        files(runtime.path()).len(),
        kept,
        "{:?}",
        files(runtime.path())
    );
    assert_eq!(hitless.stop().await, 0);
    assert_eq!(files(runtime.path()), BTreeSet::new(), "left behind");
}
