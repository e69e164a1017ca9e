//! Tunnels: what follows a 101 is passed on in both directions until both have ended.

mod farewell;
mod frames;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, sink, split,
};
use tokio::task::spawn_local;
use tokio::time::timeout;

use self::farewell::{CloseCode, Farewell};
use super::Phase;
use super::body::Source;
use super::exchange::{Exchange, Order};
use super::headers;
use super::record::{Line, Record};
use super::upstream::Link;
use super::wire::{Io, Socket};
use super::worker::Seat;
use crate::telemetry::traffic::{Reason, StreamKind};

const BUFFER: usize = 16 * 1024;
/// How long both ends may take to close a tunnel that hitless closes.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// A tunnel whose ends are not there yet.
struct Tunnel {
    exchange: Exchange,
    /// A tunnel is a client connection, whatever task it lives in.
    seat: Seat,
    /// Written when it ends.
    line: RefCell<Option<Line>>,
}

/// One end of a tunnel.
struct End {
    read: ReadHalf<Socket>,
    write: WriteHalf<Socket>,
    /// What had been read beyond the head.
    leftover: Bytes,
}

/// Makes the 101 of the app that of the client, and starts the tunnel.
///
/// # Errors
///
/// When nobody asked for a tunnel, or the app switched to another protocol than was asked for.
pub(super) fn open(
    mut response: Response<Incoming>,
    link: Link,
    asked: Option<OnUpgrade>,
    exchange: Exchange,
    seat: Seat,
    record: &mut Record,
) -> Result<Response<Source>, Reason> {
    let client = asked.ok_or(Reason::BadUpgrade)?;
    if !headers::switch_protocols(&mut response) {
        return Err(Reason::BadUpgrade);
    }
    let app = hyper::upgrade::on(&mut response);
    link.detach();
    exchange.become_stream(StreamKind::Websocket);
    let tunnel = Tunnel {
        exchange,
        seat,
        line: RefCell::new(record.take_line(response.status())),
    };
    spawn_local(tunnel.run(client, app));
    Ok(response.map(|_| Source::Whole(Bytes::new())))
}

// === impl Tunnel ===

impl Tunnel {
    async fn run(self, client: OnUpgrade, app: OnUpgrade) {
        // An error means that one of the two went away before the tunnel was there.
        if let Ok((client, app)) = tokio::try_join!(client, app)
            && let (Some(client), Some(app)) = (End::new(client), End::new(app))
        {
            self.relay(client, app).await;
        }
    }

    /// Relays until both directions have ended, one has failed, or it is told otherwise.
    async fn relay(self, client: End, app: End) {
        let counters = self.exchange.counters();
        let (mut to_client, mut to_app) = (client.write, app.write);
        let mut from_client = client.read;
        let farewell = Farewell::default();
        {
            let up = pump(&mut from_client, &mut to_app, client.leftover, |n| {
                counters.bytes_in(n);
                self.note(|line| line.bytes_in(n));
            });
            let died = || self.close_code();
            let down = farewell.pump(app.read, &mut to_client, app.leftover, died, |n| {
                counters.bytes_out(n);
                self.note(|line| line.bytes_out(n));
            });
            let mut both = pin!(both(up, down));
            let told = tokio::select! {
                _ = &mut both => None,
                order = self.ordered() => Some(order),
            };
            if told == Some(Order::Close) {
                farewell.say(self.close_code());
                // The client answers with a Close of its own, or has had its time.
                let _ = timeout(CLOSE_LIMIT, both).await;
            }
        }
        let ends = async { tokio::join!(to_client.shutdown(), to_app.shutdown()) };
        // Either end may be gone already.
        let _ = timeout(CLOSE_LIMIT, ends).await;
        // What the client still sends must not turn into a reset that destroys what it was told.
        let _ = timeout(CLOSE_LIMIT, tokio::io::copy(&mut from_client, &mut sink())).await;
    }

    fn note(&self, note: impl FnOnce(&mut Line)) {
        if let Some(line) = self.line.borrow_mut().as_mut() {
            note(line);
        }
    }

    fn close_code(&self) -> CloseCode {
        match self.seat.worker().phase() {
            Phase::Serving => CloseCode::ServiceRestart,
            Phase::Closing | Phase::ClosingIdle | Phase::BreakingOff => CloseCode::GoingAway,
        }
    }

    /// Waits for an order to end.
    async fn ordered(&self) -> Order {
        poll_fn(|cx| match self.exchange.order() {
            Some(order @ (Order::Close | Order::Break)) => Poll::Ready(order),
            Some(Order::Look | Order::Recall) | None => {
                self.exchange.park(cx, None);
                Poll::Pending
            }
        })
        .await
    }
}

// === impl End ===

impl End {
    fn new(upgraded: Upgraded) -> Option<Self> {
        let Parts { io, read_buf, .. } = upgraded.downcast::<Io>().ok()?;
        let (read, write) = split(io.into_inner().into_socket());
        Some(Self {
            read,
            write,
            leftover: read_buf,
        })
    }
}

/// Until both directions have ended, or the one to the client has failed. Where the one to the app has, the other still
/// has to tell the client.
async fn both(
    up: impl Future<Output = io::Result<()>>,
    down: impl Future<Output = io::Result<()>>,
) {
    let (mut up, mut down) = (pin!(up), pin!(down));
    tokio::select! {
        sent = &mut up => match sent {
            // The app may go on answering.
            Ok(()) => drop(down.await),
            Err(_) => drop(timeout(CLOSE_LIMIT, down).await),
        },
        // The client has been told, and answers with a Close of its own.
        answered = &mut down => if answered.is_ok() {
            drop(timeout(CLOSE_LIMIT, up).await);
        },
    }
}

/// Passes bytes on in one direction, and its end as well: the other direction may go on.
async fn pump<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut from: R,
    to: &mut W,
    leftover: Bytes,
    count: impl Fn(u64),
) -> io::Result<()> {
    if !leftover.is_empty() {
        count(leftover.len() as u64);
        to.write_all(&leftover).await?;
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        count(length as u64);
        to.write_all(&buffer[..length]).await?;
    }
}
