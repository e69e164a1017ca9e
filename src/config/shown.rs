//! What is in force, and where each value came from: the text of the file, of a flag or variable, or of the reference.
//!
//! The output is a file by itself, with the origins as comments. Values of variables for the app are left out: they may be
//! secrets.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::Config;
use super::reference;

/// Something that a flag or a variable says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The key that it stands for, such as `app.NAME.instances`.
    pub key: &'static str,
    /// Its value, as a value of TOML.
    pub value: String,
    /// By what it was said: `--instances` or `HITLESS_INSTANCES`.
    pub by: String,
}

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(Vec<Setting>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    /// The app that it is about.
    app: Option<String>,
    /// The key, such as `app.NAME.instances`.
    key: String,
    value: String,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Spoken(String),
    File(PathBuf, usize),
    Default,
}

/// The text of the file, read and parsed.
struct Written<'s> {
    path: &'s Path,
    source: &'s str,
    table: DeTable<'s>,
}

// === impl Shown ===

impl Shown {
    /// Of a file that is known to be valid, and what beats it; without a file there is one app, named `app`.
    pub fn new(file: Option<(&Path, &str)>, spoken: &[Spoken]) -> Self {
        let written = file.map(|(path, source)| Written {
            path,
            source,
            table: DeTable::parse_recoverable(source).0.into_inner(),
        });
        let apps = written.as_ref().map(Written::apps).unwrap_or_default();
        let apps = match apps.is_empty() {
            true => vec!["app".to_owned()],
            false => apps,
        };
        let said = reference::said();
        let (of_app, of_all): (Vec<_>, Vec<_>) = Config::keys()
            .into_iter()
            .partition(|key| key.starts_with("app.NAME."));
        let of_apps = apps.iter().flat_map(|app| {
            let named = move |key: &String| (Some(app.clone()), key.clone());
            of_app.iter().map(named)
        });
        let keys = of_all.into_iter().map(|key| (None, key));
        let settings = keys.chain(of_apps).filter_map(|(app, key)| {
            let (value, origin) = spoken
                .iter()
                .find(|spoken| spoken.key == key || replaces(spoken.key, &key))
                .map(|spoken| (spoken.value.clone(), Origin::Spoken(spoken.by.clone())))
                .or_else(|| written.as_ref()?.value(app.as_deref(), &key))
                .or_else(|| Some((said.get(&key)?.default.clone()?, Origin::Default)))?;
            let has_addresses = || {
                written
                    .as_ref()?
                    .value(app.as_deref(), "app.NAME.addresses")
            };
            let is_else = replaces_other(spoken, &key)
                || origin == Origin::Default
                    && FOR_COMMANDS.contains(&&*key)
                    && has_addresses().is_some();
            (!is_else).then_some(Setting {
                app,
                key,
                value,
                origin,
            })
        });
        Self(settings.collect())
    }
}

/// What an app with addresses does not have.
const FOR_COMMANDS: [&str; 7] = [
    "app.NAME.env",
    "app.NAME.instances",
    "app.NAME.overlap",
    "app.NAME.overlap_memory",
    "app.NAME.reserve_port",
    "app.NAME.ready.notify",
    "app.NAME.ready.owner",
];

/// `--ready` stands for all checks at once; it is shown at the first of them.
fn replaces(spoken: &str, key: &str) -> bool {
    spoken == "app.NAME.ready" && key == "app.NAME.ready.http"
}

fn replaces_other(spoken: &[Spoken], key: &str) -> bool {
    let has_ready = spoken.iter().any(|spoken| spoken.key == "app.NAME.ready");
    has_ready && matches!(key, "app.NAME.ready.tcp" | "app.NAME.ready.notify")
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = String::new();
        for setting in &self.0 {
            let (own, key) = setting.key.rsplit_once('.').unwrap_or(("", &setting.key));
            let own = setting.section(own);
            if own != section {
                writeln!(f, "\n[{own}]")?;
                section = own;
            }
            let assignment = format!("{key} = {}", setting.value);
            writeln!(f, "{assignment:<44} # {}", setting.origin)?;
        }
        Ok(())
    }
}

impl Setting {
    /// The title of its section.
    fn section(&self, generic: &str) -> String {
        let name = self.app.as_deref().unwrap_or_default();
        let quoted = match name.contains('.') {
            true => format!("{name:?}"),
            false => name.to_owned(),
        };
        generic.replacen("NAME", &quoted, 1)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spoken(by) => f.write_str(by),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

// === impl Written ===

impl Written<'_> {
    fn apps(&self) -> Vec<String> {
        let apps = self
            .table
            .get("app")
            .and_then(|node| node.get_ref().as_table());
        let mut apps: Vec<_> = apps
            .into_iter()
            .flat_map(|apps| apps.iter())
            .map(|(name, _)| (name.span().start, name.get_ref().to_string()))
            .collect();
        apps.sort();
        apps.into_iter().map(|(_, name)| name).collect()
    }

    /// The text of a key's value.
    fn value(&self, app: Option<&str>, key: &str) -> Option<(String, Origin)> {
        let name = |segment| match segment {
            "NAME" => app.unwrap_or(segment),
            _ => segment,
        };
        let mut segments = key.split('.').map(name).peekable();
        let mut table = &self.table;
        let node = loop {
            let node = table.get(segments.next()?)?;
            if segments.peek().is_none() {
                break node;
            }
            table = node.get_ref().as_table()?;
        };
        let span = node.span();
        let line = self.source[..span.start].matches('\n').count() + 1;
        let value = match node.get_ref() {
            DeValue::Table(names) => {
                let names = names
                    .iter()
                    .map(|(name, _)| format!("{} = \"…\"", name.get_ref()));
                format!("{{ {} }}", names.collect::<Vec<_>>().join(", "))
            }
            _ => one_line(&self.source[span]),
        };
        Some((value, Origin::File(self.path.to_owned(), line)))
    }
}

/// A list of several lines as one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
