//! A data plane with one worker, apps made of raw sockets, and clients made of raw sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::data_plane::listen::{self, ListenAddress};
use crate::data_plane::route::{Route, Routes};
use crate::data_plane::{App, AppConfig, Apps, ClientConfig, Phase, Settings, Workers, start};
use crate::generation::{Address, AppName};
use crate::live::{Backend, Generation, Instance, Live, Routing};
use crate::telemetry::traffic::{Totals, Traffic};

const DEADLINE: Duration = Duration::from_secs(10);
/// A vector that grows by itself asks the system for a few bytes each time.
const AT_ONCE: usize = 16 << 10;

/// Waits for what must happen, and fails when it does not.
#[track_caller]
pub(super) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let result = timeout(DEADLINE, future).await;
        result.unwrap_or_else(|_| panic!("{caller}: did not happen"))
    }
}

pub(super) struct World {
    pub(super) app: Arc<App>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) workers: Option<Workers>,
    address: SocketAddr,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(AppConfig::default())
    }

    pub(super) fn with(config: AppConfig) -> Self {
        Self::with_both(config, ClientConfig::default())
    }

    pub(super) fn with_both(config: AppConfig, client: ClientConfig) -> Self {
        let loopback = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let bound = listen::bind(&[loopback.into()], 1).unwrap();
        let ListenAddress::Tcp(address) = bound.addresses()[0] else {
            panic!("a TCP address was asked for");
        };
        let live = Arc::new(Live::new());
        let traffic = Arc::new(Traffic::new(1));
        let app = Arc::new(App::new(AppName::new("app"), config, live, traffic));
        let (phase, phases) = watch::channel(Phase::Serving);
        let apps = Apps {
            apps: vec![Arc::clone(&app)],
            routes: vec![Arc::new(Routes::new([(0, &Route::default())]))],
            strays: Arc::new(Traffic::new(1)),
        };
        let settings = Settings {
            client,
            ..Settings::default()
        };
        let workers = start(bound, apps, &settings, &phases).unwrap();
        Self {
            app,
            phase,
            workers: Some(workers),
            address,
        }
    }

    /// Makes generation `number` with these instances, and publishes it alone.
    pub(super) fn publish(
        &self,
        number: u64,
        instances: &[SocketAddr],
    ) -> Arc<Generation<Backend>> {
        let generation = generation(number, instances);
        self.route(Some(&generation), None);
        generation
    }

    pub(super) fn route(
        &self,
        live: Option<&Arc<Generation<Backend>>>,
        fallback: Option<&Arc<Generation<Backend>>>,
    ) {
        self.app.live.publish(Routing {
            live: live.cloned(),
            fallback: fallback.cloned(),
        });
    }

    pub(super) async fn client(&self) -> Peer {
        Peer::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// One request on a connection of its own, and the whole answer.
    pub(super) async fn ask(&self, request: &str) -> String {
        let mut client = self.client().await;
        client.send(request).await;
        client.answer().await
    }

    pub(super) fn totals(&self) -> Totals {
        self.app.traffic.totals()
    }

    /// Waits until the counters say so.
    #[track_caller]
    pub(super) fn until(&self, what: impl Fn(&Totals) -> bool) -> impl Future<Output = ()> {
        soon(async move {
            while !what(&self.totals()) {
                tokio::task::yield_now().await;
            }
        })
    }

    pub(super) fn workers(&self) -> &Workers {
        self.workers.as_ref().expect("taken by drop only")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::BreakingOff);
        if let Some(workers) = self.workers.take() {
            workers.join();
        }
    }
}

pub(super) fn generation(number: u64, instances: &[SocketAddr]) -> Arc<Generation<Backend>> {
    let instance = |(number, &address)| Instance {
        number,
        address: Address::Tcp(address),
    };
    let backend = Backend::new((1..).zip(instances).map(instance).collect(), 1, || {});
    Arc::new(Generation::new(number.into(), backend, 1, |_| {}))
}

/// One side of a connection, read and written byte by byte.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    read: Vec<u8>,
}

impl Peer {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads until `end` has been read, and returns all up to there.
    #[track_caller]
    pub(super) fn until(&mut self, end: &str) -> impl Future<Output = String> {
        let end = end.as_bytes().to_vec();
        soon(async move {
            loop {
                if let Some(at) = self
                    .read
                    .windows(end.len())
                    .position(|window| window == end)
                {
                    let rest = self.read.split_off(at + end.len());
                    let text = std::mem::replace(&mut self.read, rest);
                    return String::from_utf8(text).unwrap();
                }
                self.read.reserve(AT_ONCE);
                let length = self.stream.read_buf(&mut self.read).await.unwrap();
                let so_far = String::from_utf8_lossy(&self.read);
                assert!(length > 0, "ended after {so_far:?}");
            }
        })
    }

    #[track_caller]
    pub(super) fn head(&mut self) -> impl Future<Output = String> {
        self.until("\r\n\r\n")
    }

    /// A head, and the body that it announces by length or in chunks.
    pub(super) async fn answer(&mut self) -> String {
        let head = self.head().await;
        let length = head
            .to_lowercase()
            .split_once("content-length: ")
            .map(|(_, rest)| {
                let digits = rest.split("\r\n").next().unwrap();
                digits.parse::<usize>().unwrap()
            });
        if let Some(length) = length {
            soon(async {
                while self.read.len() < length {
                    assert!(
                        self.stream.read_buf(&mut self.read).await.unwrap() > 0,
                        "{head}"
                    );
                }
            })
            .await;
            let rest = self.read.split_off(length);
            let body = std::mem::replace(&mut self.read, rest);
            return head + &String::from_utf8(body).unwrap();
        }
        if head.to_lowercase().contains("transfer-encoding: chunked") {
            let body = self.until("0\r\n\r\n").await;
            return head + &body;
        }
        head
    }

    /// The next head, or none where the other side has ended.
    pub(super) async fn next_head(&mut self) -> Option<String> {
        loop {
            let end = self.read.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let rest = self.read.split_off(end + 4);
                let head = std::mem::replace(&mut self.read, rest);
                return Some(String::from_utf8(head).unwrap());
            }
            if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// Reads past so many bytes; says no where the other side has ended before.
    pub(super) async fn skip(&mut self, length: usize) -> bool {
        while self.read.len() < length {
            if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                return false;
            }
        }
        self.read.drain(..length);
        true
    }

    /// So many bytes.
    #[track_caller]
    pub(super) fn take(&mut self, length: usize) -> impl Future<Output = Vec<u8>> {
        soon(async move {
            while self.read.len() < length {
                self.read.reserve(AT_ONCE);
                let read = self.stream.read_buf(&mut self.read).await.unwrap();
                assert!(read > 0, "ended {} bytes early", length - self.read.len());
            }
            let rest = self.read.split_off(length);
            std::mem::replace(&mut self.read, rest)
        })
    }

    /// All that still comes until the end, a character for each byte; a reset counts as an end.
    pub(super) async fn rest(&mut self) -> String {
        let read = soon(self.stream.read_to_end(&mut self.read));
        let _ = read.await;
        self.read.drain(..).map(char::from).collect()
    }

    /// Whether the connection ended without another byte.
    pub(super) async fn is_ended(&mut self) -> bool {
        self.rest().await.is_empty()
    }
}

/// An app whose connections a test serves by hand.
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    listener: TcpListener,
}

impl Listening {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, listener }
    }

    #[track_caller]
    pub(super) fn accept(&self) -> impl Future<Output = Peer> {
        soon(async { Peer::new(self.listener.accept().await.unwrap().0) })
    }

    /// The next connection, whenever it comes.
    pub(super) async fn accept_sometime(&self) -> Peer {
        Peer::new(self.listener.accept().await.unwrap().0)
    }
}

/// An app that answers each request with its name and tells of the heads that it got.
pub(super) async fn named(name: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let app = Listening::new().await;
    let (tell, heads) = mpsc::unbounded_channel();
    let address = app.address;
    tokio::spawn(async move {
        while let Ok((stream, _)) = app.listener.accept().await {
            tokio::spawn(serve(Peer::new(stream), name, tell.clone()));
        }
    });
    (address, heads)
}

async fn serve(mut peer: Peer, name: &'static str, tell: mpsc::UnboundedSender<String>) {
    while let Some(head) = peer.next_head().await {
        let _ = tell.send(head);
        let length = name.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}");
        if peer.stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// An address where nobody listens.
pub(super) async fn closed() -> SocketAddr {
    Listening::new().await.address
}

pub(super) const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

pub(super) const GET: &str = "GET / HTTP/1.1\r\nhost: example.org\r\n\r\n";
