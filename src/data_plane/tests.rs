//! The promises of the data plane, each against an app of its own that says byte by byte what it says.

mod asking;
mod buffering;
mod ending;
mod extended;
mod limits;
mod messages;
mod multiplexed;
mod outcomes;
mod parking;
mod recalling;
mod replaying;
mod rescuing;
mod resending;
mod streams;
mod tunnels;
mod world;
