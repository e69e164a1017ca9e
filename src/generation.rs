//! The vocabulary that both planes share: which start of the app, which trigger, how it ended, where it listens.
//!
//! Plain data only. This module performs no I/O and knows no clock.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The number of one start of an app: 1, 2, 3 … for the life of the app, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GenerationId(u64);

impl GenerationId {
    /// The first start of an app.
    pub const FIRST: Self = Self(1);

    /// The generation that is started after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number itself, from 1.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for GenerationId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of one trigger (or rollback) of an app, in the order of their arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TriggerId(u64);

impl TriggerId {
    /// The trigger that the start of hitless is.
    pub const FIRST: Self = Self(1);

    /// The trigger that arrives after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl From<u64> for TriggerId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for TriggerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an app: the `NAME` of `[app.NAME]`, or `app` where flags alone describe it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppName(Arc<str>);

impl AppName {
    /// A name; whoever reads it from outside has checked that it is one.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the instances of an app speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// Where an instance listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address, normally on loopback.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(Arc<Path>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why something failed: a closed word for metrics and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// The closed word.
    pub kind: ReasonKind,
    /// One sentence without a full stop, such as `exited with status 1 before it was ready`.
    pub message: Arc<str>,
}

impl Reason {
    /// A reason of this kind in these words.
    pub fn new(kind: ReasonKind, message: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The closed list of causes, in the order of an instance's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonKind {
    /// No process could be started: not found, not executable, no permission, out of memory.
    Spawn,
    /// The process ended, with a status or by a signal.
    Exited,
    /// Not ready within `start_timeout`.
    StartTimeout,
    /// It listens, but not where it was told to.
    WrongPort,
    /// A process that is not the app's holds the address.
    Stranger,
    /// A warm-up request was not answered as it must be.
    WarmUp,
    /// New connections were refused or reset.
    ConnectFailures,
    /// The readiness check failed while live.
    Unready,
    /// Too many bad answers.
    ErrorRatio,
    /// A rollback was asked for.
    Asked,
    /// A rollback has nowhere to go.
    NowhereToGo,
    /// The keeper died and took the app with it.
    Keeper,
}

impl ReasonKind {
    /// Every kind, for label sets that stand at 0 from the start.
    pub const ALL: [Self; 12] = [
        Self::Spawn,
        Self::Exited,
        Self::StartTimeout,
        Self::WrongPort,
        Self::Stranger,
        Self::WarmUp,
        Self::ConnectFailures,
        Self::Unready,
        Self::ErrorRatio,
        Self::Asked,
        Self::NowhereToGo,
        Self::Keeper,
    ];

    /// The word in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Exited => "exited",
            Self::StartTimeout => "start_timeout",
            Self::WrongPort => "wrong_port",
            Self::Stranger => "stranger",
            Self::WarmUp => "warm_up",
            Self::ConnectFailures => "connect_failures",
            Self::Unready => "unready",
            Self::ErrorRatio => "error_ratio",
            Self::Asked => "asked",
            Self::NowhereToGo => "nowhere_to_go",
            Self::Keeper => "keeper",
        }
    }
}

/// How a trigger ended. Each trigger gets exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Its generation serves (or, for a rollback, the version asked for already did).
    Live,
    /// It did not go live; what served before still serves.
    Failed(Reason),
    /// A newer trigger came before it was live.
    Superseded,
    /// hitless is stopping.
    Cancelled,
}

/// How the probation of a generation ended, for those who wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It stays.
    Proven,
    /// It was bad (or a rollback was asked for), and the version before it serves again.
    FailedOver(Reason),
    /// A newer generation went live before the probation ended.
    Replaced,
    /// hitless is stopping.
    Cancelled,
}
