//! Lines on their way out, and the thread that writes them: whoever has something to say never waits for whoever reads it.
//!
//! Bounded in lines and bytes. What does not fit, or cannot be written, is dropped and counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use super::outlet::Outlet;

/// How many lines wait for a slow reader before lines are dropped.
pub const LINES_MAX: usize = 16 << 10;

/// How many bytes may wait.
pub const BYTES_MAX: usize = 4 << 20;

/// How much is written at once.
const WRITE_MAX: usize = 64 << 10;

/// The way to one outlet. Dropped, what is queued is still written.
#[derive(Debug)]
pub struct Spool {
    queue: SyncSender<Job>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    waiting_lines: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Job {
    Write(Box<[u8]>),
    /// Everything before it is written.
    Flushed(SyncSender<()>),
}

// === impl Spool ===

impl Spool {
    /// Starts the thread, with this name.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn start(name: &str, outlet: Outlet) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(LINES_MAX);
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&jobs, &outlet, &shared))?;
        Ok(Self { queue, counts })
    }

    /// Takes one line with its end. Never waits.
    pub fn push(&self, line: impl Into<Box<[u8]>>) {
        let line = line.into();
        let length = line.len();
        let waiting = &self.counts.waiting_bytes;
        let fits = |now: usize| (now + length <= BYTES_MAX).then_some(now + length);
        if waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_err()
        {
            return self.counts.drop_lines(1);
        }
        self.counts.waiting_lines.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(Job::Write(line)).is_err() {
            waiting.fetch_sub(length, Ordering::Relaxed);
            self.counts.waiting_lines.fetch_sub(1, Ordering::Relaxed);
            self.counts.drop_lines(1);
        }
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Waits, at most that long, until what was taken has been written; what was not is counted as dropped. Blocks the
    /// thread; for the end of the process.
    pub fn flush(&self, patience: Duration) {
        let (done, flushed) = sync_channel(1);
        let asked = match self.queue.try_send(Job::Flushed(done)) {
            // Whoever reads may be slow and not stuck. Sending knows no limit of time, so a thread does it, which may
            // outlive the wait.
            Err(TrySendError::Full(job)) => {
                let queue = self.queue.clone();
                let send = move || drop(queue.send(job));
                let thread = thread::Builder::new().name("last-words".to_owned());
                thread.spawn(send).is_ok()
            }
            sent => sent.is_ok(),
        };
        if !asked || flushed.recv_timeout(patience).is_err() {
            let left = self.counts.waiting_lines.load(Ordering::Relaxed);
            self.counts.drop_lines(left);
        }
    }
}

// === impl Counts ===

impl Counts {
    fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }
}

/// Writes what is there in pieces of many lines: a write for each would be slower than an app that has much to say.
fn work(jobs: &Receiver<Job>, outlet: &Outlet, counts: &Counts) {
    let mut piece = Vec::with_capacity(WRITE_MAX);
    while let Ok(first) = jobs.recv() {
        let mut next = Some(first);
        let mut lines = 0;
        let mut flushed = None;
        while let Some(job) = next {
            match job {
                Job::Write(line) => {
                    piece.extend_from_slice(&line);
                    lines += 1;
                }
                Job::Flushed(done) => flushed = Some(done),
            }
            let is_full = piece.len() >= WRITE_MAX || flushed.is_some();
            next = if is_full { None } else { jobs.try_recv().ok() };
        }
        if let Err(unwritten) = outlet.write(&piece) {
            counts.drop_lines(unwritten.lines);
        }
        counts
            .waiting_bytes
            .fetch_sub(piece.len(), Ordering::Relaxed);
        counts.waiting_lines.fetch_sub(lines, Ordering::Relaxed);
        piece.clear();
        if let Some(done) = flushed {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::telemetry::outlet::Outlet;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let spool = Spool::start("test", Outlet::file(&path).unwrap()).unwrap();
        let lines: Vec<_> = (0..1000).map(|number| format!("line {number}\n")).collect();
        for line in &lines {
            spool.push(line.as_bytes());
        }
        spool.flush(SOON);
        assert_eq!(std::fs::read_to_string(path).unwrap(), lines.concat());
        assert_eq!(spool.dropped(), 0);
    }

    #[test]
    fn a_reader_that_has_stopped_costs_lines_and_never_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        // Both ends, so that nobody has to come first.
        let mut both = std::fs::OpenOptions::new();
        let mut reader = both.read(true).write(true).open(&path).unwrap();
        let spool = Spool::start("test", Outlet::file(&path).unwrap()).unwrap();
        let line = format!("{}\n", "x".repeat(99));
        let pushed = 2 * BYTES_MAX / line.len();
        for _ in 0..pushed {
            spool.push(line.as_bytes());
        }
        let dropped = usize::try_from(spool.dropped()).unwrap();
        // What the thread holds and the pipe has taken is as much again as they hold.
        let kept = pushed - dropped;
        assert!(
            dropped > 0 && kept * line.len() <= BYTES_MAX + (256 << 10),
            "{kept} kept"
        );
        let mut read = vec![0; kept * line.len()];
        reader.read_exact(&mut read).unwrap();
        spool.flush(SOON);
        assert!(
            read.chunks(line.len())
                .all(|chunk| chunk == line.as_bytes())
        );
    }

    #[test]
    fn the_end_waits_for_a_slow_reader_though_the_queue_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        let mut both = std::fs::OpenOptions::new();
        let mut reader = both.read(true).write(true).open(&path).unwrap();
        let spool = Spool::start("test", Outlet::file(&path).unwrap()).unwrap();
        let line = format!("{}\n", "x".repeat(99));
        let mut pushed = 0;
        while spool.dropped() == 0 {
            spool.push(line.as_bytes());
            pushed += 1;
        }
        let mut read = vec![0; (pushed - 1) * line.len()];
        let reading = thread::spawn(move || reader.read_exact(&mut read));
        spool.flush(SOON);
        assert_eq!(spool.counts.waiting_lines.load(Ordering::Relaxed), 0);
        assert_eq!(spool.dropped(), 1);
        reading.join().unwrap().unwrap();
    }

    #[test]
    fn what_nobody_reads_until_the_end_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        let mut both = std::fs::OpenOptions::new();
        let _reader = both.read(true).write(true).open(&path).unwrap();
        let spool = Spool::start("test", Outlet::file(&path).unwrap()).unwrap();
        // More than a pipe holds.
        for _ in 0..2000 {
            spool.push(format!("{}\n", "x".repeat(99)).into_bytes());
        }
        assert_eq!(spool.dropped(), 0);
        spool.flush(Duration::from_millis(50));
        let dropped = spool.dropped();
        assert!(0 < dropped && dropped <= 2000, "{dropped}");
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let outlet = Outlet::file(std::path::Path::new("/dev/full")).unwrap();
        let spool = Spool::start("test", outlet).unwrap();
        for _ in 0..10 {
            spool.push(*b"line\n");
        }
        spool.flush(SOON);
        assert_eq!(spool.dropped(), 10);
    }
}
