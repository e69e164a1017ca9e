//! The last lines of each generation, kept for whoever asks: of those that run, and of a few that have ended.
//!
//! Never waits and never writes anywhere.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use tokio::sync::watch;

use super::output::{Line, Output, OutputSink, Stream};
use crate::generation::{AppName, GenerationId};

/// How many lines of a generation are kept.
pub(super) const KEPT_LINES_MAX: usize = 200;

/// How many bytes of a generation are kept.
pub(super) const KEPT_BYTES_MAX: usize = 1 << 20;

/// How many generations of an app are kept that have ended.
pub(super) const KEPT_GENERATIONS_MAX: usize = 5;

/// The last lines of one generation.
#[derive(Debug)]
pub(super) struct Journal {
    app: AppName,
    generation: GenerationId,
    kept: Mutex<Kept>,
    bell: Bell,
}

/// The journals of all generations that are known.
#[derive(Debug, Default)]
pub struct Journals {
    known: Mutex<BTreeMap<(AppName, GenerationId), Known>>,
    bell: Bell,
}

/// Which lines somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this app; none: of all.
    pub app: Option<AppName>,
    /// Of this generation; none: of all that are kept.
    pub generation: Option<GenerationId>,
}

/// How far a reader has come in each journal.
#[derive(Debug, Default)]
pub struct Cursor(BTreeMap<(AppName, GenerationId), u64>);

/// Rings when a line comes or a generation ends.
#[derive(Clone, Debug)]
struct Bell(watch::Sender<()>);

/// One generation: what it wrote, and while it may still write, its output.
#[derive(Debug)]
struct Known {
    journal: Arc<Journal>,
    output: Weak<Output>,
}

/// The last lines, within both bounds.
#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Line>,
    bytes: usize,
    /// How many there were before and among these.
    written: u64,
}

// === impl Journals ===

impl Journals {
    /// The output of a generation, the same for all of its instances.
    pub(super) fn output(
        &self,
        app: &AppName,
        generation: GenerationId,
        sink: &Arc<dyn OutputSink>,
    ) -> Arc<Output> {
        let mut known = self.known();
        let key = (app.clone(), generation);
        if let Some(output) = known.get(&key).and_then(|known| known.output.upgrade()) {
            return output;
        }
        let journal = known.get(&key).map(|known| Arc::clone(&known.journal));
        let journal = journal.unwrap_or_else(|| self.journal(app, generation));
        let output = Output::new(Arc::clone(&journal), Arc::clone(sink));
        let output_of_it = Arc::downgrade(&output);
        known.insert(
            key,
            Known {
                journal,
                output: output_of_it,
            },
        );
        forget_old(&mut known, app);
        output
    }

    fn journal(&self, app: &AppName, generation: GenerationId) -> Arc<Journal> {
        Arc::new(Journal {
            app: app.clone(),
            generation,
            kept: Mutex::default(),
            bell: self.bell.clone(),
        })
    }

    /// Forgets all generations of an app.
    pub fn forget(&self, app: &AppName) {
        self.known().retain(|(name, _), _| name != app);
    }

    /// The generations of an app that are kept, oldest first.
    pub fn generations(&self, app: &AppName) -> Vec<GenerationId> {
        let known = self.known();
        let of_app = known.keys().filter(|(name, _)| name == app);
        of_app.map(|(_, generation)| *generation).collect()
    }

    /// What was selected and written since the cursor was here before, in the order of time. What went out of the
    /// bounds meanwhile is missing; the numbers of the lines tell.
    pub fn read(&self, selection: &Selection, cursor: &mut Cursor) -> Vec<Line> {
        let mut lines = Vec::new();
        for (key, known) in self.known().iter() {
            if selection.contains(key) {
                let next = cursor.0.entry(key.clone()).or_default();
                known.journal.kept().since(next, &mut lines);
            }
        }
        // Stable: lines of one generation keep their order where the clock has not moved.
        lines.sort_by_key(|line| line.time);
        lines
    }

    /// Whether nothing that is selected can come any more: only a generation that is named ends.
    pub fn is_over(&self, selection: &Selection) -> bool {
        let known = self.known();
        let mut selected = known.iter().filter(|(key, _)| selection.contains(key));
        selection.generation.is_some()
            && !selected.any(|(_, known)| known.output.strong_count() > 0)
    }

    /// Tells of each line and of the end of each generation.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.bell.0.subscribe()
    }

    /// The outputs that may still be written to.
    pub(super) fn open(&self) -> Vec<Arc<Output>> {
        let known = self.known();
        known
            .values()
            .filter_map(|known| known.output.upgrade())
            .collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(AppName, GenerationId), Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the oldest of an app's generations that have ended, but for a few.
fn forget_old(known: &mut BTreeMap<(AppName, GenerationId), Known>, app: &AppName) {
    let ended = known
        .iter()
        .filter(|((name, _), known)| name == app && known.output.strong_count() == 0);
    let ended: Vec<_> = ended.map(|(key, _)| key.clone()).collect();
    let surplus = ended.len().saturating_sub(KEPT_GENERATIONS_MAX);
    for key in &ended[..surplus] {
        known.remove(key);
    }
}

// === impl Journal ===

impl Journal {
    /// One more line.
    pub(super) fn push(&self, instance: u32, stream: Stream, bytes: &[u8]) -> Line {
        let text = String::from_utf8_lossy(bytes);
        let raw = (text.as_bytes() != bytes).then(|| bytes.into());
        let mut kept = self.kept();
        kept.written += 1;
        let line = Line {
            app: self.app.clone(),
            generation: self.generation,
            instance,
            stream,
            number: kept.written,
            time: SystemTime::now(),
            text: text.into(),
            raw,
        };
        kept.push(line.clone());
        drop(kept);
        self.bell.ring();
        line
    }

    /// The last `count` lines, oldest first.
    pub(super) fn last_lines(&self, count: usize) -> Vec<Line> {
        let kept = self.kept();
        let from = kept.lines.len().saturating_sub(count);
        kept.lines.range(from..).cloned().collect()
    }

    /// Nothing more is written by those who wrote so far.
    pub(super) fn ended(&self) {
        self.bell.ring();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere leaves lines that are as good as any.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Kept ===

impl Kept {
    fn push(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > KEPT_LINES_MAX || self.bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= oldest.text.len();
        }
    }

    fn since(&self, next: &mut u64, lines: &mut Vec<Line>) {
        let new = self.lines.iter().skip_while(|line| line.number <= *next);
        lines.extend(new.cloned());
        *next = self.written;
    }
}

// === impl Selection ===

impl Selection {
    fn contains(&self, (app, generation): &(AppName, GenerationId)) -> bool {
        let is = |wanted: &Option<AppName>| wanted.as_ref().is_none_or(|wanted| wanted == app);
        is(&self.app) && self.generation.is_none_or(|wanted| wanted == *generation)
    }
}

// === impl Bell ===

impl Bell {
    fn ring(&self) {
        self.0.send_replace(());
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::process::console::Nowhere;

    struct World {
        journals: Journals,
        app: AppName,
        sink: Arc<dyn OutputSink>,
    }

    impl World {
        fn new() -> Self {
            Self {
                journals: Journals::default(),
                app: AppName::new("app"),
                sink: Arc::new(Nowhere),
            }
        }

        fn start(&self, generation: u64) -> Arc<Output> {
            self.journals
                .output(&self.app, generation.into(), &self.sink)
        }

        fn read(&self, generation: Option<u64>, cursor: &mut Cursor) -> Vec<String> {
            let selection = self.of(generation);
            let lines = self.journals.read(&selection, cursor);
            lines.iter().map(|line| line.text.to_string()).collect()
        }

        fn of(&self, generation: Option<u64>) -> Selection {
            Selection {
                app: Some(self.app.clone()),
                generation: generation.map(GenerationId::from),
            }
        }
    }

    #[test]
    fn lines_outlive_their_generation_and_the_oldest_generations_go() {
        let world = World::new();
        for generation in 1..=9 {
            let output = world.start(generation);
            output.write(1, Stream::Stdout, generation.to_string().as_bytes());
        }
        // The newest was made before it ended, so one more is there.
        let kept: Vec<_> = (4..=9).map(GenerationId::from).collect();
        assert_eq!(world.journals.generations(&world.app), kept);
        assert_eq!(world.read(Some(5), &mut Cursor::default()), ["5"]);
        let all = ["4", "5", "6", "7", "8", "9"];
        assert_eq!(world.read(None, &mut Cursor::default()), all);
    }

    #[test]
    fn one_that_runs_is_never_forgotten() {
        let world = World::new();
        let old = world.start(1);
        for generation in 2..20 {
            drop(world.start(generation));
        }
        old.write(1, Stream::Stdout, b"still here");
        assert_eq!(world.read(Some(1), &mut Cursor::default()), ["still here"]);
        assert!(!world.journals.is_over(&world.of(Some(1))));
        drop(old);
        assert!(world.journals.is_over(&world.of(Some(1))));
        assert!(!world.journals.is_over(&world.of(None)));
    }

    #[test]
    fn a_reader_gets_each_line_once_and_sees_by_the_numbers_what_it_missed() {
        let world = World::new();
        let output = world.start(1);
        let mut cursor = Cursor::default();
        output.write(1, Stream::Stdout, b"a");
        assert_eq!(world.read(None, &mut cursor), ["a"]);
        assert!(world.read(None, &mut cursor).is_empty());
        for number in 0..300 {
            output.write(1, Stream::Stdout, number.to_string().as_bytes());
        }
        let lines = world.journals.read(&world.of(None), &mut cursor);
        assert_eq!(lines.len(), KEPT_LINES_MAX);
        assert_eq!(lines[0].number, 102);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_a_line_and_by_the_end() {
        let world = World::new();
        let mut changes = world.journals.changes();
        let output = world.start(1);
        output.write(1, Stream::Stdout, b"a");
        changes.changed().await.unwrap();
        drop(output);
        changes.changed().await.unwrap();
    }
}
