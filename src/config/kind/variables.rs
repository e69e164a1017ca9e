//! Variables for an app.

use std::collections::BTreeMap;

use super::no_nul;
use crate::config::problem::Problem;
use crate::config::read::{self, Kind, Node};

/// Variables for an app.
#[derive(Debug)]
pub(in crate::config) struct Variables;

impl Kind for Variables {
    type Value = BTreeMap<String, String>;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Self::Value> {
        let mut variables = BTreeMap::new();
        for (key, node) in read::as_table(node, at, problems)?.iter() {
            let at = read::join(at, key.get_ref());
            if let Some(reason) = refused_variable(key.get_ref()) {
                problems.push(
                    Problem::new(Some(key.span()), format!("`{at}` cannot be set")).help(reason),
                );
            }
            if let Some(value) = read::text(node, &at, problems, "a string in quotes", no_nul) {
                variables.insert(key.get_ref().to_string(), value);
            }
        }
        Some(variables)
    }
}

/// Why an app's variable may not have this name.
fn refused_variable(name: &str) -> Option<&'static str> {
    match name {
        "PORT" | "HOST" => Some("hitless sets it for each instance"),
        _ if name.starts_with("HITLESS_") => {
            Some("hitless keeps names that start with HITLESS_ for itself")
        }
        _ if name.is_empty() || name.contains(['=', '\0']) => {
            Some("the name of a variable is not empty and has no `=`")
        }
        _ => None,
    }
}
