//! Times in buckets of 1.6 %: bounded memory for any number of requests.

use std::time::Duration;

const STEPS: usize = 64;
const SIZE: usize = STEPS * 64;

#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self {
            counts: vec![0; SIZE],
            total: 0,
            max: 0,
        }
    }

    pub fn add(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
        self.max = self.max.max(nanoseconds);
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// In microseconds; 0 when there is nothing.
    pub fn percentile(&self, percent: f64) -> f64 {
        let wanted = (self.total as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return middle(index).min(self.max as f64) / 1000.0;
            }
        }
        0.0
    }

    pub fn json(&self) -> String {
        let [p50, p90, p99, p999] = [50.0, 90.0, 99.0, 99.9].map(|at| self.percentile(at));
        let max = self.max as f64 / 1000.0;
        format!(
            "\"p50_us\":{p50:.1},\"p90_us\":{p90:.1},\"p99_us\":{p99:.1},\"p999_us\":{p999:.1},\"max_us\":{max:.1}"
        )
    }
}

fn bucket(value: u64) -> usize {
    let steps = STEPS as u64;
    if value < steps {
        return value as usize;
    }
    let shift = value.ilog2() - steps.ilog2();
    (shift as usize + 1) * STEPS + (value >> shift) as usize - STEPS
}

fn middle(bucket: usize) -> f64 {
    if bucket < STEPS {
        return bucket as f64;
    }
    let shift = (bucket / STEPS - 1) as i32;
    ((bucket % STEPS + STEPS) as f64 + 0.5) * 2f64.powi(shift)
}
