//! What is different between the configuration that is in force and the one that was read: what a reload changes in place,
//! what needs a fresh generation, and what needs a restart. It is told, so that nobody waits in vain.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::config::{App, Config};
use crate::control_plane::driver::Settings;
use crate::control_plane::instances::Backing;

/// The keys that only a restart puts in force, and that differ from what hitless was started with.
pub(super) fn needs_restart(started: &Config, new: &Config) -> Vec<String> {
    let exits = (started.exit_on_failed_start, new.exit_on_failed_start);
    named([
        ("name", started.name != new.name),
        ("control", started.control != new.control),
        ("threads", started.threads != new.threads),
        ("exit_on_failed_start", exits.0 != exits.1),
    ])
}

/// The keys that differ, and are in force without a restart or a fresh generation. Apps that come or go are not among
/// them.
pub(super) fn in_place(running: &Config, new: &Config) -> Vec<String> {
    let pages = running.pages != new.pages;
    let mut keys = named([
        ("listen", running.listen != new.listen),
        ("admin", running.admin != new.admin),
        ("admin_hosts", running.admin_hosts != new.admin_hosts),
        ("starts_max", running.starts_max != new.starts_max),
        (
            "trusted_proxies",
            running.trusted_proxies != new.trusted_proxies,
        ),
        ("client", running.client != new.client),
        ("shutdown", running.shutdown != new.shutdown),
        ("errors", pages),
        ("log", running.log != new.log),
    ]);
    for app in &new.apps {
        if let Some(known) = running.apps.iter().find(|known| known.name == app.name) {
            keys.extend(of_app(known, app));
        }
    }
    keys
}

/// The same, for one app.
pub(super) fn of_app(running: &App, new: &App) -> Vec<String> {
    let keys = named([
        ("route", running.routes != new.routes),
        (
            "(times and limits of requests)",
            running.traffic != new.traffic,
        ),
        ("(times of generations)", running.driver != new.driver),
        ("watch", running.watch != new.watch),
    ]);
    let named = |key: String| match key.starts_with('(') {
        true => format!("app.{} {key}", new.name),
        false => format!("app.{}.{key}", new.name),
    };
    keys.into_iter().map(named).collect()
}

fn named<const N: usize>(keys: [(&str, bool); N]) -> Vec<String> {
    let different = keys.into_iter().filter(|(_, differs)| *differs);
    different.map(|(key, _)| key.to_owned()).collect()
}

/// Whether what a generation is started with is another. The times that its driver keeps are not among it.
pub(super) fn needs_start(running: &Settings, new: &Settings) -> bool {
    running.backing != new.backing
        || running.readiness != new.readiness
        || running.instances != new.instances
}

/// What tells whether the file of variables is another than it was; the variables themselves are nobody's business.
pub(super) fn variables(backing: &Backing) -> Option<u64> {
    let Backing::Command(command) = backing else {
        return None;
    };
    let bytes = std::fs::read(command.env_file.as_ref()?).ok()?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Overrides;

    fn config(text: &str) -> Config {
        Config::parse(Path::new("f"), text.to_owned(), &Overrides::default()).unwrap()
    }

    #[test]
    fn each_change_is_told_where_it_belongs() {
        let before = config(
            "[app.a]\ncommand = [\"a\"]\n[app.b]\ncommand = [\"b\"]\nroute = [{ path = \"/b\" }]",
        );
        let after = config(
            "listen = [\":1\"]\nthreads = 3\ntrusted_proxies = [\"10.0.0.0/8\"]\n\
             [app.a]\ncommand = [\"other\"]\npool_max = 1\nroute = [{ path = \"/a\" }]\n\
             [app.c]\ncommand = [\"c\"]",
        );
        let expected = [
            "listen",
            "trusted_proxies",
            "app.a.route",
            "app.a (times and limits of requests)",
        ];
        assert_eq!(in_place(&before, &after), expected);
        assert_eq!(needs_restart(&before, &after), ["threads"]);
        assert_eq!(in_place(&before, &before), Vec::<String>::new());
        assert_eq!(needs_restart(&before, &before), Vec::<String>::new());
    }
}
