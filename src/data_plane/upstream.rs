//! The connections of one worker to the instances of one generation: choosing one, the pool, sending a request.
//!
//! Never decides whether a request may be sent again; only says what became of it.

mod connect;
mod pool;

pub(super) use self::pool::{InFlight, Link};

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::Instant;

use self::pool::Pool;
use super::App;
use super::body::{Patience, RequestBody};
use super::exchange::{Exchange, Order, Register};
use super::worker::Site;
use crate::generation::{Address, GenerationId};
use crate::live::{Backend, Generation, Instance, Lease, Orders};
use crate::telemetry::traffic::{Connected, Counters, Reason};

/// One worker's connections to one generation.
pub(super) struct Upstream {
    generation: GenerationId,
    app: Arc<App>,
    index: usize,
    register: Rc<Register>,
    pools: RefCell<Vec<Rc<Pool>>>,
    orders: RefCell<watch::Receiver<Orders>>,
    obeyed: Cell<Orders>,
    retired: Rc<Cell<bool>>,
}

/// A request that got no answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// The request, where nothing of it was written.
    pub(super) request: Option<Request<RequestBody>>,
}

/// What became of a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Not written: the connection was refused.
    Refused,
    /// Not written: the connection was not accepted in time.
    ConnectTimedOut,
    /// Not written: no connection for another cause.
    ConnectFailed,
    /// Not written: the connection closed before.
    Unwritten,
    /// Written on a connection that had been idle, which closed without a byte of the answer.
    LostReused,
    /// Written, and the connection closed without a byte of the answer.
    Lost,
    /// Written, and the answer began but its head did not end.
    Truncated,
    /// The head of the answer breaks a rule of HTTP.
    BadAnswer,
    /// The head of the answer is too large.
    AnswerTooLarge,
    /// The client's body breaks a rule of HTTP, or the client went away.
    BadBody,
    /// The client's body made no progress.
    BodyTimedOut,
    /// The head of the answer did not come in time.
    AnswerTimedOut,
    /// The generation had to stop.
    Cut,
}

/// A request on its way: how long it may take, and whether an idle connection may be taken.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    pub(super) patience: &'a Patience,
    pub(super) fresh: bool,
}

/// The answer's head, on the connection that the rest of it will come by.
pub(super) type Reply = (Response<Incoming>, Link);

// === impl Upstream ===

impl Upstream {
    /// Connections to `generation`, none of them made yet.
    pub(super) fn new(site: &Site, generation: &Generation<Backend>) -> Self {
        let orders = generation.payload.orders();
        let obeyed = *orders.borrow();
        let (app, index) = (Arc::clone(&site.app), site.index());
        Self {
            generation: generation.id(),
            register: Rc::new(Register::new(Arc::clone(&app), index)),
            app,
            index,
            pools: RefCell::default(),
            orders: RefCell::new(orders),
            obeyed: Cell::new(obeyed),
            retired: Rc::new(Cell::new(obeyed.retired)),
        }
    }

    pub(super) fn generation(&self) -> GenerationId {
        self.generation
    }

    /// Begins an exchange with one of its instances, but none that listens at an address of `avoid`. None: there is no
    /// such instance.
    pub(super) fn begin(&self, lease: Lease<Backend>, avoid: &[Address]) -> Option<Exchange> {
        if self.orders.borrow().has_changed().unwrap_or(false) {
            // An order speaks of what was under way when it was given, and this request was not.
            self.obey();
        }
        let instances = lease.generation().payload.instances();
        let pool = self.pool(choose(&instances, avoid, |instance| self.load(instance))?);
        Some(self.register.begin(lease, InFlight::new(pool)))
    }

    /// Carries out what has been ordered since it last looked.
    pub(super) fn obey(&self) {
        let orders = *self.orders.borrow_mut().borrow_and_update();
        let before = self.obeyed.replace(orders);
        self.retired.set(orders.retired);
        if orders.retired {
            for pool in self.pools.borrow().iter() {
                pool.clear();
            }
        }
        if orders.cuts != before.cuts {
            self.register.cut();
        }
        if orders.closes != before.closes {
            self.register.close();
        }
        if orders.breaks != before.breaks {
            self.register.break_off();
        }
    }

    /// Looks at deadlines and closes what was idle for too long.
    pub(super) fn sweep(&self, now: Instant) {
        self.register.sweep(now);
        self.pools.borrow_mut().retain(|pool| {
            pool.expire(now);
            !pool.is_unused()
        });
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// What became of it; with the request where nothing was written.
    pub(super) async fn send(
        &self,
        exchange: &Exchange,
        request: Request<RequestBody>,
        terms: Terms<'_>,
    ) -> Result<Reply, Box<Failed>> {
        let patience = terms.patience;
        let mut request = request;
        if !terms.fresh
            && let Some(mut link) = exchange.seat().reuse()
        {
            self.counters().connected(Connected::Reused);
            match self.send_on(&mut link, exchange, request, patience).await {
                Ok(response) => return Ok((response, link)),
                Err(failed) => match *failed {
                    // Closed while idle: nothing was written, and a fresh connection will do for any method.
                    Failed {
                        failure: Failure::Unwritten,
                        request: Some(unwritten),
                    } => request = unwritten,
                    Failed {
                        failure: Failure::Lost,
                        request,
                    } => return Err(Failed::boxed(Failure::LostReused, request)),
                    other => return Err(Box::new(other)),
                },
            }
        }
        let mut link = match self.connect(exchange, patience).await {
            Ok(link) => link,
            Err(failure) => return Err(Failed::boxed(failure, Some(request))),
        };
        let response = self.send_on(&mut link, exchange, request, patience).await?;
        Ok((response, link))
    }

    async fn send_on(
        &self,
        link: &mut Link,
        exchange: &Exchange,
        request: Request<RequestBody>,
        patience: &Patience,
    ) -> Result<Response<Incoming>, Box<Failed>> {
        let sent = link.send(request);
        match attended(exchange, patience, sent).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut error)) => {
                let request = error.take_message();
                let failure = match &request {
                    Some(_) => Failure::Unwritten,
                    None => explain(error.error(), link, patience),
                };
                Err(Failed::boxed(failure, request))
            }
            Err(failure) => Err(Failed::boxed(failure, None)),
        }
    }

    async fn connect(&self, exchange: &Exchange, patience: &Patience) -> Result<Link, Failure> {
        let pool = exchange.seat().pool();
        let connecting = connect::connect(pool.address(), self.app.config.connect_timeout);
        let connected = match attended(exchange, patience, connecting).await? {
            Ok((sender, task, pulse)) => Ok(Link::new(sender, task, pulse)),
            Err(error) => Err(error),
        };
        self.counters().connected(match &connected {
            Ok(_) => Connected::Opened,
            Err(Failure::Refused) => Connected::Refused,
            Err(Failure::ConnectTimedOut) => Connected::TimedOut,
            Err(_) => Connected::Failed,
        });
        connected
    }

    fn load(&self, instance: &Instance) -> u32 {
        let pools = self.pools.borrow();
        let pool = pools.iter().find(|pool| pool.is_of(instance));
        pool.map_or(0, |pool| pool.in_flight())
    }

    fn pool(&self, instance: &Instance) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        if let Some(pool) = pools.iter().find(|pool| pool.is_of(instance)) {
            return Rc::clone(pool);
        }
        let retired = Rc::clone(&self.retired);
        let pool = Rc::new(Pool::new(instance.clone(), &self.app.config, retired));
        pools.push(Rc::clone(&pool));
        pool
    }

    fn counters(&self) -> &Counters {
        self.app.traffic.worker(self.index)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("generation", &self.generation)
            .field("pools", &self.pools)
            .finish_non_exhaustive()
    }
}

/// The one with fewer requests in flight of two taken at random: nearly as even as looking at all, and no herd.
fn choose<'a>(
    instances: &'a [Instance],
    avoid: &[Address],
    load: impl Fn(&Instance) -> u32,
) -> Option<&'a Instance> {
    if let ([only], []) = (instances, avoid) {
        return Some(only);
    }
    let eligible = instances
        .iter()
        .filter(|instance| !avoid.contains(&instance.address));
    let eligible: Vec<_> = eligible.collect();
    let first = fastrand::choice(&eligible)?;
    let second = fastrand::choice(&eligible)?;
    let lighter = if load(second) < load(first) {
        second
    } else {
        first
    };
    Some(lighter)
}

/// Waits for `work` while the exchange is neither told to stop nor out of time.
async fn attended<F: Future>(
    exchange: &Exchange,
    patience: &Patience,
    work: F,
) -> Result<F::Output, Failure> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if let Some(Order::Break) = exchange.order() {
            return Poll::Ready(Err(Failure::Cut));
        }
        let deadline = patience.deadline();
        if let Some((at, failure)) = deadline
            && at <= Instant::now()
        {
            return Poll::Ready(Err(failure));
        }
        exchange.park(cx, deadline.map(|(at, _)| at));
        Poll::Pending
    })
    .await
}

/// What it means that hyper gave this error after it had taken the request.
fn explain(error: &hyper::Error, link: &Link, patience: &Patience) -> Failure {
    if patience.body_failed() {
        Failure::BadBody
    } else if error.is_parse_too_large() {
        Failure::AnswerTooLarge
    } else if error.is_parse() {
        Failure::BadAnswer
    } else if link.has_heard() {
        Failure::Truncated
    } else {
        Failure::Lost
    }
}

// === impl Failed ===

impl Failed {
    fn boxed(failure: Failure, request: Option<Request<RequestBody>>) -> Box<Self> {
        Box::new(Self { failure, request })
    }
}

// === impl Failure ===

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused => Self::ConnectionRefused,
            Failure::ConnectTimedOut => Self::ConnectionTimeout,
            Failure::ConnectFailed => Self::ConnectionFailed,
            Failure::Unwritten | Failure::LostReused | Failure::Lost | Failure::Truncated => {
                Self::ConnectionLost
            }
            Failure::BadAnswer => Self::BadAnswer,
            Failure::AnswerTooLarge => Self::AnswerTooLarge,
            Failure::BadBody => Self::BadRequest,
            Failure::BodyTimedOut => Self::BodyTimeout,
            Failure::AnswerTimedOut => Self::AnswerTimeout,
            Failure::Cut => Self::Cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances(ports: &[u16]) -> Vec<Instance> {
        let instance = |(number, &port)| Instance {
            number,
            address: Address::Tcp(([127, 0, 0, 1], port).into()),
        };
        (1..).zip(ports).map(instance).collect()
    }

    #[test]
    fn an_instance_that_was_tried_is_not_chosen_again() {
        let instances = instances(&[1, 2]);
        for _ in 0..50 {
            let chosen = choose(&instances, &[instances[0].address.clone()], |_| 0);
            assert_eq!(chosen, Some(&instances[1]));
        }
        let all: Vec<_> = instances
            .iter()
            .map(|instance| instance.address.clone())
            .collect();
        assert_eq!(choose(&instances, &all, |_| 0), None);
        assert_eq!(choose(&[], &[], |_| 0), None);
    }

    #[test]
    fn the_heaviest_of_two_is_chosen_only_when_met_twice() {
        let instances = instances(&[1, 2]);
        let heavy = (0..1000)
            .filter(|_| {
                choose(&instances, &[], |instance| instance.number)
                    .unwrap()
                    .number
                    == 2
            })
            .count();
        assert!(
            (100..400).contains(&heavy),
            "{heavy} of 1000, a quarter expected"
        );
    }
}
