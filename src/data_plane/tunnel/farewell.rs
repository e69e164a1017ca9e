//! The end of a WebSocket that hitless brings about: a Close frame to the client, and never in the middle of a frame.

use std::cell::Cell;
use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use super::BUFFER;
use super::frames::Frames;

/// Why a WebSocket is closed (RFC 6455 7.4.1 and its registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCode {
    /// hitless is stopping.
    GoingAway = 1001,
    /// The generation is; coming back leads to another one.
    ServiceRestart = 1012,
}

/// Whether the client is to be told that it is over.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    code: Cell<Option<CloseCode>>,
    told: Notify,
}

impl Farewell {
    /// From now on the client is told at the next end of a frame.
    pub(super) fn say(&self, code: CloseCode) {
        self.code.set(Some(code));
        self.told.notify_one();
    }

    /// Passes the app's bytes on to the client until the farewell is said, or the app has ended. Where that ended
    /// without a Close frame, as one that died, the client is told with `died`.
    pub(super) async fn pump<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        mut app: R,
        client: &mut W,
        leftover: Bytes,
        died: impl Fn() -> CloseCode,
        count: impl Fn(u64),
    ) -> io::Result<()> {
        let mut frames = Frames::default();
        frames.feed(&leftover);
        count(leftover.len() as u64);
        client.write_all(&leftover).await?;
        let mut buffer = vec![0; BUFFER];
        loop {
            if let Some(code) = self.code.get().filter(|_| frames.at_boundary()) {
                return client.write_all(&close_frame(code)).await;
            }
            let length = tokio::select! {
                // A reset is an end like any other: the client did nothing wrong.
                length = app.read(&mut buffer) => length.unwrap_or(0),
                () = self.told.notified() => continue,
            };
            if length == 0 {
                if frames.at_boundary() && !frames.has_closed() {
                    client.write_all(&close_frame(died())).await?;
                }
                return client.shutdown().await;
            }
            frames.feed(&buffer[..length]);
            count(length as u64);
            client.write_all(&buffer[..length]).await?;
        }
    }
}

/// An unmasked Close frame without words.
fn close_frame(code: CloseCode) -> [u8; 4] {
    let [high, low] = (code as u16).to_be_bytes();
    [0x88, 2, high, low]
}
