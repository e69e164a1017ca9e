//! Which requests reach which app, judged together: each app is reached, and no two by the same requests.

use std::collections::HashMap;
use std::ops::Range;

use super::addresses::{Placed, WantedListener};
use super::known;
use crate::config::App;
use crate::config::problem::Problem;
use crate::config::read::nearest;
use crate::data_plane::route::{HostPattern, Route};

/// Where an app and its routes stand in the file.
#[derive(Debug)]
pub(super) struct Places {
    /// Its name.
    pub(super) name: Range<usize>,
    /// Its routes, in their order; none where they are the default.
    pub(super) routes: Option<Vec<Range<usize>>>,
    /// Its addresses, in their order; none where it has a command.
    pub(super) addresses: Option<Vec<Range<usize>>>,
}

/// Finds a problem in each app that no listener leads to, in each name of an app that is not there, and in each route
/// that a request could not be told apart by.
pub(super) fn judge(
    apps: &[App],
    places: &[Places],
    listeners: &[Placed<WantedListener>],
    problems: &mut Vec<Problem>,
) {
    let names: Vec<_> = apps.iter().map(|app| app.name.as_str()).collect();
    for listener in listeners {
        for app in &listener.value.apps {
            if !names.contains(&app.get_ref().as_str()) {
                problems.push(unknown(app.get_ref(), app.span(), &names));
            }
        }
    }
    if known(problems, &["listen"]) {
        for (app, place) in apps.iter().zip(places) {
            let leads = |listener: &Placed<WantedListener>| listener.value.serves(app);
            if !listeners.iter().any(leads) {
                problems.push(unreached(app, place));
            }
        }
    }
    for problem in same_routes(apps, places, listeners) {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}

fn unknown(name: &str, span: Range<usize>, names: &[&str]) -> Problem {
    let help = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there is {}", names.join(", ")),
    };
    Problem::new(Some(span), format!("there is no app `{name}`")).help(help)
}

fn unreached(app: &App, place: &Places) -> Problem {
    let message = format!("nothing leads to `app.{}`: no listener serves it", app.name);
    let help = "add it to `apps` of an entry of `listen`; an entry without `apps` serves all";
    Problem::new(Some(place.name.clone()), message).help(help)
}

/// Two of one host and path that come in by the same listener. They differ where no request can see it.
fn same_routes(
    apps: &[App],
    places: &[Places],
    listeners: &[Placed<WantedListener>],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for listener in listeners {
        let mut taken: HashMap<(&HostPattern, &str), &App> = HashMap::new();
        for (app, place) in apps.iter().zip(places) {
            if !listener.value.serves(app) {
                continue;
            }
            for (index, route) in app.routes.iter().enumerate() {
                let key = (&route.host, route.path.as_str());
                if let Some(earlier) = taken.get(&key) {
                    problems.push(same(earlier, app, route, place, index));
                } else {
                    taken.insert(key, app);
                }
            }
        }
    }
    problems
}

fn same(earlier: &App, later: &App, route: &Route, place: &Places, index: usize) -> Problem {
    let own = place.routes.as_ref().and_then(|own| own.get(index));
    let span = Some(own.unwrap_or(&place.name).clone());
    let what = match (&route.host, route.path.as_str()) {
        (HostPattern::Any, "") => "every request".to_owned(),
        _ => format!("{route}"),
    };
    if earlier.name == later.name {
        return Problem::new(span, format!("`app.{}` is to get {what} twice", later.name))
            .help("leave one of them out");
    }
    let (earlier, later) = (&earlier.name, &later.name);
    let message = format!("`{earlier}` and `{later}` are both to get {what}");
    Problem::new(span, message).help(
        r#"give one of them another host or path, for example route = [{ path = "/api" }] below it"#,
    )
}
