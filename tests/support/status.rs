//! The JSON of `hitless status --json`: the one place that knows its shape.

use std::fmt;
use std::net::SocketAddr;

use serde_json::Value;

/// What hitless says of itself.
#[derive(Clone, Debug)]
pub struct Status(pub Value);

// === impl Status ===

impl Status {
    /// The first address that clients reach it at.
    #[track_caller]
    pub fn listen(&self) -> SocketAddr {
        self.address(&self.0["listen"][0])
    }

    /// The address of metrics and health.
    #[track_caller]
    pub fn admin(&self) -> SocketAddr {
        self.address(&self.0["admin"])
    }

    /// The number of the generation that gets new requests.
    pub fn live(&self, app: &str) -> Option<u64> {
        self.app(app)["live"].as_u64()
    }

    /// The number of the trigger whose generation is being started.
    pub fn pending(&self, app: &str) -> Option<u64> {
        self.app(app)["pending"].as_u64()
    }

    /// Whether it serves an older version because a newer one failed.
    #[track_caller]
    pub fn stale(&self, app: &str) -> bool {
        self.flag(app, "stale")
    }

    /// Whether requests are held because somebody asked for it.
    #[track_caller]
    pub fn paused(&self, app: &str) -> bool {
        self.flag(app, "paused")
    }

    /// The process ids of the generations in this state.
    pub fn pids_in(&self, app: &str, state: &str) -> Vec<i64> {
        let generations = self.app(app)["generations"].as_array();
        let generations = generations.into_iter().flatten();
        let in_state = generations.filter(|one| one["state"] == state);
        let pids = in_state.filter_map(|one| one["pids"].as_array());
        pids.flatten().filter_map(|pid| pid.as_i64()).collect()
    }

    /// How many generations are in this state.
    pub fn generations_in(&self, app: &str, state: &str) -> usize {
        let generations = self.app(app)["generations"].as_array();
        generations.map_or(0, |generations| {
            let states = generations.iter().filter(|one| one["state"] == state);
            states.count()
        })
    }

    /// How well the live generation stands: proven, probation, stand_in or bad.
    pub fn standing(&self, app: &str) -> Option<&str> {
        self.app(app)["standing"].as_str()
    }

    /// The generation that is ready to take over.
    pub fn standby(&self, app: &str) -> Option<u64> {
        self.app(app)["probation"]["standby"].as_u64()
    }

    /// Why a probation is undecided, or why what was seen takes nothing back.
    pub fn remark(&self, app: &str) -> Option<&str> {
        self.app(app)["probation"]["remark"].as_str()
    }

    /// How often a version that had gone live was taken back.
    #[track_caller]
    pub fn failovers(&self, app: &str) -> u64 {
        self.count(app, "failovers")
    }

    /// How often the app was started again because it had died.
    #[track_caller]
    pub fn restarts(&self, app: &str) -> u64 {
        self.count(app, "restarts")
    }

    /// A field of the last failover as text; for its output, the lines joined.
    pub fn last_failover(&self, app: &str, field: &str) -> String {
        match &self.app(app)["last_failover"][field] {
            Value::String(text) => text.clone(),
            Value::Array(lines) => {
                let lines: Vec<_> = lines.iter().filter_map(Value::as_str).collect();
                lines.join("\n")
            }
            other => other.to_string(),
        }
    }

    /// A field of the newest trigger that has its verdict, as text.
    pub fn last_trigger(&self, app: &str, field: &str) -> String {
        match &self.app(app)["last_trigger"][field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// What else whoever looks should know, a line each.
    pub fn notes(&self, app: &str) -> String {
        let notes = self.app(app)["notes"].as_array();
        let notes: Vec<_> = notes
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        notes.join("\n")
    }

    /// The process ids of the live generation.
    pub fn live_pids(&self, app: &str) -> Vec<i32> {
        let live = self.live(app);
        let generations = self.app(app)["generations"].as_array();
        let live = generations
            .and_then(|all| all.iter().find(|one| one["generation"].as_u64() == live))
            .and_then(|one| one["pids"].as_array());
        let pids = live.into_iter().flatten().filter_map(Value::as_i64);
        pids.filter_map(|pid| pid.try_into().ok()).collect()
    }

    /// The only process id of the live generation.
    #[track_caller]
    pub fn live_pid(&self, app: &str) -> i32 {
        match self.live_pids(app)[..] {
            [pid] => pid,
            ref pids => panic!("{pids:?} are not one process: {self}"),
        }
    }

    /// Where the only instance of the live generation listens.
    #[track_caller]
    pub fn live_address(&self, app: &str) -> SocketAddr {
        self.address(&self.live_generation(app)["addresses"][0])
    }

    /// The same as it is written, for one that listens on a unix socket.
    #[track_caller]
    pub fn live_socket(&self, app: &str) -> &str {
        let address = &self.live_generation(app)["addresses"][0];
        let address = address.as_str();
        address.unwrap_or_else(|| panic!("the live generation listens nowhere: {self}"))
    }

    #[track_caller]
    fn live_generation(&self, app: &str) -> &Value {
        let live = self.live(app);
        let generations = self.app(app)["generations"].as_array();
        generations
            .and_then(|all| all.iter().find(|one| one["generation"].as_u64() == live))
            .unwrap_or_else(|| panic!("nothing is live: {self}"))
    }

    /// How many generations there are, whatever they do.
    pub fn generations(&self, app: &str) -> usize {
        let generations = self.app(app)["generations"].as_array();
        generations.map_or(0, Vec::len)
    }

    #[track_caller]
    fn count(&self, app: &str, name: &str) -> u64 {
        let count = self.app(app)[name].as_u64();
        count.unwrap_or_else(|| panic!("no count {name:?} of app {app:?} in {self}"))
    }

    #[track_caller]
    fn flag(&self, app: &str, name: &str) -> bool {
        let flag = self.app(app)[name].as_bool();
        flag.unwrap_or_else(|| panic!("no flag {name:?} of app {app:?} in {self}"))
    }

    #[track_caller]
    fn app(&self, name: &str) -> &Value {
        let apps = self.0["apps"].as_array();
        apps.and_then(|apps| apps.iter().find(|app| app["name"] == name))
            .unwrap_or_else(|| panic!("no app {name:?} in {self}"))
    }

    #[track_caller]
    fn address(&self, value: &Value) -> SocketAddr {
        let text = value.as_str().and_then(|text| text.parse().ok());
        text.unwrap_or_else(|| panic!("{value} is no address in {self}"))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}
