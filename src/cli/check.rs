//! `hitless check`: prints every problem of a file, and starts nothing.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::args::{CheckArgs, RunArgs};
use super::exit;
use crate::config::{Config, Error, Shown, Spoken};
use crate::control_plane::instances::Backing;

/// Reads the file and says what is wrong with it on stderr, or on stdout that it is valid. `matches` is the whole command
/// line.
pub fn check(args: &CheckArgs, matches: &ArgMatches) -> ExitCode {
    if args.schema {
        let schema = serde_json::to_string_pretty(&Config::schema());
        super::print(&schema.expect("every key of a schema is a string"));
        return ExitCode::from(exit::DONE);
    }
    match args.run.configuration() {
        Ok(config) => {
            for warning in config.warnings.iter().chain(&around(&config)) {
                let _ = writeln!(io::stderr(), "warning: {warning}");
            }
            match args.show {
                true => show(&args.run, matches),
                false => super::print(&valid(&args.run, &config)),
            }
            ExitCode::from(exit::DONE)
        }
        Err(error) => refuse(&error),
    }
}

/// What a valid configuration speaks of and this machine does not have, or does not let this user read. It may be meant for
/// another machine or user, so that nothing is wrong with it yet.
fn around(config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    for listen in &config.listen {
        let unknown = listen.access.unknown();
        missing.extend(
            unknown
                .iter()
                .map(|what| format!("{}: {what}", listen.address)),
        );
    }
    for app in &config.apps {
        if let Backing::Command(command) = &app.backing
            && let Err(reason) = command.resolve([])
        {
            missing.push(format!("app.{}: {reason}", app.name));
        }
    }
    missing
}

fn valid(args: &RunArgs, config: &Config) -> String {
    let subject = args.config.as_ref().map_or_else(
        || "the command line".to_owned(),
        |path| path.display().to_string(),
    );
    format!("{subject} is valid: {}", summary(config))
}

fn show(args: &RunArgs, matches: &ArgMatches) {
    let said = matches.subcommand_matches("check").map(spoken);
    let source = args.config.as_ref();
    let source = source.and_then(|path| Some((path, fs::read_to_string(path).ok()?)));
    let source = source.as_ref();
    let file = source.map(|(path, text)| (path.as_path(), text.trim_start_matches('\u{feff}')));
    let shown = Shown::new(file, &said.unwrap_or_default());
    let _ = write!(io::stdout(), "{shown}");
}

/// Which key each option of `hitless run` stands for, and whether its value is a list, a string, or as it is.
const KEYS: [(&str, &str, Shape); 16] = [
    ("listen", "listen", Shape::List),
    ("admin", "admin", Shape::Text),
    ("name", "name", Shape::Text),
    ("control", "control", Shape::Text),
    ("ready", "app.NAME.ready", Shape::Text),
    ("watch", "app.NAME.watch.paths", Shape::List),
    ("env_file", "app.NAME.env_file", Shape::Text),
    ("start_timeout", "app.NAME.ready.start_timeout", Shape::Text),
    ("drain_timeout", "app.NAME.drain.timeout", Shape::Text),
    ("instances", "app.NAME.instances", Shape::Bare),
    ("probation", "app.NAME.failover.probation", Shape::Text),
    ("threads", "threads", Shape::Bare),
    ("log_format", "log.format", Shape::Text),
    ("access_log", "log.access", Shape::Text),
    ("exit_on_failed_start", "exit_on_failed_start", Shape::Bare),
    ("command", "app.NAME.command", Shape::List),
];

#[derive(Clone, Copy, Debug)]
enum Shape {
    Bare,
    List,
    Text,
}

/// What flags and variables say, each with which of the two it was.
fn spoken(matches: &ArgMatches) -> Vec<Spoken> {
    let given = KEYS.into_iter().filter_map(|(id, key, shape)| {
        let option = id.replace('_', "-");
        let by = match matches.value_source(id)? {
            ValueSource::EnvVariable => format!("HITLESS_{}", id.to_uppercase()),
            ValueSource::CommandLine if id == "command" => "-- COMMAND".to_owned(),
            ValueSource::CommandLine => format!("--{option}"),
            _ => return None,
        };
        let values = matches.get_raw(id)?.map(|value| value.to_string_lossy());
        let values: Vec<_> = values.map(|value| format!("{value:?}")).collect();
        let value = match shape {
            Shape::List => format!("[{}]", values.join(", ")),
            Shape::Text => values.last()?.clone(),
            Shape::Bare => values.last()?.trim_matches('"').to_owned(),
        };
        Some(Spoken { key, value, by })
    });
    given.collect()
}

/// Says on stderr why there is no configuration; the exit status for it.
pub fn refuse(error: &Error) -> ExitCode {
    let mut stderr = io::stderr().lock();
    let _ = match error {
        Error::Invalid(report) => writeln!(
            stderr,
            "{error}\n\n{}",
            count(report.problems.len(), "problem")
        ),
        Error::NothingToRun | Error::Unreadable { .. } | Error::WhichApp { .. } => {
            writeln!(stderr, "error: {error}")
        }
    };
    ExitCode::from(if error.is_usage() {
        exit::USAGE
    } else {
        exit::CONFIG
    })
}

fn summary(config: &Config) -> String {
    let listen = config.listen.iter();
    let addresses: Vec<_> = listen.map(|one| one.address.to_string()).collect();
    format!(
        "{}, listening on {}",
        count(config.apps.len(), "app"),
        addresses.join(", ")
    )
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
