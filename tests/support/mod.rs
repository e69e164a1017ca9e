//! The test world: the real binary in front of real apps, with real clients.
//!
//! A test is three lines: an [`App`](app::App) that can be deployed in good and broken versions, a
//! [`Hitless`](world::Hitless) in front of it, and clients: single ones ([`client`]) or the mixed load ([`load`]) whose
//! record says whether anybody noticed anything.
//!
//! Ports come from the system. What is waited for is waited for with a deadline; what is left behind fails the test.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses another part of the world"
)]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the test harness shows it with a failed test"
)]

pub mod app;
pub mod client;
pub mod clock;
pub mod events;
pub mod http2;
pub mod load;
pub mod metrics;
pub mod processes;
pub mod program;
pub mod raw;
pub mod record;
pub mod server;
pub mod status;
pub mod steady;
pub mod talk;
pub mod transfers;
pub mod websocket;
pub mod world;
