//! Promise: an app that listens on the unix socket that `{socket}` names is reloaded like any other, its socket lies where
//! nobody else can reach it, and none is left behind.

mod support;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::app::{App, Release};
use support::load::{Load, RATE};
use support::world::{APP, Hitless, SOON};
use tempfile::TempDir;

/// How many answers make a quiet time.
const QUIET: usize = 300;

/// A hitless whose sockets lie in a folder of the test's own.
struct World {
    runtime: TempDir,
    hitless: Hitless,
}

impl World {
    async fn start(app: &App) -> Self {
        let runtime = tempfile::tempdir().expect("the system has a temporary folder");
        let folder = runtime.path().display().to_string();
        let hitless = Hitless::of(app)
            .option("--probation", "0")
            .variable("XDG_RUNTIME_DIR", &folder)
            .start()
            .await;
        Self { runtime, hitless }
    }

    /// The sockets of all generations, each in a folder of its own that only its owner may enter.
    #[track_caller]
    fn sockets(&self) -> Vec<PathBuf> {
        let mut sockets = Vec::new();
        for folder in entries(self.runtime.path()) {
            let mode = fs::metadata(&folder)
                .expect("it is there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
            let found = entries(&folder).into_iter().filter(|path| {
                fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
            });
            sockets.extend(found);
        }
        sockets
    }

    /// Waits until one generation is left; only its socket may be there then.
    async fn only_the_live_one_has_a_socket(&mut self) {
        let status = self
            .hitless
            .wait_for("only the newest generation is left", SOON, |status| {
                status.generations(APP) == 1
            })
            .await;
        let sockets = self.sockets();
        let [socket] = sockets.as_slice() else {
            panic!("not one socket: {sockets:?}; {status}");
        };
        let address = status.live_socket(APP);
        assert_eq!(address, format!("unix:{}", socket.display()), "{status}");
    }

    async fn stops_and_leaves_nothing(mut self) {
        assert_eq!(self.hitless.stop().await, 0);
        assert_eq!(entries(self.runtime.path()), Vec::<PathBuf>::new());
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.flatten().map(|entry| entry.path()).collect()
}

#[tokio::test]
async fn reloads_of_an_app_on_a_socket_are_noticed_by_nobody_and_leave_no_socket() {
    let app = App::demo_on_a_socket();
    let mut world = World::start(&app).await;
    world.only_the_live_one_has_a_socket().await;
    let load = Load::start(world.hitless.address()).await;
    load.answers(QUIET).await;
    for version in 2..=6 {
        app.deploy(&Release::good(version).boots_for(Duration::from_millis(100)));
        let what = format!("reload to {version}");
        let reload = load.during(&what, world.hitless.reload()).await;
        reload.expect_status(0, &what);
        let answer = world.hitless.get("/").await.expect_status(200);
        assert_eq!(answer.version(), Some(version), "{answer:#?}");
        load.answers(100).await;
    }
    let record = load.stop().await;
    record.show();
    record.expect_unnoticed();
    record.expect_rate(RATE);
    world.only_the_live_one_has_a_socket().await;
    world.stops_and_leaves_nothing().await;
}

#[tokio::test]
async fn a_version_that_dies_leaves_no_socket_and_one_that_listens_elsewhere_does_not_go_live() {
    let app = App::demo_on_a_socket();
    let mut world = World::start(&app).await;
    for fault in [
        support::app::Fault::DiesAtStart,
        support::app::Fault::ProbeStatus(500),
    ] {
        app.deploy(&Release::broken(2, fault));
        let reload = world.hitless.command(&["reload"]);
        // Nobody waits for the whole start_timeout: the probe is asked, and then a good version is deployed.
        let reload = tokio::spawn(reload);
        world
            .hitless
            .wait_for("the reload is asked for", SOON, |status| {
                status.generations(APP) == 2 || status.stale(APP)
            })
            .await;
        app.deploy(&Release::good(3));
        world.hitless.reload().await.expect_status(0, "reload");
        reload.await.expect("a client does not panic");
        world.only_the_live_one_has_a_socket().await;
    }
    world.stops_and_leaves_nothing().await;
}

#[tokio::test]
async fn a_live_version_that_is_killed_is_started_again_on_a_socket_of_its_own() {
    let app = App::demo_on_a_socket();
    let mut world = World::start(&app).await;
    let pid = world.hitless.status().await.live_pid(APP);
    support::processes::send(pid, rustix::process::Signal::KILL);
    world
        .hitless
        .wait_for("it is live again", SOON, |status| {
            status.live(APP) == Some(2)
        })
        .await;
    world.hitless.get("/").await.expect_status(200);
    world.only_the_live_one_has_a_socket().await;
    world.stops_and_leaves_nothing().await;
}

/// The library of Python alone, as a second opinion: an HTTP server that binds a path, and never removes it.
const PYTHON: &str = r#"
import http.server, socketserver, sys

class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"hello"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self):
        return "unix"
    def log_message(self, *args):
        pass

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

Server(sys.argv[1], Hello).serve_forever()
"#;

/// What a Node server on a unix socket looks like.
const NODE: &str = r#"
require("http").createServer((_, answer) => answer.end("hello")).listen(process.argv[1]);
"#;

/// Python and Node remove nothing, and know nothing of reloads.
async fn hello_is_reloaded(command: &[&str]) {
    let app = App::other(command);
    let mut world = World::start(&app).await;
    for _ in 0..3 {
        let clients = async {
            for _ in 0..50 {
                let answer = world.hitless.get("/").await.expect_status(200);
                assert_eq!(answer.text(), "hello");
            }
        };
        let (reload, ()) = tokio::join!(world.hitless.reload(), clients);
        reload.expect_status(0, "reload");
    }
    world.only_the_live_one_has_a_socket().await;
    world.stops_and_leaves_nothing().await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_server_of_pythons_own_library_on_a_socket() {
    let python = support::app::python().display().to_string();
    hello_is_reloaded(&[&python, "-c", PYTHON, "{socket}"]).await;
}

#[tokio::test]
#[ignore = "needs Node: run tests/run"]
async fn a_server_of_node_on_a_socket() {
    hello_is_reloaded(&["node", "-e", NODE, "{socket}"]).await;
}

#[tokio::test]
#[ignore = "needs gunicorn: run tests/run"]
async fn gunicorn_on_a_socket() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let text = "def app(environ, start):\n    start('200 OK', [('Content-Length', '5')])\n    return [b'hello']\n";
    fs::write(folder.path().join("hello.py"), text).expect("the folder can be written to");
    let python = support::app::python().display().to_string();
    let chdir = folder.path().display().to_string();
    hello_is_reloaded(&[
        &python,
        "-m",
        "gunicorn",
        "--no-control-socket",
        "--chdir",
        &chdir,
        "--bind",
        "unix:{socket}",
        "hello:app",
    ])
    .await;
}
