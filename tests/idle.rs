//! Promise: thousands of idle connections and hundreds of slow clients are not noticed by others, and cost little memory.
//!
//! With `HITLESS_TEST_LONG` set it measures for 180 seconds instead of 27.

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::app::App;
use support::client::{Connection, get};
use support::world::Hitless;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

const IDLE: usize = 5_000;
const SLOW: usize = 200;
const PAIRS: usize = 9;

/// Other clients: connections, and how often each asks.
const OTHERS: u32 = 8;
const EVERY: Duration = Duration::from_millis(25);

/// What an idle connection may cost.
const BYTES_MAX: u64 = 4096;

/// What it is waited for.
const BYTES_AIM: u64 = 2048;

/// How long each of the measurements takes, with and without.
fn time() -> Duration {
    let all = if std::env::var_os("HITLESS_TEST_LONG").is_some() {
        180.0
    } else {
        27.0
    };
    Duration::from_secs_f64(all / PAIRS as f64)
}

/// Both ends of every connection of a test lie on this machine.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit is allowed");
}

/// The memory of a process that it does not share, in bytes.
fn memory(pid: i32) -> u64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(path).expect("the process is there");
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    let kibibytes = private.map(|line| {
        let number = line.split_whitespace().nth(1);
        number
            .and_then(|number| number.parse::<u64>().ok())
            .expect("a number")
    });
    kibibytes.sum::<u64>() * 1024
}

/// Connections that have asked once and are silent from then on.
fn idle(address: SocketAddr, count: usize) -> Vec<StdStream> {
    let one = |_| {
        use std::io::Read;
        let mut stream = StdStream::connect(address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("it is more than nothing");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("it reads");
        let mut text = [0; 2048];
        let length = stream.read(&mut text).expect("it answers");
        assert!(text[..length].starts_with(b"HTTP/1.1 200 "));
        stream
    };
    (0..count).map(one).collect()
}

/// Clients of their own thread, so that they delay those that are measured through the server only. They end when the
/// sender is dropped.
fn attack(address: SocketAddr) -> oneshot::Sender<()> {
    let (attack, end) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .expect("the system has room for it")
            .block_on(async {
                let mut clients = JoinSet::new();
                for _ in 0..SLOW {
                    clients.spawn(slow(address));
                }
                // An error: the sender is gone, which is what is waited for.
                let _ = end.await;
            });
    });
    attack
}

/// A client that sends a head byte by byte and comes back when it is closed.
async fn slow(address: SocketAddr) {
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            continue;
        };
        let mut ticks = interval(Duration::from_secs(1));
        let mut answer = [0; 512];
        let begun = stream.write_all(b"GET / HTTP/1.1\r\nX: ").await;
        let mut open = begun.is_ok();
        while open {
            tokio::select! {
                _ = ticks.tick() => open = stream.write_all(b"x").await.is_ok(),
                read = stream.read(&mut answer) => open = matches!(read, Ok(1..)),
            }
        }
    }
}

/// The times that others wait for their answers, in order.
async fn others(address: SocketAddr, time: Duration) -> Vec<Duration> {
    let end = Instant::now() + time;
    let mut lanes = JoinSet::new();
    for lane in 0..OTHERS {
        lanes.spawn(async move {
            let mut connection = Connection::open(address).await.expect("it listens");
            sleep_until(Instant::now() + EVERY * lane / OTHERS).await;
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut times = Vec::new();
            while Instant::now() < end {
                ticks.tick().await;
                let began = Instant::now();
                let answer = connection.send(get("/")).await;
                answer.expect("none of them fails").expect_status(200);
                times.push(began.elapsed());
            }
            times
        });
    }
    let mut times: Vec<_> = lanes.join_all().await.into_iter().flatten().collect();
    times.sort_unstable();
    times
}

fn p99(times: &[Duration]) -> Duration {
    times[times.len() * 99 / 100]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Waits until the memory of a process has fallen below this, and returns what it is then or after the time.
async fn settled(pid: i32, below: u64) -> u64 {
    let fell = async {
        let mut ticks = interval(Duration::from_millis(200));
        while memory(pid) >= below {
            ticks.tick().await;
        }
    };
    // Too much is for the caller to judge.
    let _ = timeout(Duration::from_secs(15), fell).await;
    memory(pid)
}

#[tokio::test]
async fn an_idle_connection_costs_less_than_4_kib() {
    raise_descriptor_limit();
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let pid = hitless.program().pid();
    // What is needed once is there.
    drop(idle(hitless.address(), 50));
    let before = settled(pid, 0).await;
    let connections = idle(hitless.address(), IDLE);
    let after = settled(pid, before + BYTES_AIM * IDLE as u64).await;
    let each = after.saturating_sub(before) / IDLE as u64;
    println!(
        "{each} bytes for each of {IDLE} idle connections ({before} before, {after} with them)"
    );
    assert!(each <= BYTES_MAX, "{each} bytes each");
    drop(connections);
}

#[tokio::test]
async fn idle_and_slow_clients_are_not_noticed_by_others() {
    raise_descriptor_limit();
    let app = App::demo();
    let hitless = Hitless::of(&app)
        .setting("[client]\nhead_timeout = \"2s\"")
        .start()
        .await;
    let address = hitless.address();
    let mut ratios = Vec::new();
    for _ in 0..PAIRS {
        let without = p99(&others(address, time()).await);
        let connections = tokio::task::spawn_blocking(move || idle(address, IDLE));
        let connections = connections.await.expect("each was served");
        let attack = attack(address);
        let with = p99(&others(address, time()).await);
        let open = hitless
            .metrics()
            .await
            .sum("hitless_client_connections", &[]);
        assert!(open >= IDLE as f64, "{open} are open");
        drop(attack);
        drop(connections);
        let ratio = with.as_secs_f64() / without.as_secs_f64();
        println!("p99 {without:?} without and {with:?} with them: {ratio:.2}");
        ratios.push(ratio);
    }
    let metrics = hitless.metrics().await;
    let late = metrics.sum("hitless_answers_total", &[("reason", "head_timeout")]);
    assert!(late > 0.0, "the slow ones were answered 408");
    let ratio = median(ratios);
    assert!(ratio <= 1.5, "p99 is {ratio:.2} times that of without");
}
