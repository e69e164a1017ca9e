//! The clients that hold WebSockets.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Interval, timeout};

use super::super::ledger::{How, Kind, Trouble};
use super::super::socket::{Ended, WebSocket};
use super::{ANSWER_WITHIN, Shared, goes_on, ticks};

/// The beat of the messages.
const MESSAGE_EVERY: Duration = Duration::from_millis(100);

/// A WebSocket that echoes all the time, opened anew after so many messages, or when it was asked to go.
pub(super) async fn lane(shared: Arc<Shared>, mut stop: watch::Receiver<bool>, messages: u64) {
    let mut ticks = ticks(Instant::now(), MESSAGE_EVERY);
    while goes_on(&mut ticks, &mut stop).await {
        let sent = Instant::now();
        let opened = timeout(ANSWER_WITHIN, WebSocket::open(shared.address)).await;
        match opened.unwrap_or_else(|late| Err(late.into())) {
            Ok(socket) => {
                shared.push(Kind::WebSocket, sent, Some(socket.version()), None);
                echo(&shared, &mut ticks, &mut stop, messages, socket).await;
            }
            Err(error) => {
                let trouble = Trouble::new(How::NoAnswer, error.to_string());
                shared.push(Kind::WebSocket, sent, None, Some(trouble));
            }
        }
    }
}

/// Echoes until it has sent its messages, the server asks to go, something breaks or all is over.
async fn echo(
    shared: &Shared,
    ticks: &mut Interval,
    stop: &mut watch::Receiver<bool>,
    messages: u64,
    mut socket: WebSocket,
) {
    let version = Some(socket.version());
    let mut sent = Instant::now();
    let mut ended = Ok(());
    for message in 0..messages {
        if ended.is_err() || !goes_on(ticks, stop).await {
            break;
        }
        sent = Instant::now();
        ended = in_time(socket.echo(&message.to_string())).await;
        if ended.is_ok() {
            shared.push(Kind::Echo, sent, version, None);
        }
    }
    if ended.is_ok() {
        sent = Instant::now();
        ended = in_time(socket.close()).await;
    }
    match ended {
        Ok(()) => {}
        // 1012: the server has no more room for it; a client comes back.
        Err(Ended::Closed(1012)) => shared.ledger.push_farewell(),
        Err(Ended::Closed(code)) => {
            let trouble = Trouble::new(How::Wrong, format!("closed with {code}"));
            shared.push(Kind::Echo, sent, version, Some(trouble));
        }
        Err(Ended::Broken(error)) => {
            let trouble = Trouble::new(How::BrokenOff, error.to_string());
            shared.push(Kind::Echo, sent, version, Some(trouble));
        }
    }
}

async fn in_time(exchange: impl Future<Output = Result<(), Ended>>) -> Result<(), Ended> {
    let ended = timeout(ANSWER_WITHIN, exchange).await;
    ended.unwrap_or_else(|late| Err(Ended::Broken(late.into())))
}
