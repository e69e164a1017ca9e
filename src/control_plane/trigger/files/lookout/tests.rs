//! The thread with a kernel that does not do what is hoped for.

use std::fs;
use std::io;

use notify::event::{EventKind, Flag};
use notify::{ErrorKind, Event, EventHandler, RecursiveMode, Watcher, WatcherKind};
use tempfile::TempDir;

use super::super::events::Ear;
use super::eyes::Kernel;
use super::*;

/// A kernel that watches so many folders and no more, and never tells anything.
#[derive(Debug)]
struct Limited(usize);

impl Watcher for Limited {
    fn new<F: EventHandler>(_: F, _: notify::Config) -> notify::Result<Self> {
        Ok(Self(1))
    }

    fn watch(&mut self, _: &Path, _: RecursiveMode) -> notify::Result<()> {
        let left = self.0.checked_sub(1);
        self.0 = left.ok_or_else(|| notify::Error::new(ErrorKind::MaxFilesWatch))?;
        Ok(())
    }

    fn unwatch(&mut self, _: &Path) -> notify::Result<()> {
        Ok(())
    }

    fn kind() -> WatcherKind {
        WatcherKind::NullWatcher
    }
}

/// A thread that watches a folder, and what it tells.
struct World {
    folder: TempDir,
    inbox: Arc<Inbox>,
    told: mpsc::Receiver<News>,
}

impl World {
    fn new(open: Open) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("app.py"), "1").unwrap();
        let inbox = Arc::new(Inbox::default());
        let (news, told) = mpsc::channel(16);
        let (app, changes) = (AppName::new("app"), Changes::default());
        let mut lookout = Lookout::new(app, Arc::clone(&inbox), changes, news);
        lookout.open = open;
        inbox.follow(Config {
            paths: vec![folder.path().to_owned()],
            settle: Duration::from_millis(20),
            ..Config::default()
        });
        std::thread::spawn(move || lookout.run());
        Self {
            folder,
            inbox,
            told,
        }
    }

    fn notes(&mut self) -> String {
        match self.told.blocking_recv() {
            Some(News::Notes(notes)) => notes.join("\n"),
            other => panic!("{other:?}"),
        }
    }

    fn cause(&mut self) -> String {
        match self.told.blocking_recv() {
            Some(News::Changed(cause)) => cause.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.inbox.stop();
    }
}

#[test]
fn where_the_limit_of_watches_is_reached_files_are_looked_at_and_that_is_said() {
    let mut world = World::new(|_| Ok(Box::new(Limited(1)) as Kernel));
    let notes = world.notes();
    assert!(notes.contains("limit of watched folders"), "{notes}");
    assert!(notes.contains("max_user_watches"), "{notes}");
    fs::write(world.folder.path().join("app.py"), "2 now").unwrap();
    assert_eq!(world.cause(), world.path("app.py"));
}

#[test]
fn where_no_watcher_is_given_files_are_looked_at_and_that_is_said() {
    let errno = rustix::io::Errno::MFILE.raw_os_error();
    assert_eq!(errno, 24, "the closure below says so");
    let mut world = World::new(|_| Err(notify::Error::io(io::Error::from_raw_os_error(24))));
    let notes = world.notes();
    assert!(notes.contains("max_user_instances"), "{notes}");
    fs::write(world.folder.path().join("new.py"), "1").unwrap();
    assert_eq!(world.cause(), world.path("new.py"));
}

#[test]
fn what_the_kernel_has_lost_counts_as_changed() {
    let mut world = World::new(eyes::kernel);
    let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
    Ear(Arc::clone(&world.inbox)).handle_event(Ok(overflow));
    let all = world.folder.path().display().to_string();
    assert_eq!(world.cause(), all);
    // And it goes on to listen.
    fs::write(world.folder.path().join("app.py"), "2").unwrap();
    assert_eq!(world.cause(), world.path("app.py"));
}

#[test]
fn what_changed_since_the_last_look_is_not_lost_to_a_new_configuration() {
    let mut world = World::new(|_| Ok(Box::new(Limited(1)) as Kernel));
    world.notes();
    let other = tempfile::tempdir().unwrap();
    fs::write(world.folder.path().join("app.py"), "2 now").unwrap();
    // Long before the next look.
    world.inbox.follow(Config {
        paths: vec![world.folder.path().to_owned(), other.path().to_owned()],
        settle: Duration::from_millis(20),
        ..Config::default()
    });
    assert_eq!(world.cause(), world.path("app.py"));
}
