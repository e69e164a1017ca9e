//! An app that speaks HTTP/2 and takes WebSockets, and one side of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::data_plane::tests::world::{World, soon};
use crate::live::{Backend, Generation};

pub(super) type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// An app whose answers a test gives by hand.
pub(super) struct App {
    asked: mpsc::UnboundedReceiver<Asked>,
    pub(super) connections: Arc<AtomicU32>,
    pub(super) open: Arc<AtomicU32>,
    pub(super) generation: Arc<Generation<Backend>>,
}

/// One side of a tunnel over HTTP/2.
pub(super) struct Side {
    pub(super) sends: SendStream<Bytes>,
    pub(super) gets: RecvStream,
    got: Vec<u8>,
}

impl App {
    /// One that is live, and takes WebSockets or does not.
    pub(super) async fn new(world: &World, takes: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let generation = world.publish(1, &[listener.local_addr().unwrap()]);
        let (tell, asked) = mpsc::unbounded_channel();
        let connections = Arc::<AtomicU32>::default();
        let open = Arc::<AtomicU32>::default();
        let (count, level) = (Arc::clone(&connections), Arc::clone(&open));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                let (tell, level) = (tell.clone(), Arc::clone(&level));
                tokio::spawn(async move {
                    level.fetch_add(1, SeqCst);
                    let mut builder = Builder::new();
                    if takes {
                        builder.enable_connect_protocol();
                    }
                    if let Ok(mut connection) = builder.handshake(stream).await {
                        while let Some(Ok(asked)) = connection.accept().await {
                            let _ = tell.send(asked);
                        }
                    }
                    level.fetch_sub(1, SeqCst);
                });
            }
        });
        Self {
            asked,
            connections,
            open,
            generation,
        }
    }

    pub(super) async fn next(&mut self) -> Asked {
        soon(self.asked.recv()).await.expect("the app runs")
    }

    /// Takes the WebSocket that is asked for.
    pub(super) async fn accept(&mut self) -> Side {
        let (request, respond) = self.next().await;
        Side::open(request, respond)
    }

    pub(super) async fn has_closed_its_connections(&self) {
        soon(async {
            while self.open.load(SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

impl Side {
    pub(super) fn open(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Self {
        let answer = Response::builder().header("sec-websocket-protocol", "chat");
        let sends = respond.send_response(answer.body(()).unwrap(), false);
        Self::new(sends.unwrap(), request.into_body())
    }

    pub(super) fn new(sends: SendStream<Bytes>, gets: RecvStream) -> Self {
        Self {
            sends,
            gets,
            got: Vec::new(),
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.sends.send_data(bytes, false).unwrap();
    }

    pub(super) fn end(&mut self) {
        self.sends.send_data(Bytes::new(), true).unwrap();
    }

    /// So many bytes.
    pub(super) async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.got.len() < length {
            let got = soon(self.gets.data()).await.expect("it has not ended");
            self.got.extend(got.unwrap());
        }
        let rest = self.got.split_off(length);
        std::mem::replace(&mut self.got, rest)
    }

    /// All that still comes, and whether it ended as it should.
    pub(super) async fn rest(&mut self) -> (Vec<u8>, bool) {
        loop {
            match soon(self.gets.data()).await {
                Some(Ok(got)) => self.got.extend(got),
                ended => return (std::mem::take(&mut self.got), ended.is_none()),
            }
        }
    }
}
