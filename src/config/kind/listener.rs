//! Where clients come in: an address, or a table with an address and what else there is to say about it.

use toml::Spanned;
use toml::de::DeValue;

use super::{ListenOn, Name};
use crate::config::problem::Problem;
use crate::config::read::{self, Kind, List, Node};
use crate::config::words;
use crate::data_plane::listen::{Access, ListenAddress, Owner};

const KEYS: [&str; 5] = ["address", "mode", "owner", "group", "apps"];
const ENTRY: &str = r#"write { address = "unix:/run/web.sock", mode = "0660", owner = "www-data", group = "www-data", apps = ["web"] }, each but `address` only where wanted"#;

/// One entry of `listen`.
#[derive(Debug)]
pub(in crate::config) struct Listener;

/// The permissions of a file, such as `"0660"`.
#[derive(Debug)]
struct Mode;

/// A user or a group, by name or number.
#[derive(Debug)]
struct Account;

/// What one entry of `listen` says.
#[derive(Debug)]
pub(in crate::config) struct Entry {
    pub(in crate::config) address: ListenAddress,
    pub(in crate::config) access: Access,
    /// The apps that it serves; empty: all.
    pub(in crate::config) apps: Vec<Spanned<String>>,
}

impl Kind for Listener {
    type Value = Entry;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Entry> {
        let DeValue::Table(table) = node.get_ref() else {
            let address = ListenOn::read(node, at, problems)?;
            return Some(Entry {
                address,
                access: Access::default(),
                apps: Vec::new(),
            });
        };
        read::unknown_keys(table, &KEYS, at, problems);
        if table.get("address").is_none() {
            let message = format!("an entry of `{at}` has no address");
            let problem = Problem::new(Some(node.span()), message).of(at);
            problems.push(problem.help(ENTRY));
            return None;
        }
        let address = read::key::<ListenOn>(table, "address", at, problems);
        let mode = read::key::<Mode>(table, "mode", at, problems);
        let owner = read::key::<Account>(table, "owner", at, problems);
        let group = read::key::<Account>(table, "group", at, problems);
        let apps = read::key::<List<Name>>(table, "apps", at, problems);
        let address = address?.into_inner();
        if let ListenAddress::Tcp(_) = address {
            let first = [
                ("mode", mode.as_ref().map(Spanned::span)),
                ("owner", owner.as_ref().map(Spanned::span)),
                ("group", group.as_ref().map(Spanned::span)),
            ];
            for (key, span) in first.into_iter().filter(|(_, span)| span.is_some()) {
                let message = format!("{address} has no `{key}`");
                let problem = Problem::new(span, message);
                problems.push(problem.help("only a unix socket, which is a file, has one"));
            }
        }
        Some(Entry {
            address,
            access: Access {
                mode: mode.map(Spanned::into_inner),
                owner: owner.map(Spanned::into_inner),
                group: group.map(Spanned::into_inner),
            },
            apps: apps.map(Spanned::into_inner).unwrap_or_default(),
        })
    }
}

impl Kind for Mode {
    type Value = u32;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<u32> {
        let what = r#"permissions such as "0660""#;
        read::text(node, at, problems, what, words::file_mode)
    }
}

impl Kind for Account {
    type Value = Owner;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Owner> {
        if let DeValue::Integer(number) = node.get_ref()
            && let Ok(id) = number.as_str().parse()
        {
            return Some(Owner::Id(id));
        }
        let what = r#"a name such as "www-data", or its number"#;
        read::text(node, at, problems, what, words::account)
    }
}
