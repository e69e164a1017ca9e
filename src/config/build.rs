//! The one bridge from the file as written to a [`Config`]: fills in defaults, lets flags and variables win, and judges
//! what several keys say together.

mod addresses;

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::problem::Problem;
use super::units::show_duration;
use super::{App, Config, Overrides, ReadyCheck, ShutdownConfig, raw};
use crate::control_plane::{driver, process, readiness};
use crate::data_plane::{AppConfig, ClientConfig};
use crate::generation::AppName;
use crate::telemetry::log::{self, LogConfig};

/// The name of an app that has none.
const UNNAMED: &str = "app";

/// The configuration and what is to be warned of. It is to be used only if there was no problem.
pub(super) fn config(
    file: raw::File,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) -> (Config, Vec<Problem>) {
    let mut warnings = Vec::new();
    let (listen, admin) = addresses::addresses(file.listen, file.admin, overrides, problems);
    let control = overrides.control.clone();
    let control_span = file.control.as_ref().map(Spanned::span);
    let control_span = control_span.filter(|_| control.is_none());
    let log = section(file.log);
    let exit = overrides.exit_on_failed_start.as_ref();
    let config = Config {
        listen,
        admin,
        admin_hosts: plain(file.admin_hosts).unwrap_or_default(),
        name: pick(overrides.name.as_ref(), file.name, "hitless".to_owned()),
        control: control.or_else(|| file.control.map(Spanned::into_inner)),
        threads: pick(overrides.threads.as_ref(), file.threads, 0),
        exit_on_failed_start: pick(exit, file.exit_on_failed_start, false),
        client: client(section(file.client)),
        shutdown: shutdown(section(file.shutdown), problems),
        log: LogConfig {
            level: or(log.level, log::Level::default()),
            format: pick(
                overrides.log_format.as_ref(),
                log.format,
                log::Format::default(),
            ),
        },
        apps: apps(file.app, overrides, problems, &mut warnings),
        warnings: Vec::new(),
    };
    addresses::beside_control(&config, control_span, problems);
    (config, warnings)
}

/// What a flag or variable says, else the file, else the default.
fn pick<T: Clone>(flag: Option<&T>, file: Option<Spanned<T>>, default: T) -> T {
    flag.cloned().unwrap_or_else(|| or(file, default))
}

fn or<T>(value: Option<Spanned<T>>, default: T) -> T {
    value.map_or(default, Spanned::into_inner)
}

/// Whether the values of these keys, or their defaults, are what is meant. Where one could not be read, what it would say
/// together with others is unknown.
fn known(problems: &[Problem], keys: &[&str]) -> bool {
    let unread = |key: &str| keys.contains(&key);
    !problems
        .iter()
        .any(|problem| problem.key.as_deref().is_some_and(unread))
}

/// A list without the places of its entries.
fn plain<T>(list: Option<Spanned<Vec<Spanned<T>>>>) -> Option<Vec<T>> {
    list.map(|list| {
        list.into_inner()
            .into_iter()
            .map(Spanned::into_inner)
            .collect()
    })
}

fn section<T: Default>(table: Option<Spanned<T>>) -> T {
    table.map(Spanned::into_inner).unwrap_or_default()
}

// === sections ===

fn client(raw: raw::Client) -> ClientConfig {
    let default = ClientConfig::default();
    ClientConfig {
        head_timeout: or(raw.head_timeout, default.head_timeout),
        head_bytes_max: or(raw.head_bytes_max, default.head_bytes_max),
        head_fields_max: or(raw.head_fields_max, default.head_fields_max),
        idle_timeout: or(raw.idle_timeout, default.idle_timeout),
        body_timeout: or(raw.body_timeout, default.body_timeout),
    }
}

fn shutdown(raw: raw::Shutdown, problems: &mut Vec<Problem>) -> ShutdownConfig {
    let default = ShutdownConfig::default();
    let span = raw
        .delay
        .as_ref()
        .or(raw.timeout.as_ref())
        .map(Spanned::span);
    let config = ShutdownConfig {
        delay: or(raw.delay, default.delay),
        idle: or(raw.idle, default.idle),
        timeout: or(raw.timeout, default.timeout),
    };
    if config.delay >= config.timeout && known(problems, &["shutdown.delay", "shutdown.timeout"]) {
        let (delay, timeout) = (show_duration(config.delay), show_duration(config.timeout));
        problems.push(
            Problem::new(
                span,
                format!(
                    "`shutdown.delay` ({delay}) must be shorter than `shutdown.timeout` ({timeout})"
                ),
            )
            .help("both count from the signal, and the requests under way need what is between"),
        );
    }
    config
}

// === apps ===

type NamedApps = Vec<(Spanned<String>, raw::App)>;

fn apps(
    raw: Option<Spanned<NamedApps>>,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Vec<App> {
    let missing = raw.is_none();
    let mut raw = section(raw);
    if let [_, (second, _), ..] = raw.as_slice() {
        problems.push(
            Problem::new(
                Some(second.span()),
                format!("one app for now, and `{}` is the second", second.get_ref()),
            )
            .help("routing to several apps is on its way; until then start one hitless for each"),
        );
    }
    if missing && overrides.command.is_empty() {
        problems.push(Problem::new(None, "there is no app").help(
            r#"write [app.web] and below it command = ["python3", "app.py"], or end the command line with `-- COMMAND`"#,
        ));
    } else if missing {
        raw.push((Spanned::new(0..0, UNNAMED.to_owned()), raw::App::default()));
    }
    raw.into_iter()
        .map(|(name, raw)| app(&name, raw, overrides, problems, warnings))
        .collect()
}

fn app(
    name: &Spanned<String>,
    mut raw: raw::App,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> App {
    let ready = ready(section(raw.ready.take()), overrides);
    let drain = section(raw.drain.take());
    let drain_span = drain.timeout.as_ref().map(Spanned::span);
    let mut driver = driver(drain, overrides, ready.start_timeout);
    let process = process(name, &mut raw, overrides, problems);
    let traffic = traffic(raw);
    if driver.drain_timeout < traffic.answer_timeout {
        if drain_span.is_some() || overrides.drain_timeout.is_some() {
            let span = drain_span.filter(|_| overrides.drain_timeout.is_none());
            warnings.push(raised(span, &driver, &traffic));
        }
        driver.drain_timeout = traffic.answer_timeout;
    }
    driver.lease_timeout = traffic.answer_timeout;
    App {
        name: AppName::new(name.get_ref()),
        process,
        ready,
        driver,
        traffic,
    }
}

/// A request that may still be answered is never cut.
fn raised(span: Option<Range<usize>>, driver: &driver::Config, traffic: &AppConfig) -> Problem {
    let drain = show_duration(driver.drain_timeout);
    let answer = show_duration(traffic.answer_timeout);
    Problem::new(
        span,
        format!("a drain timeout of {drain} counts as {answer}"),
    )
    .help("it is never less than the app's `answer_timeout`: lower that as well")
}

fn process(
    name: &Spanned<String>,
    raw: &mut raw::App,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) -> process::Config {
    let env_file = overrides.env_file.clone();
    let mut command = overrides.command.clone();
    if command.is_empty() {
        if raw.command.is_none() {
            problems.push(
                Problem::new(
                    Some(name.span()),
                    format!("`app.{}` has no command", name.get_ref()),
                )
                .help(r#"write below it, for example: command = ["python3", "app.py"]"#),
            );
        }
        command = section(raw.command.take());
    }
    process::Config {
        command,
        directory: raw.directory.take().map(Spanned::into_inner),
        env_file: env_file.or_else(|| raw.env_file.take().map(Spanned::into_inner)),
        env: section(raw.env.take()),
        reserve_port: or(raw.reserve_port.take(), true),
    }
}

/// Without `http`, `tcp` or `notify` the path `/` is asked for; with one of them only that.
fn ready(raw: raw::Ready, overrides: &Overrides) -> readiness::Config {
    let default = readiness::Config::default();
    let (tcp, notify) = (or(raw.tcp, default.tcp), or(raw.notify, default.notify));
    let http = match raw.http {
        None if tcp || notify => None,
        None => default.http,
        Some(path) => Some(path.into_inner()),
    };
    let (http, tcp, notify) = match &overrides.ready {
        None => (http, tcp, notify),
        Some(ReadyCheck::Http(path)) => (Some(path.clone()), false, false),
        Some(ReadyCheck::Tcp) => (None, true, false),
        Some(ReadyCheck::Notify) => (None, false, true),
    };
    readiness::Config {
        http,
        host: or(raw.host, default.host),
        status: plain(raw.status).unwrap_or(default.status),
        tcp,
        notify,
        owner: or(raw.owner, default.owner),
        interval: or(raw.interval, default.interval),
        timeout: or(raw.timeout, default.timeout),
        successes: or(raw.successes, default.successes),
        start_timeout: pick(
            overrides.start_timeout.as_ref(),
            raw.start_timeout,
            default.start_timeout,
        ),
    }
}

fn driver(raw: raw::Drain, overrides: &Overrides, start_timeout: Duration) -> driver::Config {
    let default = driver::Config::default();
    driver::Config {
        start_timeout,
        drain_timeout: pick(
            overrides.drain_timeout.as_ref(),
            raw.timeout,
            default.drain_timeout,
        ),
        streams: or(raw.streams, default.streams),
        stream_timeout: or(raw.stream_timeout, default.stream_timeout),
        close_spread: or(raw.close_spread, default.close_spread),
        retiring_max: or(raw.retiring_max, default.retiring_max),
        stop_timeout: or(raw.stop_timeout, default.stop_timeout),
        lease_timeout: default.lease_timeout,
        stopping_max: or(raw.stopping_max, default.stopping_max),
    }
}

fn traffic(raw: raw::App) -> AppConfig {
    let default = AppConfig::default();
    let hold = section(raw.hold);
    AppConfig {
        connect_timeout: or(raw.connect_timeout, default.connect_timeout),
        answer_timeout: or(raw.answer_timeout, default.answer_timeout),
        body_timeout: or(raw.body_timeout, default.body_timeout),
        pool_max: or(raw.pool_max, default.pool_max),
        pool_idle_timeout: or(raw.pool_idle_timeout, default.pool_idle_timeout),
        expose_generation: or(raw.expose_generation, default.expose_generation),
        resends: or(section(raw.failover).resends, default.resends),
        hold_requests: or(hold.requests, default.hold_requests),
        hold_timeout: or(hold.timeout, default.hold_timeout),
    }
}
