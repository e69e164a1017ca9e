//! The warm-up requests: each a path, or a table with a path and the statuses that it must be answered with.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use super::{Statuses, UrlPath};
use crate::config::problem::Problem;
use crate::config::read::{self, Kind, Node, OneOrMore};
use crate::control_plane::readiness::WarmUp;

/// What counts as a good answer unless it is said.
const GOOD: RangeInclusive<u16> = 200..=399;
const ENTRY: &str = r#"a path such as "/cache", or { path = "/cache", status = ["200"] }"#;

/// A list of warm-up requests.
#[derive(Debug)]
pub(in crate::config) struct WarmUps;

impl Kind for WarmUps {
    type Value = Vec<WarmUp>;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Vec<WarmUp>> {
        let Some(entries) = node.get_ref().as_array() else {
            problems.push(read::mismatch(node, at, "a list of paths").help(ENTRY));
            return None;
        };
        let read = |entry| warm_up(entry, at, problems);
        Some(entries.iter().filter_map(read).collect())
    }
}

fn warm_up(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<WarmUp> {
    let DeValue::Table(table) = node.get_ref() else {
        return UrlPath::read(node, at, problems).map(|path| WarmUp {
            path,
            status: vec![GOOD],
        });
    };
    read::unknown_keys(table, &["path", "status"], at, problems);
    if table.get("path").is_none() {
        let problem = Problem::new(Some(node.span()), format!("an entry of `{at}` has no path"));
        problems.push(problem.help(ENTRY));
        return None;
    }
    let path = read::key::<UrlPath>(table, "path", at, problems)?;
    let status = read::key::<OneOrMore<Statuses>>(table, "status", at, problems);
    let status = status.map_or_else(
        || vec![GOOD],
        |list| {
            let list = list.into_inner().into_iter();
            list.map(toml::Spanned::into_inner).collect()
        },
    );
    Some(WarmUp {
        path: path.into_inner(),
        status,
    })
}
