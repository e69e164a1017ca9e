//! Asks one instance until it answers as it should.
//!
//! First it connects until something accepts, looks up who that is, and then asks what the configuration asks for.
//! Has no deadline for all of it and never ends an instance: both are the driver's.

mod pace;
mod probe;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Once;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use self::pace::Pace;
pub use self::probe::{Probe, check};

use crate::control_plane::process::listeners::{Holder, Kin};
use crate::control_plane::process::{Exit, Instance};
use crate::generation::{Address, AppProtocol, Reason, ReasonKind};

/// What the time between two checks backs off to.
const INTERVAL_MAX: Duration = Duration::from_millis(250);

/// The time between two looks at where an instance listens while its port stays closed.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long an instance may listen elsewhere while its port stays closed.
const ELSEWHERE_MAX: Duration = Duration::from_secs(2);

/// How long the last words of an instance that exited are waited for.
const LAST_WORDS_MAX: Duration = Duration::from_millis(200);

/// How many of the last lines are searched for an address in use.
const LAST_LINES: usize = 50;

/// How an instance shows that it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The path of an HTTP check that must be answered with a status of `status`; `None`: no HTTP check.
    pub http: Option<String>,
    /// The `Host` of the HTTP check.
    pub host: String,
    /// What it speaks.
    pub protocol: AppProtocol,
    /// The statuses that count as ready.
    pub status: Vec<RangeInclusive<u16>>,
    /// Whether an accepted connection is asked for (an HTTP check implies it).
    pub tcp: bool,
    /// Whether `READY=1` on the private notify socket is asked for.
    pub notify: bool,
    /// Whether the port must be held by this instance or a descendant of it.
    pub owner: bool,
    /// The time between two checks at first; it backs off to 250 ms.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// How many successes in a row make it ready; at least 1.
    pub successes: u32,
    /// How long all of it may take; the driver's clock, not this module's.
    pub start_timeout: Duration,
    /// What is asked of it once it is ready, in this order, before clients are.
    pub warm_up: Vec<WarmUp>,
}

/// A request that is sent to an instance before it gets those of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmUp {
    /// The path and query that a GET asks for.
    pub path: String,
    /// The statuses that it must be answered with; any other, or none within the check's time, fails the start.
    pub status: Vec<RangeInclusive<u16>>,
}

/// An instance has shown all it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where it listens: the port it was given, on 127.0.0.1 or on ::1, or its unix socket.
    pub address: Address,
}

/// One instance being asked.
struct Inquiry<'a, F> {
    config: &'a Config,
    instance: &'a Instance,
    progress: F,
}

/// How a series of checks ended.
#[derive(Debug, PartialEq, Eq)]
enum Series {
    Passed,
    /// Nothing listens there any more: look again where.
    Refused,
}

/// Since when an instance listens elsewhere.
#[derive(Debug)]
struct Elsewhere {
    next_look: Instant,
    since: Option<Instant>,
}

/// Asks until everything holds. Each attempt to connect and each check is told to `progress`.
///
/// # Errors
///
/// [`ReasonKind::Exited`] (or [`ReasonKind::Keeper`]) as soon as it has exited, [`ReasonKind::Stranger`] when a process
/// that is not its own holds the address, [`ReasonKind::WrongPort`] when it listens elsewhere. Anything else is asked
/// again without end: bring a deadline.
///
/// # Cancel safety
///
/// Cancel safe; what was shown so far counts no more.
pub async fn until_ready(
    config: &Config,
    instance: &Instance,
    progress: impl FnMut(Probe),
) -> Result<Ready, Reason> {
    let inquiry = Inquiry {
        config,
        instance,
        progress,
    };
    tokio::select! {
        biased;
        exit = instance.exited() => Err(explain_exit(instance, exit).await),
        ready = inquiry.run() => ready,
    }
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            http: Some("/".to_owned()),
            host: "localhost".to_owned(),
            protocol: AppProtocol::Http1,
            status: vec![200..=499],
            tcp: false,
            notify: false,
            owner: true,
            interval: Duration::from_millis(50),
            timeout: Duration::from_secs(5),
            successes: 2,
            start_timeout: Duration::from_secs(60),
            warm_up: Vec::new(),
        }
    }
}

// === impl Inquiry ===

impl<F: FnMut(Probe)> Inquiry<'_, F> {
    async fn run(mut self) -> Result<Ready, Reason> {
        (self.progress)(Probe::Connecting);
        loop {
            let address = self.locate().await?;
            self.instance.release_port();
            if self.config.notify {
                (self.progress)(Probe::AwaitingNotify);
                self.instance.notified().await;
                (self.progress)(Probe::Notified);
            }
            let asks = self.config.http.is_some() || self.config.tcp;
            if !asks || self.ask(&address).await == Series::Passed {
                return Ok(Ready { address });
            }
        }
    }

    /// Connects until something accepts, and returns where when that is the instance. `READY=1` has it tried at once.
    async fn locate(&mut self) -> Result<Address, Reason> {
        let mut elsewhere = Elsewhere {
            next_look: Instant::now() + LOOK_INTERVAL,
            since: None,
        };
        let mut pace = Pace::new();
        loop {
            for address in candidates(self.instance.address()) {
                match probe::connect(&address, self.config.timeout).await {
                    Ok(peer) => {
                        (self.progress)(Probe::Connected);
                        self.examine(&address, peer).await?;
                        return Ok(address);
                    }
                    Err(probe) => (self.progress)(probe),
                }
            }
            elsewhere.look(self.instance).await?;
            pace.next(self.instance.notified()).await;
        }
    }

    /// Whether whoever listens there is the instance. `peer` is who the kernel says listens on a unix socket.
    async fn examine(&self, address: &Address, peer: Option<u32>) -> Result<(), Reason> {
        if !self.config.owner {
            return Ok(());
        }
        let address = address.clone();
        let holder = with_kin(self.instance, move |kin| match (&address, peer) {
            (Address::Tcp(address), _) => kin.holder_of(*address),
            (Address::Unix(_), Some(peer)) => kin.holder_is(peer),
            (Address::Unix(_), None) => Holder::Unknown,
        });
        match holder.await.unwrap_or(Holder::Unknown) {
            Holder::Instance => Ok(()),
            Holder::Stranger { pid, command } => Err(Reason::new(
                ReasonKind::Stranger,
                format!(
                    "{} is held by process {pid} ({command}), which is not the app's",
                    self.instance.address()
                ),
            )),
            Holder::Unknown => {
                log_unknown(self.instance);
                Ok(())
            }
        }
    }

    /// Checks, one at a time, until as many in a row have passed as are asked for.
    async fn ask(&mut self, address: &Address) -> Series {
        let mut interval = self.config.interval;
        let mut passed = 0;
        loop {
            match probe::ask(self.config, address).await {
                Ok(_) => {
                    passed += 1;
                    (self.progress)(Probe::Passed(passed, self.config.successes));
                    if passed >= self.config.successes {
                        return Series::Passed;
                    }
                }
                Err(Probe::Refused) => {
                    (self.progress)(Probe::Refused);
                    return Series::Refused;
                }
                Err(probe) => {
                    (self.progress)(probe);
                    passed = 0;
                    sleep(interval).await;
                    interval = backed_off(interval);
                }
            }
        }
    }
}

/// Half as long again, up to 250 ms; longer if it was configured so.
fn backed_off(interval: Duration) -> Duration {
    (interval * 3 / 2).min(INTERVAL_MAX).max(interval)
}

/// Where to knock: an app that listens on `localhost` may have chosen ::1.
fn candidates(address: &Address) -> Vec<Address> {
    match address {
        Address::Tcp(given) => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            .map(|ip| Address::Tcp(SocketAddr::new(ip, given.port())))
            .into(),
        Address::Unix(_) => vec![address.clone()],
    }
}

// === impl Elsewhere ===

impl Elsewhere {
    /// Fails when the instance has listened elsewhere for too long.
    async fn look(&mut self, instance: &Instance) -> Result<(), Reason> {
        let now = Instant::now();
        let Address::Tcp(given) = instance.address() else {
            return Ok(());
        };
        if now < self.next_look {
            return Ok(());
        }
        self.next_look = now + LOOK_INTERVAL;
        let Ok(listening) = with_kin(instance, Kin::listening).await else {
            return Ok(());
        };
        let Some(found) = listening.iter().find(|it| it.port() != given.port()) else {
            self.since = None;
            return Ok(());
        };
        if now - *self.since.get_or_insert(now) < ELSEWHERE_MAX {
            return Ok(());
        }
        Err(Reason::new(
            ReasonKind::WrongPort,
            format!(
                "the app listens on {found}, not on the port it was given ({}): use {{port}} or $PORT",
                given.port()
            ),
        ))
    }
}

/// Asks an address, which belongs to nothing that was started here, until as many checks in a row have passed as are
/// asked for.
///
/// # Cancel safety
///
/// Cancel safe; what was shown so far counts no more.
pub async fn until_answers(config: &Config, address: &Address, mut progress: impl FnMut(Probe)) {
    let mut interval = config.interval;
    let mut passed = 0;
    loop {
        match probe::ask(config, address).await {
            Ok(probe) => {
                passed += 1;
                progress(probe);
                progress(Probe::Passed(passed, config.successes));
                if passed >= config.successes {
                    return;
                }
            }
            Err(probe) => {
                progress(probe);
                passed = 0;
                sleep(interval).await;
                interval = backed_off(interval);
            }
        }
    }
}

/// Looks into `/proc` on a thread that may block.
async fn with_kin<T: Send + 'static>(
    instance: &Instance,
    look: impl FnOnce(&Kin) -> T + Send + 'static,
) -> io::Result<T> {
    let kin = instance.kin();
    tokio::task::spawn_blocking(move || look(&kin))
        .await
        .map_err(io::Error::other)
}

fn log_unknown(instance: &Instance) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            app = %instance.app(),
            generation = %instance.generation(),
            address = %instance.address(),
            "cannot tell which process listens there, so nobody checks that it is the app's (said once)"
        );
    });
}

/// Sends the warm-up requests, one after the other.
///
/// # Errors
///
/// [`ReasonKind::WarmUp`] with the first that was not answered as it must be.
///
/// # Cancel safety
///
/// Cancel safe: what was sent was sent.
pub async fn warm_up(config: &Config, address: &Address) -> Result<(), Reason> {
    for request in &config.warm_up {
        let asked = Config {
            http: Some(request.path.clone()),
            status: request.status.clone(),
            ..config.clone()
        };
        check(&asked, address).await.map_err(|probe| {
            let expected = request.status.iter().map(show_statuses);
            let expected = expected.collect::<Vec<_>>().join(" or ");
            let message = format!("warm-up GET {}: {probe}, expected {expected}", request.path);
            Reason::new(ReasonKind::WarmUp, message)
        })?;
    }
    Ok(())
}

fn show_statuses(range: &RangeInclusive<u16>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}

/// Why a candidate has exited: with what its last words speak of. Takes as long as those may take.
pub async fn explain_exit(instance: &Instance, exit: Exit) -> Reason {
    // A grandchild may hold the pipes open; the words of the dead have been written by now.
    let _ = timeout(LAST_WORDS_MAX, instance.last_words()).await;
    let reason = exit.reason("before it was ready");
    if instance.reserves_port() && speaks_of_address_in_use(instance) {
        return Reason::new(
            reason.kind,
            format!(
                "{reason}; its last output speaks of an address in use: \
                 if it does not set SO_REUSEADDR, try reserve_port = false"
            ),
        );
    }
    reason
}

fn speaks_of_address_in_use(instance: &Instance) -> bool {
    let lines = instance.output().last_lines(LAST_LINES);
    lines
        .iter()
        .filter(|line| line.instance == instance.number())
        .any(|line| {
            let text = line.text.to_lowercase();
            ["address already in use", "address in use", "eaddrinuse"]
                .iter()
                .any(|words| text.contains(words))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_backs_off_to_a_quarter_of_a_second() {
        let mut interval = Config::default().interval;
        for _ in 0..10 {
            interval = backed_off(interval);
        }
        assert_eq!(interval, INTERVAL_MAX);
        let long = Duration::from_secs(1);
        assert_eq!(backed_off(long), long);
    }

    #[test]
    fn an_ipv4_port_is_looked_for_on_both_loopbacks() {
        let given = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
        let knocked: Vec<String> = candidates(&given).iter().map(Address::to_string).collect();
        assert_eq!(knocked, ["127.0.0.1:8080", "[::1]:8080"]);
    }
}
