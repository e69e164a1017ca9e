//! Apps that speak HTTP/2: what they refuse, how they leave, and what becomes of what was under way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::world::{GET, POST, World, soon};
use crate::data_plane::AppConfig;
use crate::generation::AppProtocol;
use crate::live::Orders;
use crate::telemetry::traffic::{ResendOutcome, ResendReason};

type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// An app whose answers a test gives by hand. Its connections are counted.
struct H2c {
    address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
    connections: Arc<AtomicU32>,
    open: Arc<AtomicU32>,
}

impl H2c {
    /// After so many requests each connection says that it takes no more.
    async fn new(requests_max: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
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
                    if let Ok(mut connection) = server::handshake(stream).await {
                        let mut taken = 0;
                        while let Some(Ok(asked)) = connection.accept().await {
                            let _ = tell.send(asked);
                            taken += 1;
                            if taken == requests_max {
                                connection.graceful_shutdown();
                            }
                        }
                    }
                    level.fetch_sub(1, SeqCst);
                });
            }
        });
        Self {
            address,
            asked,
            connections,
            open,
        }
    }

    async fn next(&mut self) -> Asked {
        soon(self.asked.recv()).await.expect("the app runs")
    }

    async fn serve(&mut self) -> Request<RecvStream> {
        let (request, respond) = self.next().await;
        answer(respond);
        request
    }
}

fn answer(mut respond: SendResponse<Bytes>) {
    let head = Response::builder().header("content-length", 2);
    let head = head.body(()).unwrap();
    let mut body = respond.send_response(head, false).unwrap();
    body.send_data(Bytes::from_static(b"hi"), true).unwrap();
}

fn world() -> World {
    World::with(AppConfig {
        protocol: AppProtocol::H2c,
        ..AppConfig::default()
    })
}

#[tokio::test]
async fn requests_share_a_connection() {
    let (world, mut app) = (world(), H2c::new(usize::MAX).await);
    world.publish(1, &[app.address]);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = world.client().await;
        client.send(GET).await;
        clients.push(client);
    }
    let mut asked = Vec::new();
    for _ in 0..20 {
        asked.push(app.next().await);
    }
    for (request, respond) in asked {
        assert_eq!(request.uri(), "http://example.org/");
        assert!(!request.headers().contains_key("host"));
        answer(respond);
    }
    for mut client in clients {
        assert!(client.answer().await.ends_with("hi"));
    }
    assert_eq!(app.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn what_the_app_refuses_is_sent_again_whatever_its_method() {
    let (world, mut app) = (world(), H2c::new(usize::MAX).await);
    world.publish(1, &[app.address]);
    for request in [GET, POST] {
        let mut client = world.client().await;
        client.send(request).await;
        let (_, mut respond) = app.next().await;
        respond.send_reset(Reason::REFUSED_STREAM);
        app.serve().await;
        assert!(client.answer().await.ends_with("hi"), "{request}");
    }
    let resends = world.totals().resends;
    assert!(resends.contains(&(ResendReason::NotTaken, ResendOutcome::Answered, 2)));
}

#[tokio::test]
async fn what_the_app_broke_is_sent_again_only_where_that_is_safe() {
    let (world, mut app) = (world(), H2c::new(usize::MAX).await);
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    app.next().await.1.send_reset(Reason::INTERNAL_ERROR);
    app.serve().await;
    assert!(client.answer().await.ends_with("hi"));
    client.send(POST).await;
    app.next().await.1.send_reset(Reason::INTERNAL_ERROR);
    assert!(client.answer().await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn an_app_that_ends_its_connections_loses_no_request() {
    let (world, mut app) = (world(), H2c::new(3).await);
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    for _ in 0..12 {
        client.send(POST).await;
        app.serve().await;
        assert!(client.answer().await.ends_with("hi"));
    }
    assert!(app.connections.load(SeqCst) >= 3);
}

#[tokio::test]
async fn an_upload_that_nobody_wants_is_cut_and_the_connection_goes_on() {
    let (world, mut app) = (world(), H2c::new(usize::MAX).await);
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nabc")
        .await;
    let (request, respond) = app.next().await;
    answer(respond);
    assert!(client.answer().await.starts_with("HTTP/1.1 200 "));
    let mut body = request.into_body();
    let error = soon(async {
        loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("it must not look like an end"),
            }
        }
    });
    assert_eq!(error.await.reason(), Some(Reason::CANCEL));
    let mut other = world.client().await;
    other.send(GET).await;
    app.serve().await;
    assert!(other.answer().await.ends_with("hi"));
    assert_eq!(app.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_has_its_stream_reset() {
    let (world, mut app) = (world(), H2c::new(usize::MAX).await);
    world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let (_, mut respond) = app.next().await;
    drop(client);
    let reset = soon(std::future::poll_fn(|cx| respond.poll_reset(cx)));
    assert_eq!(reset.await.unwrap(), Reason::CANCEL);
}

#[tokio::test]
async fn a_generation_that_retires_closes_its_connections_after_their_last_stream() {
    let (world, mut app) = (world(), H2c::new(usize::MAX).await);
    let first = world.publish(1, &[app.address]);
    let mut client = world.client().await;
    client.send(GET).await;
    let (_, respond) = app.next().await;
    first
        .payload
        .order(|orders: &mut Orders| orders.retired = true);
    assert_eq!(app.open.load(SeqCst), 1);
    answer(respond);
    assert!(client.answer().await.ends_with("hi"));
    soon(async {
        while app.open.load(SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_closed_port_is_tried_once_for_all_who_wait() {
    let world = World::with(AppConfig {
        protocol: AppProtocol::H2c,
        resends: 0,
        ..AppConfig::default()
    });
    world.publish(1, &[super::world::closed().await]);
    for _ in 0..3 {
        assert!(world.ask(GET).await.starts_with("HTTP/1.1 502 "));
    }
}
