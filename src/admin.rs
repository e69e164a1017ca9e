//! The admin address: read only, for scrapers and load balancers. Changes nothing and never looks into the core.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::control_plane::apps::Apps;
use crate::data_plane::listen::{Accepted, Accepting};
use crate::descriptors::{self, Reserve};
use crate::telemetry::metrics::Metrics;

/// What the admin address tells about, and to whom.
#[derive(Debug)]
pub struct Admin {
    /// The apps.
    pub apps: Apps,
    /// What is counted.
    pub metrics: Metrics,
    /// Names that a Host header may carry beside addresses and `localhost`.
    pub hosts: watch::Receiver<Vec<String>>,
    /// Whether only this machine can reach it; then it shows what the apps wrote.
    pub is_local: bool,
}

/// Answers until it is dropped, also while there is no descriptor but those of the reserve.
pub async fn serve(listener: Accepting, admin: Admin, reserve: Reserve) {
    let admin = Arc::new(admin);
    let mut loan = None;
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                let (admin, loan) = (Arc::clone(&admin), loan.take());
                tokio::spawn(async move {
                    match accepted {
                        Accepted::Tcp(stream) => serve_connection(stream, admin).await,
                        Accepted::Unix(stream) => serve_connection(stream, admin).await,
                    }
                    drop(loan);
                });
            }
            Err(error) if descriptors::are_out(&error) && loan.is_none() && reserve.can_lend() => {
                loan = reserve.lend();
            }
            Err(error) => {
                warn!(%error, "the admin address cannot accept a connection");
                // Descriptors may have run out: what is open has to end first.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin, admin: Arc<Admin>) {
    let service = service_fn(|request| {
        let answer = admin.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "a connection to the admin address ended early");
    }
}

impl Admin {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !self.knows_host(request) {
            let why = "this Host is not one of the admin address: use an address or localhost, or add it to admin_hosts";
            return text(StatusCode::FORBIDDEN, why);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "the admin address is read only: use GET",
            );
            answer
                .headers_mut()
                .insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/metrics" => typed(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                self.metrics.render(),
            ),
            "/healthz" => text(StatusCode::OK, "ok"),
            "/readyz" => self.readiness(None),
            "/status" => self.status(),
            "/" => text(
                StatusCode::OK,
                "hitless: /status /metrics /healthz /readyz /readyz/APP",
            ),
            path => match path.strip_prefix("/readyz/") {
                Some(app) => self.readiness(Some(app)),
                None => text(
                    StatusCode::NOT_FOUND,
                    "there is /status /metrics /healthz /readyz /readyz/APP",
                ),
            },
        }
    }

    /// Against DNS rebinding: a page in an operator's browser may reach this address under a name of its own.
    fn knows_host(&self, request: &Request<Incoming>) -> bool {
        let host = request
            .headers()
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let Some(host) = host.or_else(|| request.uri().host()) else {
            return true;
        };
        let name = without_port(host);
        name.eq_ignore_ascii_case("localhost")
            || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
            || self
                .hosts
                .borrow()
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
    }

    fn readiness(&self, app: Option<&str>) -> Response<Full<Bytes>> {
        match self.apps.unready(app) {
            Ok(None) => text(StatusCode::OK, "ready"),
            Ok(Some(why)) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
            Err(error) => text(StatusCode::NOT_FOUND, &error.to_string()),
        }
    }

    fn status(&self) -> Response<Full<Bytes>> {
        let mut status = self.apps.status();
        if !self.is_local {
            // What an app writes may hold anything.
            for app in &mut status.apps {
                app.hide_output();
            }
            status.configuration.hide_text();
        }
        let body = serde_json::to_string(&status).expect("every key of a status is a string");
        typed(StatusCode::OK, "application/json", body + "\n")
    }
}

/// The host of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    if host.ends_with(']') { host } else { name }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", format!("{body}\n"))
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, "no-store")
        .body(Full::from(body))
        .expect("the parts are valid")
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn finds_the_host_of_a_host_header() {
        for (host, name) in [
            ("a.example:80", "a.example"),
            ("a.example", "a.example"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
