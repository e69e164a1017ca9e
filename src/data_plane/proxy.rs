//! One request from its head to the last byte of its answer, top to bottom.
//!
//! Picks the generation exactly once, when the head has been read, and again only to send the request again.

mod again;

mod call;

mod destination;

mod interim;

use std::rc::Rc;

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use self::call::Call;
use self::destination::Destination;
use super::Phase;
use super::answer::{self, Asker};
use super::body::{AnswerBody, Source};
use super::connection::Client;
use super::record::Record;
use super::resend::{Attempts, is_rescuable};
use super::upstream::Terms;
use super::wire::Busy;
use crate::telemetry::traffic::Reason;

/// Answers one request of a client. What it keeps alive lasts until the last byte of the answer.
pub(super) async fn forward(
    request: Request<Incoming>,
    client: Rc<Client>,
    busy: Busy,
) -> Response<AnswerBody> {
    let is_old = request.version() == Version::HTTP_10;
    let destination = Destination::of(&request, &client);
    let site = destination.as_ref().map(|destination| &destination.site);
    let mut record = Record::new(site, &client, &request);
    let mut asker = Asker::new(request.headers());
    asker.client = client.origin().peer();
    let destination = destination.as_ref();
    let answer = relay(
        request,
        &client,
        destination,
        &busy,
        &mut record,
        &mut asker,
    )
    .await;
    let mut response = answer.unwrap_or_else(|reason| {
        record.answered(reason);
        let (from, reason_word) = (asker.client, reason.as_str());
        tracing::debug!(client = ?from, reason = reason_word, "answered by hitless");
        answer::make(reason, &asker, &client.worker().settings().pages).map(Source::Whole)
    });
    record.set_status(response.status());
    if client.phase() != Phase::Serving && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    if is_old && !response.headers().contains_key(CONTENT_LENGTH) {
        busy.pulse().ends_with_connection();
    }
    response.map(|source| AnswerBody::new(source, Some(record), Some(busy)))
}

/// Gets the app's answer, from whichever instance gives one.
async fn relay(
    request: Request<Incoming>,
    client: &Rc<Client>,
    destination: Option<&Destination>,
    busy: &Busy,
    record: &mut Record,
    asker: &mut Asker,
) -> Result<Response<Source>, Reason> {
    let worker = client.worker();
    let mut call = Call::new(request, client, destination, busy, record, asker)?;
    let idle = worker.settings().client.body_timeout;
    call.receive(idle, record).await?;
    let mut attempts = Attempts::new(call.site(), record.started());
    loop {
        let attempt = attempts
            .begin(record, call.recall(), call.patience())
            .await?;
        let now = record.sending(&attempt.exchange);
        let request = call.take();
        let terms = Terms {
            patience: call.patience(),
            fresh: attempt.fresh,
            of_many: busy.pulse().is_of_many(),
            now,
        };
        let sent = attempt.upstream.send(&attempt.exchange, request, terms);
        match sent.await {
            Ok((answer, _))
                if is_rescuable(answer.status()) && call.is_safe() && attempts.rescue(&attempt) =>
            {
                record.not_answered();
                call.prepare_again(None);
            }
            Ok(reply) => {
                attempts.answered();
                record.head_came();
                let origin = attempts.origin(&attempt);
                return call.answered(reply, attempt.exchange, origin, client, record);
            }
            Err(failed) => {
                record.not_answered();
                attempts.failed(&failed, &attempt, call.may_follow(&failed))?;
                call.prepare_again(failed.request);
            }
        }
    }
}
