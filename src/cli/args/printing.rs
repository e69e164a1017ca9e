//! The commands that only print, and their options.

use clap::Args;

use super::RunArgs;

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  hitless check -c hitless.toml && hitless reload
  hitless check -c hitless.toml --show     what is in force, and who says so
  hitless check --schema > hitless.schema.json

The options of `hitless run`, and their variables, are weighed as it would.
Exit status: 0 valid, 2 usage, 78 invalid.";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  hitless completions bash > /etc/bash_completion.d/hitless
  hitless completions zsh > /usr/local/share/zsh/site-functions/_hitless
  hitless completions fish > ~/.config/fish/completions/hitless.fish";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  hitless man | man -l -
  hitless man > /usr/local/share/man/man1/hitless.1";

/// `hitless check`
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Print what is in force, and whether each value is of a flag, a variable, the file, or the default.
    #[arg(long, conflicts_with = "schema")]
    pub show: bool,

    /// Print the JSON schema of the file, for editors.
    #[arg(long)]
    pub schema: bool,

    /// What `hitless run` would be told.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `hitless completions`
#[derive(Args, Clone, Copy, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}
