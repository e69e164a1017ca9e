//! WebSockets that are full of large messages in many frames, both ways, all the time.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

const FRAGMENT: usize = 48 * 1024;

/// How one side of a talk ended.
#[derive(Debug)]
pub struct Talk {
    pub messages: u64,
    pub close: Option<CloseFrame>,
    /// Anything that is not in order.
    pub fault: Option<String>,
    pub at: Instant,
}

/// When the next message is sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As soon as the one before has been written.
    AtOnce,
    /// This long after the one before, with at most so many that have not been answered.
    Every(Duration, usize),
}

// === impl Talk ===

impl Talk {
    /// The code of the Close that it ended with, if all before that was in order.
    ///
    /// # Panics
    ///
    /// If it was not.
    #[track_caller]
    pub fn code(&self) -> Option<u16> {
        assert_eq!(self.fault, None, "{self:?}");
        self.close.as_ref().map(|close| u16::from(close.code))
    }
}

/// Sends messages of three frames without end, and reads those of the other side, which are the same: it talks as well, or
/// says everything again. Frames that are cut or messages that are not what was sent are faults.
pub async fn talk(stream: WebSocketStream<TcpStream>, pace: Pace) -> Talk {
    let (mut sink, mut source) = stream.split();
    let unanswered = Semaphore::new(match pace {
        Pace::AtOnce => 0,
        Pace::Every(_, most) => most,
    });
    let sending = async {
        let mut ticks = match pace {
            Pace::AtOnce => None,
            Pace::Every(every, _) => Some(interval(every)),
        };
        for message in 0.. {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
                let one = unanswered.acquire().await;
                one.expect("it is never closed").forget();
            }
            for frame in frames(message) {
                if sink.send(Message::Frame(frame)).await.is_err() {
                    // The other half knows why.
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        let mut messages = 0;
        let ended = |messages, close, fault| Talk {
            messages,
            close,
            fault,
            at: Instant::now(),
        };
        loop {
            match source.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    let expected: Vec<u8> =
                        (0..3).flat_map(|index| fragment(messages, index)).collect();
                    if bytes != expected {
                        let fault = format!("message {messages} is another one");
                        return ended(messages, None, Some(fault));
                    }
                    messages += 1;
                    unanswered.add_permits(1);
                }
                Some(Ok(Message::Close(close))) => return ended(messages, close, None),
                other => return ended(messages, None, Some(format!("{other:?}"))),
            }
        }
    };
    let talk = tokio::select! {
        talk = reading => talk,
        () = async { sending.await; std::future::pending().await } => unreachable!("it never ends"),
    };
    // The library has queued its own Close.
    match sink.close().await {
        Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_)) => talk,
        Err(error) => Talk {
            fault: Some(error.to_string()),
            ..talk
        },
    }
}

fn frames(message: u64) -> impl Iterator<Item = Frame> {
    (0..3).map(move |index| {
        let code = OpCode::Data(if index == 0 {
            Data::Binary
        } else {
            Data::Continue
        });
        Frame::message(fragment(message, index), code, index == 2)
    })
}

fn fragment(message: u64, index: u64) -> Bytes {
    let tag = (message * 3 + index).to_le_bytes()[0];
    vec![tag; FRAGMENT + usize::from(tag)].into()
}
