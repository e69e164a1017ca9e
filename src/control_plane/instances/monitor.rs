//! Asks an instance that serves whether it is still well. Only asks: what follows is decided elsewhere.

use std::time::Duration;

use tokio::sync::Notify;
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

/// What came of one check of an instance that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) passed: bool,
    /// It was asked for, and not merely due.
    pub(super) hurried: bool,
}

/// Asks one check after the other until so many in a row have failed.
///
/// # Cancel safety
///
/// Cancel safe.
pub(super) async fn unwell(liveness: Liveness, address: Address, checked: impl Fn(bool)) -> Reason {
    let asked = Asked {
        liveness,
        address: &address,
        refused_is_enough: false,
        hurry: &Notify::new(),
    };
    asked.until_failed(|check| checked(check.passed)).await
}

/// The same for an address that somebody else serves: where nobody listens any more, nothing else is waited for. `hurry`
/// has it asked at once.
///
/// # Cancel safety
///
/// Cancel safe.
pub(super) async fn lost(
    liveness: Liveness,
    address: &Address,
    hurry: &Notify,
    checked: impl Fn(Check),
) -> Reason {
    let asked = Asked {
        liveness,
        address,
        refused_is_enough: true,
        hurry,
    };
    let reason = asked.until_failed(checked).await;
    Reason::new(reason.kind, format!("{address}: {}", reason.message))
}

/// One address that is asked for as long as it is well.
struct Asked<'a> {
    liveness: Liveness,
    address: &'a Address,
    refused_is_enough: bool,
    hurry: &'a Notify,
}

impl Asked<'_> {
    async fn until_failed(self, checked: impl Fn(Check)) -> Reason {
        let liveness = self.liveness;
        let config = readiness::Config {
            http: liveness.http,
            host: liveness.host,
            status: liveness.status,
            timeout: liveness.timeout,
            protocol: liveness.protocol,
            ..readiness::Config::default()
        };
        let (mut failures, mut hurried) = (0, false);
        loop {
            let next = Instant::now() + liveness.interval;
            let result = readiness::check(&config, self.address).await;
            let passed = result.is_ok();
            checked(Check { passed, hurried });
            match result {
                Ok(()) => failures = 0,
                Err(probe) => {
                    failures += 1;
                    let gone = self.refused_is_enough && probe == Probe::Refused;
                    if gone || failures >= liveness.failures {
                        return failed("liveness", failures, &probe);
                    }
                }
            }
            hurried = tokio::select! {
                () = sleep_until(next) => false,
                () = self.hurry.notified() => true,
            };
        }
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
