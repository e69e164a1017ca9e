//! `hitless pause` and `hitless resume`: hold the requests of a running hitless, and let them go on.

use std::process::ExitCode;

use super::args::{PauseArgs, ResumeArgs};
use super::{client, complain, exit, say};
use crate::control_plane::api::client::{Client, Error};
use crate::control_plane::apps::Status;
use crate::generation::AppName;
use crate::units::show_duration;

/// Returns when requests are held.
pub(super) async fn pause(args: &PauseArgs) -> ExitCode {
    let path = match client::find(&args.control).await {
        Ok(path) => path,
        Err(code) => return code,
    };
    let until = args.lasting.map_or_else(
        || format!("until `{}`", resuming(args.app.as_deref())),
        |lasting| format!("for {}", show_duration(lasting)),
    );
    let paused = Client::new(&path)
        .pause(args.app.as_deref(), args.lasting)
        .await;
    done(
        paused,
        args.app.as_deref(),
        true,
        &[],
        &format!(
            "paused {until}; a request waits for `hold.timeout` (30s, unless the file says otherwise), then gets a 503"
        ),
    )
}

/// What lets requests go on again that were held like that.
fn resuming(app: Option<&str>) -> String {
    app.map_or_else(
        || "hitless resume".to_owned(),
        |app| format!("hitless resume {app}"),
    )
}

/// Returns when requests go on.
pub(super) async fn resume(args: &ResumeArgs) -> ExitCode {
    let path = match client::find(&args.control).await {
        Ok(path) => path,
        Err(code) => return code,
    };
    let client = Client::new(&path);
    let running = match client.status().await {
        Ok(status) => status.apps,
        Err(error) => return client::failed(&error),
    };
    let running: Vec<_> = running
        .into_iter()
        .filter(|app| !app.paused)
        .map(|app| app.name)
        .collect();
    let resumed = client.resume(args.app.as_deref()).await;
    let app = args.app.as_deref();
    done(resumed, app, false, &running, "requests go on")
}

/// Says of each app that it is as asked, that it was so before, or that it is not.
fn done(
    answer: Result<Status, Error>,
    app: Option<&str>,
    paused: bool,
    before: &[AppName],
    what: &str,
) -> ExitCode {
    let status = match answer {
        Ok(status) => status,
        Err(error) => return client::failed(&error),
    };
    let mut code = ExitCode::SUCCESS;
    let named = |name: &str| app.is_none_or(|app| app == name);
    for app in status.apps.iter().filter(|app| named(app.name.as_str())) {
        if app.paused == paused && before.contains(&app.name) {
            say(&format!(
                "{}: it was not paused; requests go on as before",
                app.name
            ));
        } else if app.paused == paused {
            say(&format!("{}: {what}", app.name));
        } else {
            complain(&format!(
                "{}: not done yet; hitless status shows what it is doing",
                app.name
            ));
            code = ExitCode::from(exit::FAILED);
        }
    }
    code
}
