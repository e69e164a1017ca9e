//! The built-in app, something to reload with faults on command; and the show that is made of it.
//!
//! The README, the tests and the benches run the app as `hitless demo-app`. It stands on the other side of the proxy: it
//! imports nothing of hitless. Nothing of hitless but `cli` imports either.

pub mod app;
mod checksum;
mod faults;
mod routes;
pub mod show;
mod websocket;
