//! Histograms with fixed bounds and one writer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many bounds each histogram has.
const BOUNDS: usize = 16;

/// The upper bounds, in seconds, of the buckets for times of whole requests.
pub const SECONDS_BOUNDS: [f64; BOUNDS] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// The upper bounds, in seconds, of the buckets for the time that hitless itself takes.
pub const OVERHEAD_BOUNDS: [f64; BOUNDS] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 1.0, 5.0,
];

/// One histogram as one worker writes it.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The last one holds what is above every bound.
    buckets: [AtomicU64; BOUNDS + 1],
    nanoseconds: AtomicU64,
}

/// A histogram's sums over all workers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramTotals {
    /// How many observations fell into each bucket alone (not cumulated); the last holds what is above every bound.
    pub buckets: [u64; BOUNDS + 1],
    /// How many there were.
    pub count: u64,
    /// Their sum in seconds.
    pub seconds: f64,
}

// === impl Histogram ===

impl Histogram {
    /// Counts one observation.
    pub(super) fn observe(&self, value: Duration, bounds: &[f64; BOUNDS]) {
        let seconds = value.as_secs_f64();
        let index = bounds.partition_point(|&bound| bound < seconds);
        add(&self.buckets[index], 1);
        let nanoseconds = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        add(&self.nanoseconds, nanoseconds);
    }
}

fn add(count: &AtomicU64, number: u64) {
    let sum = count.load(Ordering::Relaxed).wrapping_add(number);
    count.store(sum, Ordering::Relaxed);
}

// === impl HistogramTotals ===

impl HistogramTotals {
    pub(super) fn sum<'a>(workers: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut totals = Self::default();
        for histogram in workers {
            for (sum, bucket) in totals.buckets.iter_mut().zip(&histogram.buckets) {
                *sum += bucket.load(Ordering::Relaxed);
            }
            let time = Duration::from_nanos(histogram.nanoseconds.load(Ordering::Relaxed));
            totals.seconds += time.as_secs_f64();
        }
        totals.count = totals.buckets.iter().sum();
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_below_it() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(1), &SECONDS_BOUNDS);
        histogram.observe(Duration::from_secs(61), &SECONDS_BOUNDS);
        let totals = HistogramTotals::sum([&histogram].into_iter());
        assert_eq!(totals.buckets[1], 1);
        assert_eq!(totals.buckets[BOUNDS], 1);
        assert_eq!(totals.count, 2);
        assert!((totals.seconds - 61.001).abs() < 1e-9);
    }
}
