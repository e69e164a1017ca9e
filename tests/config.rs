//! What a person writes: the reference file is true, and each mistake is answered the way a person would want it.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use expect_test::{Expect, expect};
use hitless::config::{Config, Error, Overrides, ReadyCheck};
use hitless::control_plane::driver::StreamPolicy;
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

/// The reference with its commented keys as keys.
fn uncommented() -> String {
    let keys = ["control", "directory", "env_file"];
    REFERENCE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if keys.iter().any(|key| rest.starts_with(&format!("{key} ="))) => rest,
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
    valid(&uncommented());
}

#[test]
fn each_value_arrives() {
    let config = valid(
        r#"
        listen = [":80", "unix:/run/web.sock"]
        admin = ""
        admin_hosts = ["Ops.example.com"]
        [app.web]
        command = ["./app", "{port}"]
        env = { MODE = "x=y" }
        answer_timeout = 0
        ready = { notify = true, status = ["204", 301] }
        drain = { streams = "keep", timeout = "2m" }
        failover.resends = 0
        "#,
    );
    assert_eq!(config.listen[0].to_string(), "[::]:80");
    assert_eq!(config.listen[1].to_string(), "unix:/run/web.sock");
    assert_eq!(config.admin, None);
    assert_eq!(config.admin_hosts, ["ops.example.com"]);
    let [app] = config.apps.as_slice() else {
        panic!("one app")
    };
    assert_eq!(app.name.as_str(), "web");
    assert_eq!(app.process.env["MODE"], "x=y");
    assert_eq!((&app.ready.http, app.ready.notify), (&None, true));
    assert_eq!(app.ready.status, [204..=204, 301..=301]);
    assert_eq!(app.driver.streams, StreamPolicy::Keep);
    assert_eq!(app.driver.drain_timeout, Duration::from_secs(120));
    assert_eq!(app.traffic.resends, 0);
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn a_drain_is_never_shorter_than_an_answer_may_take() {
    let app = |lines: &str| valid(&format!("[app.web]\ncommand = [\"./app\"]\n{lines}"));
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
    "#;
    let overrides = Overrides {
        listen: vec![":3".parse().unwrap()],
        admin: Some(None),
        name: Some("flag".to_owned()),
        ready: Some(ReadyCheck::Http("/flag".to_owned())),
        start_timeout: Some(Duration::from_secs(2)),
        threads: Some(7),
        exit_on_failed_start: Some(true),
        ..command(&["flag"])
    };
    let config = load(file, &overrides).unwrap();
    assert_eq!(config.listen, overrides.listen);
    assert_eq!(
        (config.admin, config.name.as_str(), config.threads),
        (None, "flag", 7)
    );
    assert!(config.exit_on_failed_start);
    let app = &config.apps[0];
    assert_eq!(app.name.as_str(), "web");
    assert_eq!(app.process.command, ["flag"]);
    assert_eq!(
        (app.ready.http.as_deref(), app.ready.tcp),
        (Some("/flag"), false)
    );
    assert_eq!(app.ready.start_timeout, Duration::from_secs(2));
    assert_eq!(app.driver.start_timeout, Duration::from_secs(2));
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
    expect!["cannot read no/such.toml: No such file or directory (os error 2)"]
        .assert_eq(&error.to_string());
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
          = allowed here: listen, admin, admin_hosts, exit_on_failed_start, name, control, threads, client, shutdown, log, app
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
fn a_table_for_an_address() {
    check(
        r#"listen = [{ address = ":80" }]"#,
        &expect![[r#"
            hitless.toml:1:11: `listen` must be an address such as "127.0.0.1:8080", not a table
              |
            1 | listen = [{ address = ":80" }]
              |           ^^^^^^^^^^^^^^^^^^^
        "#]],
    );
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
fn a_second_app() {
    check_app(
        r#"
[app.api]
command = ["./api"]"#,
        &expect![[r#"
            hitless.toml:4:6: one app for now, and `api` is the second
              |
            4 | [app.api]
              |      ^^^
              = routing to several apps is on its way; until then start one hitless for each
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
            hitless.toml:1:6: `app.web` has no command
              |
            1 | [app.web]
              |      ^^^
              = write below it, for example: command = ["python3", "app.py"]
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
            hitless.toml:1:16: invalid basic string, expected `"`
              |
            1 | name = "hitless
              |                ^
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
            hitless.toml:2:1: missing comma between array elements, expected `,`
              |
            2 | [app.web]
              | ^

            hitless.toml:3:1: missing comma between array elements, expected `,`
              |
            3 | command = ["./app"]
              | ^
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
              = allowed here: head_timeout, head_bytes_max, head_fields_max, idle_timeout, body_timeout
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
    std::fs::write(folder.path().join("hitless.toml"), file).expect("the folder is ours");
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
        &expect![[""]],
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
        &expect![[""]],
    );
}

#[test]
fn check_warns_of_what_is_surely_not_meant() {
    let file = "[app.web]\ncommand = [\"./app\"]\ndrain.timeout = \"1s\"\n";
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
    ends(
        &output,
        78,
        &expect![[""]],
        &expect![[r#"
        error: cannot read none.toml: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn check_without_a_file_is_usage() {
    let output = hitless(&["check"], "");
    ends(
        &output,
        2,
        &expect![[""]],
        &expect![[r#"
        error: the following required arguments were not provided:
          --config <FILE>

        Usage: hitless check --config <FILE>

        For more information, try '--help'.
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
