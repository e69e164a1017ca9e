//! When an instance counts as ready, and what it is told when it does not.

#![allow(missing_docs, reason = "the names of the tests say it")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says why it fails by failing"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hitless::control_plane::process::{
    Config as ProcessConfig, Instance, Keeper, Line, OutputSink, Processes,
};
use hitless::control_plane::readiness::{Config, Probe, Ready, until_ready};
use hitless::generation::{Address, AppName, GenerationId, Reason, ReasonKind};
use tokio::time::{Instant, timeout};

const LONG: Duration = Duration::from_secs(20);

/// What kind of app a process of this file is.
const KIND: &str = "READINESS_TEST_APP";

// === the promises ===

#[tokio::test]
async fn an_app_that_answers_twice_in_a_row_is_ready() {
    let world = World::new();
    let instance = world.app("warming").await;
    let (ready, probes) = ask(&Config::default(), &instance).await;
    assert_eq!(&ready.unwrap().address, instance.address());
    // Three times 503 from the app, which is outside what counts as ready.
    let bad = probes.iter().filter(|it| **it == Probe::Answered(503));
    assert_eq!(bad.count(), 3);
    assert!(probes.ends_with(&[Probe::Passed(1, 2), Probe::Passed(2, 2)]));
}

#[tokio::test]
async fn an_app_on_localhost_may_be_on_ipv6() {
    let world = World::new();
    let instance = world.app("v6").await;
    let Address::Tcp(given) = instance.address().clone() else {
        panic!("{instance:?}");
    };
    let (ready, _) = ask(&Config::default(), &instance).await;
    let expected = Address::Tcp(format!("[::1]:{}", given.port()).parse().unwrap());
    assert_eq!(ready, Ok(Ready { address: expected }));
}

#[tokio::test]
async fn an_app_on_another_port_is_told_which() {
    let world = World::new();
    let instance = world.app("wrong_port").await;
    let Address::Tcp(given) = instance.address().clone() else {
        panic!("{instance:?}");
    };
    let asked = Instant::now();
    let (ready, _) = ask(&Config::default(), &instance).await;
    let reason = ready.unwrap_err();
    assert_eq!(reason.kind, ReasonKind::WrongPort);
    let listens = instance.output().last_lines(200);
    let listens = listens
        .iter()
        .find_map(|line| line.text.split_once("listens:"));
    let expected = format!(
        "the app listens on {}, not on the port it was given ({}): use {{port}} or $PORT",
        listens.unwrap().1,
        given.port()
    );
    assert_eq!(&*reason.message, expected);
    assert!(asked.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn a_stranger_on_the_port_is_named() {
    let world = World::new();
    let instance = world.start(&["sleep", "1000"]).await;
    let _stranger = TcpListener::bind(instance.address().to_string()).unwrap();
    let tcp = Config {
        http: None,
        tcp: true,
        ..Config::default()
    };
    let (ready, _) = ask(&tcp, &instance).await;
    let reason = ready.unwrap_err();
    assert_eq!(reason.kind, ReasonKind::Stranger);
    let named = format!("is held by process {} (", std::process::id());
    assert!(reason.message.contains(&named), "{reason}");
    let careless = Config {
        owner: false,
        ..tcp
    };
    assert!(ask(&careless, &instance).await.0.is_ok());
}

#[tokio::test]
async fn an_exit_before_ready_is_told_at_once() {
    let world = World::new();
    let instance = world.start(&["sh", "-c", "exit 1"]).await;
    let asked = Instant::now();
    let (ready, _) = ask(&Config::default(), &instance).await;
    let reason = ready.unwrap_err();
    assert_eq!(reason.kind, ReasonKind::Exited);
    assert_eq!(&*reason.message, "exited with status 1 before it was ready");
    assert!(asked.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn an_address_in_use_names_the_setting_that_may_help() {
    let world = World::new();
    let script = "echo 'OSError: [Errno 98] Address already in use' >&2; exit 1";
    let instance = world.start(&["sh", "-c", script]).await;
    let reason = ask(&Config::default(), &instance).await.0.unwrap_err();
    assert!(
        reason.message.ends_with("try reserve_port = false"),
        "{reason}"
    );
    let unreserved = world
        .start_with(&["sh", "-c", script], "", false, false)
        .await;
    let reason = ask(&Config::default(), &unreserved).await.0.unwrap_err();
    assert_eq!(&*reason.message, "exited with status 1 before it was ready");
}

#[tokio::test]
async fn the_port_is_let_go_of_once_the_app_listens() {
    let world = World::new();
    let instance = world.app("warming").await;
    ask(&Config::default(), &instance).await.0.unwrap();
    let address = instance.address().to_string();
    let pid = instance.pid();
    instance.kill();
    instance.exited().await;
    drop(TcpListener::bind(&address).unwrap_or_else(|error| panic!("{address} {pid} {error}")));
}

#[tokio::test]
async fn a_unix_socket_is_asked_like_a_port() {
    let world = World::new();
    let instance = world
        .start_with(&app_command("{socket}"), "unix", true, false)
        .await;
    let (ready, _) = ask(&Config::default(), &instance).await;
    assert_eq!(&ready.unwrap().address, instance.address());
    assert!(matches!(instance.address(), Address::Unix(_)));
}

#[tokio::test]
async fn an_app_that_notifies_is_ready_when_it_says_so() {
    let world = World::new();
    let instance = world
        .start_with(&app_command("x"), "notify", true, true)
        .await;
    let config = Config {
        http: None,
        notify: true,
        ..Config::default()
    };
    let (ready, probes) = ask(&config, &instance).await;
    assert_eq!(&ready.unwrap().address, instance.address());
    assert!(probes.ends_with(&[Probe::AwaitingNotify, Probe::Notified]));
}

// === the app ===

/// Not a test: what the tests above start.
#[test]
#[ignore = "the app of other tests"]
fn app() {
    let Ok(kind) = std::env::var(KIND) else {
        return;
    };
    let port = std::env::var("PORT").unwrap();
    let listen = |address: String| {
        let listener = TcpListener::bind(address).unwrap();
        println!("listens:{}", listener.local_addr().unwrap());
        listener
    };
    match kind.as_str() {
        "warming" => serve(&listen(format!("127.0.0.1:{port}")), 3),
        "v6" => serve(&listen(format!("[::1]:{port}")), 0),
        "wrong_port" => serve(&listen("127.0.0.1:0".to_owned()), 0),
        "notify" => {
            let listener = listen(format!("127.0.0.1:{port}"));
            // Whoever connected first is answered by a word on the other socket.
            let _connection = listener.accept().unwrap();
            let notify = std::env::var("NOTIFY_SOCKET").unwrap();
            let socket = UnixDatagram::unbound().unwrap();
            socket.send_to(b"READY=1", notify).unwrap();
            serve(&listener, 0);
        }
        "unix" => {
            let path = std::env::args().find(|arg| arg.ends_with(".sock")).unwrap();
            let listener = UnixListener::bind(path).unwrap();
            listener
                .incoming()
                .for_each(|stream| answer(stream.unwrap(), 200));
        }
        other => panic!("no such app: {other}"),
    }
}

/// Answers with 503 as often as told, then with 200. A connection without a request is none.
fn serve(listener: &TcpListener, mut bad: u32) {
    for stream in listener.incoming() {
        let stream: TcpStream = stream.unwrap();
        if stream.peek(&mut [0]).unwrap_or(0) == 0 {
            continue;
        }
        answer(stream, if bad > 0 { 503 } else { 200 });
        bad = bad.saturating_sub(1);
    }
}

fn answer(mut stream: impl Read + Write, status: u16) {
    if stream.read(&mut [0; 4096]).unwrap_or(0) > 0 {
        let _ = write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
    }
}

// === the world ===

#[derive(Debug)]
struct World {
    processes: Processes,
}

#[derive(Debug)]
struct Nowhere;

impl OutputSink for Nowhere {
    fn take(&self, _: &Line) {}

    fn dropped(&self) -> u64 {
        0
    }

    fn flush(&self, _: Duration) {}
}

impl World {
    fn new() -> Self {
        let keeper = Keeper::start_at(Path::new(env!("CARGO_BIN_EXE_hitless"))).unwrap();
        Self {
            processes: Processes::new(keeper, Arc::new(Nowhere)).unwrap(),
        }
    }

    async fn app(&self, kind: &str) -> Instance {
        self.start_with(&app_command("x"), kind, true, false).await
    }

    async fn start(&self, command: &[&str]) -> Instance {
        self.start_with(command, "", true, false).await
    }

    async fn start_with(
        &self,
        command: &[&str],
        kind: &str,
        reserve_port: bool,
        notify: bool,
    ) -> Instance {
        let config = ProcessConfig {
            command: command.iter().map(|part| (*part).to_owned()).collect(),
            directory: None,
            env_file: None,
            env: BTreeMap::from([(KIND.to_owned(), kind.to_owned())]),
            reserve_port,
        };
        let recipe = config.resolve(std::env::vars_os()).unwrap();
        let recipe = recipe.notifying(notify);
        self.processes
            .start(&recipe, &AppName::new("app"), GenerationId::FIRST, 1)
            .await
            .unwrap()
    }
}

/// This file as an app; what the test runner takes for one more filter is for the app.
fn app_command(more: &str) -> [&str; 6] {
    let this: &'static str = std::env::current_exe()
        .unwrap()
        .display()
        .to_string()
        .leak();
    [this, "--exact", "app", "--ignored", "--nocapture", more]
}

async fn ask(config: &Config, instance: &Instance) -> (Result<Ready, Reason>, Vec<Probe>) {
    let mut probes = Vec::new();
    let asked = until_ready(config, instance, |probe| probes.push(probe));
    let ready = timeout(LONG, asked).await.expect("an end in time");
    (ready, probes)
}
