//! What the clients saw: every exchange judged as it ends, and counted for the act in which that was.
//!
//! It keeps figures and the first few failures, never the exchanges themselves, so that it does not grow with the load.

mod exchange;

pub(super) use self::exchange::{Exchange, How, Kind, Trouble};

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How many failures are kept word for word.
const FAILURES_MAX: usize = 10;

/// How long after the beginning a wait is that of all clients who come at once, and not that of a quiet time.
const WARM_UP: Duration = Duration::from_millis(500);

/// How much later than the swap the verdict may be known here.
const VERDICT_LAG: Duration = Duration::from_millis(250);

/// A version that is going to break after it went live, so that some of what fails with it is beyond the promises.
#[derive(Clone, Copy, Debug)]
pub(super) enum Suspect {
    /// Its process ends.
    Crashes {
        /// The number of the version.
        version: u64,
        /// When its verdict came.
        live: Option<Instant>,
    },
    /// It answers with 500.
    Fails {
        /// The number of the version.
        version: u64,
    },
}

/// What hitless may not send again, and so does not promise: RFC 9110 section 9.2.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beyond {
    /// Uploads under way in a process that died.
    pub(super) uploads: u64,
    /// Answers begun by a process that died.
    pub(super) downloads: u64,
    /// Uploads that a bad version answered.
    pub(super) refused: u64,
    /// WebSockets that were closed in order, to be opened again.
    pub(super) farewells: u64,
}

/// The figures of one act.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Exchanges that have ended.
    pub(super) requests: u64,
    /// Those of them that failed and should not have.
    pub(super) failed: u64,
    /// The longest wait of those that did not fail.
    pub(super) slowest: Duration,
    /// The versions in the order in which the short GETs met them.
    versions: Vec<u64>,
    latest: Option<(Instant, u64)>,
}

/// When a version answered requests, since the beginning, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) first: Duration,
    pub(super) last: Duration,
    pub(super) answers: u64,
    /// The last message on a WebSocket that it had accepted.
    pub(super) last_message: Duration,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    /// The time before the first act, and each act that has begun.
    pub(super) acts: Vec<Tally>,
    pub(super) versions: BTreeMap<u64, Seen>,
    pub(super) beyond: Beyond,
    /// Connections that a client would have gone on using, and that were closed on it.
    pub(super) closed: u64,
    /// The first of the failures, for people.
    pub(super) failures: Vec<String>,
}

/// The book that all clients write to.
#[derive(Debug)]
pub(super) struct Ledger {
    began: Instant,
    book: Mutex<Book>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Book {
    account: Account,
    suspect: Option<Suspect>,
}

/// What an exchange was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Whole,
    Failed,
    LostUpload,
    LostDownload,
    RefusedUpload,
}

// === impl Ledger ===

impl Ledger {
    /// An empty one, in the time before the first act.
    pub(super) fn new() -> Self {
        let mut book = Book::default();
        book.account.acts.push(Tally::default());
        Self {
            began: Instant::now(),
            book: Mutex::new(book),
            newest: watch::Sender::new(0),
        }
    }

    /// The next act begins.
    pub(super) fn enter(&self, suspect: Option<Suspect>) {
        let mut book = self.book();
        let before = book.account.acts.last();
        let next = before.map_or_else(Tally::default, Tally::next);
        book.account.acts.push(next);
        book.suspect = suspect;
    }

    /// The version of this act is live.
    pub(super) fn went_live(&self) {
        if let Some(Suspect::Crashes { live, .. }) = &mut self.book().suspect {
            *live = Some(Instant::now());
        }
    }

    pub(super) fn push(&self, exchange: &Exchange) {
        self.book().push(exchange, self.began);
        if let (None, Some(version)) = (&exchange.trouble, exchange.version) {
            self.newest.send_if_modified(|newest| {
                let newer = version > *newest;
                *newest = version.max(*newest);
                newer
            });
        }
    }

    /// A connection was closed that its client would have gone on using.
    pub(super) fn push_closed(&self) {
        self.book().account.closed += 1;
    }

    /// A WebSocket was asked to come back.
    pub(super) fn push_farewell(&self) {
        self.book().account.beyond.farewells += 1;
    }

    /// Waits until this version, or a newer one, has answered a client.
    pub(super) async fn met(&self, version: u64) {
        let mut newest = self.newest.subscribe();
        // The sender lives as long as this.
        let _ = newest.wait_for(|newest| *newest >= version).await;
    }

    /// Everything up to now.
    pub(super) fn account(&self) -> Account {
        self.book().account.clone()
    }

    /// The time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Book ===

impl Book {
    fn push(&mut self, exchange: &Exchange, began: Instant) {
        let judgement = self.judge(exchange);
        let Account {
            acts,
            versions,
            beyond,
            failures,
            ..
        } = &mut self.account;
        let tally = acts.last_mut().expect("it begins with one");
        tally.requests += 1;
        match judgement {
            Judgement::Whole => {
                tally.meet(exchange);
                if exchange.sent - began >= WARM_UP {
                    tally.slowest = tally.slowest.max(exchange.wait.unwrap_or_default());
                }
                if let Some(version) = exchange.version {
                    see(versions, version, exchange.kind, began.elapsed());
                }
            }
            Judgement::LostUpload => beyond.uploads += 1,
            Judgement::LostDownload => beyond.downloads += 1,
            Judgement::RefusedUpload => beyond.refused += 1,
            Judgement::Failed => {
                tally.failed += 1;
                if failures.len() < FAILURES_MAX {
                    failures.push(line(exchange, began));
                }
            }
        }
    }

    fn judge(&self, exchange: &Exchange) -> Judgement {
        let Some(trouble) = &exchange.trouble else {
            return Judgement::Whole;
        };
        match (self.suspect, exchange.kind, trouble.how) {
            (Some(Suspect::Crashes { live, .. }), Kind::Upload, How::NoAnswer)
                if live.is_some_and(|live| exchange.sent + VERDICT_LAG >= live) =>
            {
                Judgement::LostUpload
            }
            (Some(Suspect::Crashes { version, .. }), Kind::Upload, How::BrokenOff)
                if exchange.version == Some(version) =>
            {
                Judgement::LostUpload
            }
            (Some(Suspect::Crashes { version, .. }), Kind::Download, How::BrokenOff)
                if exchange.version == Some(version) =>
            {
                Judgement::LostDownload
            }
            (Some(Suspect::Fails { version }), Kind::Upload, How::Refused)
                if exchange.version == Some(version) =>
            {
                Judgement::RefusedUpload
            }
            _ => Judgement::Failed,
        }
    }
}

fn see(versions: &mut BTreeMap<u64, Seen>, version: u64, kind: Kind, now: Duration) {
    let seen = versions.entry(version).or_insert(Seen {
        first: now,
        last: now,
        answers: 0,
        last_message: now,
    });
    if kind == Kind::Echo {
        seen.last_message = now;
    } else {
        seen.last = now;
        seen.answers += 1;
    }
}

fn line(exchange: &Exchange, began: Instant) -> String {
    let sent = (exchange.sent - began).as_secs_f64();
    let kind = exchange.kind.name();
    let what = exchange
        .trouble
        .as_ref()
        .map_or("", |trouble| &trouble.what);
    format!("{sent:.1} s: {kind}: {what}")
}

// === impl Tally ===

impl Tally {
    /// The one after it, which begins with the version that clients met last.
    fn next(&self) -> Self {
        Self {
            versions: self.latest.iter().map(|(_, version)| *version).collect(),
            latest: self.latest,
            ..Self::default()
        }
    }

    fn meet(&mut self, exchange: &Exchange) {
        let (Kind::Kept | Kind::Fresh, Some(version)) = (exchange.kind, exchange.version) else {
            // What takes long may come from a version that was replaced long since.
            return;
        };
        if !self.versions.contains(&version) {
            self.versions.push(version);
        }
        if self.latest.is_none_or(|(sent, _)| sent <= exchange.sent) {
            self.latest = Some((exchange.sent, version));
        }
    }

    /// The versions in the order in which they were met, and at the end the one that it came back to.
    pub(super) fn way(&self) -> Vec<u64> {
        let mut way = self.versions.clone();
        if let Some((_, latest)) = self.latest
            && way.last() != Some(&latest)
        {
            way.push(latest);
        }
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(kind: Kind, version: Option<u64>, how: Option<How>) -> Exchange {
        Exchange {
            kind,
            sent: Instant::now(),
            wait: Some(Duration::from_millis(2)),
            version,
            trouble: how.map(|how| Trouble::new(how, "broke")),
        }
    }

    fn failed(ledger: &Ledger) -> Vec<u64> {
        let acts = ledger.account().acts;
        acts.iter().map(|tally| tally.failed).collect()
    }

    #[test]
    fn what_a_crash_takes_along_is_counted_apart_once_the_version_is_live() {
        let ledger = Ledger::new();
        ledger.enter(Some(Suspect::Crashes {
            version: 5,
            live: None,
        }));
        ledger.push(&exchange(Kind::Upload, None, Some(How::NoAnswer)));
        assert_eq!(failed(&ledger), [0, 1], "nothing of it was live yet");
        ledger.went_live();
        ledger.push(&exchange(Kind::Upload, None, Some(How::NoAnswer)));
        ledger.push(&exchange(Kind::Upload, Some(5), Some(How::BrokenOff)));
        ledger.push(&exchange(Kind::Download, Some(5), Some(How::BrokenOff)));
        assert_eq!(failed(&ledger), [0, 1]);
        let beyond = ledger.account().beyond;
        assert_eq!((beyond.uploads, beyond.downloads), (2, 1));
    }

    #[test]
    fn what_is_promised_is_never_counted_apart() {
        let ledger = Ledger::new();
        ledger.enter(Some(Suspect::Crashes {
            version: 5,
            live: Some(Instant::now()),
        }));
        ledger.push(&exchange(Kind::Kept, None, Some(How::NoAnswer)));
        ledger.push(&exchange(Kind::Slow, None, Some(How::NoAnswer)));
        ledger.push(&exchange(Kind::Download, Some(2), Some(How::BrokenOff)));
        ledger.push(&exchange(Kind::Download, None, Some(How::NoAnswer)));
        ledger.push(&exchange(Kind::Upload, Some(2), Some(How::Wrong)));
        assert_eq!(failed(&ledger), [0, 5]);
        ledger.enter(Some(Suspect::Fails { version: 6 }));
        ledger.push(&exchange(Kind::Kept, Some(6), Some(How::Refused)));
        ledger.push(&exchange(Kind::Upload, Some(2), Some(How::Refused)));
        ledger.push(&exchange(Kind::Upload, None, Some(How::NoAnswer)));
        assert_eq!(failed(&ledger), [0, 5, 3]);
        ledger.push(&exchange(Kind::Upload, Some(6), Some(How::Refused)));
        assert_eq!(failed(&ledger), [0, 5, 3]);
        assert_eq!(ledger.account().beyond.refused, 1);
        ledger.enter(None);
        ledger.push(&exchange(Kind::Upload, Some(6), Some(How::Refused)));
        assert_eq!(failed(&ledger), [0, 5, 3, 1], "its act is over");
    }

    #[test]
    fn the_way_of_an_act_shows_where_it_came_back_to() {
        let ledger = Ledger::new();
        for version in [2, 5, 5, 2] {
            ledger.push(&exchange(Kind::Kept, Some(version), None));
        }
        // A slow answer of a version long gone is no part of it.
        ledger.push(&exchange(Kind::Slow, Some(1), None));
        let account = ledger.account();
        assert_eq!(account.acts[0].way(), [2, 5, 2]);
        assert_eq!(account.versions[&1].answers, 1);
        assert_eq!(account.versions[&5].answers, 2);
        // The next act begins where this one ended, however soon its version is there.
        ledger.enter(None);
        ledger.push(&exchange(Kind::Kept, Some(7), None));
        assert_eq!(ledger.account().acts[1].way(), [2, 7]);
    }

    #[test]
    fn the_rush_of_the_beginning_is_no_measure_of_a_quiet_time() {
        let ledger = Ledger::new();
        let mut slow = exchange(Kind::Kept, Some(1), None);
        slow.wait = Some(Duration::from_millis(90));
        ledger.push(&slow);
        assert_eq!(ledger.account().acts[0].slowest, Duration::ZERO);
        slow.sent += WARM_UP;
        ledger.push(&slow);
        let tally = ledger.account().acts.swap_remove(0);
        assert_eq!((tally.requests, tally.slowest.as_millis()), (2, 90));
    }

    #[test]
    fn a_message_on_a_websocket_is_no_answer_of_its_version() {
        let ledger = Ledger::new();
        ledger.push(&exchange(Kind::WebSocket, Some(1), None));
        ledger.push(&exchange(Kind::Echo, Some(1), None));
        let seen = ledger.account().versions[&1];
        assert_eq!(seen.answers, 1);
        assert!(seen.last_message >= seen.last, "{seen:?}");
    }

    #[test]
    fn it_does_not_grow_with_the_failures() {
        let ledger = Ledger::new();
        for _ in 0..1000 {
            ledger.push(&exchange(Kind::Kept, None, Some(How::NoAnswer)));
        }
        let account = ledger.account();
        assert_eq!(account.acts[0].failed, 1000);
        assert_eq!(account.failures.len(), FAILURES_MAX);
    }
}
