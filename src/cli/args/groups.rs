//! How the help is laid out: the commands by what they are for, and the short one without what the long one says better.

use clap::{Command, CommandFactory};

use super::Cli;

/// Every command that people are to see, by what it is for.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Serve", &["run", "demo"]),
    (
        "Change what serves",
        &["reload", "rollback", "pause", "resume"],
    ),
    ("See what is", &["status", "logs", "check"]),
    ("Set up", &["completions", "man", "help"]),
];

/// How far the names of commands are indented and padded.
const NAME: usize = 13;

const EXAMPLES: &str = "\
Examples:
  hitless run -- python3 app.py  runs the app, and forwards port 8080 to it
  hitless reload                 starts the new version, and moves over to it
  hitless status                 says what serves, and what is wrong

`hitless COMMAND -h` lists the options of a command, `hitless COMMAND --help`
explains them.";

/// The command line, with its help in order.
pub fn command() -> Command {
    let short = std::env::args_os().skip(1);
    let short = short
        .take_while(|word| word != "--")
        .any(|word| word == "-h");
    let command = Cli::command().after_help(EXAMPLES);
    let listed = listed(&command);
    let command = command.help_template(format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{listed}Options:\n{{options}}{{after-help}}"
    ));
    match short {
        // The line of an option is short enough then to stand beside it.
        true => command.mut_subcommands(|command| command.mut_args(|arg| arg.hide_env(true))),
        false => command,
    }
}

fn listed(command: &Command) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        text.push_str(&format!("{title}:\n"));
        for name in names {
            let about = match command.find_subcommand(name) {
                Some(known) => known.get_about().map(ToString::to_string),
                None => Some("Explain a command".to_owned()),
            };
            let about = about.unwrap_or_default();
            text.push_str(&format!("  {name:<NAME$}{about}\n"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_stands_in_one_group_on_one_line() {
        let command = Cli::command();
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
        let mut shown: Vec<_> = shown.map(Command::get_name).collect();
        shown.push("help");
        let mut grouped: Vec<_> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        shown.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(grouped, shown);
        for line in listed(&command).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
