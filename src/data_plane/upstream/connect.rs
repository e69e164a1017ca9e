//! Making a connection to an instance.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use rustix::io::Errno;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::coop::has_budget_remaining;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use super::Failure;
use super::shared::{self, Shared};
use crate::data_plane::body::RequestBody;
use crate::data_plane::wire::{Io, Pulse, Socket, Wire};
use crate::generation::Address;

/// The same limit as towards clients.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Connects within `limit` and runs the connection in a task of its own.
pub(super) async fn connect(
    address: &Address,
    limit: Duration,
) -> Result<(SendRequest<RequestBody>, AbortHandle, Arc<Pulse>), Failure> {
    let socket = open_within(address, limit).await?;
    let pulse = Arc::new(Pulse::default());
    let io = Wire::new(socket, Arc::clone(&pulse));
    let mut builder = Builder::new();
    builder.writev(true).max_header_size(HEAD_BYTES_MAX);
    let handshake = builder.handshake(io).await;
    let (sender, connection) = handshake.map_err(|_| Failure::ConnectFailed)?;
    let task = spawn_local(run(connection, Arc::clone(&pulse)));
    Ok((sender, task.abort_handle(), pulse))
}

/// Serves the connection to its end.
async fn run(connection: Connection<Io, RequestBody>, pulse: Arc<Pulse>) {
    let mut connection = pin!(connection.with_upgrades());
    // Cut short by the budget of its turn, it has not said to everybody by whom it is to be woken.
    let mut was_cut_short = false;
    // Whoever waits for an answer on it is told of the error as well.
    let _ = poll_fn(|cx| {
        // hyper wakes it once more after the last byte of an answer was taken, when nothing is left to do.
        if pulse.is_at_rest() && !was_cut_short {
            return Poll::Pending;
        }
        let polled = connection.as_mut().poll(cx);
        was_cut_short = !has_budget_remaining();
        polled
    })
    .await;
}

/// The same for HTTP/2, by prior knowledge.
pub(super) async fn connect_shared(address: &Address, limit: Duration) -> Result<Shared, Failure> {
    let socket = open_within(address, limit).await?;
    // What goes over it may say nothing for hours, and nothing else asks whether the app is there.
    socket.notice_death();
    shared::handshake(Wire::new(socket, Arc::default())).await
}

async fn open_within(address: &Address, limit: Duration) -> Result<Socket, Failure> {
    match timeout(limit, open(address)).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(explain(&error)),
        Err(_) => Err(Failure::ConnectTimedOut),
    }
}

async fn open(address: &Address) -> io::Result<Socket> {
    match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Socket::Tcp(stream))
        }
        Address::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
    }
}

fn explain(error: &io::Error) -> Failure {
    let ours = error.raw_os_error().map(Errno::from_raw_os_error);
    if matches!(
        ours,
        Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM)
    ) {
        return Failure::NoSocket;
    }
    match error.kind() {
        // The path of a unix socket that is gone says the same as a closed port.
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::NotFound => Failure::Refused,
        io::ErrorKind::TimedOut => Failure::ConnectTimedOut,
        _ => Failure::ConnectFailed,
    }
}
