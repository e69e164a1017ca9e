//! Every interleaving of swap, acquire, drop and drain.

/// The same worlds for the real module and the faulty one.
macro_rules! worlds {
    ($module:ident) => {
        use std::sync::atomic::{AtomicBool as Flag, Ordering::SeqCst};

        use hitless_loom::generation::GenerationId;
        use hitless_loom::$module::{Generation, Live, Routing, Worker};
        use loom::sync::Arc;
        use loom::sync::atomic::{AtomicU32, Ordering};
        use loom::thread;

        /// What a generation's instance knows: whether it was stopped.
        type Stopped = Arc<AtomicU32>;

        fn generation(
            number: u64,
            workers: usize,
            nudges: &Arc<AtomicU32>,
        ) -> Arc<Generation<Stopped>> {
            let nudges = nudges.clone();
            let nudge = move |_| {
                nudges.fetch_add(1, Ordering::SeqCst);
            };
            Arc::new(Generation::new(
                GenerationId::from(number),
                Arc::new(AtomicU32::new(0)),
                workers,
                nudge,
            ))
        }

        fn routing(live: &Arc<Generation<Stopped>>) -> Routing<Stopped> {
            Routing {
                live: Some(live.clone()),
                fallback: None,
            }
        }

        /// Uses the live generation as a request does: it must not have been stopped while the lease is held.
        fn request(worker: &Worker<Stopped>) {
            let lease = worker.acquire().expect("something is always live");
            let stopped = lease.generation().payload.load(Ordering::SeqCst);
            assert_eq!(stopped, 0, "a request got a generation that was stopped");
        }

        /// Swaps to `new`, and stops `old` if it is drained by now, as the driver does.
        fn swap(
            live: &Live<Stopped>,
            old: &Generation<Stopped>,
            new: &Arc<Generation<Stopped>>,
        ) -> bool {
            live.publish(routing(new));
            old.retire();
            stop_if_drained(old)
        }

        fn stop_if_drained(old: &Generation<Stopped>) -> bool {
            let drained = old.requests() == 0;
            if drained {
                old.payload.store(1, Ordering::SeqCst);
            }
            drained
        }

        /// One worker with a request, one swap: nobody gets a stopped generation, and the end of the drain is
        /// either seen by the swap or told by the worker.
        pub fn swap_while_requests_come() {
            loom::model(|| {
                let nudges = Arc::new(AtomicU32::new(0));
                let (one, two) = (generation(1, 1, &nudges), generation(2, 1, &nudges));
                let live = Arc::new(Live::new());
                live.publish(routing(&one));
                let worker = {
                    let live = live.clone();
                    thread::spawn(move || {
                        let worker = Worker::new(live, 0);
                        request(&worker);
                    })
                };
                let drained = swap(&live, &one, &two);
                worker.join().expect("the worker does not panic");
                assert_eq!(one.requests(), 0);
                assert!(
                    drained || nudges.load(Ordering::SeqCst) > 0,
                    "the end of the drain was not told"
                );
            });
        }

        /// Two workers, one swap.
        ///
        /// All interleavings with at most two preemptions: three threads have too many without a bound.
        pub fn swap_under_two_workers() {
            let mut bounded = loom::model::Builder::new();
            bounded.preemption_bound = Some(2);
            bounded.check(|| {
                let nudges = Arc::new(AtomicU32::new(0));
                let (one, two) = (generation(1, 2, &nudges), generation(2, 2, &nudges));
                let live = Arc::new(Live::new());
                live.publish(routing(&one));
                let workers: Vec<_> = (0..2)
                    .map(|index| {
                        let live = live.clone();
                        thread::spawn(move || request(&Worker::new(live, index)))
                    })
                    .collect();
                let drained = swap(&live, &one, &two);
                for worker in workers {
                    worker.join().expect("the worker does not panic");
                }
                assert!(
                    drained || nudges.load(Ordering::SeqCst) > 0,
                    "the end of the drain was not told"
                );
            });
        }

        /// Swap, and back again, while a request comes: what is live again is not found drained and stopped.
        pub fn swap_and_back() {
            loom::model(|| {
                let nudges = Arc::new(AtomicU32::new(0));
                let (one, two) = (generation(1, 1, &nudges), generation(2, 1, &nudges));
                let live = Arc::new(Live::new());
                live.publish(routing(&one));
                let worker = {
                    let live = live.clone();
                    thread::spawn(move || request(&Worker::new(live, 0)))
                };
                live.publish(routing(&two));
                one.retire();
                live.publish(routing(&one));
                two.retire();
                stop_if_drained(&two);
                worker.join().expect("the worker does not panic");
                assert_eq!((one.requests(), two.requests()), (0, 0));
            });
        }

        /// One worker with two requests, the second on a seat that it has kept.
        ///
        /// All interleavings with at most three preemptions.
        pub fn swap_between_requests() {
            let mut bounded = loom::model::Builder::new();
            bounded.preemption_bound = Some(3);
            bounded.check(|| {
                let nudges = Arc::new(AtomicU32::new(0));
                let (one, two) = (generation(1, 1, &nudges), generation(2, 1, &nudges));
                let live = Arc::new(Live::new());
                live.publish(routing(&one));
                let worker = {
                    let live = live.clone();
                    thread::spawn(move || {
                        let worker = Worker::new(live, 0);
                        request(&worker);
                        request(&worker);
                    })
                };
                let drained = swap(&live, &one, &two);
                worker.join().expect("the worker does not panic");
                assert!(
                    drained || nudges.load(Ordering::SeqCst) > 0,
                    "the end of the drain was not told"
                );
            });
        }

        /// A request that becomes a stream is counted as one of the two at every moment.
        pub fn a_stream_is_never_lost() {
            loom::model(|| {
                let nudges = Arc::new(AtomicU32::new(0));
                let one = generation(1, 1, &nudges);
                let live = Arc::new(Live::new());
                live.publish(routing(&one));
                let stopped_early: &'static Flag = Box::leak(Box::new(Flag::new(false)));
                let worker = {
                    let live = live.clone();
                    thread::spawn(move || {
                        let worker = Worker::new(live, 0);
                        if let Some(mut lease) = worker.acquire() {
                            lease.become_stream();
                            if lease.generation().payload.load(Ordering::SeqCst) == 1 {
                                stopped_early.store(true, SeqCst);
                            }
                        }
                    })
                };
                live.publish(Routing {
                    live: None,
                    fallback: None,
                });
                one.retire();
                if one.requests() == 0 && one.streams() == 0 {
                    one.payload.store(1, Ordering::SeqCst);
                }
                worker.join().expect("the worker does not panic");
                assert!(!stopped_early.load(SeqCst), "stopped under a stream");
                assert_eq!((one.requests(), one.streams()), (0, 0));
            });
        }

        /// A drained standby is taken out of what is published, and stopped once nobody uses it, while a failed request
        /// looks for somebody else to go to.
        pub fn a_standby_is_let_go() {
            loom::model(|| {
                let nudges = Arc::new(AtomicU32::new(0));
                let (old, new) = (generation(1, 1, &nudges), generation(2, 1, &nudges));
                let live = Arc::new(Live::new());
                live.publish(Routing {
                    live: Some(new.clone()),
                    fallback: Some(old.clone()),
                });
                old.retire();
                let worker = {
                    let live = live.clone();
                    thread::spawn(move || {
                        let worker = Worker::new(live, 0);
                        request(&worker);
                        if let Some(lease) = worker.acquire_fallback() {
                            let stopped = lease.generation().payload.load(Ordering::SeqCst);
                            assert_eq!(stopped, 0, "a request got a generation that was stopped");
                        }
                    })
                };
                live.publish(routing(&new));
                let drained = stop_if_drained(&old);
                worker.join().expect("the worker does not panic");
                assert_eq!((old.requests(), new.requests()), (0, 0));
                assert!(
                    drained || nudges.load(Ordering::SeqCst) > 0,
                    "the end of the last request was not told"
                );
            });
        }
    };
}

mod real {
    worlds!(live);
}

#[allow(dead_code)]
mod planted {
    worlds!(faulty);
}

#[test]
fn no_request_gets_a_stopped_generation() {
    real::swap_while_requests_come();
}

#[test]
fn no_request_gets_a_stopped_generation_with_two_workers() {
    real::swap_under_two_workers();
}

#[test]
fn a_kept_seat_on_a_stopped_generation_is_not_used() {
    real::swap_between_requests();
}

#[test]
fn a_generation_that_is_live_again_is_not_stopped() {
    real::swap_and_back();
}

#[test]
fn a_request_that_becomes_a_stream_is_always_counted() {
    real::a_stream_is_never_lost();
}

#[test]
fn no_failed_request_gets_a_standby_that_was_stopped() {
    real::a_standby_is_let_go();
}

#[test]
#[should_panic(expected = "a generation")]
fn without_the_second_load_a_failed_request_gets_a_standby_that_was_stopped() {
    planted::a_standby_is_let_go();
}

#[test]
#[should_panic(expected = "a generation")]
fn without_the_second_load_a_request_gets_a_stopped_generation() {
    planted::swap_while_requests_come();
}
