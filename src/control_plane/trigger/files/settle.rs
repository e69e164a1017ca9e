//! When changes are over: no more of them for a while. Pure; it looks at no clock and at no file.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// How many changed paths are remembered; more are only counted.
const PATHS_MAX: usize = 10_000;

/// How long changes may go on before they are told all the same: so many quiet times, and at least this.
const PATIENCE: u32 = 10;
const PATIENCE_MIN: Duration = Duration::from_secs(5);

/// What was seen of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// It is there now, and may not have been before.
    Came,
    /// Something was written to it.
    Written,
    /// It is no longer there.
    Gone,
}

/// The changes that are not over yet.
#[derive(Debug)]
pub(super) struct Settling {
    quiet: Duration,
    paths: Vec<Changed>,
    known: HashMap<PathBuf, usize>,
    /// Those that found no room.
    further: usize,
    first: Option<Instant>,
    last: Option<Instant>,
}

#[derive(Debug)]
struct Changed {
    path: PathBuf,
    shown: String,
    /// It was not there before, as far as can be told.
    new: bool,
}

/// Which files changed, as it is told: `app.py (and 3 more)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    first: String,
    more: usize,
}

// === impl Settling ===

impl Settling {
    /// Changes are over after this time without one.
    pub(super) fn new(quiet: Duration) -> Self {
        Self {
            quiet,
            paths: Vec::new(),
            known: HashMap::new(),
            further: 0,
            first: None,
            last: None,
        }
    }

    pub(super) fn set_quiet(&mut self, quiet: Duration) {
        self.quiet = quiet;
    }

    /// A path changed; `shown` is how a person calls it.
    pub(super) fn note(
        &mut self,
        path: &Path,
        what: What,
        now: Instant,
        shown: impl FnOnce() -> String,
    ) {
        self.first.get_or_insert(now);
        self.last = Some(now);
        if self.known.contains_key(path) {
            return;
        }
        if self.paths.len() >= PATHS_MAX {
            self.further += 1;
            return;
        }
        self.known.insert(path.to_owned(), self.paths.len());
        self.paths.push(Changed {
            path: path.to_owned(),
            shown: shown(),
            new: what == What::Came,
        });
    }

    /// Nothing that happened at or below this path counts.
    pub(super) fn forget(&mut self, below: &Path) {
        self.paths
            .retain(|changed| !changed.path.starts_with(below));
        self.known.retain(|path, _| !path.starts_with(below));
        if self.paths.is_empty() {
            self.clear();
        }
    }

    /// When the changes count as over; none: there is none.
    pub(super) fn due(&self) -> Option<Instant> {
        let patience = (self.quiet * PATIENCE).max(PATIENCE_MIN);
        Some((self.last? + self.quiet).min(self.first? + patience))
    }

    /// Whether there is any.
    pub(super) fn is_pending(&self) -> bool {
        self.first.is_some()
    }

    /// The changes, which begin anew. None if nothing is left of them: what came is gone again, like the temporary files
    /// that others are written with.
    pub(super) fn take(&mut self, exists: impl Fn(&Path) -> bool) -> Option<Cause> {
        let mut left = self
            .paths
            .iter()
            .filter(|changed| !changed.new || exists(&changed.path));
        let first = left.next().map(|changed| changed.shown.clone());
        let cause = first.map(|first| Cause {
            first,
            more: left.count() + self.further,
        });
        self.clear();
        cause
    }

    fn clear(&mut self) {
        *self = Self::new(self.quiet);
    }
}

// === impl Cause ===

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first)?;
        match self.more {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(200);

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn note(settling: &mut Settling, path: &str, what: What, now: Instant) {
        settling.note(Path::new(path), what, now, || path.to_owned());
    }

    #[test]
    fn is_due_once_it_is_quiet() {
        let (mut settling, start) = (Settling::new(QUIET), Instant::now());
        assert_eq!(settling.due(), None);
        note(&mut settling, "a", What::Written, start);
        assert_eq!(settling.due(), Some(after(start, 200)));
        note(&mut settling, "b", What::Written, after(start, 150));
        note(&mut settling, "a", What::Written, after(start, 160));
        assert_eq!(settling.due(), Some(after(start, 360)));
        let cause = settling.take(|_| true).unwrap();
        assert_eq!(cause.to_string(), "a (and 1 more)");
        assert_eq!(settling.due(), None);
    }

    #[test]
    fn an_endless_writer_gets_one_all_the_same() {
        let (mut settling, start) = (Settling::new(QUIET), Instant::now());
        for ms in (0..20_000).step_by(100) {
            note(&mut settling, "a", What::Written, after(start, ms));
        }
        assert_eq!(settling.due(), Some(after(start, 5_000)));
        settling.set_quiet(Duration::from_secs(2));
        assert_eq!(settling.due(), Some(after(start, 20_000)));
    }

    #[test]
    fn what_came_and_went_was_nothing() {
        let (mut settling, start) = (Settling::new(QUIET), Instant::now());
        note(&mut settling, ".app.py.x1", What::Came, start);
        note(&mut settling, ".app.py.x1", What::Gone, start);
        assert_eq!(settling.take(|_| false), None);
        note(&mut settling, ".app.py.x1", What::Came, start);
        note(&mut settling, "app.py", What::Came, start);
        let cause = settling.take(|path| path == Path::new("app.py")).unwrap();
        assert_eq!(cause.to_string(), "app.py");
    }

    #[test]
    fn what_was_there_and_is_gone_is_a_change() {
        let (mut settling, start) = (Settling::new(QUIET), Instant::now());
        note(&mut settling, "a.py", What::Gone, start);
        assert_eq!(settling.take(|_| false).unwrap().to_string(), "a.py");
    }

    #[test]
    fn a_flood_is_counted_and_not_kept() {
        let (mut settling, start) = (Settling::new(QUIET), Instant::now());
        for number in 0..PATHS_MAX + 5 {
            note(&mut settling, &number.to_string(), What::Written, start);
        }
        assert_eq!(settling.paths.len(), PATHS_MAX);
        let cause = settling.take(|_| true).unwrap();
        assert_eq!(cause.to_string(), format!("0 (and {} more)", PATHS_MAX + 4));
    }

    #[test]
    fn what_is_forgotten_is_not_due() {
        let (mut settling, start) = (Settling::new(QUIET), Instant::now());
        note(&mut settling, "/a/x", What::Gone, start);
        note(&mut settling, "/b/x", What::Gone, start);
        settling.forget(Path::new("/a"));
        note(&mut settling, "/b/x", What::Gone, start);
        assert_eq!(settling.paths.len(), 1);
        settling.forget(Path::new("/b"));
        assert_eq!(settling.due(), None);
    }
}
