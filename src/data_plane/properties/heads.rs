//! Bytes of a client, through hyper and our rules, to the bytes that the app gets.

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::strict;
use crate::data_plane::Expect;
use crate::data_plane::headers::{Origin, Rules, toward_app};
use crate::data_plane::trusted::TrustedProxies;

/// More than any input, so that nobody waits for room.
const ROOM: usize = 1 << 20;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without I/O needs nothing of the system");
}

/// Whatever a client sends, the app reads the very requests that were let through, one by one, each with one reading.
///
/// # Panics
///
/// When it does not, or when serving does not end.
pub fn heads(bytes: &[u8]) {
    if bytes.len() > ROOM / 16 {
        return;
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let served = timeout(Duration::from_secs(10), serve(bytes)).await;
            served.expect("serving ends when the client has ended");
        });
    });
}

async fn serve(bytes: &[u8]) {
    let (mut client, server) = duplex(ROOM);
    client.write_all(bytes).await.expect("there is room");
    client.shutdown().await.expect("the other end is there");
    let answers = RefCell::new(0);
    let service = service_fn(|request| {
        *answers.borrow_mut() += 1;
        async move { Ok::<_, Infallible>(answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        // The client's end follows its bytes at once, and they are to be answered all the same.
        .half_close(true)
        .max_buf_size(64 * 1024)
        .max_header_size(64 * 1024)
        .serve_connection(TokioIo::new(server), service);
    // What is wrong with the client's bytes is hyper's business.
    let _ = connection.await;
}

async fn answer(mut request: Request<Incoming>) -> Response<Empty<Bytes>> {
    let proxies = TrustedProxies::default();
    let origin = Origin::new(None, Some(80), &proxies);
    let rules = Rules {
        proxies: &proxies,
        expect: Expect::Answer,
    };
    let mut response = Response::new(Empty::new());
    match toward_app(&mut request, &origin, &rules) {
        Ok(_) => pass_on(request).await,
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// Sends it as hitless does, to an app that judges it.
async fn pass_on(request: Request<Incoming>) {
    let (near, far) = duplex(ROOM);
    let (method, target) = (request.method().to_string(), request.uri().to_string());
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(near)).await;
    let (mut sender, connection) = handshake.expect("a handshake without a network does not fail");
    let sent = async move {
        let answered = sender.try_send_request(request).await;
        drop(sender);
        answered.is_ok()
    };
    let (answered, _, message) = tokio::join!(sent, connection, judge(far));
    match message {
        Some(message) => {
            assert_eq!((message.method, message.target), (method, target));
        }
        // It was not whole, and then nobody may have taken it for a whole one.
        None => assert!(!answered),
    }
}

/// Reads the one request that must come, answers it, and sees that nothing follows.
async fn judge(mut app: DuplexStream) -> Option<strict::Message> {
    let mut bytes = Vec::new();
    let message = loop {
        if let Some(message) = strict::read(&bytes) {
            break message;
        }
        if app.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    assert_eq!(message.all("host").len(), 1, "{message:?}");
    assert_eq!(message.length, bytes.len(), "something follows: {bytes:?}");
    let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
    app.write_all(answer).await.ok()?;
    app.read_to_end(&mut bytes).await.ok()?;
    assert_eq!(message.length, bytes.len(), "something follows: {bytes:?}");
    Some(message)
}
