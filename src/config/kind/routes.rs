//! Which requests are for an app: a list of tables with a host, a path, or both.

use toml::Spanned;

use super::{Flag, Node};
use crate::config::problem::Problem;
use crate::config::read::{self, Kind};
use crate::config::words;
use crate::data_plane::route::{HostPattern, Route};

const EXAMPLE: &str =
    r#"write [{ host = "api.example.org" }, { path = "/api", strip_prefix = true }]"#;

/// A list of routes that is not empty.
#[derive(Debug)]
pub(in crate::config) struct RouteList;

/// A host, or `*.` and the name that it is below.
#[derive(Debug)]
struct Pattern;

/// The start of a path, without a slash at its end.
#[derive(Debug)]
struct Prefix;

impl Kind for RouteList {
    type Value = Vec<Spanned<Route>>;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Self::Value> {
        let Some(entries) = node.get_ref().as_array() else {
            problems.push(read::mismatch(node, at, "a list of tables").help(EXAMPLE));
            return None;
        };
        if entries.is_empty() {
            let help = "no request would reach the app: leave the key out for every request";
            problems.push(read::cannot_be(node, at, "empty", help));
            return None;
        }
        let read = |entry: &Node<'_>| Some(Spanned::new(entry.span(), route(entry, at, problems)?));
        Some(entries.iter().filter_map(read).collect())
    }
}

fn route(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Route> {
    let Some(table) = node.get_ref().as_table() else {
        problems.push(read::mismatch(node, at, "a list of tables").help(EXAMPLE));
        return None;
    };
    let before = problems.len();
    read::unknown_keys(table, &["host", "path", "strip_prefix"], at, problems);
    let host = read::key::<Pattern>(table, "host", at, problems);
    let path = read::key::<Prefix>(table, "path", at, problems);
    let strip_prefix = read::key::<Flag>(table, "strip_prefix", at, problems);
    if problems.len() > before {
        // What could not be read is not "any": it would be in the way of others.
        return None;
    }
    let route = Route {
        host: host.map(Spanned::into_inner).unwrap_or_default(),
        path: path.map(Spanned::into_inner).unwrap_or_default(),
        strip_prefix: strip_prefix.as_ref().is_some_and(|strip| *strip.get_ref()),
    };
    if route.strip_prefix && route.path.is_empty() {
        let span = strip_prefix.map(|strip| strip.span());
        let problem = Problem::new(span, "there is no prefix to strip");
        problems.push(problem.help(r#"name it, for example path = "/api", or leave it out"#));
    }
    Some(route)
}

impl Kind for Pattern {
    type Value = HostPattern;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<HostPattern> {
        let what = r#"a host such as "app.example.com" or "*.example.com""#;
        read::text(node, at, problems, what, |text| match text {
            "*" => Err("leave `host` out for every host".to_owned()),
            _ => words::host_pattern(text).map_err(|error| error.to_string()),
        })
    }
}

impl Kind for Prefix {
    type Value = String;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<String> {
        let what = r#"a path such as "/api""#;
        read::text(node, at, problems, what, words::path_prefix)
    }
}
