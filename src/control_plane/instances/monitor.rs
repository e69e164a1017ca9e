//! Asks an instance that serves whether it is still well. Only asks: what follows is decided elsewhere.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Liveness;
use crate::control_plane::readiness::{self, Probe};
use crate::generation::{Address, Reason, ReasonKind};

/// How often the readiness of an instance on probation is asked.
const PROBATION_INTERVAL: Duration = Duration::from_secs(1);
/// How many failures in a row are bad.
const PROBATION_FAILURES: u32 = 3;

/// Starts a readiness check every second, whether or not the one before has ended, until three in a row have failed.
///
/// # Cancel safety
///
/// Cancel safe: checks under way end with it.
pub(super) async fn unready(
    config: readiness::Config,
    address: Address,
    checked: impl Fn(bool),
) -> Reason {
    let mut ticks = interval(PROBATION_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut checks = JoinSet::new();
    let mut failures = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let (config, address) = (config.clone(), address.clone());
                checks.spawn(async move { readiness::check(&config, &address).await });
            }
            Some(Ok(check)) = checks.join_next() => {
                checked(check.is_ok());
                match check {
                    Ok(()) => failures = 0,
                    Err(probe) => {
                        failures += 1;
                        if failures >= PROBATION_FAILURES {
                            return failed("readiness", failures, &probe);
                        }
                    }
                }
            }
        }
    }
}

/// Asks one check after the other until so many in a row have failed.
///
/// # Cancel safety
///
/// Cancel safe.
pub(super) async fn unwell(liveness: Liveness, address: Address, checked: impl Fn(bool)) -> Reason {
    until_failed(liveness, address, false, checked).await
}

/// The same for an address that somebody else serves: where nobody listens any more, nothing else is waited for.
///
/// # Cancel safety
///
/// Cancel safe.
pub(super) async fn lost(liveness: Liveness, address: Address, checked: impl Fn(bool)) -> Reason {
    let reason = until_failed(liveness, address.clone(), true, checked).await;
    Reason::new(reason.kind, format!("{address}: {}", reason.message))
}

async fn until_failed(
    liveness: Liveness,
    address: Address,
    refused_is_enough: bool,
    checked: impl Fn(bool),
) -> Reason {
    let config = readiness::Config {
        http: liveness.http,
        host: liveness.host,
        status: liveness.status,
        timeout: liveness.timeout,
        ..readiness::Config::default()
    };
    let mut failures = 0;
    loop {
        let next = Instant::now() + liveness.interval;
        let check = readiness::check(&config, &address).await;
        checked(check.is_ok());
        match check {
            Ok(()) => failures = 0,
            Err(probe) => {
                failures += 1;
                let gone = refused_is_enough && probe == Probe::Refused;
                if gone || failures >= liveness.failures {
                    return failed("liveness", failures, &probe);
                }
            }
        }
        sleep_until(next).await;
    }
}

fn failed(which: &str, failures: u32, probe: &Probe) -> Reason {
    let times = if failures == 1 {
        "failed".to_owned()
    } else {
        format!("failed {failures} times in a row")
    };
    Reason::new(
        ReasonKind::Unready,
        format!("the {which} check {times}: {probe}"),
    )
}
