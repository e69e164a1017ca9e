//! The families that are built anew at each scrape, from what the workers have counted and what is true then.

use prometheus::core::Desc;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::{Facts, LinesDropped};
use crate::telemetry::traffic::{
    ClientTotals, HistogramTotals, OVERHEAD_BOUNDS, SECONDS_BOUNDS, Totals,
};

/// One family under construction.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    metrics: Vec<Metric>,
}

/// What is built at the scrape: name, kind, help.
const FAMILIES: [(&str, MetricType, &str); 24] = [
    (
        "hitless_http_requests_total",
        MetricType::COUNTER,
        "Requests that have ended, by method, class of the status and protocol.",
    ),
    (
        "hitless_http_request_duration_seconds",
        MetricType::HISTOGRAM,
        "From the head of a request to the last byte of its answer.",
    ),
    (
        "hitless_upstream_head_seconds",
        MetricType::HISTOGRAM,
        "From sending a request to the app to the head of its answer.",
    ),
    (
        "hitless_overhead_seconds",
        MetricType::HISTOGRAM,
        "What hitless itself adds: the time to the head of the answer less the app's.",
    ),
    (
        "hitless_http_requests_in_flight",
        MetricType::GAUGE,
        "Requests that are under way.",
    ),
    (
        "hitless_http_request_bytes_total",
        MetricType::COUNTER,
        "Bytes of request bodies.",
    ),
    (
        "hitless_http_response_bytes_total",
        MetricType::COUNTER,
        "Bytes of answer bodies.",
    ),
    (
        "hitless_buffered_request_bytes",
        MetricType::GAUGE,
        "Memory set aside for request bodies that are received before the app sees them.",
    ),
    (
        "hitless_answers_total",
        MetricType::COUNTER,
        "Answers that hitless itself made, by their reason.",
    ),
    (
        "hitless_resends_total",
        MetricType::COUNTER,
        "Requests sent again, or not for want of budget, by why and how it went.",
    ),
    (
        "hitless_held_requests",
        MetricType::GAUGE,
        "Requests that wait for a live generation.",
    ),
    (
        "hitless_held_requests_total",
        MetricType::COUNTER,
        "Requests that waited for a live generation, by how it ended.",
    ),
    (
        "hitless_hold_seconds",
        MetricType::HISTOGRAM,
        "How long requests waited for a live generation.",
    ),
    (
        "hitless_client_connections",
        MetricType::GAUGE,
        "Client connections that are open.",
    ),
    (
        "hitless_client_connections_closed_total",
        MetricType::COUNTER,
        "Client connections that hitless closed because of a limit, by which.",
    ),
    (
        "hitless_accept_waits_total",
        MetricType::COUNTER,
        "Times that accepting client connections had to wait, by what for.",
    ),
    (
        "hitless_upstream_connections_total",
        MetricType::COUNTER,
        "Connections to the app that were asked for, by result.",
    ),
    (
        "hitless_streams",
        MetricType::GAUGE,
        "Streams that are under way, by kind.",
    ),
    (
        "hitless_generation",
        MetricType::GAUGE,
        "The number of the live generation; 0 while nothing is live.",
    ),
    (
        "hitless_generations",
        MetricType::GAUGE,
        "Generations that have a process, by state.",
    ),
    (
        "hitless_generation_info",
        MetricType::GAUGE,
        "Always 1; each generation that has a process, with its state.",
    ),
    (
        "hitless_stale",
        MetricType::GAUGE,
        "Whether an older generation serves because a newer one failed.",
    ),
    (
        "hitless_log_lines_dropped_total",
        MetricType::COUNTER,
        "Lines that were dropped because whoever reads or stores them was too slow, or could not.",
    ),
    (
        "hitless_paused",
        MetricType::GAUGE,
        "Whether requests are held because someone asked for it.",
    ),
];

/// For the registry, which wants to know the names in advance.
pub(super) fn describe() -> Vec<Desc> {
    let desc = |(name, _, help): &(&str, MetricType, &str)| {
        Desc::new(
            (*name).to_owned(),
            (*help).to_owned(),
            Vec::new(),
            Default::default(),
        )
    };
    FAMILIES
        .iter()
        .map(|family| desc(family).expect("the name is valid"))
        .collect()
}

/// All of them, without a metric yet.
pub(super) fn empty() -> Vec<Family> {
    FAMILIES
        .iter()
        .map(|&(name, kind, help)| Family {
            name,
            help,
            kind,
            metrics: Vec::new(),
        })
        .collect()
}

/// Adds what the workers have counted about an app.
pub(super) fn add_traffic(families: &mut [Family], app: &str, totals: &Totals) {
    let mut to = Adder { families, app };
    to.requests(totals);
    to.histogram(
        "hitless_upstream_head_seconds",
        &totals.upstream_head,
        &SECONDS_BOUNDS,
    );
    to.histogram(
        "hitless_overhead_seconds",
        &totals.overhead,
        &OVERHEAD_BOUNDS,
    );
    to.histogram("hitless_hold_seconds", &totals.hold_time, &SECONDS_BOUNDS);
    to.add("hitless_buffered_request_bytes", &[], totals.buffered);
    to.add("hitless_held_requests", &[], totals.held_now);
    to.answers(totals);
    for &(reason, outcome, count) in &totals.resends {
        let labels = [("outcome", outcome.as_str()), ("reason", reason.as_str())];
        to.add("hitless_resends_total", &labels, count);
    }
    for &(outcome, count) in &totals.held {
        to.add(
            "hitless_held_requests_total",
            &[("outcome", outcome.as_str())],
            count,
        );
    }
    for &(result, count) in &totals.connected {
        to.add(
            "hitless_upstream_connections_total",
            &[("result", result.as_str())],
            count,
        );
    }
    for &(kind, count) in &totals.streams {
        to.add("hitless_streams", &[("kind", kind.as_str())], count);
    }
}

/// Adds what the workers have counted of requests that no app is found for: only what can happen to those.
pub(super) fn add_strays(families: &mut [Family], totals: &Totals) {
    let mut to = Adder { families, app: "-" };
    to.requests(totals);
    to.answers(totals);
}

/// Adds what is true about an app's generations.
pub(super) fn add_facts(families: &mut [Family], app: &str, facts: &Facts) {
    let mut to = Adder { families, app };
    to.add("hitless_generation", &[], facts.live.unwrap_or(0));
    to.add("hitless_stale", &[], u64::from(facts.stale));
    to.add("hitless_paused", &[], u64::from(facts.paused));
    for state in &facts.states {
        let count = facts
            .generations
            .iter()
            .filter(|(_, is)| is == state)
            .count();
        to.add("hitless_generations", &[("state", state)], count as u64);
    }
    for (generation, state) in &facts.generations {
        let labels = [
            ("generation", generation.to_string().as_str()),
            ("state", state),
        ]
        .map(|(name, value)| label(name, value));
        to.family("hitless_generation_info")
            .push(&[label("app", app)], &labels, 1);
    }
}

/// Adds the number of client connections, and of those that speak HTTP/2.
pub(super) fn add_connections(families: &mut [Family], connections: u64, http2: u64) {
    let mut to = Adder { families, app: "" };
    // The two are read one after the other, and one may have ended in between.
    for (protocol, count) in [("http1", connections.saturating_sub(http2)), ("h2", http2)] {
        to.family("hitless_client_connections")
            .push(&[], &[label("protocol", protocol)], count);
    }
}

/// Adds what is counted about client connections.
pub(super) fn add_clients(families: &mut [Family], totals: &ClientTotals) {
    let mut to = Adder { families, app: "" };
    for &(why, count) in &totals.closed {
        let reason = label("reason", why.as_str());
        to.family("hitless_client_connections_closed_total")
            .push(&[], &[reason], count);
    }
    for &(why, count) in &totals.waits {
        let reason = label("reason", why.as_str());
        to.family("hitless_accept_waits_total")
            .push(&[], &[reason], count);
    }
}

/// Adds how many lines of each log were dropped.
pub(super) fn add_lines_dropped(families: &mut [Family], dropped: LinesDropped) {
    let mut to = Adder { families, app: "" };
    for (log, lines) in [
        ("access", dropped.access),
        ("app", dropped.app),
        ("hitless", dropped.hitless),
    ] {
        to.family("hitless_log_lines_dropped_total")
            .push(&[], &[label("log", log)], lines);
    }
}

/// Adds metrics of one app.
struct Adder<'a> {
    families: &'a mut [Family],
    app: &'a str,
}

impl Adder<'_> {
    /// What is counted about every request.
    fn requests(&mut self, totals: &Totals) {
        for &(method, class, protocol, count) in &totals.requests {
            let labels = [
                ("code_class", class.as_str()),
                ("method", method.as_str()),
                ("protocol", protocol.as_str()),
            ];
            self.add("hitless_http_requests_total", &labels, count);
        }
        self.histogram(
            "hitless_http_request_duration_seconds",
            &totals.duration,
            &SECONDS_BOUNDS,
        );
        self.add("hitless_http_requests_in_flight", &[], totals.in_flight);
        self.add("hitless_http_request_bytes_total", &[], totals.bytes_in);
        self.add("hitless_http_response_bytes_total", &[], totals.bytes_out);
    }

    /// The answers that hitless itself made.
    fn answers(&mut self, totals: &Totals) {
        for &(reason, count) in &totals.answers {
            let labels = [("reason", reason.as_str())];
            self.add("hitless_answers_total", &labels, count);
        }
    }

    fn family(&mut self, name: &str) -> &mut Family {
        self.families
            .iter_mut()
            .find(|family| family.name == name)
            .expect("every name used stands in FAMILIES")
    }

    fn add(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| label(name, value))
            .collect();
        let app = label("app", self.app);
        self.family(name).push(&[app], &labels, value);
    }

    fn histogram(&mut self, name: &str, totals: &HistogramTotals, bounds: &[f64]) {
        let mut histogram = Histogram::default();
        let mut below = 0;
        let buckets = bounds.iter().zip(&totals.buckets).map(|(bound, count)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(totals.count);
        histogram.set_sample_sum(totals.seconds);
        let mut metric = Metric::from_label(vec![label("app", self.app)]);
        metric.set_histogram(histogram);
        self.family(name).metrics.push(metric);
    }
}

// === impl Family ===

impl Family {
    fn push(&mut self, first: &[LabelPair], rest: &[LabelPair], value: u64) {
        let mut metric = Metric::from_label([first, rest].concat());
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus knows no other numbers"
        )]
        let value = value as f64;
        match self.kind {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            _ => metric.set_gauge({
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                gauge
            }),
        }
        self.metrics.push(metric);
    }

    /// A family without a metric is left out: the format knows none.
    pub(super) fn finish(self) -> Option<MetricFamily> {
        if self.metrics.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(self.metrics);
        Some(family)
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}
