//! The built-in app: something to reload, with faults on command.
//!
//! The README, the tests and the benches run it as `hitless demo-app`. It stands on the other side of the proxy: it
//! imports nothing of hitless, and nothing of hitless but `cli` imports it.

pub mod app;
mod checksum;
mod faults;
mod routes;
mod websocket;
