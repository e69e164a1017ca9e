//! The last moment of a connection: says that nothing more comes and reads what the client still sends.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::data_plane::wire::Socket;

const LIMIT: Duration = Duration::from_secs(1);

/// Closes the sending side and reads to the end for a moment: closing a socket with unread bytes is a reset, which
/// takes what was sent but not yet read with it (RFC 9112 section 9.6).
pub(super) async fn close(mut socket: Socket) {
    if socket.shutdown().await.is_err() {
        return;
    }
    let mut buffer = [0; 2048];
    let read_to_end = async {
        while socket
            .read(&mut buffer)
            .await
            .is_ok_and(|length| length > 0)
        {}
    };
    // Past the limit there is nothing left to do but to close.
    let _ = timeout(LIMIT, read_to_end).await;
}
