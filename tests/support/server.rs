//! An app that a test itself runs, as somebody does who has started it elsewhere: hitless gets its address only.

use std::net::SocketAddr;

use super::program::{self, Program};
use super::world::SOON;

/// The built-in app on a port of its own. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    program: Program,
    pub address: SocketAddr,
}

// === impl Server ===

impl Server {
    /// This version of it, listening.
    pub async fn start(version: u64) -> Self {
        Self::with(version, 0, &[]).await
    }

    /// The same with further options, at a port that it had before; 0: the system picks one.
    pub async fn with(version: u64, port: u16, options: &[&str]) -> Self {
        let version = version.to_string();
        let port = port.to_string();
        let fixed = ["demo-app", "--version", &version, "--port", &port];
        let words = fixed.iter().chain(options);
        let program = Program::start(program::hitless(), words, &[]);
        let line = program.says(&format!("version {version} on "), SOON).await;
        let (_, address) = line.rsplit_once(" on ").expect("it was just seen");
        let address = address.parse().expect("it says an address");
        Self { program, address }
    }

    pub fn is_running(&mut self) -> bool {
        self.program.has_ended().is_none()
    }

    /// Ends it at once.
    pub fn stop(mut self) {
        self.program.kill();
    }
}
