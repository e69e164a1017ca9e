//! The connections of one worker to the instances of one generation: choosing one, the pool, sending a request.
//!
//! Never decides whether a request may be sent again; only says what became of it.

mod attended;
mod connect;
mod failure;
mod greeting;
mod multiplexed;
mod pool;
mod shared;

pub(super) use self::attended::Sent;
pub(super) use self::failure::{Failed, Failure};
pub(super) use self::pool::{Carrier, InFlight, Link};
pub(super) use self::shared::Stream;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::Instant;

use self::attended::attended;
use self::pool::Pool;
use super::body::{Patience, RequestBody};
use super::exchange::{Exchange, Recall, Register};
use super::in_force::InForce;
use super::site::Site;
use super::{App, AppConfig};
use crate::generation::{Address, AppProtocol, GenerationId};
use crate::live::{Backend, Generation, Instance, Lease, Orders, Outcomes};
use crate::telemetry::traffic::{Connected, Counters};

/// One worker's connections to one generation.
pub(super) struct Upstream {
    generation: GenerationId,
    app: Arc<App>,
    config: Rc<InForce<AppConfig>>,
    index: usize,
    register: Rc<Register>,
    pools: RefCell<Vec<Rc<Pool>>>,
    orders: RefCell<watch::Receiver<Orders>>,
    obeyed: Cell<Orders>,
    retired: Rc<Cell<bool>>,
}

/// A request on its way: how long it may take, and whether an idle connection may be taken.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    pub(super) patience: &'a Patience,
    pub(super) fresh: bool,
    /// It is one of many that share the client's connection: what waits there of each answer must be little.
    pub(super) of_many: bool,
    /// When it was sent.
    pub(super) now: Instant,
}

/// The answer's head, on the connection that the rest of it will come by.
pub(super) type Reply = (Response<Incoming>, Carrier);

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
            config: Rc::clone(site.configured()),
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
    pub(super) fn begin(
        &self,
        lease: Lease<Backend>,
        avoid: &[Address],
        recall: Recall,
    ) -> Option<Exchange> {
        if self.orders.borrow().has_changed().unwrap_or(false) {
            // An order speaks of what was under way when it was given, and this request was not.
            self.obey();
        }
        let instances = lease.generation().payload.instances();
        let pool = self.pool(choose(&instances, avoid, |instance| self.load(instance))?);
        Some(self.register.begin(lease, InFlight::new(pool), recall))
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
        if orders.recalls != before.recalls {
            self.register.recall();
        }
        if orders.cuts != before.cuts {
            self.register.cut();
        }
        if orders.closes != before.closes {
            self.register.close(orders.close_spread);
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

    /// A connection of HTTP/1 to the instance of `exchange` that is idle at `now`. Of `of_many` see [`Terms`].
    pub(super) fn idle_link(
        &self,
        exchange: &Exchange,
        now: Instant,
        of_many: bool,
    ) -> Option<Link> {
        if self.app.config.protocol != AppProtocol::Http1 {
            return None;
        }
        let link = exchange.seat().reuse(now)?;
        self.counters().connected(Connected::Reused);
        link.read_little(of_many);
        Some(link)
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// What became of it; with the request where nothing was written.
    pub(super) async fn send(
        &self,
        exchange: &Exchange,
        mut request: Request<RequestBody>,
        terms: Terms<'_>,
    ) -> Result<Reply, Box<Failed>> {
        if self.app.config.protocol == AppProtocol::H2c {
            // Not a part of what requests to other apps carry.
            return Box::pin(self.send_multiplexed(exchange, request, terms)).await;
        }
        let patience = terms.patience;
        let idle = || self.idle_link(exchange, terms.now, terms.of_many);
        if let Some(mut link) = (!terms.fresh).then(idle).flatten() {
            match self.send_on(&mut link, exchange, request, patience).await {
                Ok(response) => return Ok((response, Carrier::Link(link))),
                Err(failed) => match *failed {
                    // Closed while idle: nothing was written, and a fresh connection will do for any method.
                    Failed {
                        failure: Failure::Unwritten,
                        request: Some(unwritten),
                        ..
                    } => request = unwritten,
                    other => return Err(Box::new(other.on_reused())),
                },
            }
        }
        let mut link = match self.connect(exchange, patience).await {
            Ok(link) => link,
            Err(failure) => return Err(Failed::boxed(failure, Some(request))),
        };
        link.read_little(terms.of_many);
        let response = self.send_on(&mut link, exchange, request, patience).await;
        tell_connected(exchange, &response);
        Ok((response?, Carrier::Link(link)))
    }

    async fn send_on(
        &self,
        link: &mut Link,
        exchange: &Exchange,
        request: Request<RequestBody>,
        patience: &Patience,
    ) -> Result<Response<Incoming>, Box<Failed>> {
        let mut sent = pin!(link.send(request));
        poll_fn(|cx| link.poll_sent(exchange, patience, cx, sent.as_mut())).await
    }

    async fn connect(&self, exchange: &Exchange, patience: &Patience) -> Result<Link, Failure> {
        let pool = exchange.seat().pool();
        let connecting = connect::connect(pool.address(), self.config.get().connect_timeout);
        // Rare, and so not a part of what every request carries.
        let connecting = Box::pin(connecting);
        let connected = match attended(exchange, patience, connecting).await? {
            Ok((sender, task, pulse)) => Ok(Link::new(sender, task, pulse)),
            Err(error) => Err(error),
        };
        let result = connected.as_ref().map(|_| ()).map_err(|error| *error);
        self.count_connected(exchange, result);
        connected
    }

    fn count_connected(&self, exchange: &Exchange, result: Result<(), Failure>) {
        if result == Err(Failure::Refused) {
            exchange.instance_did(Outcomes::refused);
        }
        self.counters().connected(match result {
            Ok(()) => Connected::Opened,
            Err(Failure::Refused) => Connected::Refused,
            Err(Failure::ConnectTimedOut) => Connected::TimedOut,
            Err(_) => Connected::Failed,
        });
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
        let pool = Rc::new(Pool::new(
            instance.clone(),
            Rc::clone(&self.config),
            retired,
        ));
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

/// The one with fewer requests in flight of two different ones taken at random: nearly as even as looking at all, and no
/// herd.
fn choose<'a>(
    instances: &'a [Instance],
    avoid: &[Address],
    load: impl Fn(&Instance) -> u32,
) -> Option<&'a Instance> {
    match (instances, avoid) {
        ([only], []) => return Some(only),
        ([_, _, ..], []) => {
            let first = fastrand::usize(..instances.len());
            let step = fastrand::usize(1..instances.len());
            let second = (first + step) % instances.len();
            return Some(lighter(&instances[first], &instances[second], load));
        }
        _ => {}
    }
    let eligible = instances
        .iter()
        .filter(|instance| !avoid.contains(&instance.address));
    let mut eligible: Vec<_> = eligible.collect();
    if eligible.is_empty() {
        return None;
    }
    let first = eligible.swap_remove(fastrand::usize(..eligible.len()));
    let Some(second) = fastrand::choice(&eligible) else {
        return Some(first);
    };
    Some(lighter(first, second, load))
}

fn lighter<'a>(
    first: &'a Instance,
    second: &'a Instance,
    load: impl Fn(&Instance) -> u32,
) -> &'a Instance {
    if load(second) < load(first) {
        second
    } else {
        first
    }
}

/// Tells what a connection that was just made says about its instance.
fn tell_connected<T>(exchange: &Exchange, sent: &Result<T, Box<Failed>>) {
    match sent {
        // Accepted, and reset before anything was written: a listener that is being closed does so.
        Err(failed) if failed.failure == Failure::Unwritten && failed.untaken => {
            exchange.instance_did(Outcomes::refused);
        }
        _ => exchange.instance_did(Outcomes::connected),
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
    fn the_lighter_of_two_is_chosen() {
        let instances = instances(&[1, 2]);
        for _ in 0..50 {
            let chosen = choose(&instances, &[], |instance| instance.number).unwrap();
            assert_eq!(chosen.number, 1);
        }
    }

    #[test]
    fn equals_get_their_share() {
        let instances = instances(&[1, 2, 3]);
        let mut shares = [0; 3];
        for _ in 0..900 {
            let chosen = choose(&instances, &[], |_| 0).unwrap();
            shares[chosen.number as usize - 1] += 1;
        }
        assert!(shares.iter().all(|share| *share > 200), "{shares:?}");
    }
}
