//! `hitless check`: prints every problem of a file, and starts nothing.

use std::io::{self, Write};
use std::process::ExitCode;

use super::args::CheckArgs;
use super::exit;
use crate::config::{Config, Error, Overrides};

/// Reads the file and says what is wrong with it on stderr, or on stdout that it is valid.
pub fn check(args: &CheckArgs) -> ExitCode {
    match Config::load(&args.config, &Overrides::default()) {
        Ok(config) => {
            for warning in &config.warnings {
                let _ = writeln!(io::stderr(), "warning: {warning}");
            }
            let _ = writeln!(
                io::stdout(),
                "{} is valid: {}",
                args.config.display(),
                summary(&config)
            );
            ExitCode::from(exit::DONE)
        }
        Err(error) => refuse(&error),
    }
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
