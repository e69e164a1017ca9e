//! The one bridge from the file as written to a [`Config`]: fills in defaults, lets flags and variables win, and judges
//! what several keys say together.

mod addresses;
mod app;
mod backing;
mod pages;
mod routes;
mod slips;

use std::ops::Range;

use toml::Spanned;

use self::routes::Places;
use super::problem::Problem;
use super::units::show_duration;
use super::{App, Config, Overrides, ShutdownConfig, raw};
use crate::data_plane::{ClientConfig, TrustedProxies};
use crate::telemetry::access::Destination;
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
    let (apps, places) = apps(file.app, overrides, problems, &mut warnings);
    routes::judge(&apps, &places, &listen, problems);
    backing::judge(&apps, &places, &listen, problems);
    let config = Config {
        listen: listen.into_iter().map(|one| one.value.into()).collect(),
        admin,
        admin_hosts: plain(file.admin_hosts).unwrap_or_default(),
        name: pick(overrides.name.as_ref(), file.name, "hitless".to_owned()),
        control: control.or_else(|| file.control.map(Spanned::into_inner)),
        threads: pick(overrides.threads.as_ref(), file.threads, 0),
        starts_max: or(file.starts_max, 0),
        exit_on_failed_start: pick(exit, file.exit_on_failed_start, false),
        trusted_proxies: TrustedProxies::new(plain(file.trusted_proxies).unwrap_or_default()),
        client: client(section(file.client)),
        shutdown: shutdown(section(file.shutdown), problems),
        pages: pages::pages(section(file.errors), problems, &mut warnings),
        log: LogConfig {
            level: or(log.level, log::Level::default()),
            format: pick(
                overrides.log_format.as_ref(),
                log.format,
                log::Format::default(),
            ),
            access: pick(
                overrides.access_log.as_ref(),
                log.access,
                Destination::default(),
            ),
            app: log.app.map(Spanned::into_inner),
        },
        apps,
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

/// The places of a list's entries.
fn spans<T>(list: &Spanned<Vec<Spanned<T>>>) -> Vec<Range<usize>> {
    list.get_ref().iter().map(Spanned::span).collect()
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
        write_timeout: or(raw.write_timeout, default.write_timeout),
        linger_timeout: or(raw.linger_timeout, default.linger_timeout),
        connections_max: or(raw.connections_max, default.connections_max),
        connections_per_address_max: or(
            raw.connections_per_address_max,
            default.connections_per_address_max,
        ),
        http2: or(raw.http2, default.http2),
        http2_streams_max: or(raw.http2_streams_max, default.http2_streams_max),
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
) -> (Vec<App>, Vec<Places>) {
    let missing = raw.is_none();
    let mut raw = section(raw);
    if missing && overrides.command.is_empty() {
        problems.push(Problem::new(None, "there is no app").help(
            r#"write [app.web] and below it command = ["python3", "app.py"], or end the command line with `-- COMMAND`"#,
        ));
    } else if missing {
        raw.push((Spanned::new(0..0, UNNAMED.to_owned()), raw::App::default()));
    }
    let place = |(name, raw): &(Spanned<String>, raw::App)| Places {
        name: name.span(),
        routes: raw.route.as_ref().map(spans),
        addresses: raw.addresses.as_ref().map(spans),
    };
    let places = raw.iter().map(place).collect();
    let apps = raw
        .into_iter()
        .map(|(name, raw)| app::app(&name, raw, overrides, problems, warnings))
        .collect();
    (apps, places)
}
