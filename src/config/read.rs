//! How a value of the file becomes a value of a [`Kind`]. Goes on after a problem, so that all of them are found.
//!
//! serde would be shorter, but a derived reader ends at the first wrong type or unknown key of its table.

use std::marker::PhantomData;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problem::Problem;
use super::{raw, words};

/// A value as the file has it.
pub(super) type Node<'i> = Spanned<DeValue<'i>>;

/// What a key's value may be. A type of this kind is a mark in the mirror of the file; [`Kind::Value`] is what is read.
pub(super) trait Kind {
    /// What is read.
    type Value;

    /// The value; none after a problem. `at` is the key's full path.
    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Self::Value>;

    /// Adds the full path of each key at and below `at`.
    fn keys(at: &str, keys: &mut Vec<String>) {
        keys.push(at.to_owned());
    }
}

/// A table of the file with a closed set of keys.
pub(super) trait Table: Kind<Value = Self> + Sized {
    /// Its keys, in the order in which they are written.
    const KEYS: &'static [&'static str];

    /// Reads each key that is there, and finds a problem in each that is not one of [`Table::KEYS`].
    fn read_table(table: &DeTable<'_>, at: &str, problems: &mut Vec<Problem>) -> Self;
}

/// An array of values of one kind.
#[derive(Debug)]
pub(super) struct List<K>(PhantomData<K>);

/// An array that is not empty.
#[derive(Debug)]
pub(super) struct OneOrMore<K>(PhantomData<K>);

/// A table of tables that have names of the operator's choice.
#[derive(Debug)]
pub(super) struct Named<K>(PhantomData<K>);

/// Declares a table of the file: for each key its kind. All keys are optional.
macro_rules! table {
    ($(#[$about:meta])* $table:ident { $($key:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        pub(super) struct $table {
            $(pub(super) $key: Option<toml::Spanned<<$kind as Kind>::Value>>,)*
        }

        impl Table for $table {
            const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];

            fn read_table(table: &DeTable<'_>, at: &str, problems: &mut Vec<Problem>) -> Self {
                read::unknown_keys(table, Self::KEYS, at, problems);
                Self { $($key: read::key::<$kind>(table, stringify!($key), at, problems),)* }
            }
        }

        impl Kind for $table {
            type Value = Self;

            fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Self> {
                let table = read::as_table(node, at, problems)?;
                Some(Self::read_table(table, at, problems))
            }

            fn keys(at: &str, keys: &mut Vec<String>) {
                $(<$kind as Kind>::keys(&read::join(at, stringify!($key)), keys);)*
            }
        }

        impl Described for $table {
            fn schema() -> serde_json::Value {
                schema::table(vec![$((stringify!($key), <$kind as Described>::schema()),)*])
            }
        }
    };
}
pub(super) use table;

impl<K: Kind> Kind for List<K> {
    type Value = Vec<Spanned<K::Value>>;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Self::Value> {
        let Some(array) = node.get_ref().as_array() else {
            let problem = mismatch(node, at, "a list");
            problems.push(problem.help(match (at, node.get_ref()) {
                // A port alone is no address either.
                ("listen", DeValue::Integer(port)) => {
                    format!(r#"write ["127.0.0.1:{port}"] for this machine only, or [":{port}"] for all addresses"#)
                }
                _ => format!("write [{}]", shown(node)),
            }));
            return None;
        };
        let read = |entry| {
            Some(Spanned::new(
                Spanned::span(entry),
                K::read(entry, at, problems)?,
            ))
        };
        Some(array.iter().filter_map(read).collect())
    }
}

impl<K: Kind> Kind for OneOrMore<K> {
    type Value = Vec<Spanned<K::Value>>;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Self::Value> {
        if node
            .get_ref()
            .as_array()
            .is_some_and(|array| array.is_empty())
        {
            problems.push(cannot_be(node, at, "empty", "leave it out for the default"));
        }
        List::<K>::read(node, at, problems)
    }
}

impl<T: Table> Kind for Named<T> {
    type Value = Vec<(Spanned<String>, T)>;

    /// Never none: tables that are bad are not also missing.
    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Self::Value> {
        let example = format!("write [{at}.NAME], for example [{at}.web]");
        let Some(table) = node.get_ref().as_table() else {
            problems.push(mismatch(node, at, "a table of tables with names").help(example));
            return Some(Vec::new());
        };
        if table.is_empty() {
            problems.push(cannot_be(node, at, "empty", example));
        }
        let own = |key: &str| T::KEYS.contains(&key);
        let nameless = table
            .iter()
            .any(|(key, node)| own(key.get_ref()) && !node.get_ref().is_table());
        let mut entries = Vec::new();
        for (key, node) in table.iter() {
            let path = join(at, key.get_ref());
            match (words::name(key.get_ref()), node.get_ref().as_table()) {
                _ if nameless && own(key.get_ref()) => {
                    problems.push(forgotten_name(key, &path, at))
                }
                (Err(error), _) => problems.push(
                    Problem::new(Some(key.span()), format!("`{path}` is no name"))
                        .help(error.to_string()),
                ),
                (_, None) => {
                    as_table(node, &path, problems);
                }
                (Ok(name), Some(table)) => {
                    entries.push((
                        Spanned::new(key.span(), name),
                        T::read_table(table, &path, problems),
                    ));
                }
            }
        }
        entries.sort_by_key(|(name, _)| name.span().start);
        Some(entries)
    }

    fn keys(at: &str, keys: &mut Vec<String>) {
        T::keys(&join(at, "NAME"), keys);
    }
}

/// The full path of a key in the table at `at`.
pub(super) fn join(at: &str, key: &str) -> String {
    match at {
        "" => key.to_owned(),
        _ => format!("{at}.{key}"),
    }
}

/// The value of a key, if it is there and good.
pub(super) fn key<K: Kind>(
    table: &DeTable<'_>,
    key: &str,
    at: &str,
    problems: &mut Vec<Problem>,
) -> Option<Spanned<K::Value>> {
    let node = table.get(key)?;
    let value = K::read(node, &join(at, key), problems)?;
    Some(Spanned::new(node.span(), value))
}

/// The node as a table.
pub(super) fn as_table<'n, 'i>(
    node: &'n Node<'i>,
    at: &str,
    problems: &mut Vec<Problem>,
) -> Option<&'n DeTable<'i>> {
    let table = node.get_ref().as_table();
    if table.is_none() {
        let path = node.get_ref().as_str();
        let path = path.filter(|path| at.ends_with(".ready") && path.starts_with('/'));
        let help = match path {
            Some(path) => format!("write [{at}] and below it http = {path:?}"),
            None => format!("write [{at}] and its keys below"),
        };
        problems.push(mismatch(node, at, "a table").help(help));
    }
    table
}

/// The node as what a parser makes of its string; `what` says what the string is, such as `a duration such as "30s"`.
pub(super) fn text<T, E: ToString>(
    node: &Node<'_>,
    at: &str,
    problems: &mut Vec<Problem>,
    what: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let written = shown(node);
    let (text, quoted) = match node.get_ref() {
        DeValue::String(text) => (text.as_ref(), true),
        _ => (written.as_str(), false),
    };
    let problem = match (parse(text), node.get_ref()) {
        (Ok(value), _) if quoted => return Some(value),
        (Err(error), _) if quoted => cannot_be(node, at, &written, error.to_string()),
        (Ok(_), DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_)) => {
            mismatch(node, at, what).help(format!("write \"{text}\""))
        }
        (Err(error), DeValue::Integer(_)) => mismatch(node, at, what).help(error.to_string()),
        _ => mismatch(node, at, what),
    };
    problems.push(problem);
    None
}

/// A value as it is written, as far as it fits into a line.
pub(super) fn shown(node: &Node<'_>) -> String {
    match node.get_ref() {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => "…".to_owned(),
    }
}

/// The value is of the right type and not allowed.
pub(super) fn cannot_be(
    node: &Node<'_>,
    at: &str,
    value: &str,
    allowed: impl Into<String>,
) -> Problem {
    Problem::new(Some(node.span()), format!("`{at}` cannot be {value}"))
        .of(at)
        .help(allowed)
}

/// The value is of the wrong type.
pub(super) fn mismatch(node: &Node<'_>, at: &str, what: &str) -> Problem {
    let found = match node.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let message = format!("`{at}` must be {what}, not {found}");
    Problem::new(Some(node.span()), message).of(at)
}

/// Finds a problem in each key of the table that is not one of `keys`.
pub(super) fn unknown_keys(
    table: &DeTable<'_>,
    keys: &[&str],
    at: &str,
    problems: &mut Vec<Problem>,
) {
    for (key, _) in table.iter() {
        let name: &str = key.get_ref();
        if !keys.contains(&name) {
            let problem = Problem::new(
                Some(key.span()),
                format!("unknown key `{}`", join(at, name)),
            );
            problems.push(problem.help(meant(name, keys, at)));
        }
    }
}

/// What somebody who wrote this key in the table at `at` meant: a key of another table by exactly this name, a similar
/// one of this table, or any of this table.
fn meant(key: &str, keys: &[&str], at: &str) -> String {
    if let Some(other) = in_other_words(key, at) {
        return other;
    }
    if let Some(place) = elsewhere(key, at) {
        return place;
    }
    match nearest(key, keys.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("allowed here: {}", keys.join(", ")),
    }
}

/// What hitless calls it, for words that others use.
fn in_other_words(key: &str, at: &str) -> Option<String> {
    let app = at.strip_prefix("app.").filter(|app| !app.contains('.'));
    match (key, app) {
        ("port", None) if at.is_empty() => Some(
            r#"where clients come in is said by `listen`, for example listen = ["127.0.0.1:8080"]"#.to_owned(),
        ),
        ("port", Some(_)) => Some(
            "each start of the app gets a free port: it is in $PORT, and stands where {port} is in the command".to_owned(),
        ),
        ("health" | "healthcheck" | "health_check" | "readiness", Some(app)) => Some(format!(
            r#"write [app.{app}.ready] and below it http = "/healthz""#
        )),
        _ => None,
    }
}

/// Where this key belongs, if that is somewhere else and clear. In prose `[app.NAME.drain] timeout` is called
/// `drain_timeout`.
fn elsewhere(key: &str, at: &str) -> Option<String> {
    let mut paths = Vec::new();
    raw::File::keys("", &mut paths);
    if paths.iter().any(|path| path == key) {
        return Some(format!(
            "`{key}` stands at the top of the file, above the first [section]"
        ));
    }
    let app = at
        .strip_prefix("app.")
        .and_then(|rest| rest.split('.').next());
    let mut places: Vec<_> = paths
        .iter()
        .filter_map(|path| place(key, path))
        .map(|place| place.replacen("NAME", app.unwrap_or("NAME"), 1))
        .collect();
    places.dedup();
    match places.len() {
        1 | 2 => Some(format!("write {}", places.join(" or "))),
        _ => None,
    }
}

/// How to write this key, if it means the one of this path or the section that it stands in.
fn place(key: &str, path: &str) -> Option<String> {
    let (section, last) = path.rsplit_once('.')?;
    let (above, title) = section.rsplit_once('.').unwrap_or(("", section));
    if title == key && !above.is_empty() {
        return Some(format!("[{section}]"));
    }
    let long = key
        .strip_prefix(title)
        .and_then(|rest| rest.strip_prefix('_'));
    // `access_log` is the `access` of [log].
    let turned = key
        .strip_suffix(title)
        .and_then(|rest| rest.strip_suffix('_'));
    ([Some(key), long, turned].contains(&Some(last))).then(|| format!("`{last}` in [{section}]"))
}

/// The word that is nearest to this one, if it is near enough to be meant.
pub(super) fn nearest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    words
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (two, _)| one.total_cmp(two))
        .map(|(_, candidate)| candidate)
}

/// A key of a table with a name, in a table without one.
fn forgotten_name(key: &Spanned<DeString<'_>>, path: &str, at: &str) -> Problem {
    Problem::new(
        Some(key.span()),
        format!("`{path}` stands in [{at}], which has no name"),
    )
    .help(format!("write it in [{at}.NAME], for example [{at}.web]"))
}
