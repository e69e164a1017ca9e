//! The Prometheus text of `/metrics`, as much of it as tests ask for.

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics(pub String);

// === impl Metrics ===

impl Metrics {
    /// The sum over the samples of this exact name whose labels include all of these.
    ///
    /// # Panics
    ///
    /// If there is no such sample: every known label set stands at 0 from the start.
    #[track_caller]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples: Vec<f64> = self
            .0
            .lines()
            .filter_map(|line| sample(line, name, labels))
            .collect();
        assert!(
            !samples.is_empty(),
            "no sample {name} with {labels:?} in:\n{}",
            self.0
        );
        samples.iter().sum()
    }

    /// Whether there is a sample of this exact name.
    pub fn has(&self, name: &str) -> bool {
        self.0.lines().any(|line| sample(line, name, &[]).is_some())
    }
}

fn sample(line: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (written, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once('}')?,
        None => ("", rest.strip_prefix(' ')?),
    };
    let pairs: Vec<_> = written.split(',').collect();
    let all = labels
        .iter()
        .all(|(key, value)| pairs.contains(&format!("{key}=\"{value}\"").as_str()));
    if all { value.trim().parse().ok() } else { None }
}
