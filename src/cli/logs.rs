//! `hitless logs`: what an app wrote last, and with `--follow` what it writes.

use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;

use super::args::LogsArgs;
use super::{client, say};
use crate::control_plane::api::LogLine;
use crate::control_plane::api::client::{Client, Error, Lines};
use crate::generation::{AppName, GenerationId};

/// Prints it, both outputs of the app alike: a program that searches it is to find all of it.
pub(super) async fn logs(args: &LogsArgs) -> ExitCode {
    let path = match client::find(&args.control).await {
        Ok(path) => path,
        Err(code) => return code,
    };
    let client = Client::new(&path);
    let (app, generation) = (args.app.as_deref(), args.generation);
    let lines = client.logs(app, generation, args.lines, args.follow).await;
    let shown = match lines {
        Ok(lines) => show(lines).await,
        Err(error) => Err(error),
    };
    shown.map_or_else(|error| client::failed(&error), |()| ExitCode::SUCCESS)
}

async fn show(mut lines: Lines<LogLine>) -> Result<(), Error> {
    let mut seen: HashMap<(AppName, GenerationId), u64> = HashMap::new();
    while let Some(line) = lines.next().await? {
        let before = seen.insert((line.app.clone(), line.generation), line.number);
        let missed = before.map_or(0, |before| line.number.saturating_sub(before + 1));
        if missed > 0 {
            say(&format!(
                "hitless: {missed} lines came too fast and are missing here"
            ));
        }
        let (app, generation, instance) = (&line.app, line.generation, line.instance);
        let shown = writeln!(
            io::stdout(),
            "{app} {generation}.{instance} | {}",
            line.text
        );
        if shown.is_err() {
            // Whoever reads has seen enough.
            return Ok(());
        }
    }
    Ok(())
}
