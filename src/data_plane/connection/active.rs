//! A connection in the hands of hyper, and how it is taken back.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::{HttpService, service_fn};

use super::caught::Caught;
use super::{Client, Config};
use crate::data_plane::body::AnswerBody;
use crate::data_plane::proxy;
use crate::data_plane::wire::{Io, Pulse, Socket, Wire};

/// How much is read at once at most, and how much of an answer waits to be written: a body of 64 KiB comes in one piece
/// with its head. No more, for each slow connection may hold as much.
const BUFFER: usize = (64 + 8) * 1024;

/// A connection that hyper serves.
pub(super) struct Active {
    connection: Box<dyn Serve>,
    pulse: Arc<Pulse>,
}

/// hyper's connection, whatever the type of its service.
trait Serve {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>>;

    /// The socket, and what was read of it and belongs to no request. None: it is a tunnel now.
    fn into_parts(self: Box<Self>) -> Option<(Socket, Bytes)>;
}

// === impl Active ===

impl Active {
    /// Hands a socket to hyper, with what was read of it already.
    pub(super) fn new(socket: Socket, ahead: Bytes, client: Client) -> Self {
        let pulse = Arc::new(Pulse::default());
        let io = Wire::resume(socket, Arc::clone(&pulse), ahead);
        let builder = builder(&client.worker().settings().client);
        let client = Rc::new(client);
        let service = {
            let pulse = Arc::clone(&pulse);
            service_fn(move |request: Request<Incoming>| {
                pulse.found_head();
                let strays = client.strays();
                let forward = || proxy::forward(request, Rc::clone(&client), pulse.begin());
                // hyper moves what it is given, more than once.
                Box::pin(Caught::new(forward, strays))
            })
        };
        let connection = builder.serve_connection(io, service).with_upgrades();
        Self {
            connection: Box::new(connection),
            pulse,
        }
    }

    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.connection.poll(cx)
    }

    /// Takes it back. Safe while the pulse is resting, or at the end: otherwise bytes of a message would be lost.
    pub(super) fn into_parts(self) -> Option<(Socket, Bytes)> {
        self.connection.into_parts()
    }
}

fn builder(config: &Config) -> Builder {
    let mut builder = Builder::new();
    builder
        // The sweep knows when a head is late, and costs nothing for each request.
        .header_read_timeout(None)
        .half_close(false)
        .writev(true)
        .max_headers(config.head_fields_max)
        .max_buf_size(config.head_bytes_max.max(BUFFER))
        .max_header_size(config.head_bytes_max);
    builder
}

impl<S> Serve for UpgradeableConnection<Io, S>
where
    S: HttpService<Incoming, ResBody = AnswerBody, Error = Infallible>,
    Self: Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Future::poll(Pin::new(self), cx)
    }

    fn into_parts(self: Box<Self>) -> Option<(Socket, Bytes)> {
        let parts = (*self).into_parts()?;
        let (socket, ahead) = parts.io.into_inner().into_parts();
        let rest = if ahead.is_empty() {
            parts.read_buf
        } else {
            let mut rest = BytesMut::from(parts.read_buf);
            rest.extend_from_slice(&ahead);
            rest.freeze()
        };
        Some((socket, rest))
    }
}
