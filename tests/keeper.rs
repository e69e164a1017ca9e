//! What the keeper promises: every app process is started, heard of and ended, and none outlives hitless.

#![allow(missing_docs, reason = "the names of the tests say it")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says why it fails by failing"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "some tests need a hitless of their own to kill"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hitless::control_plane::process::{
    Config, Exit, Instance, Keeper, Line, OutputSink, Processes, Recipe, raise_descriptor_limit,
};
use hitless::generation::{Address, AppName, GenerationId, Reason, ReasonKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::sync::mpsc;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

/// Which role a process of this file plays for another test.
const ROLE: &str = "KEEPER_TEST_ROLE";

// === the promises ===

#[tokio::test]
async fn an_exit_is_told_with_its_status_to_all_who_wait() {
    let mut world = World::new();
    let instance = world.start("exit 3").await;
    let (first, second) = tokio::join!(instance.exited(), instance.exited());
    assert_eq!((first, second), (Exit::Status(3), Exit::Status(3)));
    assert_eq!(instance.exited().await, Exit::Status(3));
    world.ended(&instance, "true; kill -SEGV $$").await;
    let instance = world.start("kill -SEGV $$").await;
    assert_eq!(
        soon(instance.exited()).await.to_string(),
        "was killed by SIGSEGV"
    );
}

#[tokio::test]
async fn an_exit_at_once_is_no_failed_start_and_keeps_its_last_words() {
    let mut world = World::new();
    for _ in 0..20 {
        let instance = world.start("echo no database >&2; exit 1").await;
        assert_eq!(soon(instance.exited()).await, Exit::Status(1));
        soon(instance.last_words()).await;
        let lines = instance.output().last_lines(20);
        assert_eq!(&*lines.last().unwrap().text, "no database");
    }
}

#[tokio::test]
async fn grandchildren_of_the_group_die_with_the_instance() {
    let mut world = World::new();
    let instance = world.start("sleep 1000 & echo $!; exit 1").await;
    let grandchild = world.number().await;
    assert_eq!(soon(instance.exited()).await, Exit::Status(1));
    await_end(grandchild);
}

#[tokio::test]
async fn terminate_asks_the_group_and_kill_ends_it() {
    let mut world = World::new();
    let script = "trap 'echo bye; exit 0' TERM; sleep 1000 & echo $!; wait";
    let instance = world.start(script).await;
    let grandchild = world.number().await;
    instance.terminate();
    assert_eq!(soon(instance.exited()).await, Exit::Status(0));
    await_end(grandchild);
    assert_eq!(world.line().await, "bye");
    // Gone already: neither does anything.
    instance.terminate();
    instance.kill();

    let stubborn = world
        .start("trap '' TERM; echo up; sleep 1000; sleep 1000")
        .await;
    world.line().await;
    stubborn.terminate();
    stubborn.kill();
    assert_eq!(soon(stubborn.exited()).await, Exit::Signal(9));
}

#[tokio::test]
async fn an_orphan_is_reaped() {
    let mut world = World::new();
    let _instance = world.start("(sleep 0.05 & echo $!); sleep 1000").await;
    let orphan = world.number().await;
    await_end(orphan);
    // Not even a zombie is left.
    soon(async {
        while Path::new(&format!("/proc/{orphan}")).exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_failed_start_names_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let data = file("data", "x", 0o644);
    let script = file("script", "#!/no/such/python\n", 0o755);
    let world = World::new();
    for (program, cause) in [
        (
            "no-such-command",
            "cannot start \"no-such-command\": command not found",
        ),
        (
            "/no/such/command",
            "\"/no/such/command\": no such file (in ",
        ),
        (data.as_str(), "data\": not executable"),
        (
            script.as_str(),
            "script\": its interpreter /no/such/python is not found",
        ),
        ("/", "\"/\": it is a directory"),
    ] {
        let reason = world.try_start(&recipe(&[program])).await.unwrap_err();
        assert_eq!(reason.kind, ReasonKind::Spawn);
        assert!(reason.message.contains(cause), "{reason}");
    }
}

#[tokio::test]
async fn a_directory_that_vanished_is_named_and_others_start_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        directory: Some(folder.path().to_owned()),
        ..config(&["true"])
    };
    let recipe = config.resolve(std::env::vars_os()).unwrap();
    drop(folder);
    let mut world = World::new();
    let reason = world.try_start(&recipe).await.unwrap_err();
    assert!(reason.message.ends_with(": no such directory"), "{reason}");
    let instance = world.start("exit 0").await;
    assert_eq!(soon(instance.exited()).await, Exit::Status(0));
}

#[tokio::test]
async fn nothing_that_hitless_has_open_reaches_keeper_or_app() {
    let leaky = fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&leaky, rustix::io::FdFlags::empty()).unwrap();
    let world = World::new();
    let instance = world.try_start(&recipe(&["sleep", "1000"])).await.unwrap();
    let descriptors = |pid: u32| {
        let mut names: Vec<u32> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        names.sort_unstable();
        names
    };
    assert_eq!(descriptors(instance.pid()), [0, 1, 2]);
    let of_keeper = descriptors(world.keeper);
    let leaked = of_keeper.iter().filter(|fd| {
        let target = fs::read_link(format!("/proc/{}/fd/{fd}", world.keeper)).unwrap();
        **fd > 2 && target == Path::new("/dev/null")
    });
    assert_eq!(leaked.count(), 0);
    drop(leaky);
}

#[tokio::test]
async fn the_app_starts_with_signals_as_the_system_made_them() {
    let world = World::new();
    let instance = world.try_start(&recipe(&["sleep", "1000"])).await.unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", instance.pid())).unwrap();
    for field in ["SigBlk:\t", "SigIgn:\t", "SigCgt:\t"] {
        let bits = status.split_once(field).unwrap().1.lines().next().unwrap();
        // The C library keeps 32 and 33 for itself, and ignores them in what it spawns.
        let bits = u64::from_str_radix(bits, 16).unwrap() & !(0b11 << 31);
        assert_eq!(bits, 0, "{field}");
    }
}

#[tokio::test]
async fn the_keeper_outlives_the_signals_of_a_terminal() {
    let mut world = World::new();
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        kill_process(pid(world.keeper), signal).unwrap();
    }
    let instance = world.start("exit 7").await;
    assert_eq!(soon(instance.exited()).await, Exit::Status(7));
}

#[tokio::test]
async fn the_app_is_told_who_and_where_it_is() {
    let mut world = World::new();
    let script = "echo $HITLESS_APP.$HITLESS_GENERATION.$HITLESS_INSTANCE $HOST $PORT={port} {generation}.{instance} $NOTIFY_SOCKET";
    let instance = world.start(script).await;
    let Address::Tcp(address) = instance.address() else {
        panic!("{instance:?}");
    };
    let port = address.port();
    let said = world.line().await;
    assert_eq!(
        said.trim_end(),
        format!("app.1.1 127.0.0.1 {port}={port} 1.1")
    );
}

#[tokio::test]
async fn a_private_socket_folder_lives_as_long_as_the_instance() {
    let mut world = World::new();
    let instance = world.start("echo {socket}; exec sleep 1000").await;
    let said = PathBuf::from(world.line().await);
    assert_eq!(instance.address(), &Address::Unix(said.as_path().into()));
    let folder = said.parent().unwrap();
    let mode = fs::metadata(folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let process = instance.pid();
    drop(instance);
    assert!(!folder.exists());
    // On another thread, for this one has the order to send.
    let ended = tokio::task::spawn_blocking(move || await_end(process));
    ended.await.unwrap();
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_leaves_nothing() {
    let mut world = World::new();
    let recipe = recipe(&["sh", "-c", "sleep 1000"]);
    // Asked for, and dropped before there can be an answer.
    assert!(world.try_start(&recipe).now_or_never().is_none());
    // Orders are kept in their order: once this one has exited, the one before has been killed and reaped.
    let instance = world.start("exit 0").await;
    soon(instance.exited()).await;
    soon(async {
        while !children(world.keeper).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn closing_ends_everything_and_waits_for_it() {
    let mut world = World::new();
    let script = "setsid sh -c 'trap \"\" TERM; echo $$; sleep 1000; sleep 1000' & wait";
    let instance = world.start(script).await;
    let far = world.number().await;
    soon(world.processes.close()).await;
    for process in [instance.pid(), far, world.keeper] {
        assert!(!is_alive(process), "{process}");
    }
    assert_eq!(soon(instance.exited()).await, Exit::Keeper);
    let reason = world.try_start(&recipe(&["true"])).await.unwrap_err();
    assert_eq!(reason.kind, ReasonKind::Keeper);
}

#[tokio::test]
async fn dropping_everything_ends_everything() {
    let mut world = World::new();
    let instance = world.start("echo up; sleep 1000; sleep 1000").await;
    world.line().await;
    let (process, keeper) = (instance.pid(), world.keeper);
    drop((world, instance));
    // The task is dropped at its next turn.
    tokio::task::yield_now().await;
    await_end(process);
    await_end(keeper);
}

// === with a hitless of their own ===

#[test]
fn nothing_outlives_a_killed_hitless_setsid_or_not() {
    let (mut hitless, numbers) = act("victim");
    assert_eq!(numbers.len(), 4);
    assert!(numbers.iter().copied().all(is_alive));
    hitless.kill().unwrap();
    hitless.wait().unwrap();
    numbers.into_iter().for_each(await_end);
}

#[test]
fn a_dead_keeper_costs_its_instances_and_another_one_takes_over() {
    let (mut hitless, numbers) = act("bereaved");
    let status = hitless.wait().unwrap();
    assert!(status.success(), "{status}");
    numbers.into_iter().for_each(await_end);
}

#[test]
fn apps_keep_the_descriptor_limit_that_hitless_was_started_with() {
    let (mut hitless, numbers) = act("raised");
    assert!(hitless.wait().unwrap().success());
    assert_eq!(numbers[..2], [100, 100]);
}

#[test]
fn a_person_who_runs_the_keeper_is_told_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_hitless"))
        .arg("keeper")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("not meant to be run by hand"), "{said}");
}

/// Not a test: what [`act`] runs in a process of its own.
#[tokio::test]
#[ignore = "a role that other tests play"]
async fn role() {
    match std::env::var(ROLE).as_deref() {
        Ok("victim") => victim().await,
        Ok("bereaved") => bereaved().await,
        Ok("raised") => raised().await,
        _ => {}
    }
}

/// A process, one of its group, one in a session of its own, and the keeper; then waits to be killed.
const FAMILY: &str = "sleep 1000 & echo $!; setsid sh -c 'trap \"\" TERM HUP; echo $$; sleep 1000; sleep 1000' & wait";

async fn victim() {
    let mut world = World::new();
    let instance = world.start(FAMILY).await;
    say(&[
        world.number().await,
        world.number().await,
        instance.pid(),
        world.keeper,
    ]);
    std::future::pending::<()>().await;
}

async fn bereaved() {
    let mut world = World::new();
    let instance = world.start(FAMILY).await;
    let family = [world.number().await, world.number().await, instance.pid()];
    // One that lived long enough is followed by another at once.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    kill_process(pid(world.keeper), Signal::KILL).unwrap();
    assert_eq!(soon(instance.exited()).await, Exit::Keeper);
    family.into_iter().for_each(await_end);
    let next = world.start("exit 5").await;
    assert_eq!(soon(next.exited()).await, Exit::Status(5));
    // One that died young is followed by another when there is something to start.
    let keeper = children(std::process::id());
    assert_eq!(keeper.len(), 1);
    kill_process(pid(keeper[0]), Signal::KILL).unwrap();
    await_end(keeper[0]);
    soon(async {
        while world.try_start(&recipe(&["true"])).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    say(&family);
}

async fn raised() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let hard = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(100),
        maximum: hard,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut world = World::new();
    let (before, after) = raise_descriptor_limit();
    assert_eq!((before, Some(after)), (100, hard));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let instance = world.start("ulimit -Sn").await;
        seen.push(world.number().await);
        soon(instance.exited()).await;
        // The second is asked of a keeper that was started after the limit was raised.
        for keeper in children(std::process::id()) {
            kill_process(pid(keeper), Signal::KILL).unwrap();
            await_end(keeper);
        }
        soon(async {
            while world.try_start(&recipe(&["true"])).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    say(&seen);
}

// === the world ===

#[derive(Debug)]
struct World {
    processes: Processes,
    keeper: u32,
    lines: mpsc::UnboundedReceiver<Line>,
}

#[derive(Debug)]
struct Sink(mpsc::UnboundedSender<Line>);

impl OutputSink for Sink {
    fn take(&self, line: &Line) {
        let _ = self.0.send(line.clone());
    }

    fn dropped(&self) -> u64 {
        0
    }

    fn flush(&self, _: Duration) {}
}

impl World {
    fn new() -> Self {
        let keeper = Keeper::start_at(Path::new(env!("CARGO_BIN_EXE_hitless"))).unwrap();
        let number = keeper.pid();
        let (sink, lines) = mpsc::unbounded_channel();
        Self {
            processes: Processes::new(keeper, Arc::new(Sink(sink))).unwrap(),
            keeper: number,
            lines,
        }
    }

    async fn try_start(&self, recipe: &Recipe) -> Result<Instance, Reason> {
        let app = AppName::new("app");
        let start = self.processes.start(recipe, &app, GenerationId::FIRST, 1);
        soon(start).await
    }

    /// Lines of earlier instances are no longer of interest.
    async fn start(&mut self, script: &str) -> Instance {
        while self.lines.try_recv().is_ok() {}
        self.try_start(&recipe(&["sh", "-c", script]))
            .await
            .unwrap()
    }

    async fn ended(&mut self, before: &Instance, script: &str) {
        assert_eq!(soon(before.exited()).await, Exit::Status(3));
        let instance = self.start(script).await;
        assert_eq!(soon(instance.exited()).await, Exit::Signal(11));
    }

    async fn line(&mut self) -> String {
        soon(self.lines.recv()).await.unwrap().text.to_string()
    }

    async fn number(&mut self) -> u32 {
        self.line().await.parse().unwrap()
    }
}

fn config(command: &[&str]) -> Config {
    Config {
        command: command.iter().map(|part| (*part).to_owned()).collect(),
        directory: None,
        env_file: None,
        env: BTreeMap::new(),
        reserve_port: true,
    }
}

fn recipe(command: &[&str]) -> Recipe {
    config(command).resolve(std::env::vars_os()).unwrap()
}

#[track_caller]
fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        timeout(LONG, future)
            .await
            .unwrap_or_else(|_| panic!("nothing came in time at {caller}"))
    }
}

/// Runs a role in another process of this file, and reads the numbers it says.
fn act(role: &str) -> (Child, Vec<u32>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "role", "--ignored", "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let said = lines
        .find_map(|line| line.split_once("numbers:").map(|(_, rest)| rest.to_owned()))
        .unwrap_or_default();
    // What its test runner says after that has to go somewhere.
    std::thread::spawn(move || lines.count());
    let numbers = said
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    (child, numbers)
}

fn say(numbers: &[u32]) {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    println!("numbers: {}", numbers.join(" "));
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

/// Waits for the end of a process that need not be ours; a zombie has ended.
#[track_caller]
fn await_end(number: u32) {
    let Ok(pidfd) = pidfd_open(pid(number), PidfdFlags::empty()) else {
        return;
    };
    let limit = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit));
    assert_eq!(ended, Ok(1), "process {number} lives on");
}

fn stat(number: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn is_alive(number: u32) -> bool {
    stat(number).is_some_and(|(state, _)| state != "Z")
}

fn children(parent: u32) -> Vec<u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| stat(*number).is_some_and(|(_, of)| of == parent))
        .collect()
}
