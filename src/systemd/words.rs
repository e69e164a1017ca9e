//! What all apps do, in a line for `systemctl status`.

use crate::control_plane::status::AppStatus;

/// How many of many apps are named.
const NAMED_MAX: usize = 3;

/// How long the line may be, in characters: a reason may be long.
const CHARS_MAX: usize = 400;

/// The line.
pub(super) fn status(apps: &[AppStatus]) -> String {
    let line = match apps {
        [app] => one(app),
        _ => many(apps),
    };
    // What ends a line would begin another word of the protocol.
    let plain = |char: char| if char.is_control() { ' ' } else { char };
    let line: String = line.chars().map(plain).collect();
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn many(apps: &[AppStatus]) -> String {
    let serving = apps.iter().filter(|app| app.live.is_some()).count();
    let mut line = format!("{serving} of {} apps serve", apps.len());
    let is_quiet = |app: &&AppStatus| !app.is_well() || app.pending.is_some();
    let mut rest = apps.iter().filter(is_quiet);
    for app in rest.by_ref().take(NAMED_MAX) {
        line.push_str("; ");
        line.push_str(&one(app));
    }
    match rest.count() {
        0 => line,
        more => format!("{line}; and {more} more"),
    }
}

fn one(app: &AppStatus) -> String {
    let name = &app.name;
    let mut line = match app.live {
        _ if app.paused => format!("{name}: paused"),
        Some(generation) => format!("{name}: generation {generation} serves"),
        None if !app.has_started() => format!("{name}: starting"),
        None => {
            let newest = app.last_trigger.as_ref();
            let reason = newest.and_then(|trigger| trigger.reason.as_deref());
            format!("{name}: nothing is live ({})", reason.unwrap_or("it died"))
        }
    };
    if app.pending.is_some() && app.has_started() {
        line.push_str(", a new one is being started");
    }
    if app.stale && app.live.is_some() {
        let reason = app
            .stale_reason
            .as_deref()
            .unwrap_or("the newest reload failed");
        line.push_str(&format!(" (stale: {reason})"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::status::FirstStart;
    use crate::generation::{AppName, GenerationId};

    fn app(name: &str) -> AppStatus {
        AppStatus::new(AppName::new(name))
    }

    fn serving(name: &str) -> AppStatus {
        AppStatus {
            live: Some(GenerationId::FIRST),
            first_start: FirstStart::Live,
            ..app(name)
        }
    }

    #[test]
    fn one_app_is_told_of_in_full() {
        assert_eq!(status(&[app("web")]), "web: starting");
        assert_eq!(status(&[serving("web")]), "web: generation 1 serves");
        let stale = AppStatus {
            stale: true,
            stale_reason: Some("reload 2 failed:\nREADY=0".to_owned()),
            ..serving("web")
        };
        let line = "web: generation 1 serves (stale: reload 2 failed: READY=0)";
        assert_eq!(status(&[stale]), line, "and in one line");
    }

    #[test]
    fn of_many_only_those_are_named_that_need_it() {
        let mut apps: Vec<_> = (0..5).map(|number| app(&format!("a{number}"))).collect();
        apps.push(serving("b"));
        assert_eq!(
            status(&apps),
            "1 of 6 apps serve; a0: starting; a1: starting; a2: starting; and 2 more"
        );
        assert_eq!(status(&[serving("a"), serving("b")]), "2 of 2 apps serve");
    }

    #[test]
    fn a_long_reason_is_cut() {
        let down = AppStatus {
            stale: true,
            stale_reason: Some("ä".repeat(1000)),
            ..serving("web")
        };
        assert_eq!(status(&[down]).chars().count(), CHARS_MAX + 1);
    }
}
