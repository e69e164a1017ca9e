//! The idle connections to one instance, and a connection in use.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::shared::{Shares, Stream};
use crate::data_plane::AppConfig;
use crate::data_plane::body::RequestBody;
use crate::data_plane::headers::{self, Present};
use crate::data_plane::in_force::InForce;
use crate::data_plane::wire::Pulse;
use crate::generation::Address;
use crate::live::Instance;

/// How much sooner than the app hitless gives an idle connection up, so that both do not meet on the way.
const MARGIN: Duration = Duration::from_millis(500);

/// One instance as one worker sees it.
#[derive(Debug)]
pub(in crate::data_plane) struct Pool {
    instance: Instance,
    /// The one used last is at the end and is taken first, so that the others can go when load falls.
    idle: RefCell<Vec<Idle>>,
    /// Those of an app that speaks HTTP/2.
    shares: Shares,
    in_flight: Cell<u32>,
    config: Rc<InForce<AppConfig>>,
    retired: Rc<Cell<bool>>,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    until: Instant,
}

/// A request with an instance; counts until it is dropped.
#[derive(Debug)]
pub(in crate::data_plane) struct InFlight(Rc<Pool>);

/// A connection in use by one exchange. Closed when dropped, unless it is given back first.
#[derive(Debug)]
pub(in crate::data_plane) struct Link {
    sender: SendRequest<RequestBody>,
    task: Option<AbortHandle>,
    pulse: Arc<Pulse>,
    idle_timeout: Option<Duration>,
}

/// What an answer comes by.
#[derive(Debug)]
pub(in crate::data_plane) enum Carrier {
    /// A connection of its own.
    Link(Link),
    /// A part of one.
    Stream(Stream),
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(
        instance: Instance,
        config: Rc<InForce<AppConfig>>,
        retired: Rc<Cell<bool>>,
    ) -> Self {
        Self {
            instance,
            idle: RefCell::default(),
            shares: Shares::default(),
            in_flight: Cell::new(0),
            config,
            retired,
        }
    }

    pub(super) fn is_of(&self, instance: &Instance) -> bool {
        self.instance == *instance
    }

    pub(in crate::data_plane) fn address(&self) -> &Address {
        &self.instance.address
    }

    /// The number of the instance within its generation.
    pub(in crate::data_plane) fn number(&self) -> u32 {
        self.instance.number
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// Closes what is idle.
    pub(super) fn clear(&self) {
        let idle = self.idle.take();
        drop(idle);
        self.shares.clear();
    }

    /// Closes what was idle for too long.
    pub(super) fn expire(&self, now: Instant) {
        let keep = |idle: &Idle| idle.until > now && !idle.link.sender.is_closed();
        self.idle.borrow_mut().retain(keep);
        self.shares.expire(now, self.config.get().pool_idle_timeout);
    }

    /// Connections that several requests use at once.
    pub(super) fn shares(&self) -> &Shares {
        &self.shares
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_unused(&self) -> bool {
        self.in_flight.get() == 0 && self.idle.borrow().is_empty() && self.shares.is_empty()
    }

    fn take(&self, now: Instant) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| idle.until > now && !idle.link.sender.is_closed());
        // The task of the last one may not have run since the end of its answer.
        let ready = idle.iter().rposition(|idle| idle.link.sender.is_ready())?;
        Some(idle.remove(ready).link)
    }

    fn put(&self, link: Link) {
        let config = self.config.get();
        let timeout = link.idle_timeout.unwrap_or(config.pool_idle_timeout);
        let mut idle = self.idle.borrow_mut();
        if self.retired.get() || idle.len() >= config.pool_max || timeout.is_zero() {
            return;
        }
        let until = Instant::now() + timeout;
        // Else hyper has yet to see the end of the answer, or to write the end of a request that was answered early.
        let at_rest = link.sender.is_ready() && link.pulse.is_flushed();
        link.pulse.rest(at_rest);
        idle.push(Idle { link, until });
    }
}

// === impl InFlight ===

impl InFlight {
    pub(super) fn new(pool: Rc<Pool>) -> Self {
        pool.in_flight.set(pool.in_flight.get() + 1);
        Self(pool)
    }

    /// The instance's connections.
    pub(in crate::data_plane) fn pool(&self) -> &Rc<Pool> {
        &self.0
    }

    /// A connection that is idle at `now`.
    pub(super) fn reuse(&self, now: Instant) -> Option<Link> {
        self.0.take(now)
    }

    /// The exchange on it ended well, and it can be used again.
    pub(in crate::data_plane) fn give_back(&self, carrier: Carrier) {
        // The others share their connection as it is.
        let Carrier::Link(link) = carrier else { return };
        if link.idle_timeout != Some(Duration::ZERO) && !link.sender.is_closed() {
            self.0.put(link);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

// === impl Carrier ===

impl Carrier {
    /// Reads from the head of an answer how long the connection may be kept. Call it before the head is rewritten.
    pub(in crate::data_plane) fn read_head<B>(&mut self, response: &Response<B>) {
        if let Self::Link(link) = self {
            link.read_head(response);
        }
    }

    /// What it carries is a tunnel from now on. A connection of its own ends by itself; a part of one is to be kept until
    /// the tunnel has ended.
    pub(in crate::data_plane) fn detach(self) -> Option<Box<Stream>> {
        match self {
            Self::Link(link) => {
                link.detach();
                None
            }
            Self::Stream(stream) => Some(Box::new(stream)),
        }
    }
}

// === impl Link ===

impl Link {
    pub(super) fn new(
        sender: SendRequest<RequestBody>,
        task: AbortHandle,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self {
            sender,
            task: Some(task),
            pulse,
            idle_timeout: None,
        }
    }

    /// Hands a request to hyper at once. What this gives is what becomes of it.
    pub(in crate::data_plane) fn send(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<>
    {
        self.pulse.rest(false);
        self.pulse.forget_heard();
        request.body_mut().goes_by(&self.pulse);
        self.sender.try_send_request(request)
    }

    /// Whether little of the next answer is to be read at once.
    pub(super) fn read_little(&self, little: bool) {
        self.pulse.read_little(little);
    }

    /// Whether a byte came since the last request was sent.
    pub(super) fn has_heard(&self) -> bool {
        self.pulse.has_heard()
    }

    /// Whether the last byte of the request's body is with the kernel.
    pub(super) fn has_written_all(&self) -> bool {
        self.pulse.is_flushed()
    }

    fn read_head<B>(&mut self, response: &Response<B>) {
        // hyper would talk HTTP/1.0 from then on, without chunks.
        let fields = response.headers();
        let present = Present::of(fields);
        let says_close = present.has(Present::CONNECTION) && headers::says_close(fields);
        self.idle_timeout = if response.version() != Version::HTTP_11 || says_close {
            Some(Duration::ZERO)
        } else if present.has(Present::KEEP_ALIVE) {
            headers::keep_alive_timeout(fields)
                .map(|seconds| Duration::from_secs(seconds).saturating_sub(MARGIN))
        } else {
            None
        };
    }

    /// The connection is a tunnel from now on, and its task ends by itself.
    fn detach(mut self) {
        self.task = None;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Not left to the sender's end alone: an upload would go on to an app that has answered already.
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}
