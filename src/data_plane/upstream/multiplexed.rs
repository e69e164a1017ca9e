//! Sending a request to an app that speaks HTTP/2.

use std::pin::pin;
use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;

use super::failure::{explain_stream, is_reset};
use super::greeting::Said;
use super::shared::{Shared, Stream};
use super::{Carrier, Failed, Failure, Reply, Terms, Upstream, attended, connect, tell_connected};
use crate::data_plane::body::{Patience, RequestBody};
use crate::data_plane::exchange::Exchange;
use crate::data_plane::headers::{self, Proof};
use crate::telemetry::traffic::Connected;

impl Upstream {
    /// Sends a request on a connection that others use as well, and waits for the head of its answer.
    pub(super) async fn send_multiplexed(
        &self,
        exchange: &Exchange,
        mut request: Request<RequestBody>,
        terms: Terms<'_>,
    ) -> Result<Reply, Box<Failed>> {
        let patience = terms.patience;
        if headers::to_http2(&mut request).is_err() {
            return Err(Failed::boxed(Failure::BadRequest, None));
        }
        if let Some(proof) = Proof::of(&request) {
            return self
                .send_websocket(exchange, request, &proof, patience)
                .await;
        }
        let pool = exchange.seat().pool();
        if !terms.fresh {
            while let Some(mut stream) = pool.shares().stream() {
                self.counters().connected(Connected::Reused);
                match self.send_by(&mut stream, exchange, request, patience).await {
                    Ok(response) => return Ok((response, Carrier::Stream(stream))),
                    Err(failed) => match *failed {
                        // It had closed: nothing was written.
                        Failed {
                            failure: Failure::Unwritten,
                            request: Some(unwritten),
                            ..
                        } => {
                            pool.shares().forget(&stream);
                            request = unwritten;
                        }
                        other => return Err(Box::new(other)),
                    },
                }
            }
        }
        let mut stream = match self.dial(exchange, patience).await {
            Ok(stream) => stream,
            Err(failure) => return Err(Failed::boxed(failure, Some(request))),
        };
        let sent = self.send_by(&mut stream, exchange, request, patience).await;
        tell_connected(exchange, &sent);
        Ok((sent?, Carrier::Stream(stream)))
    }

    /// Room on a connection that is made now, by this request or by another one.
    async fn dial(&self, exchange: &Exchange, patience: &Patience) -> Result<Stream, Failure> {
        let shares = exchange.seat().pool().shares();
        while let Some(dialed) = shares.dialed() {
            if let Some(Err(failure)) = attended(exchange, patience, pin!(dialed)).await? {
                return Err(failure);
            }
            if let Some(stream) = shares.stream() {
                return Ok(stream);
            }
        }
        let dialing = shares.dial();
        match self.connect_shared(exchange, patience).await {
            Ok(shared) => {
                let stream = shares.keep(&Rc::new(shared), self.retired.get());
                dialing.ended(Ok(()));
                Ok(stream)
            }
            Err(failure) => {
                dialing.ended(Err(failure));
                Err(failure)
            }
        }
    }

    async fn connect_shared(
        &self,
        exchange: &Exchange,
        patience: &Patience,
    ) -> Result<Shared, Failure> {
        let connecting = connect::connect_shared(
            exchange.seat().pool().address(),
            self.config.get().connect_timeout,
        );
        let connected = attended(exchange, patience, pin!(connecting)).await?;
        let result = connected.as_ref().map(|_| ()).map_err(|error| *error);
        self.count_connected(exchange, result);
        connected
    }

    /// Asks for a WebSocket, on a connection of its own: it may last for days, and neither what its app does not read nor how
    /// its app ends it may concern anybody else.
    async fn send_websocket(
        &self,
        exchange: &Exchange,
        request: Request<RequestBody>,
        proof: &Proof,
        patience: &Patience,
    ) -> Result<Reply, Box<Failed>> {
        let shares = exchange.seat().pool().shares();
        if shares.take_no_websockets() {
            return Err(Failed::boxed(Failure::NoWebsockets, None));
        }
        let shared = match self.connect_shared(exchange, patience).await {
            Ok(shared) => Rc::new(shared),
            Err(failure) => return Err(Failed::boxed(failure, Some(request))),
        };
        let said = attended(exchange, patience, pin!(shared.websockets())).await;
        match said {
            Ok(Said::TakesNot) => {
                // It will do for others.
                drop(shares.keep(&shared, self.retired.get()));
                return Err(Failed::boxed(Failure::NoWebsockets, None));
            }
            // hyper knows that the connection is gone.
            Ok(Said::Takes | Said::Nothing) => {}
            Err(failure) => return Err(Failed::boxed(failure, Some(request))),
        }
        let mut stream = Shared::stream(&shared, false);
        let sent = self.send_by(&mut stream, exchange, request, patience).await;
        tell_connected(exchange, &sent);
        let mut response = sent?;
        if proof.put(&mut response) {
            Ok((response, Carrier::Stream(stream)))
        } else {
            Err(Failed::boxed(Failure::BadAnswer, None))
        }
    }

    async fn send_by(
        &self,
        stream: &mut Stream,
        exchange: &Exchange,
        request: Request<RequestBody>,
        patience: &Patience,
    ) -> Result<Response<Incoming>, Box<Failed>> {
        let was_idle = stream.was_idle;
        let sent = pin!(stream.send(request));
        match attended(exchange, patience, sent).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut error)) => {
                let request = error.take_message();
                let failure = match &request {
                    Some(_) => Failure::Unwritten,
                    None => explain_stream(error.error(), was_idle, patience),
                };
                Err(Box::new(Failed {
                    failure,
                    request,
                    untaken: is_reset(error.error()),
                }))
            }
            Err(failure) => Err(Failed::boxed(failure, None)),
        }
    }
}
