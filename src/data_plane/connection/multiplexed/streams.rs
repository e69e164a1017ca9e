//! The streams of one HTTP/2 connection that are alive, and the looks at them that keep its limits.
//!
//! What a client does not take is not seen at the socket: its window is shut while the connection goes on. So it is seen
//! here, at an answer whose last frame has been handed over and which is not asked for the next one.

use std::cell::{Cell, OnceCell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use slab::Slab;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::frames::Seen;
use crate::data_plane::body::{AnswerBody, Error};
use crate::data_plane::connection::Config;
use crate::data_plane::wire::{Busy, Pulse};

/// So many answers at once may be read from their apps in pieces as large as those for a client of HTTP/1.1.
const MANY: usize = 8;

/// What is known about the streams of one connection.
#[derive(Debug)]
pub(in crate::data_plane) struct Streams {
    alive: RefCell<Slab<Entry>>,
    /// The stream that hyper has been given an answer for, until it says what is to run.
    begun: RefCell<Option<Place>>,
    pulse: Arc<Pulse>,
    pub(super) seen: Rc<Seen>,
    looks: RefCell<Looks>,
    verdict: Cell<Option<Verdict>>,
    waker: OnceCell<Waker>,
    /// Since when it waits for the client to end as well.
    ending: Cell<Option<Instant>>,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data_plane::connection) enum Verdict {
    /// The client still takes what it was sent: it is not idle.
    Moved,
    /// The head of a request takes too long.
    HeadLate,
    /// It had its time to end.
    Over,
}

/// The body of an answer, whose pace is watched.
#[derive(Debug)]
pub(super) struct Paced {
    body: AnswerBody,
    pace: Rc<Pace>,
    seen: Rc<Seen>,
}

/// Counts the times at which an answer is asked for a frame and has handed one over: odd when it has.
#[derive(Debug, Default)]
pub(super) struct Pace(Cell<u32>);

#[derive(Debug)]
struct Entry {
    pace: Rc<Pace>,
    /// None: it does not run yet.
    task: Option<AbortHandle>,
    look: Look,
    _busy: Busy,
}

/// A number that changes when something moves, and when it was last seen to change.
#[derive(Clone, Copy, Debug)]
struct Look {
    seen: u32,
    since: Instant,
}

#[derive(Debug)]
struct Looks {
    head: Look,
    sent: Look,
}

/// Makes a stream count as alive until it is dropped.
#[derive(Debug)]
struct Place {
    streams: Rc<Streams>,
    key: usize,
}

/// Runs what hyper wants to have run for one connection on the worker's thread.
#[derive(Clone, Debug)]
pub(super) struct OnThisThread(pub(super) Rc<Streams>);

// === impl Streams ===

impl Streams {
    pub(super) fn new(pulse: Arc<Pulse>) -> Rc<Self> {
        let now = Instant::now();
        let still = Look {
            seen: 0,
            since: now,
        };
        Rc::new(Self {
            alive: RefCell::default(),
            begun: RefCell::default(),
            pulse,
            seen: Rc::new(Seen::new()),
            looks: RefCell::new(Looks {
                head: still,
                sent: still,
            }),
            verdict: Cell::default(),
            waker: OnceCell::new(),
            ending: Cell::default(),
        })
    }

    /// A stream begins: its answer is paced by this.
    pub(super) fn begin(self: &Rc<Self>) -> Rc<Pace> {
        let pace = Rc::new(Pace::default());
        let place = self.place(&pace);
        let before = self.begun.replace(Some(place));
        drop(before);
        pace
    }

    fn place(self: &Rc<Self>, pace: &Rc<Pace>) -> Place {
        let key = self.alive.borrow_mut().insert(Entry {
            pace: Rc::clone(pace),
            task: None,
            look: Look {
                seen: 0,
                since: Instant::now(),
            },
            _busy: self.pulse.begin(),
        });
        Place {
            streams: Rc::clone(self),
            key,
        }
    }

    /// Whether so many are alive that little may wait of each.
    pub(super) fn are_many(&self) -> bool {
        self.alive.borrow().len() > MANY
    }

    /// Whether no stream is alive.
    pub(super) fn is_empty(&self) -> bool {
        self.alive.borrow().is_empty()
    }

    /// Has the connection's task woken when there is something to do.
    pub(super) fn wake_by(&self, waker: &Waker) {
        // A task has one waker for all of its life.
        self.waker.get_or_init(|| waker.clone());
    }

    /// What came of the last look, once.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.verdict.take()
    }

    /// No further stream is wanted. Says no where that was said before.
    pub(super) fn end(&self) -> bool {
        let first = self.ending.get().is_none();
        if first {
            self.ending.set(Some(Instant::now()));
        }
        first
    }

    /// Looks at the connection and all of its streams. Once no further stream is wanted and none is left, it has as long as
    /// `patience` to end.
    pub(in crate::data_plane) fn look(&self, now: Instant, limits: &Config, patience: Duration) {
        for (_, entry) in self.alive.borrow_mut().iter_mut() {
            let handed = entry.pace.0.get();
            let still = entry.look.at(handed, now);
            if handed % 2 == 1 && still >= limits.write_timeout {
                // hyper resets the stream when the task is gone.
                if let Some(task) = &entry.task {
                    task.abort();
                }
            }
        }
        let verdict = self.judge(now, limits, patience);
        if verdict.is_some() {
            self.verdict.set(verdict);
            self.wake();
        }
    }

    fn judge(&self, now: Instant, limits: &Config, patience: Duration) -> Option<Verdict> {
        let mut looks = self.looks.borrow_mut();
        let head = self.seen.heads();
        let in_head = looks.head.at(head, now);
        if head % 2 == 1 && in_head >= limits.head_timeout {
            return Some(Verdict::HeadLate);
        }
        let sent_since = looks.sent.at(self.seen.sent(), now);
        if !self.is_empty() {
            return None;
        }
        match self.ending.get() {
            Some(since) if now - since >= patience && sent_since >= patience => Some(Verdict::Over),
            None if sent_since.is_zero() => Some(Verdict::Moved),
            Some(_) | None => None,
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

impl Look {
    /// For how long the number has been this one.
    fn at(&mut self, number: u32, now: Instant) -> Duration {
        if number != self.seen {
            *self = Self {
                seen: number,
                since: now,
            };
        }
        now.saturating_duration_since(self.since)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.alive.borrow_mut().remove(self.key);
        self.streams.wake();
    }
}

// === impl OnThisThread ===

impl<F> hyper::rt::Executor<F> for OnThisThread
where
    F: Future + 'static,
    F::Output: 'static,
{
    /// hyper calls it right after the service, with what answers that request; and with what a stream has become that is a
    /// tunnel now, which has no pace to be watched.
    fn execute(&self, future: F) {
        let begun = self.0.begun.take();
        let place = begun.unwrap_or_else(|| self.0.place(&Rc::default()));
        let key = place.key;
        let task = spawn_local(async move {
            future.await;
            drop(place);
        });
        self.0.alive.borrow_mut()[key].task = Some(task.abort_handle());
    }
}

// === impl Paced ===

impl Paced {
    /// That of an answer whose head hyper is given.
    pub(super) fn new(body: AnswerBody, pace: Rc<Pace>, streams: &Streams) -> Self {
        let seen = Rc::clone(&streams.seen);
        seen.gives_head();
        Self { body, pace, seen }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let me = self.get_mut();
        let polled = Pin::new(&mut me.body).poll_frame(cx);
        me.pace.polled(polled.is_ready());
        if matches!(&polled, Poll::Ready(Some(Ok(frame))) if frame.is_trailers()) {
            me.seen.gives_head();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Pace ===

impl Pace {
    fn polled(&self, handed: bool) {
        // Each frame counts, also where the answer was never waited for in between.
        let next = self.0.get().wrapping_add(1);
        let is_odd = next % 2 == 1;
        self.0.set(if is_odd == handed {
            next
        } else {
            next.wrapping_add(1)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_odd_while_a_frame_was_handed_over() {
        let pace = Pace::default();
        let mut before = pace.0.get();
        for handed in [false, true, true, false, false, true] {
            pace.polled(handed);
            assert_ne!(pace.0.get(), before);
            assert_eq!(pace.0.get() % 2 == 1, handed);
            before = pace.0.get();
        }
    }
}
