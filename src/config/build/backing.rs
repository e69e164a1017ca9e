//! What an app is made of: a command that is started, or addresses where something runs already.

use std::ops::Range;

use toml::Spanned;

use super::addresses::{Placed, WantedListener};
use super::routes::Places;
use super::{or, plain, section};
use crate::config::problem::Problem;
use crate::config::{App, Overrides, raw};
use crate::control_plane::endpoint::Endpoint;
use crate::control_plane::instances::Backing;
use crate::control_plane::process;
use crate::data_plane::listen::ListenAddress;

/// Exactly one of the two. Keys that speak of the other one are problems.
pub(super) fn backing(
    name: &Spanned<String>,
    raw: &mut raw::App,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) -> Backing {
    match raw.addresses.take() {
        Some(addresses) => {
            let others = for_commands(raw, overrides);
            problems.extend(
                others
                    .into_iter()
                    .map(|(key, span)| misplaced(name, &key, span)),
            );
            Backing::Addresses(list(addresses, problems).into())
        }
        None => Backing::Command(command(name, raw, overrides, problems)),
    }
}

fn command(
    name: &Spanned<String>,
    raw: &mut raw::App,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) -> process::Config {
    let env_file = overrides.env_file.clone();
    let mut command = overrides.command.clone();
    if command.is_empty() {
        if raw.command.is_none() && !is_misspelt(name.get_ref(), problems) {
            let message = format!(
                "`app.{}` has neither a command nor addresses",
                name.get_ref()
            );
            problems.push(Problem::new(Some(name.span()), message).help(
                r#"write below it, for example: command = ["python3", "app.py"], or addresses = ["127.0.0.1:3000"]"#,
            ));
        }
        command = section(raw.command.take());
    }
    process::Config {
        command,
        directory: raw.directory.take().map(Spanned::into_inner),
        env_file: env_file.or_else(|| raw.env_file.take().map(Spanned::into_inner)),
        env: section(raw.env.take()),
        reserve_port: or(raw.reserve_port.take(), true),
    }
}

/// Whether what makes the app is there under a name that is nearly right: that is said already.
fn is_misspelt(name: &str, problems: &[Problem]) -> bool {
    let unknown = format!("unknown key `app.{name}.");
    let meant = ["did you mean `command`?", "did you mean `addresses`?"];
    problems.iter().any(|problem| {
        let help = problem.help.as_deref();
        problem.message.starts_with(&unknown) && help.is_some_and(|help| meant.contains(&help))
    })
}

fn list(addresses: Spanned<Vec<Spanned<Endpoint>>>, problems: &mut Vec<Problem>) -> Vec<Endpoint> {
    let spans: Vec<_> = addresses.get_ref().iter().map(Spanned::span).collect();
    let list = plain(Some(addresses)).unwrap_or_default();
    for (index, endpoint) in list.iter().enumerate() {
        if list[..index].contains(endpoint) {
            let message = format!("{endpoint} stands there twice");
            problems.push(Problem::new(Some(spans[index].clone()), message));
        }
    }
    list
}

/// What is said about the app that means something for a command alone.
fn for_commands(raw: &raw::App, overrides: &Overrides) -> Vec<(String, Option<Range<usize>>)> {
    fn said<T>(value: Option<&Spanned<T>>) -> Option<Range<usize>> {
        value.map(Spanned::span)
    }
    let ready = raw.ready.as_ref().map(Spanned::get_ref);
    let keys = [
        ("`command`", said(raw.command.as_ref())),
        ("`directory`", said(raw.directory.as_ref())),
        ("`env_file`", said(raw.env_file.as_ref())),
        ("`env`", said(raw.env.as_ref())),
        ("`instances`", said(raw.instances.as_ref())),
        ("`overlap`", said(raw.overlap.as_ref())),
        ("`overlap_memory`", said(raw.overlap_memory.as_ref())),
        ("`reserve_port`", said(raw.reserve_port.as_ref())),
        (
            "`ready.notify`",
            ready.and_then(|ready| said(ready.notify.as_ref())),
        ),
        (
            "`ready.owner`",
            ready.and_then(|ready| said(ready.owner.as_ref())),
        ),
    ];
    let flags = [
        ("the command", !overrides.command.is_empty()),
        ("`--env-file`", overrides.env_file.is_some()),
        ("`--instances`", overrides.instances.is_some()),
    ];
    let keys = keys.into_iter().filter(|(_, span)| span.is_some());
    let flags = flags.into_iter().filter(|(_, given)| *given);
    keys.chain(flags.map(|(flag, _)| (flag, None)))
        .map(|(key, span)| (key.to_owned(), span))
        .collect()
}

fn misplaced(name: &Spanned<String>, key: &str, span: Option<Range<usize>>) -> Problem {
    let message = format!(
        "{key} is for an app that is started, and `app.{}` has addresses",
        name.get_ref()
    );
    let by_flag = span.is_none();
    let problem = Problem::new(span, message);
    let problem = problem.help(
        "leave it out, for what runs there is started by somebody else; or write a `command` instead of `addresses`",
    );
    if by_flag { problem.by_flag() } else { problem }
}

/// Finds a problem in each address that hitless itself listens on: its requests would go round.
pub(super) fn judge(
    apps: &[App],
    places: &[Places],
    listeners: &[Placed<WantedListener>],
    problems: &mut Vec<Problem>,
) {
    for (app, place) in apps.iter().zip(places) {
        let spans = place.addresses.iter().flatten().cloned().map(Some);
        let spans = spans.chain(std::iter::repeat(None));
        let list = app
            .backing
            .addresses()
            .into_iter()
            .flat_map(|list| list.iter());
        for (endpoint, span) in list.zip(spans) {
            let own = match endpoint {
                Endpoint::Tcp(address) => ListenAddress::Tcp(*address),
                Endpoint::Unix(path) => ListenAddress::Unix(path.to_path_buf()),
                Endpoint::Name { .. } => continue,
            };
            if listeners.iter().any(|one| one.value.address.overlaps(&own)) {
                let message = format!("{endpoint} is where hitless itself listens");
                let problem = Problem::new(span, message);
                problems.push(problem.help("write where the app listens"));
            }
        }
    }
}
