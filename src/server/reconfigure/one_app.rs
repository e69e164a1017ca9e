//! What the configuration says of one app, put in force without the rest: what the rest is, is told, so that nobody takes it
//! to be in force. Where requests go is of the rest: it changes for all apps in one step, and not for a version that may fail.

use super::{Configurator, Reread, names, speaks_of, tell};
use crate::config::{self, Config};
use crate::control_plane::apps::{Changes, Unread};
use crate::generation::AppName;
use crate::server::difference;
use crate::server::members::settings;

// === impl Configurator ===

impl Configurator {
    /// What the configuration says of one app.
    pub(super) async fn reread_app(&self, name: &AppName) -> Result<Reread, Unread> {
        let mut state = self.state.lock().await;
        let config = self.read()?;
        let Some(app) = config.apps.iter().find(|app| app.name == *name) else {
            return Err(Unread::Gone(name.clone()));
        };
        self.maker.metrics.config_reread(true);
        self.whole.send_modify(|whole| {
            let refused = &mut whole.configuration.refused;
            // What the system has refused is still not in force.
            let _ = refused.take_if(|refusal| !refusal.valid);
        });
        let app = takeable(&state.config, app);
        let mut apps = state.config.apps.iter_mut();
        let mut changes = Changes::default();
        if let Some(known) = apps.find(|known| known.name == *name) {
            changes.in_force = difference::of_app(known, &app);
            *known = app.clone();
        }
        changes.left = left(&state.config, &config);
        self.maker.watching.follow_one(&app);
        let mut apps = Vec::new();
        if let Some(member) = state.members.iter_mut().find(|member| member.name == *name) {
            apps.push(member.renew(&app));
        }
        self.change(&state, None).await;
        tell(&changes);
        Ok(Reread { changes, apps })
    }
}

/// The app with the routes that it has.
fn takeable(running: &Config, app: &config::App) -> config::App {
    let known = running.apps.iter().find(|known| known.name == app.name);
    let routes = known.map_or(&app.routes, |known| &known.routes).clone();
    config::App {
        routes,
        ..app.clone()
    }
}

/// What the file says otherwise than what is in force, and only a reload of the whole puts in force.
fn left(running: &Config, file: &Config) -> Vec<String> {
    let mut left = difference::in_place(running, file);
    for app in &file.apps {
        let known = running.apps.iter().find(|known| known.name == app.name);
        if known.is_some_and(|known| difference::needs_start(&settings(known), &settings(app))) {
            left.push(format!("app.{} (needs a fresh start)", app.name));
        }
    }
    let of = |names: Vec<AppName>, what: &'static str| {
        names
            .into_iter()
            .map(move |name| format!("app.{name} ({what})"))
    };
    left.extend(of(
        names(&file.apps, |name| !speaks_of(running, name)),
        "new",
    ));
    left.extend(of(
        names(&running.apps, |name| !speaks_of(file, name)),
        "gone",
    ));
    left
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Overrides;

    fn config(text: &str) -> Config {
        Config::parse(Path::new("f"), text.to_owned(), &Overrides::default()).unwrap()
    }

    fn app(name: &str, path: &str) -> String {
        format!("[app.{name}]\ncommand = [\"{name}\"]\nroute = [{{ path = {path:?} }}]\n")
    }

    fn taken(running: &Config, file: &Config, name: &str) -> Config {
        let of = |config: &Config| config.apps.iter().position(|app| app.name.as_str() == name);
        let mut taken = running.clone();
        taken.apps[of(running).unwrap()] = takeable(running, &file.apps[of(file).unwrap()]);
        taken
    }

    #[test]
    fn an_app_keeps_its_routes_and_the_rest_is_told() {
        let running = config(&format!("{}{}", app("shop", "/shop"), app("gone", "/gone")));
        let file = config(&format!(
            "listen = [\":1\"]\n{}{}",
            app("shop", "/store"),
            app("wiki", "/wiki")
        ));
        let taken = taken(&running, &file, "shop");
        assert_eq!(taken.apps[0].routes, running.apps[0].routes);
        assert_eq!(
            left(&taken, &file),
            [
                "listen",
                "app.shop.route",
                "app.wiki (new)",
                "app.gone (gone)"
            ]
        );
        assert_eq!(left(&file, &file), Vec::<String>::new());
    }

    #[test]
    fn what_an_app_is_started_with_is_told_of_the_others() {
        let running = config(&format!("{}{}", app("shop", "/shop"), app("wiki", "/wiki")));
        let mut file = running.clone();
        file.apps[1] =
            config(&app("wiki", "/wiki").replace("[\"wiki\"]", "[\"other\"]")).apps[0].clone();
        assert_eq!(left(&running, &file), ["app.wiki (needs a fresh start)"]);
    }
}
