//! What a person types: one module a command. Holds no logic of its own.

pub mod args;
pub mod check;
mod client;
mod demo;
mod follow;
mod generated;
mod logs;
mod man;
mod mistaken;
mod paper;
mod pause;
mod reload;
mod run;
mod screen;
mod status;

use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::FromArgMatches;

use self::args::{Cli, Command};
use crate::control_plane::process::keeper;
use crate::demo::app;

/// What the exit status means.
pub mod exit {
    /// Done.
    pub const DONE: u8 = 0;
    /// It failed.
    pub const FAILED: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// No hitless is running at the control socket.
    pub const NOT_RUNNING: u8 = 3;
    /// The configuration is invalid: `EX_CONFIG` of sysexits.
    pub const CONFIG: u8 = 78;
}

/// Parses the command line, does what it says and tells how it ended.
pub fn main() -> ExitCode {
    let matches = args::command().try_get_matches();
    let matches = matches.unwrap_or_else(|error| mistaken::explained(error).exit());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::demo(args),
        Command::Check(args) => check::check(&args, &matches),
        Command::Reload(args) => block_on(reload::reload(&args)),
        Command::Rollback(args) => block_on(reload::rollback(&args)),
        Command::Pause(args) => block_on(pause::pause(&args)),
        Command::Resume(args) => block_on(pause::resume(&args)),
        Command::Status(args) => block_on(status::status(&args)),
        Command::Logs(args) => block_on(logs::logs(&args)),
        Command::Completions(args) => generated::completions(&args),
        Command::Man => generated::man(),
        Command::Keeper(_) => keeper::main(),
        Command::DemoApp(args) => app::main(args.args),
    }
}

fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            complain(&format!(
                "the system refuses what a connection needs: {error}"
            ));
            ExitCode::from(exit::FAILED)
        }
    }
}

/// For programs: a line on stdout. A reader that has gone away is no error.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// For people: a line on stderr.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// For people: an error.
fn complain(message: &str) {
    say(&format!("hitless: {message}"));
}
