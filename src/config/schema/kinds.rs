//! The schema of each kind that a value may be of.

use serde_json::{Value, json};

use super::Described;
use crate::config::kind::{
    AccessLog, Address, Choice, Command, Flag, Host, Listener, Name, Number, OptionalAddress, Path,
    Pattern, Positive, Proxy, Ratio, RouteList, Size, SizeOrNone, SocketPath, Statuses, Time,
    UrlPath, Variables, WarmUps, Word,
};
use crate::config::read::{List, Named, OneOrMore, Table};

const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
const SIZE: &str = r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB)$";
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$";

fn text() -> Value {
    json!({ "type": "string" })
}

fn not_empty() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn matching(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

fn zero_or(other: &Value) -> Value {
    json!({ "anyOf": [{ "const": 0 }, other] })
}

fn list(entry: &Value) -> Value {
    json!({ "type": "array", "items": entry })
}

fn some(entry: &Value) -> Value {
    json!({ "type": "array", "items": entry, "minItems": 1 })
}

fn status() -> Value {
    json!({ "anyOf": [
        { "type": "integer", "minimum": 100, "maximum": 599 },
        { "type": "string", "pattern": "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$" },
    ] })
}

impl Described for Flag {
    fn schema() -> Value {
        json!({ "type": "boolean" })
    }
}

impl<T, const MIN: u64, const MAX: u64> Described for Number<T, MIN, MAX> {
    fn schema() -> Value {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

impl<const ZERO: bool> Described for Ratio<ZERO> {
    fn schema() -> Value {
        match ZERO {
            true => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
            false => json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 }),
        }
    }
}

impl<const MIN: u64, const MAX: u64> Described for Size<MIN, MAX> {
    fn schema() -> Value {
        matching(SIZE)
    }
}

impl<const MAX: u64> Described for SizeOrNone<MAX> {
    fn schema() -> Value {
        zero_or(&matching(SIZE))
    }
}

impl Described for Time {
    fn schema() -> Value {
        zero_or(&matching(r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$"))
    }
}

impl Described for Positive {
    fn schema() -> Value {
        matching(DURATION)
    }
}

impl<T: Choice> Described for Word<T> {
    fn schema() -> Value {
        let words: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
        json!({ "enum": words })
    }
}

impl Described for Name {
    fn schema() -> Value {
        matching(NAME)
    }
}

impl Described for UrlPath {
    fn schema() -> Value {
        matching("^/")
    }
}

impl Described for Statuses {
    fn schema() -> Value {
        status()
    }
}

impl Described for Command {
    fn schema() -> Value {
        some(&text())
    }
}

impl Described for Variables {
    fn schema() -> Value {
        json!({
            "type": "object",
            "propertyNames": { "not": { "pattern": "^(PORT|HOST|HITLESS_.*)$" } },
            "additionalProperties": { "type": "string" },
        })
    }
}

impl Described for RouteList {
    fn schema() -> Value {
        let (host, path) = (not_empty(), matching("^/"));
        let route = super::table(vec![
            ("host", host),
            ("path", path),
            ("strip_prefix", Flag::schema()),
        ]);
        some(&route)
    }
}

impl Described for WarmUps {
    fn schema() -> Value {
        let (path, statuses) = (UrlPath::schema(), some(&status()));
        let mut entry = super::table(vec![("path", path.clone()), ("status", statuses)]);
        entry["required"] = json!(["path"]);
        list(&json!({ "anyOf": [path, entry] }))
    }
}

impl Described for Listener {
    fn schema() -> Value {
        let account = json!({ "type": ["string", "integer"] });
        let mut entry = super::table(vec![
            ("address", not_empty()),
            ("mode", matching("^0?[0-7]{1,3}$")),
            ("owner", account.clone()),
            ("group", account),
            ("apps", list(&Name::schema())),
        ]);
        entry["required"] = json!(["address"]);
        json!({ "anyOf": [not_empty(), entry] })
    }
}

/// Kinds whose text is judged by a parser of their own.
macro_rules! texts {
    ($($kind:ident: $schema:ident,)*) => {
        $(impl Described for $kind {
            fn schema() -> Value {
                $schema()
            }
        })*
    };
}

texts! {
    AccessLog: not_empty,
    Address: not_empty,
    Host: not_empty,
    OptionalAddress: text,
    Path: not_empty,
    Pattern: not_empty,
    Proxy: not_empty,
    SocketPath: not_empty,
}

impl<K: Described> Described for List<K> {
    fn schema() -> Value {
        list(&K::schema())
    }
}

impl<K: Described> Described for OneOrMore<K> {
    fn schema() -> Value {
        some(&K::schema())
    }
}

impl<T: Table + Described> Described for Named<T> {
    fn schema() -> Value {
        json!({
            "type": "object",
            "minProperties": 1,
            "propertyNames": { "pattern": NAME },
            "additionalProperties": T::schema(),
        })
    }
}
