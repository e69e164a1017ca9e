//! What the control plane counts about one app.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
};

use crate::generation::{AppName, ReasonKind};

/// The phases of a generation whose length is measured.
const PHASES: [&str; 3] = ["start", "drain", "stop"];
/// From a warm start to the longest drain.
const PHASE_BOUNDS: [f64; 14] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];
/// What can be bad about a version that is live.
const FAILOVERS: [ReasonKind; 5] = [
    ReasonKind::Exited,
    ReasonKind::ConnectFailures,
    ReasonKind::Unready,
    ReasonKind::ErrorRatio,
    ReasonKind::Keeper,
];
const PROBES: [&str; 2] = ["success", "failure"];

/// Counters of one app's reloads, restarts and checks; the driver holds the handles.
#[derive(Debug)]
pub struct AppMetrics {
    reloads: IntCounterVec,
    last_success: IntGauge,
    last_success_at: Gauge,
    failovers: IntCounterVec,
    restarts: IntCounter,
    probes: IntCounterVec,
    phases: HistogramVec,
    phase: BTreeMap<&'static str, Histogram>,
}

impl AppMetrics {
    /// Everything at 0, for every one of these triggers and verdicts.
    ///
    /// # Panics
    ///
    /// Never: the names are valid.
    pub fn new(app: &AppName, triggers: &[&str], verdicts: &[&str]) -> Self {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("app", app.as_str());
        let valid = "the name and the labels are valid";
        let reloads = opts(
            "hitless_reloads_total",
            "Triggers that have ended, by what they came from and how they ended.",
        );
        let reloads = IntCounterVec::new(reloads, &["trigger", "verdict"]).expect(valid);
        for trigger in triggers {
            for verdict in verdicts {
                reloads.with_label_values(&[trigger, verdict]);
            }
        }
        let success = opts(
            "hitless_last_reload_success",
            "Whether the newest trigger that ended went live.",
        );
        let success_at = opts(
            "hitless_last_reload_success_timestamp_seconds",
            "When a trigger last went live, in seconds since 1970.",
        );
        let failovers = opts(
            "hitless_failovers_total",
            "Versions that had gone live and were taken back, by what was bad about them.",
        );
        let failovers = IntCounterVec::new(failovers, &["reason"]).expect(valid);
        for reason in FAILOVERS {
            failovers.with_label_values(&[reason.as_str()]);
        }
        let restarts = opts(
            "hitless_restarts_total",
            "Starts without a trigger, because the app had died.",
        );
        let probes = opts(
            "hitless_probes_total",
            "Checks of readiness, by their result.",
        );
        let probes = IntCounterVec::new(probes, &["result"]).expect(valid);
        for result in PROBES {
            probes.with_label_values(&[result]);
        }
        let phases = HistogramOpts::new(
            "hitless_phase_seconds",
            "How long generations took to start, drain and stop.",
        )
        .const_label("app", app.as_str())
        .buckets(PHASE_BOUNDS.to_vec());
        let phases = HistogramVec::new(phases, &["phase"]).expect(valid);
        let phase = PHASES.map(|name| (name, phases.with_label_values(&[name])));
        Self {
            reloads,
            last_success: IntGauge::with_opts(success).expect(valid),
            last_success_at: Gauge::with_opts(success_at).expect(valid),
            failovers,
            restarts: IntCounter::with_opts(restarts).expect(valid),
            probes,
            phases,
            phase: BTreeMap::from(phase),
        }
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 7] {
        [
            Box::new(self.reloads.clone()),
            Box::new(self.last_success.clone()),
            Box::new(self.last_success_at.clone()),
            Box::new(self.failovers.clone()),
            Box::new(self.restarts.clone()),
            Box::new(self.probes.clone()),
            Box::new(self.phases.clone()),
        ]
    }

    /// A trigger has its verdict.
    pub fn concluded(&self, trigger: &str, verdict: &str) {
        self.reloads.with_label_values(&[trigger, verdict]).inc();
    }

    /// One that says something about the wanted version has. Of the verdicts only `live` and `failed` do.
    pub fn reload_ended(&self, verdict: &str) {
        match verdict {
            "live" => {
                self.last_success.set(1);
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                self.last_success_at.set(now.as_secs_f64());
            }
            "failed" => self.last_success.set(0),
            _ => {}
        }
    }

    /// A version that had gone live was taken back.
    pub fn failed_over(&self, reason: ReasonKind) {
        self.failovers.with_label_values(&[reason.as_str()]).inc();
    }

    /// The app was started again because it had died.
    pub fn restarted(&self) {
        self.restarts.inc();
    }

    /// How often it was.
    pub fn restarts(&self) -> u64 {
        self.restarts.get()
    }

    /// A check of readiness had its answer.
    pub fn probed(&self, success: bool) {
        let result = if success { "success" } else { "failure" };
        self.probes.with_label_values(&[result]).inc();
    }

    /// A generation has started, drained or stopped (`start`, `drain`, `stop`), and it took that long.
    pub fn phase_ended(&self, phase: &'static str, after: Duration) {
        if let Some(histogram) = self.phase.get(phase) {
            histogram.observe(after.as_secs_f64());
        }
    }
}
