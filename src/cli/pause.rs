//! `hitless pause` and `hitless resume`: hold the requests of a running hitless, and let them go on.

use std::process::ExitCode;

use super::args::{PauseArgs, ResumeArgs};
use super::{client, complain, exit, say};
use crate::control_plane::api::client::{Client, Error};
use crate::control_plane::apps::Status;
use crate::units::show_duration;

/// Returns when requests are held.
pub(super) async fn pause(args: &PauseArgs) -> ExitCode {
    let path = match client::find(&args.control).await {
        Ok(path) => path,
        Err(code) => return code,
    };
    let until = args.lasting.map_or_else(
        || "until `hitless resume`".to_owned(),
        |lasting| format!("for {}", show_duration(lasting)),
    );
    let paused = Client::new(&path)
        .pause(args.app.as_deref(), args.lasting)
        .await;
    done(
        paused,
        args.app.as_deref(),
        true,
        &format!("paused {until}"),
    )
}

/// Returns when requests go on.
pub(super) async fn resume(args: &ResumeArgs) -> ExitCode {
    let path = match client::find(&args.control).await {
        Ok(path) => path,
        Err(code) => return code,
    };
    let resumed = Client::new(&path).resume(args.app.as_deref()).await;
    done(resumed, args.app.as_deref(), false, "requests go on")
}

/// Says of each app that it is as asked, or that it is not.
fn done(answer: Result<Status, Error>, app: Option<&str>, paused: bool, what: &str) -> ExitCode {
    let status = match answer {
        Ok(status) => status,
        Err(error) => return client::failed(&error),
    };
    let mut code = ExitCode::SUCCESS;
    let named = |name: &str| app.is_none_or(|app| app == name);
    for app in status.apps.iter().filter(|app| named(app.name.as_str())) {
        if app.paused == paused {
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
