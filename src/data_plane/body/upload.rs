//! What all attempts to send one request share of its body: the client's side of it, and what is kept.
//!
//! One attempt at a time passes it on. The body of an earlier one, which its connection may drop later, gets nothing more.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::agreed::Agreed;
use super::fault::UploadError;
use super::store::{Piece, Store};
use super::{Discard, RequestBody};
use crate::data_plane::headers;
use crate::data_plane::site::Ledger;
use crate::data_plane::upstream::Failure;
use crate::data_plane::wire::Busy;
use crate::data_plane::worker::Worker;

/// A request body and how far it has come.
#[derive(Debug)]
pub(super) struct Upload {
    state: Cell<UploadState>,
    /// When it came there.
    at: Cell<Instant>,
    attempt: Cell<AttemptNumber>,
    /// The attempt has a body that asks for more.
    attended: Cell<bool>,
    /// One more attempt may come.
    claimed: Cell<bool>,
    agreed: RefCell<Agreed>,
    /// Whoever waits for the answer in a task of its own, and must hear when another clock runs.
    waiter: RefCell<Option<Waker>>,
    /// None: its last byte has come.
    client: RefCell<Option<Client>>,
    store: RefCell<Store>,
}

/// Where it comes from.
#[derive(Debug)]
struct Client {
    incoming: Incoming,
    worker: Rc<Worker>,
    ledger: Rc<Ledger>,
    busy: Busy,
}

/// Counts the attempts that pass a body on, the first being 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttemptNumber(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadState {
    /// Nothing of it was asked for yet.
    Untouched,
    /// The client is to send more.
    AwaitsClient,
    /// The app is to take more.
    AwaitsApp,
    /// Its last byte came.
    Ended,
    /// It broke a rule of HTTP.
    Failed,
    /// The client left before its end.
    Abandoned,
    /// It is larger than allowed, and nothing more of it is passed on.
    TooLarge,
}

/// The right to pass a body on once more. While it lasts the client's side waits for the next attempt.
#[derive(Debug)]
pub(in crate::data_plane) struct Claim(Rc<Upload>);

/// How much of a body was received in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data_plane) enum Received {
    /// All of it.
    Whole,
    /// More than was asked for, and there is more to come.
    Part,
}

// === impl Upload ===

impl Upload {
    /// Nothing of it was asked for yet, and its first attempt is about to.
    pub(super) fn new(
        incoming: Incoming,
        worker: &Rc<Worker>,
        ledger: &Rc<Ledger>,
        busy: &Busy,
        expects_continue: bool,
    ) -> Rc<Self> {
        let client = Client {
            incoming,
            worker: Rc::clone(worker),
            ledger: Rc::clone(ledger),
            busy: busy.pulse().begin(),
        };
        let agreed = Agreed {
            expects_continue,
            ..Agreed::default()
        };
        Rc::new(Self {
            state: Cell::new(UploadState::Untouched),
            at: Cell::new(Instant::now()),
            attempt: Cell::new(AttemptNumber::FIRST),
            attended: Cell::new(true),
            claimed: Cell::new(false),
            agreed: RefCell::new(agreed),
            waiter: RefCell::default(),
            client: RefCell::new(Some(client)),
            store: RefCell::default(),
        })
    }

    /// Has the task woken when this comes to another state. In HTTP/1.1 the client's connection waits, and is woken anyway.
    pub(super) fn wake_by(&self, cx: &Context<'_>) {
        let client = self.client.borrow();
        if client
            .as_ref()
            .is_some_and(|client| client.busy.pulse().is_of_stream())
        {
            self.waiter.replace(Some(cx.waker().clone()));
        }
    }

    pub(super) fn state(&self) -> UploadState {
        self.state.get()
    }

    /// When it came to its state, or when something was last passed on for the first time.
    pub(super) fn at(&self) -> Instant {
        self.at.get()
    }

    /// Whether the attempt under way has passed all of it on.
    pub(super) fn has_ended(&self) -> bool {
        self.state.get() == UploadState::Ended && self.store.borrow().is_passed()
    }

    pub(super) fn agree(&self, agreed: Agreed) {
        self.agreed.replace(agreed);
    }

    /// Whether it was broken off, whoever is to blame.
    fn has_failed(&self) -> bool {
        matches!(
            self.state.get(),
            UploadState::Failed | UploadState::Abandoned | UploadState::TooLarge
        )
    }

    /// Whether the attempt under way has nothing more to pass on.
    pub(super) fn is_passed(&self) -> bool {
        let client = self.client.borrow();
        let over = client
            .as_ref()
            .is_none_or(|client| client.incoming.is_end_stream());
        over && self.store.borrow().is_passed()
    }

    /// How much the attempt under way has still to pass on.
    pub(super) fn size_hint(&self) -> SizeHint {
        let ahead = self.store.borrow().bytes_ahead() as u64;
        let client = self.client_size();
        let mut hint = SizeHint::new();
        if let Some(upper) = client.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(client.lower() + ahead);
        hint
    }

    fn client_size(&self) -> SizeHint {
        let client = self.client.borrow();
        let hint = client.as_ref().map(|client| client.incoming.size_hint());
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }

    /// What an attempt passes on next.
    pub(super) fn poll_frame(
        &self,
        attempt: AttemptNumber,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if attempt != self.attempt.get() {
            // Its connection has been given up, and waits for its end only.
            return Poll::Pending;
        }
        let kept = self.store.borrow_mut().next();
        if let Some(piece) = kept {
            if attempt == AttemptNumber::FIRST {
                self.at.set(Instant::now());
            }
            return Poll::Ready(Some(Ok(piece.into())));
        }
        let polled = self.poll_client(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.store.borrow_mut().pass(frame);
        }
        polled
    }

    fn poll_client(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let mut side = self.client.borrow_mut();
        let Some(client) = side.as_mut() else {
            return Poll::Ready(None);
        };
        let mut agreed = self.agreed.borrow_mut();
        if let Some(gate) = &agreed.gate {
            // hyper tells the client to go on as soon as it is asked for the body.
            ready!(gate.poll(cx));
        }
        match Pin::new(&mut client.incoming).poll_frame(cx) {
            Poll::Pending => {
                if self.state.get() != UploadState::AwaitsClient {
                    self.come_to(UploadState::AwaitsClient);
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                self.come_to(UploadState::AwaitsApp);
                if let Some(data) = frame.data_ref() {
                    if !agreed.allow(data.len() as u64) {
                        self.come_to(UploadState::TooLarge);
                        return Poll::Ready(Some(Err(UploadError::TooLarge)));
                    }
                    client.ledger.counters().bytes_in(data.len() as u64);
                    if let Some(counter) = &agreed.counter {
                        counter.set(counter.get() + data.len() as u64);
                    }
                } else if let Some(trailers) = frame.trailers_mut() {
                    headers::clean_trailers(trailers);
                }
                if client.incoming.is_end_stream() {
                    self.end(&mut side);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.come_to(match Failure::of_body(&error) {
                    Failure::ClientGone => UploadState::Abandoned,
                    _ => UploadState::Failed,
                });
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.end(&mut side);
                Poll::Ready(None)
            }
        }
    }

    fn end(&self, side: &mut Option<Client>) {
        if let Some(client) = side.take() {
            self.come_to(UploadState::Ended);
            // What comes from here on is the next head.
            client.busy.pulse().forget_heard();
        }
    }

    /// The body of an attempt is gone.
    pub(super) fn left(&self, attempt: AttemptNumber) {
        if attempt == self.attempt.get() {
            self.attended.set(false);
            self.give_up_unless_wanted();
        }
    }

    fn release(&self) {
        self.claimed.set(false);
        self.store.borrow_mut().release();
        self.give_up_unless_wanted();
    }

    /// Nobody will ask for the rest.
    fn give_up_unless_wanted(&self) {
        if self.attended.get() || self.claimed.get() {
            return;
        }
        let Some(client) = self.client.borrow_mut().take() else {
            return;
        };
        let state = self.state.get();
        if client.busy.pulse().is_of_stream() {
            // The client is told that the rest is not wanted by a reset without an error: RFC 9113 section 8.1.
            return;
        }
        if client.incoming.is_end_stream() {
            self.come_to(UploadState::Ended);
            client.busy.pulse().forget_heard();
        } else if matches!(state, UploadState::Failed | UploadState::Abandoned)
            || (self.agreed.borrow().expects_continue && state == UploadState::Untouched)
        {
            // Reading would tell a client to go on whose body nobody wants.
            client.busy.pulse().cut_short();
        } else {
            // Closing now would turn the unread rest into a reset that destroys the answer.
            let discard = Discard::new(client.incoming, client.busy);
            client.worker.discard(discard);
        }
    }

    fn come_to(&self, state: UploadState) {
        self.state.set(state);
        self.at.set(Instant::now());
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

// === impl AttemptNumber ===

impl AttemptNumber {
    pub(super) const FIRST: Self = Self(0);

    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

// === impl Claim ===

impl Claim {
    /// On the body of a request that is not on its way yet; what is passed on of it is kept, as long as all of it is not
    /// larger than this. None: there is no body.
    pub(in crate::data_plane) fn new(body: &RequestBody, bytes_max: usize) -> Option<Self> {
        let upload = Rc::clone(body.upload()?);
        upload.claimed.set(true);
        upload.store.borrow_mut().keep(bytes_max);
        Some(Self(upload))
    }

    /// How many bytes the client has still to send, where it has said so.
    pub(in crate::data_plane) fn size(&self) -> Option<usize> {
        let size = self.0.client_size().exact()?;
        usize::try_from(size).ok()
    }

    /// Changes how large the whole body may be.
    pub(in crate::data_plane) fn keep(&self, bytes_max: usize) {
        self.0.store.borrow_mut().keep(bytes_max);
    }

    /// What has been passed on will not be needed again.
    pub(in crate::data_plane) fn stop_keeping(&self) {
        self.0.store.borrow_mut().release();
    }

    /// Whether the body can be passed on once more, from its beginning.
    pub(in crate::data_plane) fn is_whole(&self) -> bool {
        !self.0.has_failed() && self.0.store.borrow().is_kept()
    }

    /// Whether that will stay so, whatever the client still sends.
    pub(in crate::data_plane) fn stays_whole(&self) -> bool {
        let rest = self.0.client_size().upper();
        self.is_whole() && rest.is_some_and(|rest| self.0.store.borrow().has_room_for(rest))
    }

    /// The body from its beginning, for one more attempt. The attempt before gets nothing more.
    ///
    /// Its rest counts as awaited from the app again, but no clock starts anew for what is passed on twice.
    pub(in crate::data_plane) fn again(&self) -> RequestBody {
        let upload = &self.0;
        let attempt = upload.attempt.get().next();
        upload.attempt.set(attempt);
        upload.attended.set(true);
        upload.store.borrow_mut().rewind();
        if upload.state.get() == UploadState::AwaitsClient {
            upload.state.set(UploadState::AwaitsApp);
        }
        RequestBody::of(Rc::clone(upload), attempt)
    }

    /// Receives up to `bytes_max` before anybody asks for it, and at most a frame more.
    ///
    /// # Errors
    ///
    /// When the client breaks a rule of HTTP or goes away, or sends nothing for as long as `idle`; zero: no limit.
    ///
    /// # Cancel safety
    ///
    /// What was received stays received.
    pub(in crate::data_plane) async fn receive(
        &self,
        bytes_max: usize,
        idle: Duration,
    ) -> Result<Received, Failure> {
        let idle = if idle.is_zero() { Duration::MAX } else { idle };
        let upload = &self.0;
        if let Some(gate) = &upload.agreed.borrow().gate {
            // The app is asked only once all of it is there.
            gate.open();
        }
        loop {
            let more = timeout(idle, poll_fn(|cx| upload.poll_client(cx)));
            let frame = match more.await {
                Ok(Some(frame)) => frame.map_err(Failure::from)?,
                Ok(None) => return Ok(Received::Whole),
                Err(_) => return Err(Failure::BodyTimedOut),
            };
            let mut store = upload.store.borrow_mut();
            if let Some(piece) = Piece::of(&frame) {
                store.receive(piece);
            }
            if store.bytes() > bytes_max {
                return Ok(Received::Part);
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.release();
    }
}
