//! The promises of the data plane, each against an app of its own that says byte by byte what it says.

mod ending;
mod messages;
mod resending;
mod streams;
mod world;
