//! One instance: its port, environment, output, signals, who listens. The only place that starts a program.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to start for each generation of an app, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The program and its arguments, with `{port}` `{socket}` `{generation}` `{instance}` not yet filled in.
    pub command: Vec<String>,
    /// Where to start it, resolved anew through symlinks for each generation. `None`: hitless's own directory.
    pub directory: Option<PathBuf>,
    /// A file of `KEY=value` lines, read again for each generation.
    pub env_file: Option<PathBuf>,
    /// Variables set for the app, over those of `env_file`.
    pub env: BTreeMap<String, String>,
    /// Whether the port stays bound by hitless until the app listens.
    pub reserve_port: bool,
}
