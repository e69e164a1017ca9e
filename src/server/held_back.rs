//! What a configuration that was read again says, and a reload does not apply: it is told, so that nobody waits for it.

use crate::config::Config;
use crate::generation::AppName;

/// The keys whose values differ from those that hitless was started with, and that only a restart applies.
pub(super) fn held_back(running: &Config, new: &Config) -> Vec<String> {
    let globals = [
        ("listen", running.listen != new.listen),
        ("admin", running.admin != new.admin),
        ("admin_hosts", running.admin_hosts != new.admin_hosts),
        ("name", running.name != new.name),
        ("control", running.control != new.control),
        ("threads", running.threads != new.threads),
        ("starts_max", running.starts_max != new.starts_max),
        (
            "exit_on_failed_start",
            running.exit_on_failed_start != new.exit_on_failed_start,
        ),
        ("client", running.client != new.client),
        ("shutdown", running.shutdown != new.shutdown),
        ("log", running.log != new.log),
    ];
    let globals = globals.into_iter().filter(|(_, differs)| *differs);
    let mut keys: Vec<_> = globals.map(|(key, _)| key.to_owned()).collect();
    let has = |config: &Config, name: &AppName| config.apps.iter().any(|app| app.name == *name);
    for app in &running.apps {
        if !has(new, &app.name) {
            keys.push(format!("app.{} (gone)", app.name));
        }
    }
    for app in &new.apps {
        let known = running.apps.iter().find(|known| known.name == app.name);
        match known {
            None => keys.push(format!("app.{} (new)", app.name)),
            Some(known) if known.routes != app.routes => {
                keys.push(format!("app.{}.route", app.name));
            }
            Some(_) => {}
        }
        if known.is_some_and(|known| known.traffic != app.traffic) {
            keys.push(format!("app.{} (times and limits of forwarding)", app.name));
        }
    }
    keys
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
    fn only_what_a_reload_does_not_apply_is_told() {
        let before = config(
            "[app.a]\ncommand = [\"a\"]\n[app.b]\ncommand = [\"b\"]\nroute = [{ path = \"/b\" }]",
        );
        let after = config(
            "listen = [\":1\"]\n[app.a]\ncommand = [\"other\"]\npool_max = 1\nroute = [{ path = \"/a\" }]\n\
             [app.c]\ncommand = [\"c\"]",
        );
        let expected = [
            "listen",
            "app.b (gone)",
            "app.a.route",
            "app.a (times and limits of forwarding)",
            "app.c (new)",
        ];
        assert_eq!(held_back(&before, &after), expected);
        assert_eq!(held_back(&before, &before), Vec::<String>::new());
    }
}
