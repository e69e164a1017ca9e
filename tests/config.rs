//! What a person writes: the reference file is true, and each mistake is answered the way a person would want it.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use expect_test::{Expect, expect};
use hitless::config::{App, Config, Error, Overrides, ReadyCheck};
use hitless::control_plane::driver::{MemoryPolicy, StreamPolicy, judging};
use hitless::control_plane::instances::Backing;
use hitless::control_plane::process;
use hitless::control_plane::readiness::WarmUp;
use hitless::control_plane::supervisor::Overlap;
use hitless::data_plane::listen::{Access, Listen, ListenAddress, Owner};
use hitless::data_plane::route::Route;
use hitless::data_plane::{self, AppConfig};
use hitless::generation::AppName;
use proptest::prelude::*;

const REFERENCE: &str = include_str!("../config/hitless.toml");

fn load(source: &str, overrides: &Overrides) -> Result<Config, Error> {
    Config::parse(Path::new("hitless.toml"), source.to_owned(), overrides)
}

#[track_caller]
fn valid(source: &str) -> Config {
    load(source, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The answer to these lines above an app that is in order.
#[track_caller]
fn check(lines: &str, expected: &Expect) {
    check_file(
        &format!("{lines}\n[app.web]\ncommand = [\"./app\"]\n"),
        expected,
    );
}

/// The answer to an app with these lines.
#[track_caller]
fn check_app(lines: &str, expected: &Expect) {
    check_file(
        &format!("[app.web]\ncommand = [\"./app\"]\n{lines}\n"),
        expected,
    );
}

#[track_caller]
fn check_file(source: &str, expected: &Expect) {
    let error = load(source, &Overrides::default()).expect_err("the file is wrong");
    assert!(!error.is_usage());
    expected.assert_eq(&format!("{error}\n"));
}

fn command(words: &[&str]) -> Overrides {
    Overrides {
        command: words.iter().map(ToString::to_string).collect(),
        ..Overrides::default()
    }
}

fn process(app: &App) -> &process::Config {
    match &app.backing {
        Backing::Command(process) => process,
        Backing::Addresses(addresses) => panic!("{addresses:?} are no command"),
    }
}

/// The reference with its commented keys and sections as such.
fn uncommented() -> String {
    let is_written = |rest: &str| {
        let key = rest.split_once(" = ").map_or("", |(key, _)| key);
        let is_key = !key.is_empty()
            && key
                .bytes()
                .all(|byte| b"_".contains(&byte) || byte.is_ascii_lowercase());
        is_key || rest.starts_with("[app.app.") && rest.ends_with(']')
    };
    REFERENCE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if is_written(rest) => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_reference_is_the_built_in_defaults() {
    let defaults = Config::from_flags(&command(&["python3", "app.py"])).unwrap();
    assert_eq!(valid(REFERENCE), defaults);
    assert_eq!(
        valid("[app.app]\ncommand = [\"python3\", \"app.py\"]"),
        defaults
    );
}

#[test]
fn the_reference_names_every_key() {
    let file: toml::Table = uncommented().parse().unwrap();
    for key in Config::keys() {
        let path = key.replace("NAME", "app");
        let (sections, last) = path.rsplit_once('.').unwrap_or(("", &path));
        let mut table = &file;
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            table = table[section].as_table().unwrap();
        }
        assert!(
            table.contains_key(last),
            "{key} does not stand in config/hitless.toml"
        );
    }
    one_or_the_other(&uncommented());
}

/// An app has a command or addresses, and the reference names both.
fn one_or_the_other(reference: &str) -> Config {
    let (addresses, command): (Vec<_>, Vec<_>) = reference
        .lines()
        .partition(|line| line.starts_with("addresses = "));
    assert_eq!(addresses.len(), 1);
    valid(&command.join("\n"))
}

#[test]
fn the_reference_names_the_defaults_of_what_is_off() {
    let commented = one_or_the_other(&uncommented())
        .apps
        .remove(0)
        .instances
        .liveness;
    let by_word = "[app.app]\ncommand = [\"./app\"]\nliveness = {}";
    let empty = valid(by_word).apps.remove(0).instances.liveness;
    assert!(commented.is_some());
    assert_eq!(commented, empty);
}

#[test]
fn each_value_arrives() {
    let config = valid(
        r#"
        listen = [":80", "unix:/run/web.sock"]
        admin = ""
        admin_hosts = ["Ops.example.com"]
        [app.web]
        command = ["sh", "{port}"]
        env = { MODE = "x=y" }
        answer_timeout = 0
        ready = { notify = true, status = ["204", 301] }
        drain = { streams = "keep", timeout = "2m" }
        failover.resends = 0
        "#,
    );
    assert_eq!(config.listen[0].address.to_string(), "[::]:80");
    assert_eq!(config.listen[1].address.to_string(), "unix:/run/web.sock");
    assert_eq!(config.admin, None);
    assert_eq!(config.admin_hosts, ["ops.example.com"]);
    let [app] = config.apps.as_slice() else {
        panic!("one app")
    };
    assert_eq!(app.name.as_str(), "web");
    assert_eq!(process(app).env["MODE"], "x=y");
    assert_eq!((&app.ready.http, app.ready.notify), (&None, true));
    assert_eq!(app.ready.status, [204..=204, 301..=301]);
    assert_eq!(app.driver.streams, StreamPolicy::Keep);
    assert_eq!(app.driver.drain_timeout, Duration::from_secs(120));
    assert_eq!(app.traffic.resends, 0);
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn each_value_of_failover_arrives() {
    let app = valid(
        r#"
        [app.web]
        command = ["./app"]
        instances = 4
        min_ready = 3
        overlap_memory = "refuse"
        buffer_requests = "1MiB"
        [app.web.failover]
        probation = "1m"
        probation_max = "2m"
        connect_failures = 5
        min_requests = 7
        max_error_ratio = 1
        rescue_5xx = false
        resends = 1
        resend_ratio = 0
        resend_body_max = "1KiB"
        resend_idempotency_key = false
        "#,
    )
    .apps
    .remove(0);
    assert_eq!((app.instances.count, app.instances.min_ready), (4, 3));
    assert_eq!(app.instances.liveness, None);
    assert_eq!(app.driver.overlap_memory, MemoryPolicy::Refuse);
    assert_eq!(app.driver.probation, Duration::from_secs(60));
    let judging = judging::Config {
        probation_max: Duration::from_secs(120),
        connect_failures: 5,
        min_requests: 7,
        max_error_ratio: 1.0,
    };
    assert_eq!(app.driver.judging, judging);
    let traffic = AppConfig {
        buffer_requests: 1 << 20,
        resends: 1,
        resend_ratio: 0.0,
        resend_body_max: 1024,
        resend_idempotency_key: false,
        rescue_5xx: false,
        ..AppConfig::default()
    };
    assert_eq!(app.traffic, traffic);
}

#[test]
fn warm_up_is_a_path_or_a_path_with_statuses() {
    let config = valid(
        r#"
        [app.web]
        command = ["./app"]
        ready.warm_up = ["/a?b=c", { path = "/d", status = [204, "301-302"] }, { path = "/e" }]
        "#,
    );
    let request = |path: &str, status: &[_]| WarmUp {
        path: path.to_owned(),
        status: status.to_vec(),
    };
    let wanted = [
        request("/a?b=c", &[200..=399]),
        request("/d", &[204..=204, 301..=302]),
        request("/e", &[200..=399]),
    ];
    assert_eq!(config.apps[0].ready.warm_up, wanted);
}

#[test]
fn liveness_asks_what_readiness_asks_unless_told_otherwise() {
    let liveness = |lines: &str| {
        let config = valid(&format!("[app.web]\ncommand = [\"./app\"]\n{lines}"));
        let liveness = config.apps.into_iter().next().unwrap().instances.liveness;
        liveness.map(|asked| (asked.http, asked.host, asked.status))
    };
    let asked = |path: Option<&str>, host: &str, status| {
        Some((path.map(str::to_owned), host.to_owned(), vec![status]))
    };
    assert_eq!(liveness(""), None);
    assert_eq!(
        liveness("ready = { http = \"/up\", host = \"a\", status = [200] }\nliveness = {}"),
        asked(Some("/up"), "a", 200..=200)
    );
    assert_eq!(
        liveness("ready.tcp = true\nliveness = {}"),
        asked(None, "localhost", 200..=499)
    );
    assert_eq!(
        liveness("liveness.tcp = true"),
        asked(None, "localhost", 200..=499)
    );
    assert_eq!(
        liveness("liveness = { tcp = true, http = \"/well\", host = \"b\", status = [204] }"),
        asked(Some("/well"), "b", 204..=204)
    );
}

#[test]
fn a_long_probation_may_last_as_long_as_it_is() {
    let app = |lines: &str, overrides: &Overrides| {
        load(
            &format!("[app.web]\ncommand = [\"./app\"]\n{lines}"),
            overrides,
        )
        .map(|config| config.apps.into_iter().next().unwrap().driver)
    };
    let quarter = Duration::from_secs(15 * 60);
    let driver = app("failover.probation = \"15m\"", &Overrides::default()).unwrap();
    assert_eq!(
        (driver.probation, driver.judging.probation_max),
        (quarter, quarter)
    );
    let flag = Overrides {
        probation: Some(quarter),
        ..Overrides::default()
    };
    let error = app("failover.probation_max = \"10m\"", &flag).unwrap_err();
    expect![[r#"
        hitless.toml:3:26: `probation_max` (10m) is shorter than `probation` (15m)
          |
        3 | failover.probation_max = "10m"
          |                          ^^^^^
          = it is how long probation may last where too few answers came to tell"#]]
    .assert_eq(&error.to_string());
    let none = Overrides {
        probation: Some(Duration::ZERO),
        ..Overrides::default()
    };
    let driver = app("failover.probation = \"15m\"", &none).unwrap();
    assert_eq!(driver.probation, Duration::ZERO);
}

#[test]
fn without_overlap_requests_must_be_held_for_long_enough() {
    let app = |lines: &str| {
        let config = valid(&format!(
            "[app.web]\ncommand = [\"sh\"]\noverlap = \"none\"\n{lines}"
        ));
        assert_eq!(config.apps[0].driver.overlap, Overlap::None);
        config.warnings.join("\n")
    };
    expect![[r#"hitless.toml:3:11: with `overlap = "none"` a reload may hold requests for 70s, and they wait 30s at most (lower `drain.timeout` (and `answer_timeout` with it) and `drain.stop_timeout`, or raise `hold.timeout`)"#]].assert_eq(&app(""));
    assert_eq!(app("hold.timeout = \"70s\""), "");
    assert_eq!(
        app("answer_timeout = \"10s\"\ndrain = { timeout = \"20s\", stop_timeout = \"10s\" }"),
        ""
    );
}

#[test]
fn what_is_watched_is_there_at_the_start_and_may_be_away_later() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hitless.toml");
    let text = |paths: &str| {
        let app = "[app.web]\ncommand = [\"sh\"]\n[app.web.watch]\n";
        format!("{app}{paths}\nignore = [\"*.md\"]\nsettle = \"1s\"\npoll = true\n")
    };
    let here = folder.path().display();
    fs::write(&file, text(&format!("paths = [\"{here}\"]"))).unwrap();
    let config = Config::load(&file, &Overrides::default()).unwrap();
    let watch = &config.apps[0].watch;
    assert_eq!(watch.paths, [folder.path()]);
    assert_eq!(watch.ignore, ["*.md"]);
    assert_eq!(watch.settle, Duration::from_secs(1));
    assert!(watch.poll);

    fs::write(&file, text("paths = [\"no/such\"]")).unwrap();
    let Err(Error::Invalid(report)) = Config::load(&file, &Overrides::default()) else {
        panic!("the path is not there");
    };
    let absent = std::env::current_dir().unwrap().join("no/such");
    let line = format!(
        "{}:4:10: there is nothing at the watched path {absent:?}",
        file.display()
    );
    assert!(report.to_string().starts_with(&line), "{report}");
    let again = Config::load_again(Some(&file), &Overrides::default()).unwrap();
    assert!(again.warnings[0].starts_with(&line), "{:?}", again.warnings);

    let overrides = Overrides {
        watch: vec![folder.path().to_owned()],
        ..Overrides::default()
    };
    let flag = Config::load(&file, &overrides).unwrap();
    assert_eq!(flag.apps[0].watch.paths, [folder.path()]);
    assert_eq!(flag.apps[0].watch.ignore, ["*.md"]);
}

#[test]
fn a_drain_is_never_shorter_than_an_answer_may_take() {
    let app = |lines: &str| valid(&format!("[app.web]\ncommand = [\"sh\"]\n{lines}"));
    let drain = |config: &Config| config.apps[0].driver.drain_timeout;

    let config = app("answer_timeout = \"5m\"");
    assert_eq!(drain(&config), Duration::from_secs(300));
    assert_eq!(config.warnings, [""; 0]);

    let config = app("drain.timeout = \"10s\"");
    assert_eq!(drain(&config), Duration::from_secs(60));
    expect!["hitless.toml:3:17: a drain timeout of 10s counts as 1m (it is never less than the app's `answer_timeout`: lower that as well)"].assert_eq(&config.warnings.join("\n"));

    let config = app("answer_timeout = 0\ndrain.timeout = \"10s\"");
    assert_eq!(drain(&config), Duration::from_secs(10));
}

#[test]
fn flags_beat_the_file() {
    let file = r#"
        listen = [":1", ":2"]
        name = "file"
        [app.web]
        command = ["file"]
        ready = { http = "/file", tcp = true, start_timeout = "1s" }
        instances = 2
        failover.probation = "1s"
    "#;
    let overrides = Overrides {
        listen: vec![":3".parse().unwrap()],
        admin: Some(None),
        name: Some("flag".to_owned()),
        ready: Some(ReadyCheck::Http("/flag".to_owned())),
        start_timeout: Some(Duration::from_secs(2)),
        threads: Some(7),
        instances: Some(3),
        probation: Some(Duration::ZERO),
        exit_on_failed_start: Some(true),
        ..command(&["flag"])
    };
    let config = load(file, &overrides).unwrap();
    let listen: Vec<_> = config
        .listen
        .iter()
        .map(|one| one.address.clone())
        .collect();
    assert_eq!(listen, overrides.listen);
    assert_eq!(
        (config.admin, config.name.as_str(), config.threads),
        (None, "flag", 7)
    );
    assert!(config.exit_on_failed_start);
    let app = &config.apps[0];
    assert_eq!(app.name.as_str(), "web");
    assert_eq!(process(app).command, ["flag"]);
    assert_eq!(
        (app.ready.http.as_deref(), app.ready.tcp),
        (Some("/flag"), false)
    );
    assert_eq!(app.ready.start_timeout, Duration::from_secs(2));
    assert_eq!(app.driver.start_timeout, Duration::from_secs(2));
    assert_eq!(
        (app.instances.count, app.driver.probation),
        (3, Duration::ZERO)
    );
}

#[test]
fn a_command_needs_no_app_in_the_file() {
    let config = load("listen = [\":1\"]", &command(&["./app"])).unwrap();
    assert_eq!(config.apps[0].name.as_str(), "app");
}

#[test]
fn nothing_to_run_says_both_ways() {
    let error = Config::from_flags(&Overrides::default()).unwrap_err();
    assert!(error.is_usage());
    expect![[r#"
        nothing to run: name a file or a command

          hitless run --config hitless.toml
          hitless run --listen :8080 -- python3 app.py"#]]
    .assert_eq(&error.to_string());
}

#[test]
fn flags_that_contradict_each_other_are_usage() {
    let overrides = Overrides {
        listen: vec![":9900".parse().unwrap()],
        ..command(&["./app"])
    };
    let error = Config::from_flags(&overrides).unwrap_err();
    assert!(error.is_usage());
    expect![[r#"
        [::]:9900 cannot be listened on beside the admin address 127.0.0.1:9900
         = that is the default of `admin`: choose another one, or "" for none"#]]
    .assert_eq(&error.to_string());
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("no/such.toml"), &Overrides::default()).unwrap_err();
    let whole = std::env::current_dir().unwrap().join("no/such.toml");
    let why = "No such file or directory (os error 2)";
    let expected = format!("cannot read {}: {why}", whole.display());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn unknown_key_near_another() {
    check(
        r#"lisen = [":80"]"#,
        &expect![[r#"
        hitless.toml:1:1: unknown key `lisen`
          |
        1 | lisen = [":80"]
          | ^^^^^
          = did you mean `listen`?
    "#]],
    );
}

#[test]
fn unknown_key() {
    check(
        "zzz = 1",
        &expect![[r#"
            hitless.toml:1:1: unknown key `zzz`
              |
            1 | zzz = 1
              | ^^^
              = allowed here: listen, admin, admin_hosts, exit_on_failed_start, name, control, threads, starts_max, trusted_proxies, client, shutdown, errors, log, app
        "#]],
    );
}

#[test]
fn a_key_of_another_section() {
    check(
        r#"idle_timeout = "5s""#,
        &expect![[r#"
        hitless.toml:1:1: unknown key `idle_timeout`
          |
        1 | idle_timeout = "5s"
          | ^^^^^^^^^^^^
          = write `idle_timeout` in [client]
    "#]],
    );
}

#[test]
fn a_top_level_key_below_a_section() {
    check(
        r#"[client]
listen = [":80"]"#,
        &expect![[r#"
            hitless.toml:2:1: unknown key `client.listen`
              |
            2 | listen = [":80"]
              | ^^^^^^
              = `listen` stands at the top of the file, above the first [section]
        "#]],
    );
}

#[test]
fn several_problems_at_once() {
    check(
        r#"listen = ["8080", "localhost:80"]
threads = -1
[log]
level = "verbose"
format = "xml""#,
        &expect![[r#"
            hitless.toml:1:11: `listen` cannot be "8080"
              |
            1 | listen = ["8080", "localhost:80"]
              |           ^^^^^^
              = write 127.0.0.1:8080 for this machine only, or :8080 for all addresses

            hitless.toml:1:19: `listen` cannot be "localhost:80"
              |
            1 | listen = ["8080", "localhost:80"]
              |                   ^^^^^^^^^^^^^^
              = "localhost" is no IP address: write 127.0.0.1:80 or [::1]:80 for this machine only, or :80 for all addresses

            hitless.toml:2:11: `threads` cannot be -1
              |
            2 | threads = -1
              |           ^^
              = a whole number from 0 to 1024

            hitless.toml:4:9: `log.level` cannot be "verbose"
              |
            4 | level = "verbose"
              |         ^^^^^^^^^
              = one of "error", "warn", "info", "debug", "trace"

            hitless.toml:5:10: `log.format` cannot be "xml"
              |
            5 | format = "xml"
              |          ^^^^^
              = one of "text", "json"
        "#]],
    );
}

#[test]
fn a_string_for_a_list() {
    check(
        r#"listen = "127.0.0.1:8080""#,
        &expect![[r#"
            hitless.toml:1:10: `listen` must be a list, not a string
              |
            1 | listen = "127.0.0.1:8080"
              |          ^^^^^^^^^^^^^^^^
              = write ["127.0.0.1:8080"]
        "#]],
    );
}

#[test]
fn an_entry_of_listen_may_be_a_table() {
    let config = valid(
        r#"
        listen = [
            ":80",
            { address = "unix:/run/a.sock", mode = "0660", owner = "www-data", group = 33, apps = ["api"] },
        ]
        [app.web]
        command = ["./web"]
        [app.api]
        command = ["./api"]
        route = [{ host = "Api.example.org" }, { host = "*.example.org", path = "/api/", strip_prefix = true }]
        "#,
    );
    assert_eq!(
        config.listen[0],
        ":80".parse::<ListenAddress>().unwrap().into()
    );
    let expected = Listen {
        address: "unix:/run/a.sock".parse().unwrap(),
        access: Access {
            mode: Some(0o660),
            owner: Some(Owner::Name("www-data".to_owned())),
            group: Some(Owner::Id(33)),
        },
        apps: vec![AppName::new("api")],
    };
    assert_eq!(config.listen[1], expected);
    assert_eq!(config.apps[0].routes, [Route::default()]);
    let shown: Vec<_> = config.apps[1]
        .routes
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, ["api.example.org/", "*.example.org/api"]);
    assert!(config.apps[1].routes[1].strip_prefix);
}

#[test]
fn listeners_with_wrong_values() {
    check(
        r#"listen = [
    { mode = "0660" },
    { address = ":80", mode = "0660" },
    { address = "unix:/run/a.sock", mode = 660, owner = "a b", apps = ["wob"], user = "x" },
]"#,
        &expect![[r#"
            hitless.toml:2:5: an entry of `listen` has no address
              |
            2 |     { mode = "0660" },
              |     ^^^^^^^^^^^^^^^^^
              = write { address = "unix:/run/web.sock", mode = "0660", owner = "www-data", group = "www-data", apps = ["web"] }, each but `address` only where wanted

            hitless.toml:3:31: [::]:80 has no `mode`
              |
            3 |     { address = ":80", mode = "0660" },
              |                               ^^^^^^
              = only a unix socket, which is a file, has one

            hitless.toml:4:44: `listen.mode` must be permissions such as "0660", not a whole number
              |
            4 |     { address = "unix:/run/a.sock", mode = 660, owner = "a b", apps = ["wob"], user = "x" },
              |                                            ^^^
              = write "660"

            hitless.toml:4:57: `listen.owner` cannot be "a b"
              |
            4 |     { address = "unix:/run/a.sock", mode = 660, owner = "a b", apps = ["wob"], user = "x" },
              |                                                         ^^^^^
              = a user or group is a name or a number, such as "www-data" or 33

            hitless.toml:4:72: there is no app `wob`
              |
            4 |     { address = "unix:/run/a.sock", mode = 660, owner = "a b", apps = ["wob"], user = "x" },
              |                                                                        ^^^^^
              = there is web

            hitless.toml:4:80: unknown key `listen.user`
              |
            4 |     { address = "unix:/run/a.sock", mode = 660, owner = "a b", apps = ["wob"], user = "x" },
              |                                                                                ^^^^
              = allowed here: address, mode, owner, group, apps
        "#]],
    );
}

#[test]
fn an_app_that_no_listener_serves() {
    check_file(
        r#"listen = [{ address = ":80", apps = ["web"] }]
[app.web]
command = ["./web"]
[app.api]
command = ["./api"]
route = [{ path = "/api" }]
"#,
        &expect![[r#"
            hitless.toml:4:6: nothing leads to `app.api`: no listener serves it
              |
            4 | [app.api]
              |      ^^^
              = add it to `apps` of an entry of `listen`; an entry without `apps` serves all
        "#]],
    );
}

#[test]
fn two_apps_for_every_request() {
    check_file(
        r#"[app.web]
command = ["./web"]
[app.api]
command = ["./api"]
"#,
        &expect![[r#"
            hitless.toml:3:6: `web` and `api` are both to get every request
              |
            3 | [app.api]
              |      ^^^
              = give one of them another host or path, for example route = [{ path = "/api" }] below it
        "#]],
    );
}

#[test]
fn two_apps_with_the_same_route() {
    check_file(
        r#"[app.web]
command = ["./web"]
route = [{ host = "a.org", path = "/x" }, { host = "b.org" }, { host = "B.org." }]
[app.api]
command = ["./api"]
route = [{ path = "/x" }, { host = "A.org", path = "/x/" }]
"#,
        &expect![[r#"
            hitless.toml:3:63: `app.web` is to get b.org/ twice
              |
            3 | route = [{ host = "a.org", path = "/x" }, { host = "b.org" }, { host = "B.org." }]
              |                                                               ^^^^^^^^^^^^^^^^^^^
              = leave one of them out

            hitless.toml:6:27: `web` and `api` are both to get a.org/x
              |
            6 | route = [{ path = "/x" }, { host = "A.org", path = "/x/" }]
              |                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              = give one of them another host or path, for example route = [{ path = "/api" }] below it
        "#]],
    );
}

#[test]
fn two_apps_with_the_same_route_at_different_listeners() {
    let config = valid(
        r#"listen = [{ address = ":80", apps = ["web"] }, { address = ":81", apps = ["api"] }]
[app.web]
command = ["./web"]
[app.api]
command = ["./api"]
"#,
    );
    assert_eq!(config.apps.len(), 2);
}

#[test]
fn routes_with_wrong_values() {
    check_app(
        r#"route = [
    "/api",
    { host = "*.*.org" },
    { path = "api" },
    { strip_prefix = true },
    { hots = "a.org" },
]"#,
        &expect![[r#"
            hitless.toml:4:5: `app.web.route` must be a list of tables, not a string
              |
            4 |     "/api",
              |     ^^^^^^
              = write [{ host = "api.example.org" }, { path = "/api", strip_prefix = true }]

            hitless.toml:5:14: `app.web.route.host` cannot be "*.*.org"
              |
            5 |     { host = "*.*.org" },
              |              ^^^^^^^^^
              = a host is a name or address without scheme and port, or `*.` and a name, such as "*.example.com"

            hitless.toml:6:14: `app.web.route.path` cannot be "api"
              |
            6 |     { path = "api" },
              |              ^^^^^
              = a path starts with `/` and has neither `?`, `#` nor spaces, such as "/api"

            hitless.toml:7:22: there is no prefix to strip
              |
            7 |     { strip_prefix = true },
              |                      ^^^^
              = name it, for example path = "/api", or leave it out

            hitless.toml:8:7: unknown key `app.web.route.hots`
              |
            8 |     { hots = "a.org" },
              |       ^^^^
              = did you mean `host`?
        "#]],
    );
    check_app(
        "route = []",
        &expect![[r#"
        hitless.toml:3:9: `app.web.route` cannot be empty
          |
        3 | route = []
          |         ^^
          = no request would reach the app: leave the key out for every request
    "#]],
    );
    check_app(
        "route = \"/api\"",
        &expect![[r#"
        hitless.toml:3:9: `app.web.route` must be a list of tables, not a string
          |
        3 | route = "/api"
          |         ^^^^^^
          = write [{ host = "api.example.org" }, { path = "/api", strip_prefix = true }]
    "#]],
    );
}

#[test]
fn addresses_instead_of_a_command() {
    let config = valid(
        r#"
        [app.web]
        addresses = ["127.0.0.1:3000", "unix:/run/x.sock", "App.internal:3000"]
        min_ready = 2
        "#,
    );
    let addresses = config.apps[0].backing.addresses().unwrap();
    let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["127.0.0.1:3000", "unix:/run/x.sock", "app.internal:3000"]
    );
}

#[test]
fn addresses_with_wrong_values() {
    check_file(
        r#"listen = ["127.0.0.1:80"]
[app.web]
addresses = ["3000", "http://a:1/", "a:1", "a:1", "127.0.0.1:80"]
command = ["./app"]
directory = "/srv"
env = {}
instances = 2
min_ready = 9
[app.web.ready]
owner = false
"#,
        &expect![[r#"
            hitless.toml:3:14: `app.web.addresses` cannot be "3000"
              |
            3 | addresses = ["3000", "http://a:1/", "a:1", "a:1", "127.0.0.1:80"]
              |              ^^^^^^
              = write HOST:PORT, such as 127.0.0.1:3000 or app.internal:3000, or unix:/path

            hitless.toml:3:22: `app.web.addresses` cannot be "http://a:1/"
              |
            3 | addresses = ["3000", "http://a:1/", "a:1", "a:1", "127.0.0.1:80"]
              |                      ^^^^^^^^^^^^^
              = an address has no scheme and no path: write a:1

            hitless.toml:3:44: a:1 stands there twice
              |
            3 | addresses = ["3000", "http://a:1/", "a:1", "a:1", "127.0.0.1:80"]
              |                                            ^^^^^

            hitless.toml:3:51: 127.0.0.1:80 is where hitless itself listens
              |
            3 | addresses = ["3000", "http://a:1/", "a:1", "a:1", "127.0.0.1:80"]
              |                                                   ^^^^^^^^^^^^^^
              = write where the app listens

            hitless.toml:4:11: `command` is for an app that is started, and `app.web` has addresses
              |
            4 | command = ["./app"]
              |           ^^^^^^^^^
              = leave it out, for what runs there is started by somebody else; or write a `command` instead of `addresses`

            hitless.toml:5:13: `directory` is for an app that is started, and `app.web` has addresses
              |
            5 | directory = "/srv"
              |             ^^^^^^
              = leave it out, for what runs there is started by somebody else; or write a `command` instead of `addresses`

            hitless.toml:6:7: `env` is for an app that is started, and `app.web` has addresses
              |
            6 | env = {}
              |       ^^
              = leave it out, for what runs there is started by somebody else; or write a `command` instead of `addresses`

            hitless.toml:7:13: `instances` is for an app that is started, and `app.web` has addresses
              |
            7 | instances = 2
              |             ^
              = leave it out, for what runs there is started by somebody else; or write a `command` instead of `addresses`

            hitless.toml:10:9: `ready.owner` is for an app that is started, and `app.web` has addresses
               |
            10 | owner = false
               |         ^^^^^
               = leave it out, for what runs there is started by somebody else; or write a `command` instead of `addresses`
        "#]],
    );
    check_file(
        "[app.web]\naddresses = []",
        &expect![[r#"
        hitless.toml:2:13: `app.web.addresses` cannot be empty
          |
        2 | addresses = []
          |             ^^
          = leave it out for the default
    "#]],
    );
}

#[test]
fn a_flag_that_speaks_of_one_of_several_apps_is_usage() {
    let overrides = Overrides {
        instances: Some(2),
        probation: Some(Duration::ZERO),
        ..Overrides::default()
    };
    let file =
        "[app.web]\ncommand = [\"a\"]\n[app.api]\ncommand = [\"b\"]\nroute = [{ path = \"/b\" }]";
    let error = load(file, &overrides).unwrap_err();
    assert!(error.is_usage());
    expect![[r#"
        --instances, --probation can be said of a single app only (as can its variable), and hitless.toml has 2: web, api

          write it into the file, below the app that is meant"#]].assert_eq(&error.to_string());
    let listen = Overrides {
        listen: vec![":1".parse().unwrap()],
        ..Overrides::default()
    };
    assert_eq!(load(file, &listen).unwrap().apps.len(), 2);
}

#[test]
fn a_url_for_an_address() {
    check(
        r#"listen = ["http://127.0.0.1:8080/"]"#,
        &expect![[r#"
            hitless.toml:1:11: `listen` cannot be "http://127.0.0.1:8080/"
              |
            1 | listen = ["http://127.0.0.1:8080/"]
              |           ^^^^^^^^^^^^^^^^^^^^^^^^
              = an address has no scheme: write 127.0.0.1:8080
        "#]],
    );
}

#[test]
fn an_address_without_a_port() {
    check(
        r#"listen = ["127.0.0.1"]"#,
        &expect![[r#"
            hitless.toml:1:11: `listen` cannot be "127.0.0.1"
              |
            1 | listen = ["127.0.0.1"]
              |           ^^^^^^^^^^^
              = a port is missing, as in 127.0.0.1:8080
        "#]],
    );
}

#[test]
fn a_port_that_is_none() {
    check(
        r#"listen = [":99999"]"#,
        &expect![[r#"
            hitless.toml:1:11: `listen` cannot be ":99999"
              |
            1 | listen = [":99999"]
              |           ^^^^^^^^
              = "99999" is no port: a number from 0 to 65535, where 0 lets the system pick one
        "#]],
    );
}

#[test]
fn no_address() {
    check(
        "listen = []",
        &expect![[r#"
            hitless.toml:1:10: `listen` cannot be empty
              |
            1 | listen = []
              |          ^^
              = leave it out for the default
        "#]],
    );
}

#[test]
fn the_same_address_twice() {
    check(
        r#"listen = ["127.0.0.1:80", "127.0.0.1:80"]"#,
        &expect![[r#"
            hitless.toml:1:27: 127.0.0.1:80 is to be listened on twice
              |
            1 | listen = ["127.0.0.1:80", "127.0.0.1:80"]
              |                           ^^^^^^^^^^^^^^
              = each needs an address of its own; `:PORT` takes that port of every address
        "#]],
    );
}

#[test]
fn an_address_inside_of_another() {
    check(
        r#"listen = [":80", "127.0.0.1:80"]"#,
        &expect![[r#"
        hitless.toml:1:18: [::]:80 and 127.0.0.1:80 cannot both be listened on
          |
        1 | listen = [":80", "127.0.0.1:80"]
          |                  ^^^^^^^^^^^^^^
          = each needs an address of its own; `:PORT` takes that port of every address
    "#]],
    );
}

#[test]
fn admin_on_a_listener() {
    check(
        r#"listen = [":8080"]
admin = "127.0.0.1:8080""#,
        &expect![[r#"
            hitless.toml:2:9: [::]:8080 cannot be listened on beside the admin address 127.0.0.1:8080
              |
            2 | admin = "127.0.0.1:8080"
              |         ^^^^^^^^^^^^^^^^
              = each needs an address of its own; `:PORT` takes that port of every address
        "#]],
    );
}

#[test]
fn a_listener_on_the_default_admin() {
    check(
        r#"listen = [":9900"]"#,
        &expect![[r#"
            hitless.toml:1:11: [::]:9900 cannot be listened on beside the admin address 127.0.0.1:9900
              |
            1 | listen = [":9900"]
              |           ^^^^^^^
              = that is the default of `admin`: choose another one, or "" for none
        "#]],
    );
}

#[test]
fn a_relative_socket() {
    check(
        r#"admin = "unix:admin.sock""#,
        &expect![[r#"
        hitless.toml:1:9: `admin` cannot be "unix:admin.sock"
          |
        1 | admin = "unix:admin.sock"
          |         ^^^^^^^^^^^^^^^^^
          = the path of a unix socket is absolute, as in unix:/run/app.sock
    "#]],
    );
}

#[test]
fn an_admin_host_with_a_port() {
    check(
        r#"admin_hosts = ["ops.example.com:9900"]"#,
        &expect![[r#"
        hitless.toml:1:16: `admin_hosts` cannot be "ops.example.com:9900"
          |
        1 | admin_hosts = ["ops.example.com:9900"]
          |                ^^^^^^^^^^^^^^^^^^^^^^
          = a host is a name or address without scheme and port, such as "app.example.com"
    "#]],
    );
}

#[test]
fn a_name_that_is_a_path() {
    check(
        r#"name = "a/b""#,
        &expect![[r#"
        hitless.toml:1:8: `name` cannot be "a/b"
          |
        1 | name = "a/b"
          |        ^^^^^
          = a name is 1 to 64 letters, digits, `-`, `_` or `.`, and starts with a letter or digit
    "#]],
    );
}

#[test]
fn a_string_for_a_flag() {
    check(
        r#"exit_on_failed_start = "yes""#,
        &expect![[r#"
            hitless.toml:1:24: `exit_on_failed_start` must be true or false, not a string
              |
            1 | exit_on_failed_start = "yes"
              |                        ^^^^^
              = write true or false, without quotes
        "#]],
    );
}

#[test]
fn a_number_out_of_range() {
    check(
        "threads = 5000",
        &expect![[r#"
        hitless.toml:1:11: `threads` cannot be 5000
          |
        1 | threads = 5000
          |           ^^^^
          = a whole number from 0 to 1024
    "#]],
    );
}

#[test]
fn a_number_with_a_fraction() {
    check(
        "threads = 1.5",
        &expect![[r#"
        hitless.toml:1:11: `threads` must be a whole number from 0 to 1024, not a number with a fraction
          |
        1 | threads = 1.5
          |           ^^^
    "#]],
    );
}

#[test]
fn a_duration_without_a_unit() {
    check(
        "[client]\nhead_timeout = 30",
        &expect![[r#"
        hitless.toml:2:16: `client.head_timeout` must be a duration such as "30s", not a whole number
          |
        2 | head_timeout = 30
          |                ^^
          = the unit is missing: write "30s" or "30ms"
    "#]],
    );
}

#[test]
fn a_duration_in_a_string_without_a_unit() {
    check(
        r#"[client]
head_timeout = "30""#,
        &expect![[r#"
            hitless.toml:2:16: `client.head_timeout` cannot be "30"
              |
            2 | head_timeout = "30"
              |                ^^^^
              = the unit is missing: write "30s" or "30ms"
        "#]],
    );
}

#[test]
fn a_duration_with_another_unit() {
    check(
        r#"[client]
head_timeout = "30 sec""#,
        &expect![[r#"
            hitless.toml:2:16: `client.head_timeout` cannot be "30 sec"
              |
            2 | head_timeout = "30 sec"
              |                ^^^^^^^^
              = a duration is a number with ms, s, m or h, such as "250ms", "30s", "1.5s" or "1m30s"
        "#]],
    );
}

#[test]
fn a_duration_of_zero_without_a_meaning() {
    check(
        "[client]\nhead_timeout = 0",
        &expect![[r#"
        hitless.toml:2:16: `client.head_timeout` cannot be 0
          |
        2 | head_timeout = 0
          |                ^
          = a duration of at least 1ms
    "#]],
    );
}

#[test]
fn a_size_in_thousands() {
    check(
        r#"[client]
head_bytes_max = "64KB""#,
        &expect![[r#"
            hitless.toml:2:18: `client.head_bytes_max` cannot be "64KB"
              |
            2 | head_bytes_max = "64KB"
              |                  ^^^^^^
              = a size is a number with B, KiB, MiB or GiB, such as "64KiB"
        "#]],
    );
}

#[test]
fn a_size_out_of_range() {
    check(
        r#"[client]
head_bytes_max = "1KiB""#,
        &expect![[r#"
            hitless.toml:2:18: `client.head_bytes_max` cannot be "1KiB"
              |
            2 | head_bytes_max = "1KiB"
              |                  ^^^^^^
              = a size from "8KiB" to "16MiB"
        "#]],
    );
}

#[test]
fn a_size_without_a_unit() {
    check(
        "[client]\nhead_bytes_max = 65536",
        &expect![[r#"
            hitless.toml:2:18: `client.head_bytes_max` must be a size from "8KiB" to "16MiB", not a whole number
              |
            2 | head_bytes_max = 65536
              |                  ^^^^^
              = the unit is missing: write "65536B" or "65536KiB"
        "#]],
    );
}

#[test]
fn a_value_for_a_section() {
    check(
        "client = 5",
        &expect![[r#"
        hitless.toml:1:10: `client` must be a table, not a whole number
          |
        1 | client = 5
          |          ^
          = write [client] and its keys below
    "#]],
    );
}

#[test]
fn a_delay_longer_than_the_shutdown() {
    check(
        r#"[shutdown]
delay = "30s""#,
        &expect![[r#"
            hitless.toml:2:9: `shutdown.delay` (30s) must be shorter than `shutdown.timeout` (25s)
              |
            2 | delay = "30s"
              |         ^^^^^
              = both count from the signal, and the requests under way need what is between
        "#]],
    );
}

#[test]
fn a_level_in_capitals() {
    check(
        r#"[log]
level = "INFO""#,
        &expect![[r#"
            hitless.toml:2:9: `log.level` cannot be "INFO"
              |
            2 | level = "INFO"
              |         ^^^^^^
              = did you mean "info"? It is one of "error", "warn", "info", "debug", "trace"
        "#]],
    );
}

#[test]
fn a_prose_name() {
    check_app(
        r#"drain_timeout = "5s""#,
        &expect![[r#"
        hitless.toml:3:1: unknown key `app.web.drain_timeout`
          |
        3 | drain_timeout = "5s"
          | ^^^^^^^^^^^^^
          = write `timeout` in [app.web.drain]
    "#]],
    );
}

#[test]
fn a_sections_name_in_the_app() {
    check_app(
        r#"start_timeout = "5s""#,
        &expect![[r#"
        hitless.toml:3:1: unknown key `app.web.start_timeout`
          |
        3 | start_timeout = "5s"
          | ^^^^^^^^^^^^^
          = write `start_timeout` in [app.web.ready]
    "#]],
    );
}

#[test]
fn a_path_without_a_slash() {
    check_app(
        r#"ready.http = "healthz""#,
        &expect![[r#"
        hitless.toml:3:14: `app.web.ready.http` cannot be "healthz"
          |
        3 | ready.http = "healthz"
          |              ^^^^^^^^^
          = a path starts with `/` and has neither spaces nor `#`, such as "/healthz"
    "#]],
    );
}

#[test]
fn a_url_for_a_path() {
    check_app(
        r#"ready.http = "http://127.0.0.1/up""#,
        &expect![[r#"
        hitless.toml:3:14: `app.web.ready.http` cannot be "http://127.0.0.1/up"
          |
        3 | ready.http = "http://127.0.0.1/up"
          |              ^^^^^^^^^^^^^^^^^^^^^
          = a path starts with `/` and has neither spaces nor `#`, such as "/healthz"
    "#]],
    );
}

#[test]
fn a_status_out_of_range() {
    check_app(
        r#"ready.status = ["200-999"]"#,
        &expect![[r#"
        hitless.toml:3:17: `app.web.ready.status` cannot be "200-999"
          |
        3 | ready.status = ["200-999"]
          |                 ^^^^^^^^^
          = a status is a number from 100 to 599 or a range of them, such as "204" or "200-499"
    "#]],
    );
}

#[test]
fn a_status_backwards() {
    check_app(
        r#"ready.status = ["499-200", 42]"#,
        &expect![[r#"
            hitless.toml:3:17: `app.web.ready.status` cannot be "499-200"
              |
            3 | ready.status = ["499-200", 42]
              |                 ^^^^^^^^^
              = a status is a number from 100 to 599 or a range of them, such as "204" or "200-499"

            hitless.toml:3:28: `app.web.ready.status` must be statuses such as "200-499", not a whole number
              |
            3 | ready.status = ["499-200", 42]
              |                            ^^
              = a status is a number from 100 to 599 or a range of them, such as "204" or "200-499"
        "#]],
    );
}

#[test]
fn no_success() {
    check_app(
        "ready.successes = 0",
        &expect![[r#"
        hitless.toml:3:19: `app.web.ready.successes` cannot be 0
          |
        3 | ready.successes = 0
          |                   ^
          = a whole number from 1 to 100
    "#]],
    );
}

#[test]
fn an_unknown_policy() {
    check_app(
        r#"drain.streams = "waits""#,
        &expect![[r#"
        hitless.toml:3:17: `app.web.drain.streams` cannot be "waits"
          |
        3 | drain.streams = "waits"
          |                 ^^^^^^^
          = did you mean "wait"? It is one of "wait", "close", "keep"
    "#]],
    );
}

#[test]
fn more_instances_than_a_machine_has_room_for() {
    check_app(
        r#"instances = 1001"#,
        &expect![[r#"
        hitless.toml:3:13: `app.web.instances` cannot be 1001
          |
        3 | instances = 1001
          |             ^^^^
          = a whole number from 1 to 1000
    "#]],
    );
}

#[test]
fn no_instance() {
    check_app(
        r#"instances = 0"#,
        &expect![[r#"
        hitless.toml:3:13: `app.web.instances` cannot be 0
          |
        3 | instances = 0
          |             ^
          = a whole number from 1 to 1000
    "#]],
    );
}

#[test]
fn more_ready_instances_than_there_are() {
    check_app(
        r#"instances = 2
min_ready = 3"#,
        &expect![[r#"
            hitless.toml:4:13: `min_ready` (3) is more than `instances` (2)
              |
            4 | min_ready = 3
              |             ^
              = 0 means all of them
        "#]],
    );
}

#[test]
fn what_contradicts_an_unreadable_value_is_no_problem_of_its_own() {
    check_app(
        r#"instances = "4"
min_ready = 3
failover = { probation = 5, probation_max = "10s" }"#,
        &expect![[r#"
            hitless.toml:3:13: `app.web.instances` must be a whole number from 1 to 1000, not a string
              |
            3 | instances = "4"
              |             ^^^
              = write 4, without quotes

            hitless.toml:5:26: `app.web.failover.probation` must be a duration such as "30s", not a whole number
              |
            5 | failover = { probation = 5, probation_max = "10s" }
              |                          ^
              = the unit is missing: write "5s" or "5ms"
        "#]],
    );
}

#[test]
fn an_overlap_that_is_none() {
    check_app(
        r#"overlap = "no""#,
        &expect![[r#"
        hitless.toml:3:11: `app.web.overlap` cannot be "no"
          |
        3 | overlap = "no"
          |           ^^^^
          = did you mean "none"? It is one of "full", "none"
    "#]],
    );
}

#[test]
fn an_unknown_memory_policy() {
    check_app(
        r#"overlap_memory = "stop-standby""#,
        &expect![[r#"
        hitless.toml:3:18: `app.web.overlap_memory` cannot be "stop-standby"
          |
        3 | overlap_memory = "stop-standby"
          |                  ^^^^^^^^^^^^^^
          = did you mean "stop_standby"? It is one of "warn", "stop_standby", "refuse"
    "#]],
    );
}

#[test]
fn a_buffer_larger_than_is_sane() {
    check_app(
        r#"buffer_requests = "2GiB""#,
        &expect![[r#"
            hitless.toml:3:19: `app.web.buffer_requests` cannot be "2GiB"
              |
            3 | buffer_requests = "2GiB"
              |                   ^^^^^^
              = a size up to "1GiB", or 0
        "#]],
    );
}

#[test]
fn a_buffer_without_a_unit() {
    check_app(
        r#"buffer_requests = 1048576"#,
        &expect![[r#"
            hitless.toml:3:19: `app.web.buffer_requests` must be a size up to "1GiB", or 0, not a whole number
              |
            3 | buffer_requests = 1048576
              |                   ^^^^^^^
              = the unit is missing: write "1048576B" or "1048576KiB"
        "#]],
    );
}

#[test]
fn warm_up_that_is_no_path() {
    check_app(
        r#"ready.warm_up = ["/ok", "up", 5]"#,
        &expect![[r#"
        hitless.toml:3:25: `app.web.ready.warm_up` cannot be "up"
          |
        3 | ready.warm_up = ["/ok", "up", 5]
          |                         ^^^^
          = a path starts with `/` and has neither spaces nor `#`, such as "/healthz"

        hitless.toml:3:31: `app.web.ready.warm_up` must be a path such as "/healthz", not a whole number
          |
        3 | ready.warm_up = ["/ok", "up", 5]
          |                               ^
          = a path starts with `/` and has neither spaces nor `#`, such as "/healthz"
    "#]],
    );
}

#[test]
fn warm_up_in_one_string() {
    check_app(
        r#"ready.warm_up = "/up""#,
        &expect![[r#"
            hitless.toml:3:17: `app.web.ready.warm_up` must be a list of paths, not a string
              |
            3 | ready.warm_up = "/up"
              |                 ^^^^^
              = a path such as "/cache", or { path = "/cache", status = ["200"] }
        "#]],
    );
}

#[test]
fn warm_up_without_a_path() {
    check_app(
        r#"ready.warm_up = [{ status = ["200"] }]"#,
        &expect![[r#"
            hitless.toml:3:18: an entry of `app.web.ready.warm_up` has no path
              |
            3 | ready.warm_up = [{ status = ["200"] }]
              |                  ^^^^^^^^^^^^^^^^^^^^
              = a path such as "/cache", or { path = "/cache", status = ["200"] }
        "#]],
    );
}

#[test]
fn warm_up_with_a_wrong_word() {
    check_app(
        r#"ready.warm_up = [{ path = "/", statuses = ["200"] }]"#,
        &expect![[r#"
            hitless.toml:3:32: unknown key `app.web.ready.warm_up.statuses`
              |
            3 | ready.warm_up = [{ path = "/", statuses = ["200"] }]
              |                                ^^^^^^^^
              = did you mean `status`?
        "#]],
    );
}

#[test]
fn warm_up_without_a_status() {
    check_app(
        r#"ready.warm_up = [{ path = "/", status = [] }]"#,
        &expect![[r#"
            hitless.toml:3:41: `app.web.ready.warm_up.status` cannot be empty
              |
            3 | ready.warm_up = [{ path = "/", status = [] }]
              |                                         ^^
              = leave it out for the default
        "#]],
    );
}

#[test]
fn liveness_that_is_no_section() {
    check_app(
        r#"liveness = true"#,
        &expect![[r#"
        hitless.toml:3:12: `app.web.liveness` must be a table, not true or false
          |
        3 | liveness = true
          |            ^^^^
          = write [app.web.liveness] and its keys below
    "#]],
    );
}

#[test]
fn watch_with_wrong_values() {
    check_app(
        r#"[app.web.watch]
paths = "src"
ignore = ["a[b"]
settle = 200
poll = "yes""#,
        &expect![[r#"
            hitless.toml:4:9: `app.web.watch.paths` must be a list, not a string
              |
            4 | paths = "src"
              |         ^^^^^
              = write ["src"]

            hitless.toml:5:11: `app.web.watch.ignore` cannot be "a[b"
              |
            5 | ignore = ["a[b"]
              |           ^^^^^
              = a line of a .gitignore: error parsing glob 'a[b': unclosed character class; missing ']'

            hitless.toml:6:10: `app.web.watch.settle` must be a duration such as "30s", not a whole number
              |
            6 | settle = 200
              |          ^^^
              = the unit is missing: write "200s" or "200ms"

            hitless.toml:7:8: `app.web.watch.poll` must be true or false, not a string
              |
            7 | poll = "yes"
              |        ^^^^^
              = write true or false, without quotes
        "#]],
    );
}

#[test]
fn liveness_with_wrong_values() {
    check_app(
        r#"[app.web.liveness]
http = "up"
tcp = "yes"
host = "a:80"
status = ["2xx"]
interval = 0
timeout = 5
failures = 0"#,
        &expect![[r#"
            hitless.toml:4:8: `app.web.liveness.http` cannot be "up"
              |
            4 | http = "up"
              |        ^^^^
              = a path starts with `/` and has neither spaces nor `#`, such as "/healthz"

            hitless.toml:5:7: `app.web.liveness.tcp` must be true or false, not a string
              |
            5 | tcp = "yes"
              |       ^^^^^
              = write true or false, without quotes

            hitless.toml:6:8: `app.web.liveness.host` cannot be "a:80"
              |
            6 | host = "a:80"
              |        ^^^^^^
              = a host is a name or address without scheme and port, such as "app.example.com"

            hitless.toml:7:11: `app.web.liveness.status` cannot be "2xx"
              |
            7 | status = ["2xx"]
              |           ^^^^^
              = a status is a number from 100 to 599 or a range of them, such as "204" or "200-499"

            hitless.toml:8:12: `app.web.liveness.interval` cannot be 0
              |
            8 | interval = 0
              |            ^
              = a duration of at least 1ms

            hitless.toml:9:11: `app.web.liveness.timeout` must be a duration such as "30s", not a whole number
              |
            9 | timeout = 5
              |           ^
              = the unit is missing: write "5s" or "5ms"

            hitless.toml:10:12: `app.web.liveness.failures` cannot be 0
               |
            10 | failures = 0
               |            ^
               = a whole number from 1 to 100
        "#]],
    );
}

#[test]
fn probation_without_a_unit() {
    check_app(
        r#"failover.probation = 30"#,
        &expect![[r#"
        hitless.toml:3:22: `app.web.failover.probation` must be a duration such as "30s", not a whole number
          |
        3 | failover.probation = 30
          |                      ^^
          = the unit is missing: write "30s" or "30ms"
    "#]],
    );
}

#[test]
fn probation_that_may_not_last() {
    check_app(
        r#"failover = { probation = "15m", probation_max = "10m" }"#,
        &expect![[r#"
            hitless.toml:3:49: `probation_max` (10m) is shorter than `probation` (15m)
              |
            3 | failover = { probation = "15m", probation_max = "10m" }
              |                                                 ^^^^^
              = it is how long probation may last where too few answers came to tell
        "#]],
    );
}

#[test]
fn failover_with_wrong_values() {
    check_app(
        r#"[app.web.failover]
probation_max = 0
connect_failures = 0
min_requests = 0
max_error_ratio = 0
rescue_5xx = "on"
resends = 11
resend_ratio = 1.5
resend_body_max = "1GiB"
resend_idempotency_key = 1"#,
        &expect![[r#"
            hitless.toml:4:17: `app.web.failover.probation_max` cannot be 0
              |
            4 | probation_max = 0
              |                 ^
              = a duration of at least 1ms

            hitless.toml:5:20: `app.web.failover.connect_failures` cannot be 0
              |
            5 | connect_failures = 0
              |                    ^
              = a whole number from 1 to 1000

            hitless.toml:6:16: `app.web.failover.min_requests` cannot be 0
              |
            6 | min_requests = 0
              |                ^
              = a whole number from 1 to 1000000

            hitless.toml:7:19: `app.web.failover.max_error_ratio` cannot be 0
              |
            7 | max_error_ratio = 0
              |                   ^
              = a number above 0 and up to 1, such as 0.5

            hitless.toml:8:14: `app.web.failover.rescue_5xx` must be true or false, not a string
              |
            8 | rescue_5xx = "on"
              |              ^^^^
              = write true or false, without quotes

            hitless.toml:9:11: `app.web.failover.resends` cannot be 11
              |
            9 | resends = 11
              |           ^^
              = a whole number from 0 to 10

            hitless.toml:10:16: `app.web.failover.resend_ratio` cannot be 1.5
               |
            10 | resend_ratio = 1.5
               |                ^^^
               = a number from 0 to 1, such as 0.2

            hitless.toml:11:19: `app.web.failover.resend_body_max` cannot be "1GiB"
               |
            11 | resend_body_max = "1GiB"
               |                   ^^^^^^
               = a size up to "16MiB", or 0

            hitless.toml:12:26: `app.web.failover.resend_idempotency_key` must be true or false, not a whole number
               |
            12 | resend_idempotency_key = 1
               |                          ^
               = write true or false, without quotes
        "#]],
    );
}

#[test]
fn a_share_in_percent() {
    check_app(
        r#"failover.max_error_ratio = "50%""#,
        &expect![[r#"
            hitless.toml:3:28: `app.web.failover.max_error_ratio` must be a number above 0 and up to 1, such as 0.5, not a string
              |
            3 | failover.max_error_ratio = "50%"
              |                            ^^^^^
        "#]],
    );
}

#[test]
fn a_share_that_is_no_number() {
    check_app(
        r#"failover = { max_error_ratio = nan, resend_ratio = -0.1 }"#,
        &expect![[r#"
            hitless.toml:3:32: `app.web.failover.max_error_ratio` cannot be nan
              |
            3 | failover = { max_error_ratio = nan, resend_ratio = -0.1 }
              |                                ^^^
              = a number above 0 and up to 1, such as 0.5

            hitless.toml:3:52: `app.web.failover.resend_ratio` cannot be -0.1
              |
            3 | failover = { max_error_ratio = nan, resend_ratio = -0.1 }
              |                                                    ^^^^
              = a number from 0 to 1, such as 0.2
        "#]],
    );
}

#[test]
fn a_prose_name_of_failover() {
    check_app(
        r#"failover_probation = "5s""#,
        &expect![[r#"
            hitless.toml:3:1: unknown key `app.web.failover_probation`
              |
            3 | failover_probation = "5s"
              | ^^^^^^^^^^^^^^^^^^
              = write `probation` in [app.web.failover]
        "#]],
    );
}

#[test]
fn a_variable_that_is_no_string() {
    check_app(
        "env = { DEBUG = 1 }",
        &expect![[r#"
            hitless.toml:3:17: `app.web.env.DEBUG` must be a string in quotes, not a whole number
              |
            3 | env = { DEBUG = 1 }
              |                 ^
              = write "1"
        "#]],
    );
}

#[test]
fn a_variable_of_hitless() {
    check_app(
        r#"env = { PORT = "80", HITLESS_APP = "x", "A=B" = "c" }"#,
        &expect![[r#"
            hitless.toml:3:9: `app.web.env.PORT` cannot be set
              |
            3 | env = { PORT = "80", HITLESS_APP = "x", "A=B" = "c" }
              |         ^^^^
              = hitless sets it for each instance

            hitless.toml:3:22: `app.web.env.HITLESS_APP` cannot be set
              |
            3 | env = { PORT = "80", HITLESS_APP = "x", "A=B" = "c" }
              |                      ^^^^^^^^^^^
              = hitless keeps names that start with HITLESS_ for itself

            hitless.toml:3:41: `app.web.env.A=B` cannot be set
              |
            3 | env = { PORT = "80", HITLESS_APP = "x", "A=B" = "c" }
              |                                         ^^^^^
              = the name of a variable is not empty and has no `=`
        "#]],
    );
}

#[test]
fn an_empty_path() {
    check_app(
        r#"directory = """#,
        &expect![[r#"
        hitless.toml:3:13: `app.web.directory` cannot be ""
          |
        3 | directory = ""
          |             ^^
          = leave the key out for none
    "#]],
    );
}

#[test]
fn a_key_twice() {
    check_app(
        "pool_max = 1\npool_max = 2",
        &expect![[r#"
            hitless.toml:4:1: the key `pool_max` stands here a second time
              |
            4 | pool_max = 2
              | ^^^^^^^^
              = leave one of the two
        "#]],
    );
}

#[test]
fn no_app() {
    check_file(
        r#"listen = [":80"]
"#,
        &expect![[r#"
            hitless.toml: there is no app
             = write [app.web] and below it command = ["python3", "app.py"], or end the command line with `-- COMMAND`
        "#]],
    );
}

#[test]
fn an_app_without_a_command() {
    check_file(
        r#"[app.web]
answer_timeout = "5s"
"#,
        &expect![[r#"
            hitless.toml:1:6: `app.web` has neither a command nor addresses
              |
            1 | [app.web]
              |      ^^^
              = write below it, for example: command = ["python3", "app.py"], or addresses = ["127.0.0.1:3000"]
        "#]],
    );
}

#[test]
fn an_app_without_a_name() {
    check_file(
        r#"[app]
command = ["./app"]
env = {}
"#,
        &expect![[r#"
            hitless.toml:2:1: `app.command` stands in [app], which has no name
              |
            2 | command = ["./app"]
              | ^^^^^^^
              = write it in [app.NAME], for example [app.web]

            hitless.toml:3:1: `app.env` stands in [app], which has no name
              |
            3 | env = {}
              | ^^^
              = write it in [app.NAME], for example [app.web]
        "#]],
    );
}

#[test]
fn an_array_of_apps() {
    check_file(
        r#"[[app]]
command = ["./app"]
"#,
        &expect![[r#"
            hitless.toml:1:1: `app` must be a table of tables with names, not a list
              |
            1 | [[app]]
              | ^^^^^^^
              = write [app.NAME], for example [app.web]
        "#]],
    );
}

#[test]
fn an_app_with_a_space() {
    check_file(
        r#"[app."my app"]
command = ["./app"]
"#,
        &expect![[r#"
            hitless.toml:1:6: `app.my app` is no name
              |
            1 | [app."my app"]
              |      ^^^^^^^^
              = a name is 1 to 64 letters, digits, `-`, `_` or `.`, and starts with a letter or digit
        "#]],
    );
}

#[test]
fn a_command_in_one_string() {
    check_file(
        r#"[app.web]
command = "python3 app.py"
"#,
        &expect![[r#"
            hitless.toml:2:11: `app.web.command` must be a list of a program and its arguments, not a string
              |
            2 | command = "python3 app.py"
              |           ^^^^^^^^^^^^^^^^
              = write ["python3", "app.py"], or ["sh", "-c", "exec …"] where a shell is needed
        "#]],
    );
}

#[test]
fn an_empty_command() {
    check_file(
        "[app.web]\ncommand = []\n",
        &expect![[r#"
        hitless.toml:2:11: `app.web.command` names no program
          |
        2 | command = []
          |           ^^
          = write ["python3", "app.py"], or ["sh", "-c", "exec …"] where a shell is needed
    "#]],
    );
}

#[test]
fn a_command_with_a_number() {
    check_file(
        r#"[app.web]
command = ["./app", "--port", 80]
"#,
        &expect![[r#"
            hitless.toml:2:31: `app.web.command` must be strings in quotes, not a whole number
              |
            2 | command = ["./app", "--port", 80]
              |                               ^^
              = write "80"
        "#]],
    );
}

#[test]
fn a_string_that_does_not_end() {
    check_file(
        r#"name = "hitless
[app.web]
command = ["./app"]
"#,
        &expect![[r#"
            hitless.toml:1:16: the quote at the end of the string is missing
              |
            1 | name = "hitless
              |                ^
              = a string ends on its line with the quote that it begins with
        "#]],
    );
}

#[test]
fn a_list_that_does_not_end() {
    check_file(
        r#"listen = [":80"
[app.web]
command = ["./app"]
"#,
        &expect![[r#"
            hitless.toml:1:10: the list that begins here has no end
              |
            1 | listen = [":80"
              |          ^
              = write `]` behind its last entry
        "#]],
    );
}

#[test]
fn a_value_that_is_missing() {
    check_file(
        r#"name =
threads = x
[app.web
command = ["./app"]
"#,
        &expect![[r#"
            hitless.toml:1:7: a value is missing
              |
            1 | name =
              |       ^
              = write it behind the `=`

            hitless.toml:2:11: string values must be quoted, expected literal string
              |
            2 | threads = x
              |           ^

            hitless.toml:3:9: unclosed table, expected `]`
              |
            3 | [app.web
              |         ^
        "#]],
    );
}

#[test]
fn yaml() {
    check_file(
        "listen: 8080\napp:\n  command: ./app\n",
        &expect![[r#"
            hitless.toml:1:7: invalid unquoted key, expected letters, numbers, `-`, `_`
              |
            1 | listen: 8080
              |       ^
              = TOML is written as `key = value`, below its [section]

            hitless.toml:2:5: key with no value, expected `=`
              |
            2 | app:
              |     ^
              = TOML is written as `key = value`, below its [section]

            hitless.toml:3:17: key with no value, expected `=`
              |
            3 |   command: ./app
              |                 ^
              = TOML is written as `key = value`, below its [section]
        "#]],
    );
}

#[test]
fn a_section_of_an_app_at_the_top() {
    check(
        r#"[drain]
timeout = "5s""#,
        &expect![[r#"
            hitless.toml:1:2: unknown key `drain`
              |
            1 | [drain]
              |  ^^^^^
              = write [app.NAME.drain]
        "#]],
    );
}

#[test]
fn a_key_of_two_sections() {
    check(
        r#"body_timeout = "5s""#,
        &expect![[r#"
        hitless.toml:1:1: unknown key `body_timeout`
          |
        1 | body_timeout = "5s"
          | ^^^^^^^^^^^^
          = write `body_timeout` in [client] or `body_timeout` in [app.NAME]
    "#]],
    );
}

#[test]
fn a_key_of_many_sections() {
    check(
        r#"[client]
timeout = "5s""#,
        &expect![[r#"
            hitless.toml:2:1: unknown key `client.timeout`
              |
            2 | timeout = "5s"
              | ^^^^^^^
              = allowed here: head_timeout, head_bytes_max, head_fields_max, idle_timeout, body_timeout, write_timeout, linger_timeout, connections_max, connections_per_address_max, http2, http2_streams_max
        "#]],
    );
}

#[test]
fn a_port_for_an_address() {
    check(
        "listen = [8080]",
        &expect![[r#"
        hitless.toml:1:11: `listen` must be an address such as "127.0.0.1:8080", not a whole number
          |
        1 | listen = [8080]
          |           ^^^^
          = write 127.0.0.1:8080 for this machine only, or :8080 for all addresses
    "#]],
    );
}

#[test]
fn the_control_socket_on_a_listener() {
    check(
        r#"listen = ["unix:/run/a.sock"]
control = "/run/a.sock""#,
        &expect![[r#"
            hitless.toml:2:11: unix:/run/a.sock is to be listened on as well
              |
            2 | control = "/run/a.sock"
              |           ^^^^^^^^^^^^^
              = the control socket needs a path of its own
        "#]],
    );
}

#[test]
fn no_status() {
    check_app(
        "ready.status = []",
        &expect![[r#"
        hitless.toml:3:16: `app.web.ready.status` cannot be empty
          |
        3 | ready.status = []
          |                ^^
          = leave it out for the default
    "#]],
    );
}

#[test]
fn an_app_table_that_is_empty() {
    check_file(
        "[app]\n",
        &expect![[r#"
            hitless.toml:1:1: `app` cannot be empty
              |
            1 | [app]
              | ^^^^^
              = write [app.NAME], for example [app.web]
        "#]],
    );
}

#[test]
fn problems_above_what_is_no_toml() {
    check_file(
        "threads = -1\nname = hitless\nthread = 3\n",
        &expect![[r#"
        hitless.toml:1:11: `threads` cannot be -1
          |
        1 | threads = -1
          |           ^^
          = a whole number from 0 to 1024

        hitless.toml:2:8: string values must be quoted, expected literal string
          |
        2 | name = hitless
          |        ^^^^^^^
    "#]],
    );
}

#[test]
fn what_follows_from_an_unreadable_value_is_no_problem_of_its_own() {
    check(
        "listen = [\":9900\"]\nadmin = 5\n[shutdown]\ndelay = \"30s\"\ntimeout = 60",
        &expect![[r#"
            hitless.toml:2:9: `admin` must be an address such as "127.0.0.1:8080", not a whole number
              |
            2 | admin = 5
              |         ^
              = write 127.0.0.1:5 for this machine only, or :5 for all addresses

            hitless.toml:5:11: `shutdown.timeout` must be a duration such as "30s", not a whole number
              |
            5 | timeout = 60
              |           ^^
              = the unit is missing: write "60s" or "60ms"
        "#]],
    );
}

#[test]
fn a_mark_of_the_byte_order_shifts_nothing() {
    check(
        "\u{feff}threads = -1\r",
        &expect![[r#"
        hitless.toml:1:11: `threads` cannot be -1
          |
        1 | threads = -1
          |           ^^
          = a whole number from 0 to 1024
    "#]],
    );
}

#[test]
fn a_variable_is_judged_like_its_flag() {
    for (name, value, part) in [
        ("HITLESS_THREADS", "many", "from 0 to 1024"),
        ("HITLESS_INSTANCES", "0", "from 1 to 1000"),
        ("HITLESS_PROBATION", "30", "30s"),
        ("HITLESS_LISTEN", ":80,:x", "is no port"),
        ("HITLESS_DRAIN_TIMEOUT", "30", "30s"),
        ("HITLESS_EXIT_ON_FAILED_START", "maybe", "boolean"),
        ("HITLESS_READY", "up", "http:/PATH"),
    ] {
        let output = hitless_with(&["run"], &[(name, value)], "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(part), "{name}: {stderr}");
        assert_eq!(output.status.code(), Some(2));
    }
}

/// Runs `hitless` with these words, in a folder with a `hitless.toml` of this text.
#[expect(
    clippy::disallowed_methods,
    reason = "a test starts the program itself"
)]
fn hitless_with(words: &[&str], variables: &[(&str, &str)], file: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder can be made");
    fs::write(folder.path().join("hitless.toml"), file).expect("the folder is ours");
    std::process::Command::new(env!("CARGO_BIN_EXE_hitless"))
        .args(words)
        .current_dir(folder.path())
        .env_remove("HITLESS_CONFIG")
        .envs(variables.iter().copied())
        .output()
        .expect("the program was built with this test")
}

fn hitless(words: &[&str], file: &str) -> Output {
    hitless_with(words, &[], file)
}

#[track_caller]
fn ends(output: &Output, status: i32, stdout: &Expect, stderr: &Expect) {
    stdout.assert_eq(&String::from_utf8_lossy(&output.stdout));
    stderr.assert_eq(&String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(status));
}

#[test]
fn the_variable_names_the_file_as_the_flag_does() {
    let output = hitless_with(&["check"], &[("HITLESS_CONFIG", "hitless.toml")], REFERENCE);
    ends(
        &output,
        0,
        &expect![[r#"
            hitless.toml is valid: 1 app, listening on 127.0.0.1:8080
        "#]],
        &expect![""],
    );
    let both = ["check", "--config", "none.toml"];
    let output = hitless_with(&both, &[("HITLESS_CONFIG", "hitless.toml")], REFERENCE);
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn check_says_that_a_file_is_valid() {
    let output = hitless(&["check", "--config", "hitless.toml"], REFERENCE);
    ends(
        &output,
        0,
        &expect![[r#"
            hitless.toml is valid: 1 app, listening on 127.0.0.1:8080
        "#]],
        &expect![""],
    );
}

#[test]
fn check_warns_of_what_is_surely_not_meant() {
    let file = "[app.web]\ncommand = [\"sh\"]\ndrain.timeout = \"1s\"\n";
    let output = hitless(&["check", "-c", "hitless.toml"], file);
    ends(
        &output,
        0,
        &expect![[r#"
        hitless.toml is valid: 1 app, listening on 127.0.0.1:8080
    "#]],
        &expect![[r#"
        warning: hitless.toml:3:17: a drain timeout of 1s counts as 1m (it is never less than the app's `answer_timeout`: lower that as well)
    "#]],
    );
}

#[test]
fn check_prints_every_problem_and_exits_78() {
    let output = hitless(&["check", "-c", "hitless.toml"], "threads = -1\nname = 5\n");
    ends(
        &output,
        78,
        &expect![[""]],
        &expect![[r#"
        hitless.toml:1:11: `threads` cannot be -1
          |
        1 | threads = -1
          |           ^^
          = a whole number from 0 to 1024

        hitless.toml:2:8: `name` must be a name such as "hitless", not a whole number
          |
        2 | name = 5
          |        ^
          = write "5"

        hitless.toml: there is no app
         = write [app.web] and below it command = ["python3", "app.py"], or end the command line with `-- COMMAND`

        3 problems
    "#]],
    );
}

#[test]
fn check_exits_78_without_the_file() {
    let output = hitless(&["check", "-c", "none.toml"], "");
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let end = "/none.toml: No such file or directory (os error 2); there is hitless.toml\n";
    assert!(stderr.starts_with("error: cannot read /"), "{stderr}");
    assert!(stderr.ends_with(end), "{stderr}");
}

#[test]
fn check_without_a_file_is_usage() {
    let output = hitless(&["check"], "");
    ends(
        &output,
        2,
        &expect![[""]],
        &expect![[r#"
        error: nothing to run: name a file or a command

          hitless run --config hitless.toml
          hitless run --listen :8080 -- python3 app.py
    "#]],
    );
}

proptest! {
    /// Whatever is done to a file, the answer is a configuration or a report that can be shown.
    #[test]
    fn no_file_panics(from in 0..REFERENCE.len(), length in 0..200_usize, text in "[\\PC\n\"\\[\\]=.0-9]{0,20}") {
        let to = (from + length).min(REFERENCE.len());
        let mut bytes = REFERENCE.as_bytes().to_vec();
        bytes.splice(from..to, text.bytes());
        let source = String::from_utf8_lossy(&bytes).into_owned();
        if let Err(error) = load(&source, &Overrides::default()) {
            prop_assert!(error.to_string().starts_with("hitless.toml:"));
        }
    }
}

// === who is trusted, and what a body may be ===

#[test]
fn trusted_proxies_are_addresses_networks_or_unix() {
    check(
        r#"trusted_proxies = ["10.0.0.0/8", "::1", "unix:", "10.1.2.3/8", "proxy.example"]"#,
        &expect![[r#"
            hitless.toml:1:50: `trusted_proxies` cannot be "10.1.2.3/8"
              |
            1 | trusted_proxies = ["10.0.0.0/8", "::1", "unix:", "10.1.2.3/8", "proxy.example"]
              |                                                  ^^^^^^^^^^^^
              = an address with a prefix must be the first of its network: "10.0.0.0/8", or without the prefix for this address alone

            hitless.toml:1:64: `trusted_proxies` cannot be "proxy.example"
              |
            1 | trusted_proxies = ["10.0.0.0/8", "::1", "unix:", "10.1.2.3/8", "proxy.example"]
              |                                                                ^^^^^^^^^^^^^^^
              = a trusted proxy is an address or a network, such as "10.0.0.7", "10.0.0.0/8" or "fd00::/8"; or "unix:" for peers of unix sockets
        "#]],
    );
}

#[test]
fn what_decides_on_100_continue_is_one_of_two() {
    check_app(
        "expect = \"ask\"",
        &expect![[r#"
            hitless.toml:3:10: `app.web.expect` cannot be "ask"
              |
            3 | expect = "ask"
              |          ^^^^^
              = one of "answer", "forward"
        "#]],
    );
    let app =
        valid("[app.web]\ncommand = [\"./app\"]\nexpect = \"forward\"\nbody_bytes_max = \"10MiB\"")
            .apps
            .remove(0);
    assert_eq!(app.traffic.expect, data_plane::Expect::Forward);
    assert_eq!(app.traffic.body_bytes_max, 10 << 20);
}
