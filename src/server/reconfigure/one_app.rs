//! What the configuration says of one app, put in force without the rest: what the rest is, is told, so that nobody takes it
//! to be in force.

use super::{Configurator, Reread, names, speaks_of};
use crate::config::{self, Config};
use crate::control_plane::apps::{Changes, Unread};
use crate::data_plane::listen::Listen;
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
        self.whole
            .send_modify(|whole| whole.configuration.refused = None);
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
        self.route(&mut state).await;
        Ok(Reread { changes, apps })
    }
}

/// The app as far as it can be in force beside the others as they are. Its routes cannot where one of them still leads to
/// another app, or where no address that is listened on serves it.
fn takeable(running: &Config, app: &config::App) -> config::App {
    let known = running.apps.iter().find(|known| known.name == app.name);
    match known.filter(|_| !fits(running, app)) {
        Some(known) => config::App {
            routes: known.routes.clone(),
            ..app.clone()
        },
        None => app.clone(),
    }
}

fn fits(running: &Config, app: &config::App) -> bool {
    let serving: Vec<&Listen> = running
        .listen
        .iter()
        .filter(|listen| listen.serves(&app.name))
        .collect();
    let is_taken = |other: &config::App| {
        let meets = serving.iter().any(|listen| listen.serves(&other.name));
        let same = other.routes.iter().any(|route| {
            let mut own = app.routes.iter();
            own.any(|own| (&own.host, &own.path) == (&route.host, &route.path))
        });
        other.name != app.name && meets && same
    };
    !running.apps.iter().any(is_taken)
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
    fn an_app_takes_its_own_routes_and_the_rest_is_told() {
        let running = config(&format!("{}{}", app("shop", "/shop"), app("gone", "/gone")));
        let file = config(&format!(
            "listen = [\":1\"]\n{}{}",
            app("shop", "/store"),
            app("wiki", "/wiki")
        ));
        let taken = taken(&running, &file, "shop");
        assert_eq!(taken.apps[0].routes, file.apps[0].routes);
        assert_eq!(
            left(&taken, &file),
            ["listen", "app.wiki (new)", "app.gone (gone)"]
        );
        assert_eq!(left(&file, &file), Vec::<String>::new());
    }

    #[test]
    fn a_route_that_another_app_still_has_is_left() {
        let running = config(&format!("{}{}", app("shop", "/shop"), app("wiki", "/wiki")));
        let file = config(&format!("{}{}", app("shop", "/wiki"), app("wiki", "/shop")));
        let taken = taken(&running, &file, "shop");
        assert_eq!(taken.apps[0].routes, running.apps[0].routes);
        assert_eq!(left(&taken, &file), ["app.shop.route", "app.wiki.route"]);
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
