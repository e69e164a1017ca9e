//! One worker's end of the access log: drafts of lines under way, and the batch that finished ones are gathered in.
//!
//! Everything is kept and used again, so that a request in the steady state allocates nothing. All of it is bounded.

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::{Dropped, Job};
use crate::generation::GenerationId;
use crate::telemetry::traffic::Protocol;

/// Where a text of a client is cut, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 4 << 10;

/// How many lines fit into a batch, and how many bytes of their texts.
const LINES_MAX: usize = 512;
const BYTES_MAX: usize = 128 << 10;

/// How many batches a worker may have, with the thread or on the way: 8192 lines, of 8 MiB at most.
pub(super) const BATCHES_MAX: usize = 32;

/// How old a line gets before it is handed over although there are few.
const AGE_MAX: Duration = Duration::from_millis(100);

/// How many drafts are kept for later requests, and how large their memory may have grown.
const SPARE_MAX: usize = 256;
const SPARE_BYTES_MAX: usize = 2 << 10;

/// What is known about a request in numbers.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// When its head had been read.
    pub started: Instant,
    /// From then to the last byte of its answer.
    pub total: Duration,
    /// From sending it to the app to the head of the app's answer.
    pub upstream_head: Option<Duration>,
    /// How long it was held.
    pub hold: Duration,
    /// The client's address; a unix socket has none.
    pub client: Option<IpAddr>,
    /// What the client speaks.
    pub protocol: Protocol,
    /// The status that the client got.
    pub status: u16,
    /// Bytes of its body that came, or of its tunnel.
    pub bytes_in: u64,
    /// Bytes of the answer's body that went, or of its tunnel.
    pub bytes_out: u64,
    /// The generation that it was sent to last.
    pub generation: Option<GenerationId>,
    /// The instance of that generation.
    pub instance: Option<u32>,
    /// How many times it was sent again.
    pub resends: u32,
    /// Why hitless answered by itself, or the answer did not reach its end.
    pub reason: Option<&'static str>,
}

/// What is known about a request in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// The name of the app.
    App,
    /// The method.
    Method,
    /// The path with its query.
    Path,
    /// What the request is called in logs and error answers.
    RequestId,
    /// `User-Agent`.
    UserAgent,
    /// `Referer`.
    Referer,
}

/// How many texts there are.
const TEXTS: usize = Text::Referer as usize + 1;

/// A line that is not finished.
#[derive(Debug)]
pub struct Draft {
    /// The numbers.
    pub entry: Entry,
    texts: Texts,
    bytes: Vec<u8>,
}

/// Where each text is; absent ones have no place.
#[derive(Clone, Copy, Debug, Default)]
struct Texts([Option<Span>; TEXTS]);

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u16,
    length: u16,
}

/// Finished lines.
#[derive(Debug, Default)]
pub(super) struct Batch {
    lines: Vec<(Entry, Texts)>,
    /// The texts of each line in turn.
    bytes: Vec<u8>,
    /// Where it is used again.
    home: Option<SyncSender<Self>>,
}

/// One finished line of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) entry: &'a Entry,
    texts: &'a Texts,
    bytes: &'a [u8],
}

/// What one worker writes with.
pub struct Pen {
    desk: RefCell<Desk>,
    /// A batch got its first line.
    begun: Notify,
    queue: SyncSender<Job>,
    dropped: Arc<Dropped>,
}

/// What lies before the writer.
struct Desk {
    batch: Batch,
    batches: usize,
    home: SyncSender<Batch>,
    returned: Receiver<Batch>,
    #[expect(
        clippy::vec_box,
        reason = "what is kept is the memory of each, as it is handed out"
    )]
    spare: Vec<Box<Draft>>,
}

// === impl Draft ===

impl Draft {
    /// Notes a text. One that is longer than 4 KiB is cut and ends in `...`.
    pub fn set(&mut self, text: Text, value: &[u8]) {
        let start = self.bytes.len();
        if value.len() <= TEXT_BYTES_MAX {
            self.bytes.extend_from_slice(value);
        } else {
            self.bytes.extend_from_slice(&value[..TEXT_BYTES_MAX - 3]);
            self.bytes.extend_from_slice(b"...");
        }
        let place = |at: usize| u16::try_from(at).ok();
        // Each text is set once, so all of them are shorter than 64 KiB.
        self.texts.0[text as usize] = place(start)
            .zip(place(self.bytes.len() - start))
            .map(|(start, length)| Span { start, length });
    }
}

// === impl Entry ===

impl Entry {
    fn new(started: Instant) -> Self {
        Self {
            started,
            total: Duration::ZERO,
            upstream_head: None,
            hold: Duration::ZERO,
            client: None,
            protocol: Protocol::Http11,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            generation: None,
            instance: None,
            resends: 0,
            reason: None,
        }
    }
}

// === impl Line ===

impl Line<'_> {
    pub(super) fn text(&self, text: Text) -> Option<&[u8]> {
        let span = self.texts.0[text as usize]?;
        let start = usize::from(span.start);
        Some(&self.bytes[start..start + usize::from(span.length)])
    }
}

// === impl Batch ===

impl Batch {
    fn new(home: SyncSender<Self>) -> Self {
        Self {
            lines: Vec::with_capacity(LINES_MAX),
            bytes: Vec::with_capacity(BYTES_MAX),
            home: Some(home),
        }
    }

    /// Each line, in the order in which they ended.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut rest = self.bytes.as_slice();
        self.lines.iter().map(move |(entry, texts)| {
            let spans = texts.0.iter().flatten();
            let length = spans.map(|span| usize::from(span.length)).sum();
            let (bytes, later) = rest.split_at(length);
            rest = later;
            Line {
                entry,
                texts,
                bytes,
            }
        })
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Gives it back, empty, to where it is used again.
    pub(super) fn go_home(mut self) {
        self.lines.clear();
        self.bytes.clear();
        if let Some(home) = self.home.clone() {
            // The worker may have ended.
            let _ = home.try_send(self);
        }
    }

    fn has_room(&self, draft: &Draft) -> bool {
        self.lines.len() < LINES_MAX && self.bytes.len() + draft.bytes.len() <= BYTES_MAX
    }

    fn is_half_full(&self) -> bool {
        self.lines.len() >= LINES_MAX / 2 || self.bytes.len() >= BYTES_MAX / 2
    }

    fn push(&mut self, draft: &Draft) {
        self.lines.push((draft.entry, draft.texts));
        self.bytes.extend_from_slice(&draft.bytes);
    }
}

// === impl Pen ===

impl Pen {
    pub(super) fn new(queue: SyncSender<Job>, dropped: Arc<Dropped>) -> Self {
        let (home, returned) = sync_channel(BATCHES_MAX);
        let desk = Desk {
            batch: Batch::new(home.clone()),
            batches: 1,
            home,
            returned,
            spare: Vec::with_capacity(SPARE_MAX),
        };
        Self {
            desk: RefCell::new(desk),
            begun: Notify::new(),
            queue,
            dropped,
        }
    }

    /// A line about a request whose head was read at `started`.
    pub fn begin(&self, started: Instant) -> Box<Draft> {
        let spare = self.desk.borrow_mut().spare.pop();
        let mut draft = spare.unwrap_or_else(|| {
            Box::new(Draft {
                entry: Entry::new(started),
                texts: Texts::default(),
                bytes: Vec::with_capacity(SPARE_BYTES_MAX / 4),
            })
        });
        draft.entry = Entry::new(started);
        draft.texts = Texts::default();
        draft.bytes.clear();
        draft
    }

    /// The line is finished. Without room for it, it is dropped and counted.
    pub fn end(&self, draft: Box<Draft>) {
        let mut desk = self.desk.borrow_mut();
        if !desk.batch.has_room(&draft) && !self.hand_over(&mut desk) {
            self.dropped.add(1);
        } else {
            let is_first = desk.batch.len() == 0;
            desk.batch.push(&draft);
            if desk.batch.is_half_full() {
                // Where no other batch is free, this one is filled to its end.
                self.hand_over(&mut desk);
            } else if is_first {
                self.begun.notify_one();
            }
        }
        if desk.spare.len() < SPARE_MAX && draft.bytes.capacity() <= SPARE_BYTES_MAX {
            desk.spare.push(draft);
        }
    }

    /// Hands over what has lain long enough, for as long as it is polled.
    pub async fn hand_over_in_time(&self) {
        loop {
            self.begun.notified().await;
            let mut left = true;
            while left {
                sleep(AGE_MAX).await;
                let mut desk = self.desk.borrow_mut();
                left = desk.batch.len() > 0 && !self.hand_over(&mut desk);
            }
        }
    }

    /// Hands the batch over and takes an empty one; without one, nothing happens.
    fn hand_over(&self, desk: &mut Desk) -> bool {
        let Some(empty) = desk.empty_batch() else {
            return false;
        };
        let full = std::mem::replace(&mut desk.batch, empty);
        self.send(full);
        true
    }

    fn send(&self, batch: Batch) {
        let lines = batch.len() as u64;
        // There is room for every batch; refused, the thread has ended.
        if self.queue.try_send(Job::Write(batch)).is_err() {
            self.dropped.add(lines);
        }
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        let last = std::mem::take(&mut self.desk.get_mut().batch);
        if last.len() > 0 {
            self.send(last);
        }
    }
}

impl fmt::Debug for Pen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pen").finish_non_exhaustive()
    }
}

// === impl Desk ===

impl Desk {
    fn empty_batch(&mut self) -> Option<Batch> {
        if let Ok(batch) = self.returned.try_recv() {
            return Some(batch);
        }
        if self.batches == BATCHES_MAX {
            return None;
        }
        self.batches += 1;
        Some(Batch::new(self.home.clone()))
    }
}
