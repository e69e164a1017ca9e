//! The `hitless` program: parse what was typed, do it, and say how it ended.

use std::process::ExitCode;

/// Measured: a point of the instructions per request against the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hitless::cli::main()
}
