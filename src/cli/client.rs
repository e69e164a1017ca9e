//! What the commands that talk to a running hitless share: finding it, and saying why that did not work.

use std::path::PathBuf;
use std::process::ExitCode;

use super::args::ControlArgs;
use super::{complain, exit};
use crate::control_plane::api::client::Error;
use crate::control_plane::api::socket;

/// The control socket of the hitless that is meant.
pub(super) fn find(args: &ControlArgs) -> Result<PathBuf, ExitCode> {
    socket::find(args.name.as_deref(), args.control.as_deref()).map_err(|error| {
        complain(&error.to_string());
        ExitCode::from(match error {
            socket::Error::NotRunning(_) => exit::NOT_RUNNING,
            socket::Error::Folder { .. }
            | socket::Error::Unsafe { .. }
            | socket::Error::Long(_)
            | socket::Error::Several(_) => exit::USAGE,
        })
    })
}

/// Says why there is no answer.
pub(super) fn failed(error: &Error) -> ExitCode {
    complain(&error.to_string());
    ExitCode::from(match error {
        Error::NotRunning(_) => exit::NOT_RUNNING,
        Error::Refused { status, .. } if status.as_u16() == 404 => exit::USAGE,
        Error::Refused { status, .. } if status.as_u16() == 422 => exit::CONFIG,
        Error::Permission(_) | Error::Broken(_) | Error::Refused { .. } => exit::FAILED,
    })
}
