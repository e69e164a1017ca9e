//! What the data plane counts: one block of counters per app and worker, added up when somebody looks.
//!
//! Each block is written by its worker alone with plain loads and stores, on cache lines of its own; no request takes
//! a lock, looks a label up or writes what another core writes. Names no metric: whoever reads [`Totals`] does.

mod clients;
mod histogram;
mod labels;

pub use self::clients::{ClientCounters, ClientTotals, Clients};
pub use self::histogram::{Histogram, HistogramTotals, OVERHEAD_BOUNDS, SECONDS_BOUNDS};
pub use self::labels::{
    AcceptWait, Broken, Closed, CodeClass, Connected, HoldOutcome, Method, Protocol, Reason,
    ResendOutcome, ResendReason, StreamKind,
};

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The counts of one app, a block for each worker.
#[derive(Debug)]
pub struct Traffic {
    workers: Box<[Counters]>,
}

/// What one worker counts for one app.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    requests: [[[Count; Protocol::COUNT]; CodeClass::COUNT]; Method::COUNT],
    in_flight: Count,
    bytes_in: Count,
    bytes_out: Count,
    buffered: Count,
    duration: Histogram,
    upstream_head: Histogram,
    overhead: Histogram,
    answers: [Count; Reason::COUNT],
    resends: [[Count; ResendOutcome::COUNT]; ResendReason::COUNT],
    held_now: Count,
    held: [Count; HoldOutcome::COUNT],
    hold_time: Histogram,
    connected: [Count; Connected::COUNT],
    streams: [Count; StreamKind::COUNT],
}

/// The sums over all workers at one moment. Every label is there, at 0 from the start.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Answered requests.
    pub requests: Vec<(Method, CodeClass, Protocol, u64)>,
    /// Requests whose last byte is not out yet.
    pub in_flight: u64,
    /// Bytes of request bodies and tunnels that came from clients.
    pub bytes_in: u64,
    /// Bytes of answer bodies and tunnels that went to clients.
    pub bytes_out: u64,
    /// Memory set aside for bodies that are received before the app sees them, in bytes.
    pub buffered: u64,
    /// From the head of the request to the last byte of the answer.
    pub duration: HistogramTotals,
    /// From sending the request to the app to the head of its answer.
    pub upstream_head: HistogramTotals,
    /// From the head of the request to the head of the answer, less the app's part and the time held.
    pub overhead: HistogramTotals,
    /// Answers that hitless made itself.
    pub answers: Vec<(Reason, u64)>,
    /// Requests sent again.
    pub resends: Vec<(ResendReason, ResendOutcome, u64)>,
    /// Requests that wait for a live generation.
    pub held_now: u64,
    /// Requests that no longer wait.
    pub held: Vec<(HoldOutcome, u64)>,
    /// How long they waited.
    pub hold_time: HistogramTotals,
    /// How connections to the app came about.
    pub connected: Vec<(Connected, u64)>,
    /// Streams under way.
    pub streams: Vec<(StreamKind, u64)>,
}

/// One number with one writer.
#[derive(Debug, Default)]
struct Count(AtomicU64);

// === impl Traffic ===

impl Traffic {
    /// Counters for `workers` workers, all at 0.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Counters::default()).collect(),
        }
    }

    /// How many workers it was made for.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The block of one worker.
    ///
    /// # Panics
    ///
    /// When `index` is not below the number of workers it was made for.
    pub fn worker(&self, index: usize) -> &Counters {
        &self.workers[index]
    }

    /// Adds the blocks up. Single numbers are exact; numbers of a moment apart may be a request apart.
    pub fn totals(&self) -> Totals {
        let sum = |of: &dyn Fn(&Counters) -> u64| self.workers.iter().map(of).sum::<u64>();
        let histogram =
            |of: fn(&Counters) -> &Histogram| HistogramTotals::sum(self.workers.iter().map(of));
        Totals {
            requests: self.requests(),
            in_flight: self.level(|counters| &counters.in_flight),
            bytes_in: sum(&|counters| counters.bytes_in.get()),
            bytes_out: sum(&|counters| counters.bytes_out.get()),
            buffered: self.level(|counters| &counters.buffered),
            duration: histogram(|counters| &counters.duration),
            upstream_head: histogram(|counters| &counters.upstream_head),
            overhead: histogram(|counters| &counters.overhead),
            answers: self.family(&Reason::ALL, |counters| &counters.answers),
            resends: self.resends(),
            held_now: self.level(|counters| &counters.held_now),
            held: self.family(&HoldOutcome::ALL, |counters| &counters.held),
            hold_time: histogram(|counters| &counters.hold_time),
            connected: self.family(&Connected::ALL, |counters| &counters.connected),
            streams: StreamKind::ALL
                .iter()
                .map(|&kind| {
                    (
                        kind,
                        self.level(|counters| &counters.streams[kind as usize]),
                    )
                })
                .collect(),
        }
    }

    fn requests(&self) -> Vec<(Method, CodeClass, Protocol, u64)> {
        let mut rows = Vec::with_capacity(Method::COUNT * CodeClass::COUNT * Protocol::COUNT);
        for method in Method::ALL {
            for class in CodeClass::ALL {
                for protocol in Protocol::ALL {
                    let sum = self.workers.iter().map(|counters| {
                        counters.requests[method as usize][class as usize][protocol as usize].get()
                    });
                    rows.push((method, class, protocol, sum.sum()));
                }
            }
        }
        rows
    }

    fn resends(&self) -> Vec<(ResendReason, ResendOutcome, u64)> {
        let mut rows = Vec::with_capacity(ResendReason::COUNT * ResendOutcome::COUNT);
        for reason in ResendReason::ALL {
            for outcome in ResendOutcome::ALL {
                let sum = self
                    .workers
                    .iter()
                    .map(|counters| counters.resends[reason as usize][outcome as usize].get());
                rows.push((reason, outcome, sum.sum()));
            }
        }
        rows
    }

    fn family<L: Copy, const N: usize>(
        &self,
        labels: &[L; N],
        of: impl Fn(&Counters) -> &[Count; N],
    ) -> Vec<(L, u64)> {
        labels
            .iter()
            .enumerate()
            .map(|(index, &label)| {
                let sum = self
                    .workers
                    .iter()
                    .map(|counters| of(counters)[index].get());
                (label, sum.sum())
            })
            .collect()
    }

    /// The sum of numbers that go up and down.
    fn level(&self, of: impl Fn(&Counters) -> &Count) -> u64 {
        self.workers.iter().map(|counters| of(counters).get()).sum()
    }
}

// === impl Counters ===

impl Counters {
    /// A request's head has been read.
    pub fn request_began(&self) {
        self.in_flight.add(1);
    }

    /// Memory was set aside for a body that is received before the app sees it.
    pub fn buffered(&self, bytes: u64) {
        self.buffered.add(bytes);
    }

    /// It is free again.
    pub fn unbuffered(&self, bytes: u64) {
        self.buffered.subtract(bytes);
    }

    /// A request ended, this long after its head was read.
    pub fn request_ended(
        &self,
        method: Method,
        class: CodeClass,
        protocol: Protocol,
        after: Duration,
    ) {
        self.in_flight.subtract(1);
        self.requests[method as usize][class as usize][protocol as usize].add(1);
        self.duration.observe(after, &SECONDS_BOUNDS);
    }

    /// The app's head of the answer came, this long after the request was sent; hitless itself took `overhead`.
    pub fn head_came(&self, after: Duration, overhead: Duration) {
        self.upstream_head.observe(after, &SECONDS_BOUNDS);
        self.overhead.observe(overhead, &OVERHEAD_BOUNDS);
    }

    /// Bytes came from a client.
    pub fn bytes_in(&self, bytes: u64) {
        self.bytes_in.add(bytes);
    }

    /// Bytes went to a client.
    pub fn bytes_out(&self, bytes: u64) {
        self.bytes_out.add(bytes);
    }

    /// hitless answered by itself.
    pub fn answered(&self, reason: Reason) {
        self.answers[reason as usize].add(1);
    }

    /// A request that was sent again ended so.
    pub fn resent(&self, reason: ResendReason, outcome: ResendOutcome) {
        self.resends[reason as usize][outcome as usize].add(1);
    }

    /// A request began to wait for a live generation.
    pub fn hold_began(&self) {
        self.held_now.add(1);
    }

    /// It waits no longer.
    pub fn hold_ended(&self, outcome: HoldOutcome, after: Duration) {
        self.held_now.subtract(1);
        self.held[outcome as usize].add(1);
        self.hold_time.observe(after, &SECONDS_BOUNDS);
    }

    /// There was no room to wait.
    pub fn hold_refused(&self) {
        self.held[HoldOutcome::Refused as usize].add(1);
    }

    /// A connection to the app was made, taken from the pool, or not made.
    pub fn connected(&self, result: Connected) {
        self.connected[result as usize].add(1);
    }

    /// A stream began.
    pub fn stream_began(&self, kind: StreamKind) {
        self.streams[kind as usize].add(1);
    }

    /// A stream ended.
    pub fn stream_ended(&self, kind: StreamKind) {
        self.streams[kind as usize].subtract(1);
    }
}

// === impl Count ===

impl Count {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One writer, so a load and a store lose nothing and need no locked instruction.
    fn add(&self, number: u64) {
        self.0.store(self.get() + number, Ordering::Relaxed);
    }

    fn subtract(&self, number: u64) {
        self.0.store(self.get() - number, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_stands_at_zero_from_the_start() {
        let totals = Traffic::new(2).totals();
        assert_eq!(totals.requests.len(), 10 * 5 * 3);
        assert!(totals.requests.iter().all(|row| row.3 == 0));
        assert_eq!(totals.answers.len(), Reason::COUNT);
        assert_eq!(
            totals.resends.len(),
            ResendReason::COUNT * ResendOutcome::COUNT
        );
    }

    #[test]
    fn totals_are_the_sums_over_all_workers() {
        let traffic = Traffic::new(2);
        for index in [0, 1, 1] {
            traffic.worker(index).request_began();
            traffic.worker(index).request_ended(
                Method::Get,
                CodeClass::Success,
                Protocol::Http11,
                Duration::from_millis(3),
            );
        }
        traffic.worker(0).answered(Reason::AnswerTimeout);
        let totals = traffic.totals();
        let row = (Method::Get, CodeClass::Success, Protocol::Http11, 3);
        assert!(totals.requests.contains(&row));
        assert_eq!(totals.in_flight, 0);
        assert_eq!(totals.duration.count, 3);
        assert!(totals.answers.contains(&(Reason::AnswerTimeout, 1)));
    }

    #[test]
    fn a_block_shares_no_cache_line_with_the_next() {
        assert_eq!(size_of::<Counters>() % 128, 0);
        assert_eq!(align_of::<Counters>(), 128);
    }
}
