//! What asks from outside without a word: files that change. Folders are watched, never single files, so that a file that
//! is replaced by renaming is followed; changes are told once they are over.
//!
//! ```text
//!   kernel -> events (filter) -> lookout (a thread: which matter, until it is quiet) -> News -> whoever asks for a reload
//! ```
//!
//! Only tells that files changed, and which. What follows is decided elsewhere, and nobody waits for a file system here.

mod events;
mod ignores;
mod lookout;
mod root;
mod settle;
mod tree;

pub use self::ignores::pattern;
pub use self::settle::Cause;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use self::events::Inbox;
use self::lookout::Lookout;
use crate::control_plane::process::Changes;
use crate::generation::AppName;

/// How many news may wait for whoever hears them; the thread waits beyond it.
const NEWS_MAX: usize = 16;

/// Which files of an app are watched: `[app.NAME.watch]` of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Folders, with all that is below them, and single files. None: nothing is watched.
    pub paths: Vec<PathBuf>,
    /// What does not matter beside the usual, as lines of a `.gitignore`.
    pub ignore: Vec<String>,
    /// How long there must be no change until the last ones count. A writer without end is told after ten times this,
    /// and at least 5 seconds.
    pub settle: Duration,
    /// Whether the files are looked at again and again instead of waiting for the kernel to tell.
    pub poll: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            ignore: Vec::new(),
            settle: Duration::from_millis(200),
            poll: false,
        }
    }
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Files changed, and it is quiet again.
    Changed(Cause),
    /// What whoever looks at the app should know about the watching from now on.
    Notes(Vec<String>),
}

/// The watching of one app's files. Dropped, it ends.
#[derive(Debug)]
pub struct Files {
    inbox: Arc<Inbox>,
    /// What the thread needs that is not started yet: where nothing is watched, there is none.
    resting: Mutex<Option<Resting>>,
}

#[derive(Debug)]
struct Resting {
    app: AppName,
    changes: Changes,
    news: mpsc::Sender<News>,
}

// === impl Files ===

impl Files {
    /// Watches nothing yet. `changes` counts, and counts before a change is told.
    pub fn new(app: AppName, changes: Changes) -> (Self, mpsc::Receiver<News>) {
        let (news, told) = mpsc::channel(NEWS_MAX);
        let files = Self {
            inbox: Arc::new(Inbox::default()),
            resting: Mutex::new(Some(Resting { app, changes, news })),
        };
        (files, told)
    }

    /// Watches these files from now on, and no others. Returns at once: finding them may take its time.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn follow(&self, config: &Config) -> std::io::Result<()> {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parts) = resting.as_ref() {
            if config.paths.is_empty() {
                return Ok(());
            }
            let (app, changes, news) =
                (parts.app.clone(), parts.changes.clone(), parts.news.clone());
            let lookout = Lookout::new(app, Arc::clone(&self.inbox), changes, news);
            std::thread::Builder::new()
                .name("hitless-files".to_owned())
                .spawn(move || lookout.run())?;
            *resting = None;
        }
        self.inbox.follow(config.clone());
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.inbox.stop();
    }
}
