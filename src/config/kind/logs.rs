//! What the values of `[log]` may be.

use super::Choice;
use crate::config::problem::Problem;
use crate::config::read::{self, Kind, Node};
use crate::config::words;
use crate::telemetry::access::Destination;
use crate::telemetry::log;

const ACCESS_LOG: &str = r#""off", "stdout", "stderr" or a file"#;

/// Where the access log goes.
#[derive(Debug)]
pub(in crate::config) struct AccessLog;

impl Choice for log::Level {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

impl Choice for log::Format {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Choice for log::AppFormat {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("tagged", Self::Tagged),
        ("raw", Self::Raw),
        ("json", Self::Json),
    ];
}

impl Kind for AccessLog {
    type Value = Destination;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<Destination> {
        read::text(node, at, problems, ACCESS_LOG, words::access_log)
    }
}
