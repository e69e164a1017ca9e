//! The commands that ask a running hitless, and their options.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::values::{addresses, duration, positive};
use crate::config::words;
use crate::control_plane::api::LINES_DEFAULT;
use crate::control_plane::endpoint::Endpoint;

/// Of several on one machine.
const WHICH: &str = "Which hitless, where several run";

pub(super) const RELOAD_EXAMPLES: &str = "\
Examples:
  hitless reload                 every app, and the configuration with them
  hitless reload web             that app alone
  hitless reload --changed       what has changed in the configuration
  hitless reload --timeout 30s   stops waiting then; the reload goes on

Exit status: 0 live, 1 not live and what served before still serves, 2 usage,
3 no hitless is running, 78 invalid configuration.";

pub(super) const RELOAD_MORE: &str = "\
Examples:
  hitless reload                 returns when the new version is live, or says
                                 why it is not
  hitless reload --timeout 30s   stops waiting then; the reload goes on
  hitless reload --changed       after the configuration was edited: listeners,
                                 routes, limits and logs change in place, and
                                 only the apps start anew that have to
  hitless reload web --json
  hitless reload --through-probation
                                 returns when the new version has proved itself,
                                 or was taken back
  hitless reload --probation 0   no way back: for a version whose migration the
                                 old one cannot live with
  hitless reload web --addresses 127.0.0.1:3001,127.0.0.1:3002
                                 moves an app with `addresses` to others

Without APP the whole configuration is read anew, and the exit status is 0 only
when every app went live. A configuration with problems changes nothing.

On a terminal it goes on behind the verdict until what served before has
finished its requests. Ctrl-C ends the watching, never the reload. Through a
pipe, and with --json, it ends with the verdict.

Exit status: 0 live, 1 not live and what served before still serves (with
--through-probation: or taken back), 2 usage, 3 no hitless is running, 78 the
configuration is invalid and nothing was changed.";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  hitless status
  hitless status web             with the folder and the variables of each
                                 generation, by their names
  hitless status --watch         until Ctrl-C
  hitless status --json | jq .apps

Exit status: 0 all is well, 1 an app is stale, paused or has nothing live,
2 usage, 3 no hitless is running.";

pub(super) const ROLLBACK_EXAMPLES: &str = "\
Examples:
  hitless rollback               undoes the newest reload: one that is starting
                                 is abandoned, one that is live is swapped back

Asked twice it happens once. It never goes forward: that is a reload.
Exit status: 0 the version before serves, 1 there is nowhere to go or it could
not be started and nothing has changed, 2 usage, 3 no hitless is running.";

pub(super) const PAUSE_EXAMPLES: &str = "\
Examples:
  hitless pause --for 20s        holds requests for the time of a migration;
                                 they go on by themselves, or with
  hitless resume

Requests wait within [app.NAME.hold] requests and timeout; past either they get
a 503. Reloads go on meanwhile, and their generations get requests afterwards.
Exit status: 0 done, 1 failed, 2 usage, 3 no hitless is running.";

pub(super) const RESUME_EXAMPLES: &str = "\
Examples:
  hitless resume                 lets the requests of every app go on
  hitless resume web

Exit status: 0 done or never paused, 1 failed, 2 usage, 3 no hitless is running.";

pub(super) const LOGS_EXAMPLES: &str = "\
Examples:
  hitless logs                   the last 200 lines, oldest first, each with its
                                 generation and instance: `web 3.1 | listening`
  hitless logs web --generation 7
                                 what a version said that did not go live
  hitless logs --lines 20 --follow

Kept are 200 lines and 1 MiB of each generation that runs, and of the last five
that have ended. With --generation, --follow ends with that generation.
Exit status: 0 shown, 1 failed, 2 usage or nothing is kept of that generation,
3 no hitless is running.";

/// `hitless reload`
#[derive(Args, Clone, Debug)]
pub struct ReloadArgs {
    /// The app; without it the configuration is read again and every app reloaded.
    #[arg(value_parser = words::name)]
    pub app: Option<String>,

    /// Only apps of which something has changed in the configuration that a fresh start is needed for, or that do not
    /// serve what was wanted last.
    #[arg(long, conflicts_with = "addresses")]
    pub changed: bool,

    /// How long to wait; past it the exit status is 1 and the reload goes on.
    #[arg(long, value_name = "D", value_parser = positive, conflicts_with = "no_wait")]
    pub timeout: Option<Duration>,

    /// Return as soon as the reload is asked for.
    #[arg(long, conflicts_with = "through_probation")]
    pub no_wait: bool,

    /// Wait for the end of probation: 0 when the new version has proved itself, 1 when it was taken back.
    #[arg(long)]
    pub through_probation: bool,

    /// How long this new version can be sent back after it went live; 0 for no way back.
    #[arg(long, value_name = "D", value_parser = duration)]
    pub probation: Option<Duration>,

    /// Move the app, which must be one with `addresses`, to these; they last until the file names others than it does now.
    #[arg(long, value_name = "A,B", value_parser = addresses, requires = "app")]
    pub addresses: Option<Addresses>,

    /// Print what happens as JSON, a value a line.
    #[arg(long)]
    pub json: bool,

    /// Which hitless is meant.
    #[command(flatten, next_help_heading = WHICH)]
    pub control: ControlArgs,
}

/// A list of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Arc<[Endpoint]>);

/// `hitless rollback`
#[derive(Args, Clone, Debug)]
pub struct RollbackArgs {
    /// The app; without it those that the newest reload put onto another version.
    #[arg(value_parser = words::name)]
    pub app: Option<String>,

    /// How long to wait; past it the exit status is 1 and the rollback goes on.
    #[arg(long, value_name = "D", value_parser = positive)]
    pub timeout: Option<Duration>,

    /// Print what happens as JSON, a value a line.
    #[arg(long)]
    pub json: bool,

    /// Which hitless is meant.
    #[command(flatten, next_help_heading = WHICH)]
    pub control: ControlArgs,
}

/// `hitless pause`
#[derive(Args, Clone, Debug)]
pub struct PauseArgs {
    /// The app; without it every app.
    #[arg(value_parser = words::name)]
    pub app: Option<String>,

    /// How long; without it until `hitless resume`.
    #[arg(long = "for", value_name = "D", value_parser = positive)]
    pub lasting: Option<Duration>,

    /// Which hitless is meant.
    #[command(flatten, next_help_heading = WHICH)]
    pub control: ControlArgs,
}

/// `hitless resume`
#[derive(Args, Clone, Debug)]
pub struct ResumeArgs {
    /// The app; without it every app.
    #[arg(value_parser = words::name)]
    pub app: Option<String>,

    /// Which hitless is meant.
    #[command(flatten, next_help_heading = WHICH)]
    pub control: ControlArgs,
}

/// `hitless logs`
#[derive(Args, Clone, Debug)]
pub struct LogsArgs {
    /// The app; without it all of them.
    #[arg(value_parser = words::name)]
    pub app: Option<String>,

    /// Only of this generation; without it of all that are kept.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub generation: Option<u64>,

    /// How many lines.
    #[arg(long, value_name = "N", default_value_t = LINES_DEFAULT)]
    pub lines: u64,

    /// Go on with what is written from now on.
    #[arg(long, short)]
    pub follow: bool,

    /// Which hitless is meant.
    #[command(flatten, next_help_heading = WHICH)]
    pub control: ControlArgs,
}

/// `hitless status`
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// The app; without it all of them.
    #[arg(value_parser = words::name)]
    pub app: Option<String>,

    /// Go on, and show it whenever it changes.
    #[arg(long, short)]
    pub watch: bool,

    /// Print one JSON value; with --watch, a value a line.
    #[arg(long)]
    pub json: bool,

    /// Which hitless is meant.
    #[command(flatten, next_help_heading = WHICH)]
    pub control: ControlArgs,
}

/// Which hitless is meant, the same for the one that runs and for those who ask it.
#[derive(Args, Clone, Debug, Default)]
pub struct ControlArgs {
    /// The name of this hitless among those on this machine.
    #[arg(long, env = "HITLESS_NAME", hide_env_values = true, value_parser = words::name)]
    pub name: Option<String>,

    /// The path of its control socket, instead of the one that goes by the name.
    #[arg(
        long,
        value_name = "PATH",
        env = "HITLESS_CONTROL",
        hide_env_values = true
    )]
    pub control: Option<PathBuf>,
}
