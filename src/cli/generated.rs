//! `hitless completions` and `hitless man`: what shells and readers get, made of the command line's own definition.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Arg, Command as Words, CommandFactory, ValueHint};

use super::args::{Cli, CompletionsArgs};
use super::{exit, man};

const NAME: &str = "hitless";

/// Prints the completions of a shell.
pub(super) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    let mut all = shown().mut_subcommands(|command| command.mut_args(hinted));
    clap_complete::generate(args.shell, &mut all, NAME, &mut script);
    written(&script)
}

/// Prints one page: the program, and behind it each command.
pub(super) fn man() -> ExitCode {
    let mut all = shown();
    all.build();
    let page = man::page(&all).expect("a vector takes everything");
    written(&page)
}

/// Only what is a file is completed as one: names, times and addresses are none.
fn hinted(arg: Arg) -> Arg {
    let is_file = match arg.get_id().as_str() {
        "config" | "control" | "env_file" | "watch" | "access_log" | "command" => true,
        _ => !arg.get_action().takes_values(),
    };
    match is_file {
        true => arg,
        false => arg.value_hint(ValueHint::Other),
    }
}

/// The command line without the commands that hitless alone uses.
fn shown() -> Words {
    let all = Cli::command();
    let shown: Vec<_> = all
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .cloned()
        .collect();
    let whole = Words::new(NAME).version(env!("CARGO_PKG_VERSION"));
    let about = all.get_about().cloned().unwrap_or_default();
    whole.about(about).subcommands(shown)
}

/// A reader that has gone away is no error.
fn written(bytes: &[u8]) -> ExitCode {
    let _ = io::stdout().write_all(bytes);
    ExitCode::from(exit::DONE)
}
