//! Promise: the JSON schema of the file says what hitless reads: the same keys, and nothing is refused by the one that the
//! other takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hitless::config::{Config, Overrides};
use serde_json::Value;

const REFERENCE: &str = include_str!("../config/hitless.toml");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// As much of JSON schema as the schema uses. What it does not know fails the test.
fn complaints(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let words = schema.as_object().expect("a schema is an object");
    let mut found = Vec::new();
    for (word, rule) in words {
        let (ok, below) = judge(word, rule, words, value, at);
        found.extend(below);
        if !ok {
            found.push(format!("{at}: {value} is not {word} {rule}"));
        }
    }
    found
}

fn judge(
    word: &str,
    rule: &Value,
    words: &serde_json::Map<String, Value>,
    value: &Value,
    at: &str,
) -> (bool, Vec<String>) {
    let mut below = Vec::new();
    let ok = match word {
        "$schema" | "title" | "description" | "default" => true,
        "type" => {
            let one = |kind: &Value| is_of(value, kind.as_str().expect("a word"));
            rule.as_array()
                .map_or_else(|| one(rule), |kinds| kinds.iter().any(one))
        }
        "enum" => rule.as_array().expect("a list").contains(value),
        "const" => rule == value,
        "minimum" | "exclusiveMinimum" | "maximum" | "minLength" | "minItems" | "minProperties" => {
            is_within(word, rule, value)
        }
        "pattern" => {
            let pattern =
                regex_lite::Regex::new(rule.as_str().expect("a text")).expect("a pattern");
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        "not" => !complaints(rule, value, at).is_empty(),
        "anyOf" => {
            let mut schemas = rule.as_array().expect("a list").iter();
            schemas.any(|schema| complaints(schema, value, at).is_empty())
        }
        "items" => {
            let entries = value.as_array().into_iter().flatten();
            below.extend(entries.flat_map(|entry| complaints(rule, entry, at)));
            true
        }
        "required" => {
            let mut keys = rule.as_array().expect("a list").iter();
            keys.all(|key| value.get(key.as_str().expect("a word")).is_some())
        }
        "propertyNames" => {
            let names = value.as_object().into_iter().flatten();
            let names = names.map(|(name, _)| Value::from(name.as_str()));
            below.extend(names.flat_map(|name| complaints(rule, &name, at)));
            true
        }
        "properties" => {
            for (key, value) in value.as_object().into_iter().flatten() {
                if let Some(schema) = rule.get(key) {
                    below.extend(complaints(schema, value, &format!("{at}.{key}")));
                }
            }
            true
        }
        "additionalProperties" => {
            let known = words.get("properties");
            let others = value.as_object().into_iter().flatten();
            let mut others =
                others.filter(|(key, _)| known.is_none_or(|known| known.get(key).is_none()));
            match rule {
                Value::Bool(false) => others.next().is_none(),
                schema => {
                    below.extend(others.flat_map(|(key, value)| {
                        complaints(schema, value, &format!("{at}.{key}"))
                    }));
                    true
                }
            }
        }
        unknown => panic!("{at}: the schema says {unknown}, which this test does not know"),
    };
    (ok, below)
}

/// Whether a number, or how long or large something is, keeps a bound; whatever is of another type does.
fn is_within(word: &str, bound: &Value, value: &Value) -> bool {
    let bound = bound.as_f64().expect("a number");
    let size = match word {
        "minLength" => value.as_str().map(|text| text.chars().count() as f64),
        "minItems" => value.as_array().map(|list| list.len() as f64),
        "minProperties" => value.as_object().map(|table| table.len() as f64),
        _ => value.as_f64(),
    };
    size.is_none_or(|size| match word {
        "maximum" => size <= bound,
        "exclusiveMinimum" => size > bound,
        _ => size >= bound,
    })
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("no such type: {other}"),
    }
}

fn refused(text: &str) -> Vec<String> {
    let table: toml::Table = text.parse().expect("it is TOML");
    let value = serde_json::to_value(table).expect("it is JSON, too");
    complaints(&Config::schema(), &value, "")
}

fn keys(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(named) = schema
        .get("additionalProperties")
        .filter(|rule| rule.is_object())
        && named.get("properties").is_some()
    {
        return keys(named, &format!("{at}.NAME"), found);
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        found.insert(at.to_owned());
        return;
    };
    for (key, schema) in properties {
        let path = if at.is_empty() {
            key.clone()
        } else {
            format!("{at}.{key}")
        };
        keys(schema, &path, found);
    }
}

#[test]
fn it_has_the_keys_that_are_read() {
    let mut found = BTreeSet::new();
    keys(&Config::schema(), "", &mut found);
    let read: BTreeSet<_> = Config::keys().into_iter().collect();
    assert_eq!(found, read);
}

#[test]
fn it_says_the_words_and_defaults_of_the_reference() {
    let schema = Config::schema();
    let timeout = &schema["properties"]["client"]["properties"]["idle_timeout"];
    assert_eq!(timeout["default"], "75s");
    let words = timeout["description"].as_str().expect("it has words");
    assert!(
        words.starts_with("How long a connection may be silent"),
        "{words}"
    );
}

#[test]
fn what_is_valid_is_valid_by_it() {
    assert_eq!(refused(REFERENCE), Vec::<String>::new());
    let examples = fs::read_dir(root().join("config/examples")).expect("there are examples");
    for example in examples {
        let path = example.expect("it can be listed").path();
        let text = fs::read_to_string(&path).expect("it can be read");
        assert_eq!(refused(&text), Vec::<String>::new(), "{}", path.display());
    }
}

/// Most of what is wrong is wrong by itself, whatever else stands in the file: an editor can say so at once.
#[test]
fn what_it_refuses_is_refused() {
    let files = fs::read_dir(root().join("tests/messages/files")).expect("the cases are there");
    let (mut all, mut seen) = (0, Vec::new());
    for file in files {
        let path = file.expect("it can be listed").path();
        let text = fs::read_to_string(&path).expect("it can be read");
        if path.extension().is_none_or(|end| end != "toml") || text.parse::<toml::Table>().is_err()
        {
            continue;
        }
        all += 1;
        let by_code = Config::parse(&path, text.clone(), &Overrides::default()).is_err();
        assert!(by_code, "{}", path.display());
        if !refused(&text).is_empty() {
            seen.push(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    assert!(seen.len() * 2 > all, "{} of {all}: {seen:?}", seen.len());
}
