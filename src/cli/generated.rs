//! `hitless completions` and `hitless man`: what shells and readers get, made of the command line's own definition.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Command as Words, CommandFactory};

use super::args::{Cli, CompletionsArgs};
use super::exit;

const NAME: &str = "hitless";

/// Prints the completions of a shell.
pub(super) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(), NAME, &mut script);
    written(&script)
}

/// Prints one page: the program, and behind it each command.
pub(super) fn man() -> ExitCode {
    let mut page = Vec::new();
    let mut all = shown();
    all.build();
    // A vector takes everything.
    let _ = clap_mangen::Man::new(all.clone()).render(&mut page);
    for command in all
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        let name = command.get_name();
        if name == "help" {
            continue;
        }
        let _ = writeln!(page, ".SH \"HITLESS {}\"", name.to_uppercase());
        let man = clap_mangen::Man::new(command.clone());
        let _ = man.render_description_section(&mut page);
        let _ = man.render_synopsis_section(&mut page);
        let _ = man.render_options_section(&mut page);
        let _ = man.render_extra_section(&mut page);
    }
    written(&page)
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
