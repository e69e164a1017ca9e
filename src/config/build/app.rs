//! One app: what its keys, with flags over them, mean for each room.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::{backing, known, or, pick, plain, section, slips};
use crate::config::problem::Problem;
use crate::config::units::show_duration;
use crate::config::{App, Overrides, ReadyCheck, raw};
use crate::control_plane::driver::judging;
use crate::control_plane::instances::{Backing, Liveness};
use crate::control_plane::supervisor::Overlap;
use crate::control_plane::trigger::files;
use crate::control_plane::{driver, instances, readiness};
use crate::data_plane::AppConfig;
use crate::data_plane::route::Route;
use crate::generation::{AppName, AppProtocol};
use crate::paths;

pub(super) fn app(
    name: &Spanned<String>,
    mut raw: raw::App,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> App {
    let command = raw.command.as_ref().map(Spanned::span);
    let place = command.filter(|_| overrides.command.is_empty());
    let backing = backing::backing(name, &mut raw, overrides, problems);
    if let Backing::Command(command) = &backing {
        slips::look(name.get_ref(), command, place.as_ref(), warnings);
    }
    let protocol = or(raw.protocol.take(), AppProtocol::Http1);
    let ready = ready(section(raw.ready.take()), protocol, overrides);
    let at = format!("app.{}", name.get_ref());
    let named = backing.addresses().map(|list| list.len());
    let instances = instances(&mut raw, &ready, named, &at, overrides, problems);
    let drain = section(raw.drain.take());
    let drain_span = drain.timeout.as_ref().map(Spanned::span);
    let mut failover = section(raw.failover.take());
    let mut driver = driver(drain, overrides, ready.start_timeout);
    let overlap_span = raw.overlap.as_ref().map(Spanned::span);
    driver.overlap = or(raw.overlap.take(), driver.overlap);
    driver.overlap_memory = or(raw.overlap_memory.take(), driver.overlap_memory);
    probation(&mut failover, &mut driver, &at, overrides, problems);
    let routes = match raw.route.take() {
        Some(list) => plain(Some(list)).unwrap_or_default(),
        None => vec![Route::default()],
    };
    let watch = watch(section(raw.watch.take()), &at, overrides, warnings);
    let traffic = AppConfig {
        protocol,
        ..traffic(raw, failover)
    };
    if driver.drain_timeout < traffic.answer_timeout {
        if drain_span.is_some() || overrides.drain_timeout.is_some() {
            let span = drain_span.filter(|_| overrides.drain_timeout.is_none());
            warnings.push(raised(span, &driver, &traffic));
        }
        driver.drain_timeout = traffic.answer_timeout;
    }
    driver.lease_timeout = if traffic.answer_timeout.is_zero() {
        driver.drain_timeout
    } else {
        traffic.answer_timeout
    };
    if driver.overlap == Overlap::None {
        warnings.extend(held_too_long(overlap_span, &driver, &traffic));
    }
    App {
        name: AppName::new(name.get_ref()),
        backing,
        ready,
        instances,
        driver,
        traffic,
        routes,
        watch,
    }
}

/// Without overlap requests are held while the old generation drains and stops.
fn held_too_long(
    span: Option<Range<usize>>,
    driver: &driver::Config,
    traffic: &AppConfig,
) -> Option<Problem> {
    let gone = driver.drain_timeout + driver.stop_timeout;
    if gone <= traffic.hold_timeout {
        return None;
    }
    let (gone, held) = (show_duration(gone), show_duration(traffic.hold_timeout));
    Some(
        Problem::new(
            span,
            format!(
                "with `overlap = \"none\"` a reload may hold requests for {gone}, and they wait {held} at most"
            ),
        )
        .help("lower `drain.timeout` (and `answer_timeout` with it) and `drain.stop_timeout`, or raise `hold.timeout`"),
    )
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

/// What is not there is said with its key: whether that is a warning depends on who reads it.
fn watch(
    raw: raw::Watch,
    at: &str,
    overrides: &Overrides,
    warnings: &mut Vec<Problem>,
) -> files::Config {
    let default = files::Config::default();
    let paths: Vec<_> = match overrides.watch.as_slice() {
        [] => section(raw.paths)
            .into_iter()
            .map(|path| (Some(path.span()), path.into_inner()))
            .collect(),
        paths => paths.iter().map(|path| (None, path.clone())).collect(),
    };
    let absent = paths.iter().filter(|(_, path)| !path.exists());
    warnings.extend(absent.map(|(span, path)| {
        let message = format!(
            "there is nothing at the watched path {:?}",
            paths::whole(path)
        );
        Problem::new(span.clone(), message)
            .of(&format!("{at}.watch.paths"))
            .help("relative paths start at the folder in which hitless is started")
    }));
    files::Config {
        paths: paths.into_iter().map(|(_, path)| path).collect(),
        ignore: plain(raw.ignore).unwrap_or(default.ignore),
        settle: or(raw.settle, default.settle),
        poll: or(raw.poll, default.poll),
    }
}

/// Without `http`, `tcp` or `notify` the path `/` is asked for; with one of them only that. A server of gRPC has no paths to
/// ask for, and is asked for a connection.
fn ready(raw: raw::Ready, protocol: AppProtocol, overrides: &Overrides) -> readiness::Config {
    let default = readiness::Config::default();
    let (tcp, notify) = (or(raw.tcp, default.tcp), or(raw.notify, default.notify));
    let tcp = tcp || (protocol == AppProtocol::H2c && raw.http.is_none() && !notify);
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
        warm_up: or(raw.warm_up, default.warm_up),
        protocol,
    }
}

fn instances(
    raw: &mut raw::App,
    ready: &readiness::Config,
    named: Option<usize>,
    at: &str,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) -> instances::Config {
    let default = instances::Config::default();
    let count = pick(
        overrides.instances.as_ref(),
        raw.instances.take(),
        default.count,
    );
    let min_ready = raw.min_ready.take();
    let span = min_ready.as_ref().map(Spanned::span);
    let min_ready = or(min_ready, default.min_ready);
    let (most, of) = match named {
        Some(named) => (u32::try_from(named).unwrap_or(u32::MAX), "addresses"),
        None => (count, "instances"),
    };
    if min_ready > most && known(problems, &[&format!("{at}.{of}")]) {
        let message = format!("`min_ready` ({min_ready}) is more than `{of}` ({most})");
        problems.push(Problem::new(span, message).help("0 means all of them"));
    }
    instances::Config {
        count,
        min_ready,
        liveness: raw
            .liveness
            .take()
            .map(|raw| liveness(raw.into_inner(), ready)),
    }
}

/// What is not said is as for readiness. Without `http`, `tcp` alone is enough.
fn liveness(raw: raw::Liveness, ready: &readiness::Config) -> Liveness {
    let tcp = or(raw.tcp, false);
    let http = match raw.http {
        Some(path) => Some(path.into_inner()),
        None if tcp => None,
        None => ready.http.clone(),
    };
    Liveness {
        http,
        host: or(raw.host, ready.host.clone()),
        status: plain(raw.status).unwrap_or_else(|| ready.status.clone()),
        interval: or(raw.interval, Liveness::INTERVAL),
        timeout: or(raw.timeout, Liveness::TIMEOUT),
        failures: or(raw.failures, Liveness::FAILURES),
        protocol: ready.protocol,
    }
}

fn probation(
    raw: &mut raw::Failover,
    driver: &mut driver::Config,
    at: &str,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) {
    let default = judging::Config::default();
    let span = raw.probation_max.as_ref().map(Spanned::span);
    driver.probation = pick(
        overrides.probation.as_ref(),
        raw.probation.take(),
        driver.probation,
    );
    driver.judging = judging::Config {
        probation_max: or(raw.probation_max.take(), default.probation_max),
        connect_failures: or(raw.connect_failures.take(), default.connect_failures),
        min_requests: or(raw.min_requests.take(), default.min_requests),
        max_error_ratio: or(raw.max_error_ratio.take(), default.max_error_ratio),
    };
    let is_known =
        overrides.probation.is_some() || known(problems, &[&format!("{at}.failover.probation")]);
    let longest = &mut driver.judging.probation_max;
    match span {
        // Not said: it follows a longer probation.
        None => *longest = driver.probation.max(*longest),
        Some(_) if is_known && *longest < driver.probation => {
            let (most, usual) = (show_duration(*longest), show_duration(driver.probation));
            problems.push(
                Problem::new(
                    span,
                    format!("`probation_max` ({most}) is shorter than `probation` ({usual})"),
                )
                .help("it is how long probation may last where too few answers came to tell"),
            );
        }
        Some(_) => {}
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
        ..default
    }
}

fn traffic(raw: raw::App, failover: raw::Failover) -> AppConfig {
    let default = AppConfig::default();
    let hold = section(raw.hold);
    AppConfig {
        connect_timeout: or(raw.connect_timeout, default.connect_timeout),
        answer_timeout: or(raw.answer_timeout, default.answer_timeout),
        body_timeout: or(raw.body_timeout, default.body_timeout),
        pool_max: or(raw.pool_max, default.pool_max),
        pool_idle_timeout: or(raw.pool_idle_timeout, default.pool_idle_timeout),
        expose_generation: or(raw.expose_generation, default.expose_generation),
        body_bytes_max: or(raw.body_bytes_max, default.body_bytes_max),
        expect: or(raw.expect, default.expect),
        early_hints: or(raw.early_hints, default.early_hints),
        buffer_requests: or(raw.buffer_requests, default.buffer_requests),
        rescue_5xx: or(failover.rescue_5xx, default.rescue_5xx),
        resends: or(failover.resends, default.resends),
        resend_ratio: or(failover.resend_ratio, default.resend_ratio),
        resend_body_max: or(failover.resend_body_max, default.resend_body_max),
        resend_idempotency_key: or(
            failover.resend_idempotency_key,
            default.resend_idempotency_key,
        ),
        hold_requests: or(hold.requests, default.hold_requests),
        hold_timeout: or(hold.timeout, default.hold_timeout),
        ..default
    }
}
