//! The JSON schema of the file, for editors: made of the very kinds that read it, with the words and defaults of the
//! reference.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::raw;
use super::reference::{self, Said};

mod kinds;

/// What a value looks like in JSON schema (draft 2020-12). Where words cannot say all that a kind demands, the schema is
/// the wider of the two: what it refuses is wrong.
pub(super) trait Described {
    /// The schema of a value.
    fn schema() -> Value;
}

/// The schema of a table with these keys and no others.
pub(super) fn table(properties: Vec<(&'static str, Value)>) -> Value {
    let properties: Map<_, _> = properties
        .into_iter()
        .map(|(key, schema)| (key.to_owned(), schema))
        .collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

/// The schema of the whole file.
pub(super) fn whole() -> Value {
    let mut schema = raw::File::schema();
    let said = reference::said();
    explain(&mut schema, "", &said);
    let about = "https://json-schema.org/draft/2020-12/schema";
    if let Some(whole) = schema.as_object_mut() {
        whole.insert("$schema".to_owned(), about.into());
        whole.insert("title".to_owned(), "hitless.toml".into());
    }
    schema
}

/// Adds what the reference says of each key below this one.
fn explain(schema: &mut Value, at: &str, said: &BTreeMap<String, Said>) {
    if let Some(named) = schema.get_mut("additionalProperties") {
        explain(named, &format!("{at}.NAME"), said);
    }
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (key, schema) in properties {
        let path = match at {
            "" => key.clone(),
            _ => format!("{at}.{key}"),
        };
        explain(schema, &path, said);
        let (Some(said), Some(schema)) = (said.get(&path), schema.as_object_mut()) else {
            continue;
        };
        if !said.words.is_empty() {
            schema.insert("description".to_owned(), said.words.clone().into());
        }
        if let Some(default) = said.default.as_ref().and_then(|text| json_of(text)) {
            schema.insert("default".to_owned(), default);
        }
    }
}

/// A value of TOML as JSON.
fn json_of(text: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}
