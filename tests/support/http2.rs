//! A client that speaks HTTP/2 by prior knowledge.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::client::{ANSWER_WITHIN, RequestBody};

/// One connection.
#[derive(Debug)]
pub struct Http2 {
    pub sender: SendRequest<RequestBody>,
    /// How the connection ended.
    pub ended: JoinHandle<hyper::Result<()>>,
    authority: String,
}

// === impl Http2 ===

impl Http2 {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("it speaks HTTP/2");
        Self {
            sender,
            ended: tokio::spawn(connection),
            authority: address.to_string(),
        }
    }

    pub fn request(&self, method: &str, path: &str, body: Bytes) -> Request<RequestBody> {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.authority))
            .body(Full::new(body).boxed_unsync())
            .expect("a valid request")
    }

    /// A request without a body, to the head of its answer.
    pub async fn send(&mut self, method: &str, path: &str) -> hyper::Result<Response<Incoming>> {
        let request = self.request(method, path, Bytes::new());
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    /// The status and the whole body.
    pub async fn get(&mut self, path: &str) -> (StatusCode, String) {
        let answer = timeout(ANSWER_WITHIN, self.send("GET", path)).await;
        whole(answer.expect("it answers in time")).await
    }
}

/// Reads an answer to its end, which must be a good one.
pub async fn whole(answer: hyper::Result<Response<Incoming>>) -> (StatusCode, String) {
    let answer = answer.expect("it answers");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("it ends well");
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    (status, text)
}
