//! The values of options: each says what it takes.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::Admin;
use super::asking::Addresses;
use crate::config::{units, words};
use crate::control_plane::endpoint::{Endpoint, EndpointError};
use crate::telemetry::log;

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|error| error.to_string())
}

pub(super) fn addresses(text: &str) -> Result<Addresses, EndpointError> {
    Endpoint::list(text).map(|list| Addresses(list.into()))
}

pub(super) fn admin(text: &str) -> Result<Admin, String> {
    words::admin(text).map(Admin)
}

pub(super) fn positive(text: &str) -> Result<Duration, String> {
    match units::duration(text) {
        Ok(Duration::ZERO) => Err("a duration of at least 1ms".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 0..=1024) => Ok(threads),
        _ => Err("a whole number from 0 to 1024".to_owned()),
    }
}

pub(super) fn instances(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(instances @ 1..=1000) => Ok(instances),
        _ => Err("a whole number from 1 to 1000".to_owned()),
    }
}

pub(super) fn log_format() -> impl TypedValueParser<Value = log::Format> {
    PossibleValuesParser::new(["text", "json"]).map(|word| match word.as_str() {
        "json" => log::Format::Json,
        _ => log::Format::Text,
    })
}
