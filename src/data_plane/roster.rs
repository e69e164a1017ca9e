//! The client connections of one worker: what each is doing, since when, and what the sweep over them calls out.
//!
//! A request costs nothing here: the sweep looks at the pulses of connections now and then, and what has not moved from
//! one look to the next counts as still. So a limit is kept to within two sweeps, and never too early.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::connection::Config;
use super::wire::{Doing, Pulse};
use crate::telemetry::traffic::Closed;

/// How long one is left alone that may be about to send a request: a new one above all.
const FRESH: Duration = Duration::from_secs(1);

/// How many are told something before others have their turn.
const TOLD_AT_ONCE: usize = 32;

/// All client connections of one worker, tunnels included.
#[derive(Debug, Default)]
pub(super) struct Roster {
    seats: RefCell<Slab<Place>>,
    queue: RefCell<Queue>,
    leaving: Cell<usize>,
    /// Those that the last sweep had something to tell to, and that have not been told yet.
    due: RefCell<Vec<usize>>,
}

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Nothing has come for a while: wait without hyper.
    Park,
    /// It has been idle for too long, or others need the room. To one that is not idle any more, this says nothing.
    Close(Closed),
    /// The head of a request takes too long.
    HeadLate,
    /// The client has taken nothing of an answer for too long.
    Abort,
}

#[derive(Debug)]
struct Place {
    waker: Option<Waker>,
    call: Option<Call>,
    watch: Watch,
    /// Since when it does what it does.
    since: Instant,
    /// Its neighbours among the idle ones.
    before: Link,
    after: Link,
}

#[derive(Debug)]
enum Watch {
    /// Nobody looks at a clock: a tunnel.
    None,
    /// Told to close for others, or in its last moment, which has a clock of its own.
    Leaving,
    /// Parked, or new.
    Idle,
    /// With hyper.
    Active { pulse: Arc<Pulse>, seen: Doing },
}

/// The idle ones, the longest idle first: a list through their places.
#[derive(Debug, Default)]
struct Queue {
    first: Link,
    last: Link,
}

type Link = Option<u32>;

// === impl Roster ===

impl Roster {
    /// A place that no clock runs for yet.
    pub(super) fn insert(&self) -> usize {
        self.seats.borrow_mut().insert(Place {
            waker: None,
            call: None,
            watch: Watch::None,
            since: Instant::now(),
            before: None,
            after: None,
        })
    }

    pub(super) fn remove(&self, key: usize) {
        self.watch(key, Watch::None);
        self.seats.borrow_mut().remove(key);
    }

    pub(super) fn len(&self) -> usize {
        self.seats.borrow().len()
    }

    /// From now on it is idle.
    pub(super) fn is_idle(&self, key: usize) {
        self.watch(key, Watch::Idle);
    }

    /// From now on it is served by hyper.
    pub(super) fn is_active(&self, key: usize, pulse: Arc<Pulse>) {
        let seen = pulse.doing();
        self.watch(key, Watch::Active { pulse, seen });
    }

    /// From now on no clock runs for it.
    pub(super) fn is_leaving(&self, key: usize) {
        self.watch(key, Watch::Leaving);
    }

    /// How many are in their last moment, or have been told to close.
    pub(super) fn leaving(&self) -> usize {
        self.leaving.get()
    }

    /// Has its task woken when it is called and when the phase changes.
    pub(super) fn wake_by(&self, key: usize, waker: &Waker) {
        let waker = waker.clone();
        self.seats.borrow_mut()[key].waker = Some(waker);
    }

    /// What it has been told since it last asked.
    pub(super) fn call(&self, key: usize) -> Option<Call> {
        self.seats.borrow_mut()[key].call.take()
    }

    pub(super) fn wake_all(&self) {
        for (_, place) in self.seats.borrow().iter() {
            place.wake();
        }
    }

    /// Tells the connection that has been idle longest to close. Says no where none has been for a moment.
    pub(super) fn close_longest_idle(&self, why: Closed) -> bool {
        let Some(first) = self.queue.borrow().first else {
            return false;
        };
        let key = first as usize;
        if self.seats.borrow()[key].since.elapsed() < FRESH {
            return false;
        }
        // Told once: it closes, or turns out to be busy.
        self.watch(key, Watch::Leaving);
        self.seats.borrow_mut()[key].tell(Call::Close(why));
        true
    }

    /// Looks at all of them. Those whose time is over are told by [`tell_some`](Self::tell_some).
    pub(super) fn sweep(&self, now: Instant, limits: &Config) {
        let mut due = self.due.borrow_mut();
        due.clear();
        for (key, place) in self.seats.borrow_mut().iter_mut() {
            if place.look(now, limits).is_some() {
                due.push(key);
            }
        }
    }

    /// Tells some of those that the sweep found: all at once would hold requests up. Returns how many; none are left when
    /// it is None.
    pub(super) fn tell_some(&self, now: Instant, limits: &Config) -> Option<usize> {
        let mut due = self.due.borrow_mut();
        let first = due.len().saturating_sub(TOLD_AT_ONCE);
        let mut seats = self.seats.borrow_mut();
        let some = due.drain(first..);
        if some.len() == 0 {
            return None;
        }
        // One that has moved since is not meant any more.
        let told = some.filter(|key| {
            let place = seats.get_mut(*key);
            let call = place.and_then(|place| Some((place.look(now, limits)?, place)));
            call.map(|(call, place)| place.tell(call)).is_some()
        });
        Some(told.count())
    }

    fn watch(&self, key: usize, watch: Watch) {
        self.unlink(key);
        let idle = matches!(watch, Watch::Idle);
        let leaving = |watch: &Watch| usize::from(matches!(watch, Watch::Leaving));
        {
            let mut seats = self.seats.borrow_mut();
            let place = &mut seats[key];
            if !(idle && place.is_resting()) {
                place.since = Instant::now();
            }
            let all = self.leaving.get() + leaving(&watch);
            self.leaving.set(all - leaving(&place.watch));
            place.watch = watch;
            place.call = None;
        }
        if idle {
            self.append(key);
        }
    }

    fn append(&self, key: usize) {
        let mut seats = self.seats.borrow_mut();
        let mut queue = self.queue.borrow_mut();
        let this = u32::try_from(key).expect("there are fewer connections than descriptors");
        let last = queue.last.replace(this);
        seats[key].before = last;
        match last {
            Some(last) => seats[last as usize].after = Some(this),
            None => queue.first = Some(this),
        }
    }

    /// Takes it out of the queue of the idle ones, where it is in it.
    fn unlink(&self, key: usize) {
        let mut seats = self.seats.borrow_mut();
        let mut queue = self.queue.borrow_mut();
        let (before, after) = (seats[key].before.take(), seats[key].after.take());
        match before {
            Some(before) => seats[before as usize].after = after,
            None if queue.first.is_some_and(|first| first as usize == key) => queue.first = after,
            None => return,
        }
        match after {
            Some(after) => seats[after as usize].before = before,
            None => queue.last = before,
        }
    }
}

// === impl Place ===

impl Place {
    /// What it is to be told.
    fn look(&mut self, now: Instant, limits: &Config) -> Option<Call> {
        let still = now.saturating_duration_since(self.since);
        match &mut self.watch {
            Watch::None | Watch::Leaving => None,
            Watch::Idle => (still >= limits.idle_timeout).then_some(Call::Close(Closed::Idle)),
            Watch::Active { pulse, seen } => {
                let doing = pulse.doing();
                if doing != *seen {
                    *seen = doing;
                    self.since = now;
                    return None;
                }
                match doing {
                    Doing::InMessage => None,
                    // hyper flushes whenever it is polled.
                    Doing::Unflushed => {
                        self.wake();
                        None
                    }
                    Doing::Resting(_) => Some(Call::Park),
                    Doing::InHead(_) if still >= limits.head_timeout => Some(Call::HeadLate),
                    Doing::CutShort if still >= limits.head_timeout => Some(Call::Abort),
                    Doing::Stalled(_) if still >= limits.write_timeout => Some(Call::Abort),
                    Doing::InHead(_) | Doing::CutShort | Doing::Stalled(_) => None,
                }
            }
        }
    }

    /// Whether it has been idle for a while although hyper has it.
    fn is_resting(&self) -> bool {
        let seen = match &self.watch {
            Watch::Active { seen, .. } => Some(seen),
            Watch::None | Watch::Idle | Watch::Leaving => None,
        };
        matches!(seen, Some(Doing::Resting(_)))
    }

    fn tell(&mut self, call: Call) {
        self.call = Some(call);
        if let Watch::Active { pulse, .. } = &self.watch {
            pulse.call();
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys in the order in which they would be closed.
    fn order(roster: &Roster) -> Vec<usize> {
        std::iter::from_fn(|| {
            let first = roster.queue.borrow().first?;
            let closed = roster.close_longest_idle(Closed::Crowded);
            closed.then_some(first as usize)
        })
        .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_is_first_whatever_comes_and_goes() {
        let roster = Roster::default();
        let keys: Vec<_> = (0..5).map(|_| roster.insert()).collect();
        for &key in &keys {
            roster.is_idle(key);
        }
        // The first and the last leave, the one in the middle was busy in between.
        roster.is_leaving(keys[0]);
        roster.remove(keys[4]);
        roster.is_active(keys[2], Arc::default());
        roster.is_idle(keys[2]);
        let new = roster.insert();
        assert_eq!(new, keys[4], "a place is used again");
        roster.is_idle(new);
        assert!(order(&roster).is_empty(), "each may be about to ask");
        tokio::time::advance(FRESH).await;
        assert_eq!(order(&roster), [keys[1], keys[3], keys[2], new]);
        assert!(!roster.close_longest_idle(Closed::Crowded));
        for key in [keys[0], keys[1], keys[2], keys[3], new] {
            roster.remove(key);
        }
        assert_eq!(roster.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_kept_by_what_did_not_move() {
        let roster = Roster::default();
        let limits = Config::default();
        let key = roster.insert();
        let pulse = Arc::new(Pulse::default());
        roster.is_active(key, Arc::clone(&pulse));
        let mut calls = Vec::new();
        for second in 0..40 {
            tokio::time::advance(Duration::from_secs(1)).await;
            if second == 10 {
                drop(pulse.begin());
            }
            roster.sweep(Instant::now(), &limits);
            roster.tell_some(Instant::now(), &limits);
            calls.push(roster.call(key));
        }
        // Still for a whole sweep: parked. Not so while something moves, or is not flushed.
        assert_eq!(calls[0], Some(Call::Park));
        assert!(calls[10..].iter().all(Option::is_none), "{calls:?}");
        roster.is_idle(key);
        tokio::time::advance(limits.idle_timeout).await;
        roster.sweep(Instant::now(), &limits);
        assert_eq!(roster.tell_some(Instant::now(), &limits), Some(1));
        assert_eq!(roster.call(key), Some(Call::Close(Closed::Idle)));
        assert_eq!(roster.tell_some(Instant::now(), &limits), None);
    }
}
