//! What clients saw: every exchange of a load, and the verdict over them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// A reload's time, and a little after it, in which its effects would be felt.
const AFTERMATH: Duration = Duration::from_millis(500);

/// How many lines of a kind a failure message shows.
const SHOWN_MAX: usize = 20;

/// The kinds of exchanges, in the order of the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A GET on a connection that is kept alive.
    Kept,
    /// A GET on a connection of its own.
    Fresh,
    /// 200 KiB up, checked by their checksum.
    Upload,
    /// An answer that takes the app 1.5 s.
    Slow,
    /// A chunked download, its content checked.
    Download,
    /// The handshake of a WebSocket.
    WebSocket,
    /// A message on a WebSocket and its echo.
    Echo,
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub kind: Kind,
    /// Connections are numbered in the order of their opening.
    pub connection: u64,
    pub sent: Instant,
    /// When the head of the answer was there.
    pub answered: Option<Instant>,
    /// The version that answered; none for an echo, whose WebSocket stays where it is.
    pub version: Option<u64>,
    /// The app's own time from the request's head to the answer's, by its own account.
    pub app: Option<Duration>,
    /// Why it failed.
    pub outcome: Result<(), String>,
}

/// A time in which something was done to hitless.
#[derive(Clone, Debug)]
struct Window {
    what: String,
    from: Instant,
    to: Instant,
}

/// Everything that the clients of a load saw.
#[derive(Clone, Debug)]
pub struct Record {
    began: Instant,
    exchanges: Vec<Exchange>,
    closed: Vec<(Kind, String)>,
    farewells: usize,
    windows: Vec<Window>,
}

/// The time between client and app that is not the app's own, as quantiles.
#[derive(Clone, Copy, Debug)]
pub struct Added {
    pub count: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub most: Duration,
}

// === impl Record ===

impl Record {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            exchanges: Vec::new(),
            closed: Vec::new(),
            farewells: 0,
            windows: Vec::new(),
        }
    }

    pub fn push(&mut self, exchange: Exchange) {
        self.exchanges.push(exchange);
    }

    /// The server closed a connection that a client would have gone on using.
    pub fn push_closed(&mut self, kind: Kind, connection: u64, how: &str) {
        let at = self.began.elapsed();
        let line = format!("{kind:?} connection {connection} at {at:.3?}: {how}");
        self.closed.push((kind, line));
    }

    /// The server asked a WebSocket to go, as it may: streams of old generations are bounded.
    pub fn push_farewell(&mut self) {
        self.farewells += 1;
    }

    pub fn push_window(&mut self, what: &str, from: Instant) {
        self.windows.push(Window {
            what: what.to_owned(),
            from,
            to: Instant::now() + AFTERMATH,
        });
    }

    /// How many exchanges there were.
    pub fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// The exchanges of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Exchange> {
        self.exchanges
            .iter()
            .filter(move |exchange| exchange.kind == kind)
    }

    /// Exchanges that failed.
    pub fn failed(&self) -> Vec<&Exchange> {
        let failed = self
            .exchanges
            .iter()
            .filter(|exchange| exchange.outcome.is_err());
        failed.collect()
    }

    /// WebSockets that were asked to go.
    pub fn farewells(&self) -> usize {
        self.farewells
    }

    /// The newest version seen.
    pub fn newest_version(&self) -> Option<u64> {
        self.exchanges
            .iter()
            .filter_map(|exchange| exchange.version)
            .max()
    }

    /// Exchanges that were sent after an answer of a newer version had been received, on whatever connection, and were
    /// answered by an older one all the same; each with that newer version.
    pub fn out_of_order(&self) -> Vec<(&Exchange, u64)> {
        let versioned = || {
            self.exchanges
                .iter()
                .filter_map(|exchange| Some((exchange, exchange.answered?, exchange.version?)))
        };
        let mut answers: Vec<_> = versioned()
            .map(|(_, answered, version)| (answered, version))
            .collect();
        answers.sort_unstable();
        let mut sent: Vec<_> = versioned()
            .map(|(exchange, _, version)| (exchange, version))
            .collect();
        sent.sort_by_key(|(exchange, _)| exchange.sent);

        let mut answers = answers.into_iter().peekable();
        let mut newest = 0;
        let mut wrong = Vec::new();
        for (exchange, version) in sent {
            while let Some((_, seen)) = answers.next_if(|(answered, _)| *answered < exchange.sent) {
                newest = newest.max(seen);
            }
            if version < newest {
                wrong.push((exchange, newest));
            }
        }
        wrong
    }

    /// What hitless added in reloads (or, with false, out of them); none without an exchange there.
    pub fn added(&self, in_reloads: bool) -> Option<Added> {
        let mut times: Vec<_> = self
            .exchanges
            .iter()
            .filter(|exchange| self.in_window(exchange) == in_reloads)
            .filter_map(Exchange::added)
            .collect();
        times.sort_unstable();
        let quantile = |percent: usize| {
            times.get((times.len() * percent / 100).min(times.len().checked_sub(1)?))
        };
        Some(Added {
            count: times.len(),
            p50: *quantile(50)?,
            p99: *quantile(99)?,
            most: *times.last()?,
        })
    }

    fn in_window(&self, exchange: &Exchange) -> bool {
        let end = exchange.answered.unwrap_or(exchange.sent);
        self.windows
            .iter()
            .any(|window| exchange.sent <= window.to && window.from <= end)
    }

    /// Prints it, for whoever runs the test with `--nocapture` and beside every failure.
    pub fn show(&self) {
        println!("{self}");
    }

    /// Fails if any client noticed anything: a failed exchange, a closed connection, an older version after a newer.
    #[track_caller]
    pub fn expect_unnoticed(&self) {
        self.expect_none_failed();
        assert!(
            self.closed.is_empty(),
            "{} client connections were closed by the server:\n{}\n{self}",
            self.closed.len(),
            shown(self.closed.iter().map(|(_, line)| line))
        );
        self.expect_order();
    }

    /// Fails if an exchange failed.
    #[track_caller]
    pub fn expect_none_failed(&self) {
        let failed = self.failed();
        let lines = failed.iter().map(|exchange| self.line(exchange));
        assert!(
            failed.is_empty(),
            "{} of {} exchanges failed:\n{}\n{self}",
            failed.len(),
            self.len(),
            shown(lines)
        );
    }

    /// Fails if an exchange of another kind than these failed, or more than `most` of these did.
    #[track_caller]
    pub fn expect_failed_only(&self, kinds: &[Kind], most: usize) {
        let failed = self.failed();
        let lines = failed.iter().map(|exchange| self.line(exchange));
        let others = failed
            .iter()
            .filter(|exchange| !kinds.contains(&exchange.kind))
            .count();
        assert!(
            others == 0 && failed.len() <= most,
            "at most {most} of {kinds:?} may have failed, but:\n{}\n{self}",
            shown(lines)
        );
    }

    /// Fails unless each failed exchange got a 502 that hitless explains, or a connection that was broken off.
    #[track_caller]
    pub fn expect_losses_told(&self) {
        let silent = |exchange: &&&Exchange| {
            let what = exchange.outcome.as_ref().err();
            what.is_some_and(|what| {
                let told = what.starts_with("502") && what.contains("hitless; error=");
                // An answer that was waited for in vain is neither.
                let broken = exchange.answered.is_none() && !what.contains("no whole answer");
                !told && !broken
            })
        };
        let failed = self.failed();
        let wrong: Vec<_> = failed.iter().filter(silent).collect();
        let lines = wrong.iter().map(|exchange| self.line(exchange));
        assert!(
            wrong.is_empty(),
            "neither told nor broken off:\n{}\n{self}",
            shown(lines)
        );
    }

    /// Fails if a version answered what was sent after this time.
    #[track_caller]
    pub fn expect_no_answer_of(&self, version: u64, after: Instant) {
        let wrong: Vec<_> = self
            .exchanges
            .iter()
            .filter(|exchange| exchange.version == Some(version) && exchange.sent > after)
            .collect();
        let lines = wrong.iter().map(|exchange| self.line(exchange));
        assert!(
            wrong.is_empty(),
            "answered by version {version} after {:.3?}:\n{}\n{self}",
            after - self.began,
            shown(lines)
        );
    }

    /// Fails if anything that was sent after this time failed.
    #[track_caller]
    pub fn expect_none_failed_after(&self, after: Instant) {
        let failed = self.failed();
        let wrong: Vec<_> = failed
            .iter()
            .filter(|exchange| exchange.sent > after)
            .collect();
        let lines = wrong.iter().map(|exchange| self.line(exchange));
        assert!(
            wrong.is_empty(),
            "failed after {:.3?}:\n{}\n{self}",
            after - self.began,
            shown(lines)
        );
    }

    /// Fails if the server closed a connection of this kind.
    #[track_caller]
    pub fn expect_none_closed(&self, kind: Kind) {
        let closed = self.closed.iter().filter(|(of, _)| *of == kind);
        let lines: Vec<_> = closed.map(|(_, line)| line).collect();
        assert!(
            lines.is_empty(),
            "client connections were closed by the server:\n{}\n{self}",
            shown(lines.iter())
        );
    }

    /// Fails if an older version answered after a newer one.
    #[track_caller]
    pub fn expect_order(&self) {
        let wrong = self.out_of_order();
        let lines = wrong.iter().map(|(exchange, newest)| {
            format!(
                "{} after version {newest} had answered",
                self.line(exchange)
            )
        });
        assert!(
            wrong.is_empty(),
            "{} exchanges were answered by an older version than one seen before:\n{}\n{self}",
            wrong.len(),
            shown(lines)
        );
    }

    /// Fails if there was too little to judge by: the load did not reach nine tenths of this rate.
    #[track_caller]
    pub fn expect_rate(&self, per_second: f64) {
        let first = self.exchanges.iter().map(|exchange| exchange.sent).min();
        let last = self.exchanges.iter().map(|exchange| exchange.sent).max();
        let seconds = match (first, last) {
            (Some(first), Some(last)) => (last - first).as_secs_f64(),
            _ => 0.0,
        };
        let paced = [Kind::Kept, Kind::Fresh, Kind::Upload, Kind::Slow];
        let count = self
            .exchanges
            .iter()
            .filter(|exchange| paced.contains(&exchange.kind))
            .count();
        let wanted = per_second * seconds * 0.9;
        assert!(
            count as f64 >= wanted,
            "only {count} requests in {seconds:.1} s, fewer than 90 % of {per_second} a second\n{self}"
        );
    }

    /// Fails if the 99th percentile of what hitless adds is above twice that of quiet times plus 5 ms in reloads.
    #[track_caller]
    pub fn expect_reloads_unfelt(&self) {
        let quiet = self
            .added(false)
            .expect("there were exchanges in quiet times");
        let reloads = self.added(true).expect("there were exchanges in reloads");
        let bound = quiet.p99 * 2 + Duration::from_millis(5);
        assert!(
            reloads.p99 <= bound,
            "added time, p99: {:?} in reloads, {:?} in quiet times, so above the bound of {bound:?}\n{self}",
            reloads.p99,
            quiet.p99
        );
    }

    fn line(&self, exchange: &Exchange) -> String {
        let at = exchange.sent - self.began;
        let during: Vec<_> = self
            .windows
            .iter()
            .filter(|window| window.from <= exchange.sent && exchange.sent <= window.to)
            .map(|window| window.what.as_str())
            .collect();
        let took = exchange.answered.map(|answered| answered - exchange.sent);
        format!(
            "{:?} on connection {}, sent at {at:.3?} (during: {}), head after {took:.3?}, version {:?}: {:?}",
            exchange.kind,
            exchange.connection,
            during.join(", "),
            exchange.version,
            exchange.outcome
        )
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<Kind, (usize, usize)> = BTreeMap::new();
        for exchange in &self.exchanges {
            let (all, failed) = kinds.entry(exchange.kind).or_default();
            *all += 1;
            *failed += usize::from(exchange.outcome.is_err());
        }
        write!(f, "the record: {} exchanges", self.len())?;
        for (kind, (all, failed)) in kinds {
            write!(f, ", {kind:?} {all} ({failed} failed)")?;
        }
        writeln!(
            f,
            "; {} closed, {} farewells",
            self.closed.len(),
            self.farewells
        )?;
        writeln!(f, "added in quiet times: {:?}", self.added(false))?;
        writeln!(f, "added in reloads: {:?}", self.added(true))?;
        for window in &self.windows {
            let (from, to) = (window.from - self.began, window.to - self.began);
            writeln!(f, "  {from:.3?} to {to:.3?}: {}", window.what)?;
        }
        Ok(())
    }
}

// === impl Exchange ===

impl Exchange {
    /// The client's waiting less the app's own time.
    fn added(&self) -> Option<Duration> {
        let waited = self.answered? - self.sent;
        Some(waited.saturating_sub(self.app?))
    }
}

fn shown(lines: impl ExactSizeIterator<Item = impl fmt::Display>) -> String {
    let more = lines.len().saturating_sub(SHOWN_MAX);
    let mut text: Vec<_> = lines
        .take(SHOWN_MAX)
        .map(|line| format!("  {line}"))
        .collect();
    if more > 0 {
        text.push(format!("  … and {more} more"));
    }
    text.join("\n")
}
