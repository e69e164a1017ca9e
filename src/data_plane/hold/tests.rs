//! The promises of `hold`, one test each.

use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::data_plane::AppConfig;
use crate::data_plane::in_force::InForce;
use crate::generation::{Address, AppName, GenerationId};
use crate::live::{Generation, Instance, Live, Routing};
use crate::telemetry::traffic::Traffic;

struct World {
    app: Arc<App>,
    queue: Rc<Queue>,
    live: Worker<Backend>,
}

fn world(hold_requests: usize) -> World {
    let config = AppConfig {
        hold_requests,
        ..AppConfig::default()
    };
    let live = Arc::new(Live::new());
    let traffic = Arc::new(Traffic::new(1));
    let in_force = Rc::new(InForce::new(config.clone()));
    let app = Arc::new(App::new(AppName::new("app"), config, live, traffic));
    World {
        queue: Rc::new(Queue::new(Arc::clone(&app), 0, in_force)),
        live: Worker::new(Arc::clone(&app.live), 0),
        app,
    }
}

impl World {
    fn publish(&self) {
        let instance = Instance {
            number: 1,
            address: Address::Tcp("127.0.0.1:1".parse().unwrap()),
        };
        let backend = Backend::new(vec![instance], 1, || {});
        let generation = Generation::new(GenerationId::FIRST, backend, 1, |_| {});
        self.app.live.publish(Routing {
            live: Some(Arc::new(generation)),
            fallback: None,
        });
        self.queue.published(&self.live);
    }

    fn wait(&self) -> impl Future<Output = Result<Turn, NoTurn>> + use<> {
        let queue = Rc::clone(&self.queue);
        let place = queue.place();
        let until = Instant::now() + Duration::from_secs(30);
        async move {
            queue
                .wait(place, Seen::default(), until, HoldOutcome::TimedOut)
                .await
        }
    }

    fn held(&self) -> u64 {
        self.app.traffic.totals().held_now
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_something_is_live() {
    let world = world(10);
    let mut held = Box::pin(world.wait());
    assert!(held.as_mut().now_or_never().is_none());
    assert_eq!(world.held(), 1);
    world.publish();
    assert!(held.await.is_ok());
    assert_eq!(world.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn past_its_time_it_waits_no_longer() {
    let world = world(10);
    let since = Instant::now();
    assert_eq!(world.wait().await.unwrap_err(), NoTurn::TimedOut);
    assert_eq!(since.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn for_an_app_that_is_removed_nobody_waits() {
    let world = world(10);
    let mut held = Box::pin(world.wait());
    assert!(held.as_mut().now_or_never().is_none());
    world.queue.close();
    let since = Instant::now();
    assert_eq!(held.await.unwrap_err(), NoTurn::Removed);
    assert_eq!(world.wait().await.unwrap_err(), NoTurn::Removed);
    assert_eq!(since.elapsed(), Duration::ZERO);
    assert_eq!(world.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn past_the_limit_there_is_no_room() {
    let world = world(1);
    let mut first = Box::pin(world.wait());
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(world.wait().await.unwrap_err(), NoTurn::Full);
    drop(first);
    assert!(
        world.wait().now_or_never().is_none(),
        "whoever leaves makes room"
    );
    assert_eq!(world.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_go_first_and_only_so_many_at_a_time() {
    let world = world(100);
    let mut held: Vec<_> = (0..AT_A_TIME + 2).map(|_| Box::pin(world.wait())).collect();
    for stay in &mut held {
        assert!(stay.as_mut().now_or_never().is_none());
    }
    world.publish();
    let mut turns = Vec::new();
    for stay in held.iter_mut().take(AT_A_TIME) {
        turns.push(
            stay.as_mut()
                .now_or_never()
                .expect("among the first")
                .unwrap(),
        );
    }
    assert!(held[AT_A_TIME].as_mut().now_or_never().is_none());
    drop(turns.pop());
    let next = held[AT_A_TIME].as_mut().now_or_never();
    assert!(next.is_some());
    assert!(held[AT_A_TIME + 1].as_mut().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_one_that_is_gone_is_the_next_ones() {
    let world = world(100);
    let mut held: Vec<_> = (0..=AT_A_TIME).map(|_| Box::pin(world.wait())).collect();
    for stay in &mut held {
        assert!(stay.as_mut().now_or_never().is_none());
    }
    world.publish();
    drop(held.remove(0));
    assert!(held[AT_A_TIME - 1].as_mut().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_has_seen_the_live_one_waits_for_the_next() {
    let world = world(10);
    world.publish();
    let place = world.queue.place();
    let until = Instant::now() + Duration::from_secs(30);
    let seen = world.queue.seen();
    let late = HoldOutcome::TimedOut;
    let mut again = Box::pin(world.queue.wait(place, seen, until, late));
    assert!(again.as_mut().now_or_never().is_none());
    assert!(
        !world.queue.has_others_to_go(),
        "newcomers do not wait behind one that waits for what comes next"
    );
    world.publish();
    assert!(again.await.is_ok());
}
