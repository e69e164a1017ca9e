//! What the kernel tells, for the thread that makes sense of it: filtered, without repetitions, and bounded.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, EventHandler};
use tokio::time::Instant;

use super::Config;
use super::settle::What;

/// How many events may wait. Past it they are not told one by one any more, but as missed.
const EVENTS_MAX: usize = 16_384;

/// What waits for the thread.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    follow: Option<Config>,
    interest: Interest,
    seen: Seen,
    known: HashSet<(PathBuf, What)>,
}

/// Where events matter. Folders are watched for the sake of a link in them, whose other files are nobody's business.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// These paths themselves.
    pub(super) exact: HashSet<PathBuf>,
    /// What is below these folders.
    pub(super) below: Vec<PathBuf>,
}

/// What happened since the last time.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) events: Vec<(PathBuf, What)>,
    /// There was more than is told.
    pub(super) missed: bool,
}

/// Why the thread goes on.
#[derive(Debug)]
pub(super) enum Wake {
    /// Nobody wants it any more.
    Stop,
    /// It is to watch something else.
    Follow(Config),
    /// Something happened.
    Seen(Seen),
    /// It is time.
    Due,
}

/// The kernel's end of an inbox.
#[derive(Debug)]
pub(super) struct Ear(pub(super) Arc<Inbox>);

// === impl Inbox ===

impl Inbox {
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.bell.notify_all();
    }

    pub(super) fn follow(&self, config: Config) {
        self.lock().follow = Some(config);
        self.bell.notify_all();
    }

    /// From now on these paths matter.
    pub(super) fn mind(&self, interest: Interest) {
        self.lock().interest = interest;
    }

    /// Waits for something to happen, or until then.
    pub(super) fn wait(&self, until: Option<Instant>) -> Wake {
        let mut state = self.lock();
        loop {
            if state.stop {
                return Wake::Stop;
            }
            if let Some(config) = state.follow.take() {
                return Wake::Follow(config);
            }
            if state.seen.missed || !state.seen.events.is_empty() {
                return Wake::Seen(state.take());
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => return Wake::Due,
                Some(left) => {
                    let waited = self.bell.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .bell
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn take(&mut self) -> Seen {
        self.known = HashSet::new();
        std::mem::take(&mut self.seen)
    }

    /// Whether it is news.
    fn put(&mut self, path: &Path, what: What) -> bool {
        if self.seen.missed || !self.interest.minds(path) {
            return false;
        }
        if self.seen.events.len() >= EVENTS_MAX {
            self.seen.missed = true;
            return true;
        }
        let new = self.known.insert((path.to_owned(), what));
        if new {
            self.seen.events.push((path.to_owned(), what));
        }
        new
    }
}

// === impl Interest ===

impl Interest {
    fn minds(&self, path: &Path) -> bool {
        let below = || self.below.iter().any(|folder| path.starts_with(folder));
        self.exact.contains(path) || below()
    }
}

// === impl Ear ===

impl EventHandler for Ear {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        let news = match event {
            Ok(event) if event.need_rescan() => self.missed(),
            Ok(event) => {
                let Some(what) = meaning(event.kind) else {
                    return;
                };
                let mut state = self.0.lock();
                let put = event.paths.iter().map(|path| state.put(path, what));
                put.fold(false, |news, one| news | one)
            }
            // Reading the events has failed: nobody knows what they were.
            Err(_) => self.missed(),
        };
        if news {
            self.0.bell.notify_all();
        }
    }
}

impl Ear {
    fn missed(&self) -> bool {
        self.0.lock().seen.missed = true;
        true
    }
}

/// What it means for a path; none: nothing. Reading changes nothing, and neither does `chmod`; `touch` shows by closing
/// what it has opened for writing.
fn meaning(kind: EventKind) -> Option<What> {
    match kind {
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            Some(What::Came)
        }
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            Some(What::Gone)
        }
        EventKind::Modify(ModifyKind::Data(_))
        | EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(What::Written),
        // A rename of which both ends are known was told by its ends.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use notify::event::{CreateKind, DataChange, Flag, MetadataKind};

    use super::*;

    fn inbox() -> (Arc<Inbox>, Ear) {
        let inbox = Arc::new(Inbox::default());
        inbox.mind(Interest {
            exact: HashSet::from([PathBuf::from("/srv/current")]),
            below: vec![PathBuf::from("/srv/1")],
        });
        (Arc::clone(&inbox), Ear(inbox))
    }

    fn hear(ear: &mut Ear, kind: EventKind, path: &str) {
        ear.handle_event(Ok(Event::new(kind).add_path(path.into())));
    }

    const CREATE: EventKind = EventKind::Create(CreateKind::File);

    #[test]
    fn only_what_matters_is_told_and_once() {
        let (inbox, mut ear) = inbox();
        let write = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        for _ in 0..3 {
            hear(&mut ear, CREATE, "/srv/1/app.py");
            hear(&mut ear, write, "/srv/1/app.py");
            hear(&mut ear, write, "/srv/2/app.py");
            hear(&mut ear, CREATE, "/srv/current");
        }
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        hear(&mut ear, open, "/srv/1/read.py");
        let chmod = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        hear(&mut ear, chmod, "/srv/1/mode.py");
        let Wake::Seen(seen) = inbox.wait(None) else {
            panic!("nothing was seen");
        };
        assert!(!seen.missed);
        let wanted = [
            ("/srv/1/app.py", What::Came),
            ("/srv/1/app.py", What::Written),
            ("/srv/current", What::Came),
        ];
        assert_eq!(seen.events, wanted.map(|(path, what)| (path.into(), what)));
        let due = Instant::now() + Duration::from_millis(1);
        assert!(matches!(inbox.wait(Some(due)), Wake::Due));
    }

    #[test]
    fn a_flood_is_told_as_missed_and_not_kept() {
        let (inbox, mut ear) = inbox();
        for number in 0..=EVENTS_MAX + 10 {
            hear(&mut ear, CREATE, &format!("/srv/1/{number}"));
        }
        let Wake::Seen(seen) = inbox.wait(None) else {
            panic!("nothing was seen");
        };
        assert!(seen.missed);
        assert_eq!(seen.events.len(), EVENTS_MAX);
    }

    #[test]
    fn the_kernels_own_overflow_is_told_as_missed() {
        let (inbox, mut ear) = inbox();
        ear.handle_event(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(matches!(inbox.wait(None), Wake::Seen(seen) if seen.missed));
    }

    #[test]
    fn an_order_comes_before_events_and_the_end_before_orders() {
        let (inbox, mut ear) = inbox();
        hear(&mut ear, CREATE, "/srv/1/app.py");
        inbox.follow(Config::default());
        assert!(matches!(inbox.wait(None), Wake::Follow(_)));
        inbox.follow(Config::default());
        inbox.stop();
        assert!(matches!(inbox.wait(None), Wake::Stop));
    }
}
