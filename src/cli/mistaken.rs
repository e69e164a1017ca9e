//! What was probably meant by a command line that is wrong, beyond what its parser sees by itself.

use clap::Error;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The error with what was meant, where that can be told.
pub(super) fn explained(mut error: Error) -> Error {
    if let Some(tip) = tip(&error) {
        let tips = vec![StyledStr::from(tip)];
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        // What only looks alike is not what is meant.
        error.remove(ContextKind::SuggestedSubcommand);
        error.remove(ContextKind::SuggestedArg);
    }
    error
}

fn tip(error: &Error) -> Option<String> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match error.kind() {
        ErrorKind::InvalidSubcommand => of_command(context(error, ContextKind::InvalidSubcommand)?),
        ErrorKind::UnknownArgument => {
            let argument = context(error, ContextKind::InvalidArg)?;
            of_argument(&words, argument)
        }
        _ => None,
    }
}

fn context(error: &Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        _ => None,
    }
}

/// Words that people know from other programs.
fn of_command(word: &str) -> Option<String> {
    let tip = match word {
        "start" | "serve" | "up" => "`hitless run` starts it, in the foreground",
        "stop" | "quit" | "kill" | "down" => {
            "it stops on TERM: `kill PID`, where `hitless status` names the process, or `systemctl stop`"
        }
        "restart" => "`hitless reload` starts the app anew without losing a request",
        "test" | "validate" | "configtest" => "`hitless check -c FILE` reads a configuration",
        _ => return None,
    };
    Some(tip.to_owned())
}

/// What other programs call the place where clients come in.
fn is_port(argument: &str) -> bool {
    let name = argument.split('=').next();
    name.is_some_and(|name| ["--port", "--bind", "-p", "-b"].contains(&name))
}

fn of_argument(words: &[String], argument: &str) -> Option<String> {
    let is_option = argument.starts_with('-');
    let rest = || words.iter().skip_while(|word| *word != argument).cloned();
    match words.first()?.as_str() {
        first if first == argument && is_option => {
            let written = words.join(" ");
            Some(format!(
                "options stand behind a command: hitless run {written}"
            ))
        }
        "run" | "check" if !is_option && argument.ends_with(".toml") => Some(format!(
            "a file stands behind `-c`: hitless {} -c {argument}",
            words[0]
        )),
        "check" if !is_option => Some(format!(
            "a file stands behind `-c`, and a command behind `--`: hitless check -c {argument}"
        )),
        "run" if is_port(argument) => Some(
            "`--listen` says where clients come in, for example --listen :80; the app gets a free port of its own, in $PORT \
             and for {port}"
                .to_owned(),
        ),
        "run" if !is_option => {
            let command: Vec<_> = rest().collect();
            Some(format!(
                "the app\'s command stands behind `--`: hitless run -- {}",
                command.join(" ")
            ))
        }
        "reload" | "rollback" | "pause" | "resume" | "status" | "logs" if !is_option => {
            Some("one app, or none for all of them".to_owned())
        }
        _ => None,
    }
}
