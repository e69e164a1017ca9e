//! `hitless run`: read the configuration, start the keeper, serve.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::args::RunArgs;
use super::{check, exit};
use crate::config::{Config, Error};
use crate::control_plane::process::{Console, Keeper, raise_descriptor_limit};
use crate::control_plane::trigger;
use crate::server::{self, Ended};
use crate::telemetry::log;

/// How long the end waits for whoever reads the log.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// Serves in the foreground until told to stop.
pub(super) fn run(args: &RunArgs) -> ExitCode {
    if let Err(error) = trigger::survive() {
        super::complain(&format!("cannot handle signals: {error}"));
        return ExitCode::from(exit::FAILED);
    }
    let config = match load(args) {
        Ok(config) => config,
        Err(error) => return check::refuse(&error),
    };
    log::init(&config.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let served = serve(config, args.clone());
    // What is said below is the last word.
    log::flush(LAST_WORDS_MAX);
    match served {
        Ok(Ended::Stopped) => ExitCode::SUCCESS,
        Ok(Ended::FirstStartFailed) => {
            super::complain(
                "a first start failed, as the log says, and exit_on_failed_start is set",
            );
            ExitCode::from(exit::FAILED)
        }
        Err(error) => {
            super::complain(&format!("{error:#}"));
            ExitCode::from(exit::FAILED)
        }
    }
}

fn serve(config: Config, args: RunArgs) -> anyhow::Result<Ended> {
    // First of all: it is to have no thread of ours, and the descriptor limit that we were started with.
    let keeper = Keeper::start()?;
    let (before, after) = raise_descriptor_limit();
    tracing::debug!(before, after, "descriptor limit");
    let console = Arc::new(Console::start(config.log.app)?);
    server::run(config, keeper, console, move || {
        Config::load_again(args.config.as_deref(), &args.overrides())
    })
}

fn load(args: &RunArgs) -> Result<Config, Error> {
    match &args.config {
        Some(path) => Config::load(path, &args.overrides()),
        None => Config::from_flags(&args.overrides()),
    }
}
