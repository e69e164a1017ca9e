//! The control plane: decides which generation is live.
//!
//! Its brain is [`supervisor`], a pure state machine; [`driver`] is the shell around it. Never imports the data plane.

pub mod supervisor;

pub mod driver;

pub mod process;

pub mod readiness;

pub mod endpoint;

pub mod instances;

pub mod backoff;

pub mod memory;

pub mod trigger;

pub mod starts;

pub mod status;

pub mod progress;

pub mod apps;

pub mod api;
