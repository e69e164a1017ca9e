//! What `config/hitless.toml` says of each key: its words, its default, and where nothing is the default.

use std::collections::BTreeMap;

/// The reference itself.
pub(super) const TEXT: &str = include_str!("../../config/hitless.toml");

/// The name of the app in the reference.
const APP: &str = "app.app";

/// What the reference says of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Its words.
    pub(super) words: String,
    /// Its default as it is written; none where nothing is the default.
    pub(super) default: Option<String>,
}

/// What it says, by the full path of each key, such as `app.NAME.drain.timeout`.
pub(super) fn said() -> BTreeMap<String, Said> {
    let mut said = BTreeMap::new();
    let mut section = String::new();
    let mut words: Vec<&str> = Vec::new();
    // What follows a key is about the next one.
    let mut is_said = false;
    for line in TEXT.lines() {
        let (comment, rest) = match line.strip_prefix('#') {
            Some(rest) => (true, rest.strip_prefix(' ').unwrap_or(rest)),
            None => (false, line),
        };
        if let Some(title) = title(rest) {
            section = title.replacen(APP, "app.NAME", 1);
            words.clear();
        } else if let Some((key, value)) = assignment(rest) {
            let path = match section.as_str() {
                "" => key.to_owned(),
                _ => format!("{section}.{key}"),
            };
            let default = (!comment && path != "app.NAME.command").then(|| value.to_owned());
            let words = words.join(" ");
            said.insert(path, Said { words, default });
            is_said = true;
        } else if comment {
            if std::mem::take(&mut is_said) {
                words.clear();
            }
            words.push(rest);
        } else {
            words.clear();
        }
    }
    said
}

fn title(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(" = ")?;
    let is_key = |byte: u8| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (!key.is_empty() && key.bytes().all(is_key)).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn it_says_something_of_each_key() {
        let said = said();
        let mut keys = Config::keys();
        keys.sort();
        let found: Vec<_> = said.keys().cloned().collect();
        assert_eq!(found, keys);
        assert_eq!(
            said["client.head_timeout"].default.as_deref(),
            Some("\"15s\"")
        );
        assert_eq!(said["app.NAME.env_file"].default, None);
        assert!(
            said["threads"]
                .words
                .starts_with("How many threads forward requests.")
        );
        let silent: Vec<_> = said
            .iter()
            .filter(|(_, said)| said.words.is_empty())
            .collect();
        assert!(silent.len() < 12, "{silent:?}");
    }
}
