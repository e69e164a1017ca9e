//! hitless: the zero-downtime reloading reverse proxy.
//!
//! Two planes meet in one type. The **data plane** forwards requests and only reads which generation is live. The
//! **control plane** decides which generation is live; its brain is a pure state machine. Neither waits for the other.
//!
//! ```text
//!             requests                                             triggers (signals, files, commands)
//!                |                                                          |
//!   listen -> connection -> proxy -> live.acquire() -> upstream     trigger -> driver <-> supervisor   (pure: Event in, Actions out)
//!                                       ^                                      |  \-> process, readiness
//!                                       +---------------- publish -------------+
//! ```
//!
//! The modules in reading order:

pub mod generation;
mod paths;
mod sync;
pub mod units;

pub mod descriptors;
mod memory;

pub mod live;

pub mod control_plane;

pub mod data_plane;

pub mod telemetry;

pub mod admin;

pub mod systemd;

pub mod config;

pub mod server;

pub mod demo;

pub mod cli;
