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

    /// How many generations are in this state.
    pub fn generations_in(&self, app: &str, state: &str) -> usize {
        let generations = self.app(app)["generations"].as_array();
        generations.map_or(0, |generations| {
            let states = generations.iter().filter(|one| one["state"] == state);
            states.count()
        })
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
