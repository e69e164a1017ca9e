//! Promise: clients come in by as many addresses as are named, of every family, each for the apps that it is for; and
//! what cannot be listened on says who is in the way.

mod support;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use support::app::App;
use support::client::{Answer, Connection, fetch_path, get};
use support::world::{Hitless, SOON};

fn app(name: &str, app: &App, lines: &str) -> String {
    let command = serde_json::to_string(app.command()).expect("strings are JSON");
    format!("[app.{name}]\ncommand = {command}\n{lines}\n")
}

/// Where it listens, in the order of the file.
async fn listens(hitless: &Hitless) -> Vec<String> {
    let status = hitless.status().await;
    let listen = status.0["listen"].as_array().cloned().unwrap_or_default();
    let listen = listen.iter().filter_map(|one| one.as_str());
    listen.map(ToOwned::to_owned).collect()
}

fn tcp(address: &str) -> SocketAddr {
    address.parse().expect("it is a TCP address")
}

async fn get_unix(path: &Path) -> Answer {
    let mut connection = Connection::open_unix(path).await.expect("it listens");
    connection.send(get("/")).await.expect("it answers")
}

#[tokio::test]
async fn clients_come_in_by_both_families_and_by_unix_sockets() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let socket = folder.path().join("web.sock");
    let (demo, shown) = (App::demo(), socket.display());
    let group = rustix::process::getgid().as_raw();
    let listen = format!(
        "listen = [\"127.0.0.1:0\", \"[::1]:0\", {{ address = \"unix:{shown}\", mode = \"0620\", group = {group} }}]\n"
    );
    let text = format!("{listen}{}", app("web", &demo, ""));
    let mut hitless = Hitless::with_file(&text).begin().await;
    hitless.all_live(&["web"]).await;
    let listens = listens(&hitless).await;
    for address in &listens[..2] {
        fetch_path(tcp(address), "/").await.expect_status(200);
    }
    assert_eq!(listens[2], format!("unix:{shown}"));
    get_unix(&socket).await.expect_status(200);
    let found = std::fs::metadata(&socket).expect("it is there");
    assert_eq!((found.mode() & 0o777, found.gid()), (0o620, group));
    assert_eq!(hitless.stop().await, 0);
    assert!(!socket.exists(), "it is removed");
}

#[tokio::test]
async fn a_listener_serves_the_apps_that_it_names() {
    let (web, api, all) = (App::demo(), App::demo(), App::demo());
    let listen = r#"listen = [
        { address = "127.0.0.1:0", apps = ["web", "api"] },
        { address = "127.0.0.1:0", apps = ["all"] },
    ]
"#;
    let file = [
        listen.to_owned(),
        app("web", &web, "expose_generation = true"),
        app("api", &api, "route = [{ path = \"/headers\" }]"),
        app("all", &all, ""),
    ];
    let mut hitless = Hitless::with_file(&file.concat()).begin().await;
    hitless.all_live(&["web", "api", "all"]).await;
    let listens = listens(&hitless).await;
    let (first, second) = (tcp(&listens[0]), tcp(&listens[1]));
    let whole = async |address, path| {
        let answer = fetch_path(address, path).await.expect_status(200);
        answer.field("x-hitless-generation").is_some()
    };
    assert!(whole(first, "/").await, "the one of web");
    assert!(!whole(first, "/headers").await, "the one of api");
    assert!(!whole(second, "/").await, "the one of all");
    assert!(!whole(second, "/headers").await, "the one of all");
    let metrics = hitless.metrics().await;
    let count = |app| metrics.sum("hitless_http_requests_total", &[("app", app)]);
    assert_eq!((count("web"), count("api"), count("all")), (1.0, 1.0, 2.0));
}

#[tokio::test]
async fn what_cannot_be_listened_on_names_who_does() {
    let demo = App::demo();
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let socket = folder.path().join("taken.sock");
    let taken = TcpListener::bind("127.0.0.1:0").expect("the system has a port");
    let _unix = UnixListener::bind(&socket).expect("the folder can be written to");
    let port = taken.local_addr().expect("it listens").port();
    let own = format!("process {} (", std::process::id());
    for address in [
        format!("127.0.0.1:{port}"),
        format!(":{port}"),
        format!("unix:{}", socket.display()),
    ] {
        let text = format!("listen = [\"{address}\"]\n{}", app("web", &demo, ""));
        let mut hitless = Hitless::with_file(&text).spawn();
        let said = hitless.program().says("cannot listen on", SOON).await;
        assert!(said.contains(&own), "{said}");
        assert_eq!(hitless.program().ends(SOON).await, 1);
    }
}

#[tokio::test]
async fn an_owner_that_is_not_there_is_named() {
    let (demo, folder) = (App::demo(), tempfile::tempdir());
    let folder = folder.expect("the system has a temporary folder");
    let socket = folder.path().join("web.sock").display().to_string();
    let text = format!(
        "listen = [{{ address = \"unix:{socket}\", owner = \"nobody-of-that-name\" }}]\n{}",
        app("web", &demo, "")
    );
    let mut hitless = Hitless::with_file(&text).spawn();
    let said = hitless.program().says("cannot listen on", SOON).await;
    assert!(
        said.contains("there is no user nobody-of-that-name"),
        "{said}"
    );
    assert_eq!(hitless.program().ends(SOON).await, 1);
    assert!(!Path::new(&socket).exists(), "nothing is left of it");
}
