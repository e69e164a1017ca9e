//! The metrics: every name, help text and unit. What the data plane counts is added up at the scrape, from the blocks
//! of its workers; no label is looked up on the path of a request.

mod app;
mod families;

pub use self::app::AppMetrics;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use self::families::Family;
use crate::generation::AppName;
use crate::telemetry::traffic::{Clients, Traffic};

/// Every metric of this process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    apps: Arc<Mutex<Vec<Source>>>,
    strays: Arc<Mutex<Option<Arc<Traffic>>>>,
    connections: Arc<Mutex<Gauge>>,
    clients: Arc<OnceLock<Arc<Clients>>>,
    lines_dropped: Arc<Mutex<Dropped>>,
    config_reloads: IntCounterVec,
}

/// What is true about an app's generations at a scrape.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The number of the live generation.
    pub live: Option<u64>,
    /// Every generation that has a process: its number and the word of its state.
    pub generations: Vec<(u64, &'static str)>,
    /// Every word that a state can be.
    pub states: Vec<&'static str>,
    /// Whether an older generation than the wanted one serves.
    pub stale: bool,
    /// Whether requests are held because someone asked for it.
    pub paused: bool,
}

/// How many lines of each log were dropped so far, because whoever reads or stores them is too slow, or cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinesDropped {
    /// Lines about requests.
    pub access: u64,
    /// Lines that the apps wrote.
    pub app: u64,
    /// Lines of hitless itself.
    pub hitless: u64,
}

/// Where a scrape finds what one app has to say.
struct Source {
    name: AppName,
    traffic: Arc<Traffic>,
    facts: Box<dyn Fn() -> Facts + Send + Sync>,
}

/// Reads a number at the scrape.
struct Gauge(Box<dyn Fn() -> u64 + Send + Sync>);

/// Reads at the scrape how many lines were dropped.
struct Dropped(Box<dyn Fn() -> LinesDropped + Send + Sync>);

/// The families that are built at the scrape.
struct Scrape {
    described: Vec<Desc>,
    apps: Arc<Mutex<Vec<Source>>>,
    strays: Arc<Mutex<Option<Arc<Traffic>>>>,
    connections: Arc<Mutex<Gauge>>,
    clients: Arc<OnceLock<Arc<Clients>>>,
    lines_dropped: Arc<Mutex<Dropped>>,
}

// === impl Metrics ===

impl Metrics {
    /// The metrics of a process without apps.
    ///
    /// # Panics
    ///
    /// Never: the names below are valid and differ from each other.
    pub fn new() -> Self {
        let registry = Registry::new();
        let apps = Arc::new(Mutex::new(Vec::new()));
        let strays = Arc::new(Mutex::new(None));
        let connections = Gauge::none();
        let clients = Arc::new(OnceLock::new());
        let lines_dropped = Arc::new(Mutex::new(Dropped(Box::new(LinesDropped::default))));
        let config_reloads = Opts::new(
            "hitless_config_reloads_total",
            "Readings of the configuration after the first, by result.",
        );
        let config_reloads =
            IntCounterVec::new(config_reloads, &["result"]).expect("the name is valid");
        for result in ["success", "failure"] {
            config_reloads.with_label_values(&[result]);
        }
        let build = Opts::new("hitless_build_info", "Always 1; the version of hitless.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let build = IntGauge::with_opts(build).expect("the name is valid");
        build.set(1);
        let described = families::describe();
        let scrape = Scrape {
            described,
            apps: Arc::clone(&apps),
            strays: Arc::clone(&strays),
            connections: Arc::clone(&connections),
            clients: Arc::clone(&clients),
            lines_dropped: Arc::clone(&lines_dropped),
        };
        let process = prometheus::process_collector::ProcessCollector::for_self();
        let collectors: [Box<dyn Collector>; 4] = [
            Box::new(build),
            Box::new(config_reloads.clone()),
            Box::new(scrape),
            Box::new(process),
        ];
        for collector in collectors {
            registry
                .register(collector)
                .expect("no two metrics have the same name");
        }
        Self {
            registry,
            apps,
            strays,
            connections,
            clients,
            lines_dropped,
            config_reloads,
        }
    }

    /// Adds an app: what the data plane counts in `traffic` and what `facts` finds at a scrape. The families of its
    /// reloads stand at 0 for every one of these words.
    ///
    /// # Panics
    ///
    /// When an app of that name was added before.
    pub fn add(
        &self,
        name: &AppName,
        traffic: Arc<Traffic>,
        facts: impl Fn() -> Facts + Send + Sync + 'static,
        metrics: &AppMetrics,
    ) {
        let source = Source {
            name: name.clone(),
            traffic,
            facts: Box::new(facts),
        };
        self.apps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(source);
        for collector in metrics.collectors() {
            self.registry
                .register(collector)
                .expect("each app is added once");
        }
    }

    /// Takes an app out again: its labels are gone from the next scrape on.
    pub fn remove(&self, name: &AppName, metrics: &AppMetrics) {
        self.apps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|source| source.name != *name);
        for collector in metrics.collectors() {
            // It says only that it was not there.
            let _ = self.registry.unregister(collector);
        }
    }

    /// Adds what the data plane counts of requests that no app is found for. Its label `app` is `-`, which names none.
    pub fn count_strays(&self, traffic: Arc<Traffic>) {
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        *strays = Some(traffic);
    }

    /// Where the number of client connections is found.
    pub fn count_connections(&self, connections: impl Fn() -> u64 + Send + Sync + 'static) {
        let mut gauge = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *gauge = Gauge(Box::new(connections));
    }

    /// Adds what is counted about client connections; once.
    pub fn count_clients(&self, clients: Arc<Clients>) {
        // Those of the first data plane stay: a process has one.
        let _ = self.clients.set(clients);
    }

    /// Where it is found how many lines of each log were dropped.
    pub fn count_lines_dropped(&self, dropped: impl Fn() -> LinesDropped + Send + Sync + 'static) {
        let mut gauge = self
            .lines_dropped
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *gauge = Dropped(Box::new(dropped));
    }

    /// The configuration was read again.
    pub fn config_reread(&self, is_valid: bool) {
        let result = if is_valid { "success" } else { "failure" };
        self.config_reloads.with_label_values(&[result]).inc();
    }

    /// All of it in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Encoding fails only for families without a name or a metric, and there are none.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Gauge {
    /// Reads 0 until somebody knows better.
    fn none() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self(Box::new(|| 0))))
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauge")
    }
}

impl fmt::Debug for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dropped")
    }
}

// === impl Scrape ===

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        self.described.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = families::empty();
        for app in self
            .apps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            families::add_traffic(&mut families, app.name.as_str(), &app.traffic.totals());
            families::add_facts(&mut families, app.name.as_str(), &(app.facts)());
        }
        let strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(strays) = &*strays {
            families::add_strays(&mut families, &strays.totals());
        }
        let read =
            |gauge: &Mutex<Gauge>| (gauge.lock().unwrap_or_else(PoisonError::into_inner).0)();
        let clients = self.clients.get().map(|clients| clients.totals());
        let http2 = clients.as_ref().map_or(0, |totals| totals.http2);
        families::add_connections(&mut families, read(&self.connections), http2);
        if let Some(totals) = &clients {
            families::add_clients(&mut families, totals);
        }
        let dropped = self.lines_dropped.lock();
        let dropped = (dropped.unwrap_or_else(PoisonError::into_inner).0)();
        families::add_lines_dropped(&mut families, dropped);
        families.into_iter().filter_map(Family::finish).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIGGERS: [&str; 2] = ["signal", "command"];
    const VERDICTS: [&str; 2] = ["live", "failed"];

    fn rendered() -> String {
        let metrics = Metrics::new();
        let name = AppName::new("shop");
        let app = AppMetrics::new(&name, &TRIGGERS, &VERDICTS);
        let facts = || Facts {
            live: Some(3),
            generations: vec![(2, "retiring"), (3, "live")],
            states: vec!["live", "retiring", "stopping"],
            stale: true,
            paused: false,
        };
        metrics.add(&name, Arc::new(Traffic::new(1)), facts, &app);
        app.concluded("signal", "live");
        app.reload_ended("live");
        metrics.render()
    }

    #[track_caller]
    fn check(line: &str) {
        let rendered = rendered();
        assert!(
            rendered.lines().any(|found| found == line),
            "{line:?} is not in\n{rendered}"
        );
    }

    #[test]
    fn known_labels_stand_at_zero_from_the_start() {
        check(r#"hitless_reloads_total{app="shop",trigger="command",verdict="failed"} 0"#);
        check(r#"hitless_generations{app="shop",state="stopping"} 0"#);
        check(
            r#"hitless_http_requests_total{app="shop",code_class="5xx",method="POST",protocol="http/1.1"} 0"#,
        );
    }

    #[test]
    fn the_facts_of_a_scrape_are_those_of_that_moment() {
        check(r#"hitless_generation{app="shop"} 3"#);
        check(r#"hitless_generations{app="shop",state="retiring"} 1"#);
        check(r#"hitless_generation_info{app="shop",generation="2",state="retiring"} 1"#);
        check(r#"hitless_stale{app="shop"} 1"#);
        check(r#"hitless_reloads_total{app="shop",trigger="signal",verdict="live"} 1"#);
        check(r#"hitless_last_reload_success{app="shop"} 1"#);
    }
}
