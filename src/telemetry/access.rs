//! The access log: one line for each request, written off its path.
//!
//! ```text
//!   worker: Pen -- a batch of drafts, when it is half full or 100 ms old --> thread: Writer -> stdout, stderr or a file
//!               <-- the batch, empty again -----------------------------------
//! ```
//!
//! A worker copies what it knows about a request into memory that it keeps for that purpose; it takes no lock, and tells
//! another core something once a batch. A reader that is too slow costs lines, which are counted, and never time.

mod format;
mod pen;
mod writer;

pub use self::pen::{Draft, Entry, Pen, Text};

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use self::pen::{BATCHES_MAX, Batch};
use self::writer::Writer;
use super::log::Format;
use super::outlet::Outlet;
use crate::paths;

/// Where the lines go: `[log] access` of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Destination {
    /// There are none.
    Off,
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of this file.
    File(PathBuf),
}

/// Why there is no access log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error(
        "cannot open the access log {}; {}, name another file with `[log] access`, or say \"off\"",
        paths::whole(path).display(),
        advice(source)
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no thread to write it.
    #[error("cannot start the thread that writes the access log: {0}")]
    Thread(#[source] io::Error),
}

/// A running access log, for as many holders as like.
#[derive(Clone, Debug)]
pub struct AccessLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: SyncSender<Job>,
    dropped: Mutex<Vec<Arc<Dropped>>>,
}

/// How many lines one thread has dropped; written by that thread alone, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Dropped(AtomicU64);

/// What the thread is to do.
#[derive(Debug)]
enum Job {
    Write(Batch),
    /// Close the file and open what has its name now.
    Reopen,
    /// Everything before it is written.
    Flushed(SyncSender<()>),
}

// === impl AccessLog ===

impl AccessLog {
    /// Opens it and starts its thread, for so many workers. None where it is off.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or no thread started.
    pub fn open(
        destination: &Destination,
        format: Format,
        workers: usize,
    ) -> Result<Option<Self>, Error> {
        let outlet = match destination {
            Destination::Off => return Ok(None),
            Destination::Stdout => Outlet::stdout(),
            Destination::Stderr => Outlet::stderr(),
            Destination::File(path) => Outlet::file(path).map_err(|source| Error::Open {
                path: path.clone(),
                source,
            })?,
        };
        let path = match destination {
            Destination::File(path) => Some(path.clone()),
            Destination::Off | Destination::Stdout | Destination::Stderr => None,
        };
        // Each batch that can exist has room; the rest is for what is asked by hand.
        let (queue, jobs) = sync_channel(workers * BATCHES_MAX + 16);
        let dropped = Arc::<Dropped>::default();
        let writer = Writer::new(outlet, path, format, Arc::clone(&dropped));
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(&jobs))
            .map_err(Error::Thread)?;
        Ok(Some(Self(Arc::new(Inner {
            queue,
            dropped: Mutex::new(vec![dropped]),
        }))))
    }

    /// What one worker writes with.
    pub fn pen(&self) -> Pen {
        let dropped = Arc::<Dropped>::default();
        let mut all = self
            .0
            .dropped
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&dropped));
        Pen::new(self.0.queue.clone(), dropped)
    }

    /// Has the file opened anew, as after a rotation. What was handed over before goes to the old one.
    pub fn reopen(&self) {
        // Without room sixteen such requests wait already.
        let _ = self.0.queue.try_send(Job::Reopen);
    }

    /// How many lines were not written.
    pub fn dropped(&self) -> u64 {
        let all = self
            .0
            .dropped
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|dropped| dropped.get()).sum()
    }

    /// Waits, at most that long, until what was handed over has been written. Blocks the thread; for the end of the
    /// process.
    pub fn flush(&self, patience: Duration) {
        let (done, flushed) = sync_channel(1);
        if self.0.queue.try_send(Job::Flushed(done)).is_ok() {
            let _ = flushed.recv_timeout(patience);
        }
    }
}

impl PartialEq for AccessLog {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

// === impl Dropped ===

impl Dropped {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One writer, so a load and a store lose nothing.
    fn add(&self, lines: u64) {
        self.0.store(self.get() + lines, Ordering::Relaxed);
    }
}

// === impl Destination ===

impl Destination {
    /// A word, or the path of a file; a file that has the name of another destination is written `./off`.
    pub fn from_text(text: &str) -> Self {
        match text {
            "off" => Self::Off,
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            path => Self::File(path.into()),
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "make its folder",
        io::ErrorKind::PermissionDenied => {
            "let the user that hitless runs as write to it and its folder"
        }
        io::ErrorKind::IsADirectory => "name a file in that folder",
        io::ErrorKind::ReadOnlyFilesystem => "mount its folder to be written to",
        _ => "mend that",
    }
}

#[cfg(test)]
mod tests;
