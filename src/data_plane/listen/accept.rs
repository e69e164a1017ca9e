//! Accepting: goes on whatever the system says, and at the end takes what is queued before it closes the socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Listener, Turn};
use crate::data_plane::Phase;
use crate::data_plane::connection;
use crate::data_plane::wire::Socket;
use crate::data_plane::worker::{Gate, Worker};

const BACKOFF_FIRST: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A listening socket that the worker's runtime knows.
enum Source {
    Tcp { listener: TcpListener, port: u16 },
    Unix { listener: UnixListener, turn: Turn },
}

/// Accepts from one socket until the server closes or the address is served no more; what is queued by then is accepted
/// as well.
pub(in crate::data_plane) async fn accept(
    listener: Listener,
    gate: Rc<Gate>,
    worker: Rc<Worker>,
    mut phase: watch::Receiver<Phase>,
) {
    let source = match Source::new(listener) {
        Ok(source) => source,
        Err(error) => return tracing::error!(%error, "cannot accept"),
    };
    let mut backoff = BACKOFF_FIRST;
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that whoever decides about phases is gone.
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => break,
            () = gate.is_left() => break,
            accepted = source.accept(&worker) => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                backoff = BACKOFF_FIRST;
                connection::spawn(socket, peer, &gate, &worker);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: what is queued waits until some are free again.
                worker.give_way();
                tracing::warn!(%error, ?backoff, "cannot accept for now");
                sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
    source.take_queued(&gate, &worker);
}

/// Whether only the connection that was about to be accepted is concerned.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

// === impl Source ===

impl Source {
    fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp {
                port: listener.local_addr()?.port(),
                listener: TcpListener::from_std(listener)?,
            },
            Listener::Unix(listener, turn) => Self::Unix {
                listener: UnixListener::from_std(listener)?,
                turn,
            },
        })
    }

    /// The next connection, once there is room for one.
    async fn accept(&self, worker: &Worker) -> io::Result<(Socket, connection::Peer)> {
        worker.room().await;
        match self {
            Self::Tcp { listener, port } => {
                let (stream, peer) = listener.accept().await?;
                Ok((Socket::Tcp(stream), tcp_peer(peer, *port)))
            }
            Self::Unix { listener, turn } => {
                turn.come().await;
                let accepted = listener.accept().await;
                turn.pass_on();
                Ok((Socket::Unix(accepted?.0), connection::Peer::default()))
            }
        }
    }

    /// Accepts until nothing is queued, and closes the socket.
    fn take_queued(self, gate: &Rc<Gate>, worker: &Rc<Worker>) {
        if let Err(error) = self.try_take_queued(gate, worker)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::warn!(%error, "queued connections are lost");
        }
    }

    fn try_take_queued(self, gate: &Rc<Gate>, worker: &Rc<Worker>) -> io::Result<()> {
        match self {
            Self::Tcp { listener, port } => {
                let listener = listener.into_std()?;
                loop {
                    let (stream, peer) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    let socket = Socket::Tcp(TcpStream::from_std(stream)?);
                    connection::spawn(socket, tcp_peer(peer, port), gate, worker);
                }
            }
            Self::Unix {
                listener,
                turn: _turn,
            } => {
                let listener = listener.into_std()?;
                loop {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    let socket = Socket::Unix(UnixStream::from_std(stream)?);
                    connection::spawn(socket, connection::Peer::default(), gate, worker);
                }
            }
        }
    }
}

fn tcp_peer(peer: SocketAddr, port: u16) -> connection::Peer {
    let address: IpAddr = peer.ip().to_canonical();
    connection::Peer {
        address: Some(address),
        port: Some(port),
    }
}
