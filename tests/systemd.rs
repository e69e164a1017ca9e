//! Promise: whoever started hitless with a `NOTIFY_SOCKET` is told when it is ready, reloading and stopping, and in a
//! line what its app does. Here that is a socket of the test's own.

mod support;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use support::app::{App, Fault, Release};
use support::world::{APP, Builder, Hitless, SOON};
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::time::{Instant, timeout, timeout_at};

/// The other end of the notify socket.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
    /// Each datagram so far.
    heard: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("the path is free");
        Self {
            socket,
            folder,
            heard: Vec::new(),
        }
    }

    fn of(&self, app: &App) -> Builder {
        let path = self.folder.path().join("notify").display().to_string();
        Hitless::of(app).variable("NOTIFY_SOCKET", &path)
    }

    /// The next datagram, which must come by then.
    async fn next(&mut self, deadline: Instant) -> String {
        let mut datagram = [0; 4096];
        let length = timeout_at(deadline, self.socket.recv(&mut datagram)).await;
        let length = length.unwrap_or_else(|_| panic!("nothing more than {:#?}", self.heard));
        let length = length.expect("the socket is there");
        let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
        self.heard.push(text.clone());
        text
    }

    /// Waits for a datagram with such a line; those before it are over.
    async fn hears(&mut self, line: &str) -> String {
        self.hears_within(line, SOON).await
    }

    async fn hears_within(&mut self, line: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            let datagram = self.next(deadline).await;
            if datagram.lines().any(|one| one.starts_with(line)) {
                return datagram;
            }
        }
    }

    /// Whether such a line has come so far.
    fn has_heard(&self, line: &str) -> bool {
        let mut lines = self.heard.iter().flat_map(|datagram| datagram.lines());
        lines.any(|one| one.starts_with(line))
    }

    /// Takes what is there already.
    fn drain(&mut self) {
        let mut datagram = [0; 4096];
        while let Ok(length) = self.socket.try_recv(&mut datagram) {
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            self.heard.push(text);
        }
    }
}

fn value<'d>(datagram: &'d str, key: &str) -> &'d str {
    let mut lines = datagram.lines();
    let found = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {key} in {datagram:?}"))
}

fn monotonic_usec() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[tokio::test]
async fn ready_is_said_once_the_app_is_live_and_until_then_that_it_goes_on() {
    let mut manager = Manager::new();
    let app = App::demo();
    app.deploy(&Release::good(1).boots_for(Duration::from_millis(1500)));
    let hitless = manager.of(&app).begin().await;
    let waiting = manager.hears("EXTEND_TIMEOUT_USEC=").await;
    assert!(
        value(&waiting, "EXTEND_TIMEOUT_USEC")
            .parse::<u64>()
            .unwrap()
            >= 20_000_000
    );

    let ready = manager.hears("READY=1").await;
    assert_eq!(value(&ready, "STATUS"), "app: generation 1 serves");
    assert_eq!(hitless.status().await.live(APP), Some(1));
    assert!(
        manager.has_heard("STATUS=app: starting"),
        "{:#?}",
        manager.heard
    );
    assert!(!manager.has_heard("STOPPING"), "{:#?}", manager.heard);
}

#[tokio::test]
async fn a_first_start_that_fails_is_ready_too_and_the_status_says_so() {
    let mut manager = Manager::new();
    let app = App::demo();
    app.deploy(&Release::broken(1, Fault::DiesAtStart));
    let hitless = manager.of(&app).begin().await;
    let ready = manager.hears("READY=1").await;
    let status = value(&ready, "STATUS");
    assert!(
        status.starts_with("app: nothing is live (exited with status 1"),
        "{status}"
    );

    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "a good reload");
    loop {
        let datagram = manager.hears("STATUS=app: generation ").await;
        if value(&datagram, "STATUS").ends_with(" serves") {
            return;
        }
    }
}

#[tokio::test]
async fn a_hitless_that_exits_on_a_failed_start_never_was_ready() {
    let mut manager = Manager::new();
    let app = App::demo();
    app.deploy(&Release::broken(1, Fault::DiesAtStart));
    let mut hitless = manager.of(&app).flag("--exit-on-failed-start").spawn();
    assert_eq!(hitless.program().ends(SOON).await, 1);
    manager.drain();
    assert!(manager.has_heard("STOPPING=1"), "{:#?}", manager.heard);
    assert!(!manager.has_heard("READY"), "{:#?}", manager.heard);
}

#[tokio::test]
async fn a_reload_is_told_from_its_beginning_to_its_verdict() {
    let mut manager = Manager::new();
    let app = App::demo();
    let mut hitless = manager.of(&app).setting("").start().await;
    manager.hears("READY=1").await;

    let before = monotonic_usec();
    hitless.program().signal(Signal::HUP);
    let reloading = manager.hears("RELOADING=1").await;
    let told = value(&reloading, "MONOTONIC_USEC").parse::<i64>().unwrap();
    assert!(
        before <= told && told <= monotonic_usec(),
        "{before} {told}"
    );
    manager.hears("READY=1").await;
    assert_eq!(
        hitless.status().await.live(APP),
        Some(2),
        "READY only after the verdict"
    );

    // A failed one ends as well, and is loud.
    app.deploy(&Release::broken(2, Fault::DiesAtStart));
    hitless.reload().await.expect_status(1, "a broken reload");
    manager.hears("RELOADING=1").await;
    manager.hears("READY=1").await;
    let stale = "STATUS=app: generation 2 serves (stale: ";
    if !manager.has_heard(stale) {
        manager.hears(stale).await;
    }

    // And so does one that is refused.
    hitless.configure(&app, "oops = 1");
    hitless.program().signal(Signal::HUP);
    manager.hears("RELOADING=1").await;
    manager
        .hears_within("READY=1", Duration::from_secs(5))
        .await;
}

#[tokio::test]
async fn stopping_is_told_and_for_how_long() {
    let mut manager = Manager::new();
    let app = App::demo();
    let shutdown = "[shutdown]\ntimeout = \"2m\"";
    let mut hitless = manager.of(&app).setting(shutdown).start().await;
    manager.hears("READY=1").await;
    assert_eq!(hitless.stop().await, 0);
    let stopping = manager.hears("STOPPING=1").await;
    let more = value(&stopping, "EXTEND_TIMEOUT_USEC")
        .parse::<u64>()
        .unwrap();
    assert!(
        more > 120_000_000,
        "longer than the shutdown may take: {more}"
    );
    assert!(value(&stopping, "STATUS").starts_with("stopping"));
    manager.drain();
    let last = manager.heard.last().unwrap();
    assert!(
        last.starts_with("STOPPING=1"),
        "nothing after it: {:#?}",
        manager.heard
    );
}

#[tokio::test]
async fn a_watchdog_is_fed_at_half_of_its_time() {
    let mut manager = Manager::new();
    let app = App::demo();
    let hitless = manager.of(&app).variable("WATCHDOG_USEC", "2000000");
    let _hitless = hitless.start().await;
    manager.hears("WATCHDOG=1").await;
    for _ in 0..3 {
        let began = Instant::now();
        manager
            .hears_within("WATCHDOG=1", Duration::from_millis(2000))
            .await;
        assert!(began.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn a_watchdog_of_another_process_is_left_alone() {
    let mut manager = Manager::new();
    let app = App::demo();
    let hitless = manager.of(&app).variable("WATCHDOG_USEC", "20000");
    let mut hitless = hitless.variable("WATCHDOG_PID", "1").start().await;
    manager.hears("READY=1").await;
    assert_eq!(hitless.stop().await, 0);
    manager.hears("STOPPING=1").await;
    manager.drain();
    assert!(!manager.has_heard("WATCHDOG"), "{:#?}", manager.heard);
}

#[tokio::test]
async fn the_socket_may_be_in_the_abstract_namespace() {
    let mut manager = Manager::new();
    let name = format!("hitless-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let socket = std::os::unix::net::UnixDatagram::bind_addr(&address).expect("the name is free");
    socket.set_nonblocking(true).expect("it is a socket");
    manager.socket = UnixDatagram::from_std(socket).expect("it is a socket");
    let app = App::demo();
    let builder = Hitless::of(&app).variable("NOTIFY_SOCKET", &format!("@{name}"));
    let _hitless = builder.start().await;
    manager.hears("READY=1").await;
}

#[tokio::test]
async fn a_manager_that_is_not_there_or_does_not_listen_holds_up_nothing() {
    let app = App::demo();
    for (socket, warning) in [
        ("/nowhere/notify", "systemd cannot be told"),
        ("no address", "NOTIFY_SOCKET is not an address"),
    ] {
        let mut hitless = Hitless::of(&app)
            .variable("NOTIFY_SOCKET", socket)
            .start()
            .await;
        hitless.reload().await.expect_status(0, "a good reload");
        hitless.program().says(warning, SOON).await;
        assert_eq!(hitless.stop().await, 0);
    }
    // Nobody reads here: a few datagrams fill the queue.
    let manager = Manager::new();
    let builder = manager.of(&app).variable("WATCHDOG_USEC", "2000");
    let mut hitless = builder.start().await;
    hitless.reload().await.expect_status(0, "a good reload");
    hitless.get("/").await.expect_status(200);
    let stopped = timeout(Duration::from_secs(15), hitless.stop()).await;
    assert_eq!(
        stopped.expect("it does not wait for whoever does not read"),
        0
    );
}
