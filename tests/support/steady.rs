//! A steady load on several apps at once, each request checked against the app that it is for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, timeout};

use super::client::{ANSWER_WITHIN, Answer, Connection, NoAnswer, RequestBody, request};

/// Requests for one app.
#[derive(Clone, Debug)]
pub struct Target {
    /// What the app is called in a report.
    pub name: String,
    pub method: &'static str,
    pub host: String,
    pub path: String,
    pub body: Bytes,
    /// What its answers contain.
    pub says: String,
}

/// The load. Dropped, it breaks off; [`Steady::stop`] ends it in order.
#[derive(Debug)]
pub struct Steady {
    shared: Arc<Shared>,
    lanes: JoinSet<()>,
}

/// What came of the requests for one app.
#[derive(Debug, Default)]
pub struct Seen {
    pub answered: usize,
    pub failed: Vec<String>,
    pub took: Vec<Duration>,
}

/// What came of all, by the names of the apps.
#[derive(Debug, Default)]
pub struct Report(pub BTreeMap<String, Seen>);

#[derive(Debug)]
struct Shared {
    report: Mutex<Report>,
    answers: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
}

// === impl Target ===

impl Target {
    /// GETs for this host and path, whose answers contain these words.
    pub fn get(name: &str, host: &str, path: &str, says: &str) -> Self {
        Self {
            name: name.to_owned(),
            method: "GET",
            host: host.to_owned(),
            path: path.to_owned(),
            body: Bytes::new(),
            says: says.to_owned(),
        }
    }

    fn request(&self) -> Request<RequestBody> {
        let mut request = request(self.method, &self.path, self.body.clone());
        let host = HeaderValue::from_str(&self.host).expect("tests name valid hosts");
        request.headers_mut().insert(header::HOST, host);
        request
    }

    fn check(&self, answer: &Answer) -> Result<(), String> {
        match answer.status.as_u16() == 200 && answer.text().contains(&self.says) {
            true => Ok(()),
            false => Err(format!("{}: {:?}", answer.status, answer.text())),
        }
    }
}

// === impl Steady ===

impl Steady {
    /// On each target `kept` requests at a time on kept connections and one on a fresh one, each every so often.
    pub fn start(address: SocketAddr, targets: &[Target], kept: u32, every: Duration) -> Self {
        let shared = Arc::new(Shared {
            report: Mutex::default(),
            answers: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        });
        let mut lanes = JoinSet::new();
        for (target, lane) in targets
            .iter()
            .flat_map(|it| (0..=kept).map(move |lane| (it, lane)))
        {
            // Their beats are spread evenly.
            let first = Instant::now() + every * lane / (kept + 1);
            let keeps = lane > 0;
            lanes.spawn(run(
                Arc::clone(&shared),
                address,
                target.clone(),
                keeps,
                (first, every),
            ));
        }
        Self { shared, lanes }
    }

    /// Waits for so many answers more.
    pub async fn answers(&self, count: usize) {
        let mut answers = self.shared.answers.subscribe();
        let enough = *answers.borrow() + count;
        let waited = timeout(ANSWER_WITHIN * 2, answers.wait_for(|now| *now >= enough)).await;
        assert!(waited.is_ok(), "{count} answers did not come");
    }

    /// Lets every lane finish what it has under way.
    pub async fn stop(mut self) -> Report {
        self.shared.stopping.send_replace(true);
        while let Some(lane) = self.lanes.join_next().await {
            lane.expect("a lane does not panic");
        }
        std::mem::take(&mut *self.shared.report())
    }
}

async fn run(
    shared: Arc<Shared>,
    address: SocketAddr,
    target: Target,
    keeps: bool,
    (first, every): (Instant, Duration),
) {
    let mut ticks = interval_at(first, every);
    let mut connection = None;
    let mut stopping = shared.stopping.subscribe();
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            _ = ticks.tick() => {}
        }
        let began = Instant::now();
        let outcome = exchange(address, &target, &mut connection).await;
        if !keeps {
            connection = None;
        }
        shared.push(&target, began.elapsed(), outcome);
    }
}

async fn exchange(
    address: SocketAddr,
    target: &Target,
    kept: &mut Option<Connection>,
) -> Result<(), String> {
    loop {
        let mut connection = match kept.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => Connection::open(address)
                .await
                .map_err(|error| format!("connecting: {error}"))?,
        };
        match connection.send(target.request()).await {
            Ok(answer) => {
                *kept = Some(connection);
                return target.check(&answer);
            }
            Err(NoAnswer::Unsent) => {}
            Err(NoAnswer::Broken(error)) => return Err(error),
        }
    }
}

// === impl Shared ===

impl Shared {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, target: &Target, took: Duration, outcome: Result<(), String>) {
        let mut report = self.report();
        let seen = report.0.entry(target.name.clone()).or_default();
        seen.answered += usize::from(outcome.is_ok());
        seen.failed.extend(outcome.err());
        seen.took.push(took);
        drop(report);
        self.answers.send_modify(|count| *count += 1);
    }
}

// === impl Report ===

impl Report {
    /// Fails if any request failed, or one of these apps got none.
    #[track_caller]
    pub fn expect_none_failed(&self, apps: &[&str]) {
        println!("{}", self.table());
        for app in apps {
            let seen = self
                .0
                .get(*app)
                .unwrap_or_else(|| panic!("no request for {app}"));
            assert!(seen.answered > 0, "no answer of {app}");
        }
        let failed: Vec<_> = self.0.values().flat_map(|seen| &seen.failed).collect();
        assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    }

    /// How long 99 of 100 requests took at most, over all apps but these.
    pub fn p99_without(&self, apps: &[String]) -> Duration {
        let others = self.0.iter().filter(|(name, _)| !apps.contains(name));
        let mut took: Vec<_> = others.flat_map(|(_, seen)| seen.took.clone()).collect();
        took.sort_unstable();
        took[(took.len() * 99 / 100).min(took.len() - 1)]
    }

    fn table(&self) -> String {
        let mut table = String::new();
        for (name, seen) in &self.0 {
            let mut took = seen.took.clone();
            took.sort_unstable();
            let most = took.last().copied().unwrap_or_default();
            writeln!(
                table,
                "{name:<12} {:>6} answered {:>3} failed, longest {most:.1?}",
                seen.answered,
                seen.failed.len()
            )
            .expect("a String takes it");
        }
        table
    }
}
