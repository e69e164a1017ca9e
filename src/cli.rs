//! (to be written)

use std::process::ExitCode;

/// (to be written)
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
