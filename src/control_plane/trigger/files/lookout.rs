//! The thread that watches an app's files: opens its eyes, makes sense of what they see, and tells once it is quiet.

mod eyes;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use self::eyes::{Eyes, Open};
use super::events::{Inbox, Seen, Wake};
use super::ignores::GITIGNORE;
use super::root::{Place, Root};
use super::settle::{Settling, What};
use super::{Config, News};
use crate::control_plane::process::Changes;
use crate::generation::AppName;

/// How often it is looked where the paths lead. Events tell sooner of most of what leads them elsewhere; not of a folder
/// far above that is renamed, or of a file system that is mounted over them.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a path may be away before it counts as gone: editors and deploys take files away before they put others there.
const AWAY: Duration = Duration::from_millis(200);

/// What the thread knows.
#[derive(Debug)]
pub(super) struct Lookout {
    app: AppName,
    inbox: Arc<Inbox>,
    changes: Changes,
    news: mpsc::Sender<News>,
    config: Config,
    roots: Vec<Root>,
    open: Open,
    eyes: Eyes,
    settling: Settling,
    look_at: Instant,
    /// Something may lead a path elsewhere: what changes is told once that is known.
    turning: bool,
    told: Vec<String>,
    /// What the eyes have to say about themselves.
    remark: Option<String>,
    /// Nobody hears it any more.
    deaf: bool,
}

// === impl Lookout ===

impl Lookout {
    pub(super) fn new(
        app: AppName,
        inbox: Arc<Inbox>,
        changes: Changes,
        news: mpsc::Sender<News>,
    ) -> Self {
        let config = Config::default();
        Self {
            app,
            inbox,
            changes,
            news,
            settling: Settling::new(config.settle),
            config,
            roots: Vec::new(),
            open: eyes::kernel,
            eyes: Eyes::Closed,
            look_at: Instant::now() + LOOK_EVERY,
            turning: false,
            told: Vec::new(),
            remark: None,
            deaf: false,
        }
    }

    /// Until nobody wants it any more.
    pub(super) fn run(mut self) {
        while !self.deaf {
            match self.inbox.wait(self.due()) {
                Wake::Stop => return,
                Wake::Follow(config) => self.follow(config),
                Wake::Seen(seen) => self.saw(seen),
                Wake::Due => {}
            }
            self.act(Instant::now());
        }
    }

    fn due(&self) -> Option<Instant> {
        if matches!(self.eyes, Eyes::Closed) {
            return None;
        }
        let quiet = self.settling.due().filter(|_| !self.turning);
        let others = [self.eyes.due(&self.settling), quiet];
        let due = others.into_iter().flatten().min();
        Some(due.map_or(self.look_at, |due| due.min(self.look_at)))
    }

    fn follow(&mut self, config: Config) {
        if config == self.config {
            return;
        }
        self.note_looked();
        self.settling.set_quiet(config.settle);
        self.config = config;
        self.open_eyes();
        let paths = self.config.paths.iter().map(|path| Root::called(path));
        let paths = paths.collect::<Vec<_>>().join(" ");
        info!(app = %self.app, paths, "files are watched");
    }

    /// What is due by now.
    fn act(&mut self, now: Instant) {
        if self.look_at <= now {
            self.look_where_paths_lead();
        }
        if self.eyes.due(&self.settling).is_some_and(|due| due <= now) {
            self.look_at_files();
        }
        if !self.turning && self.settling.due().is_some_and(|due| due <= now) {
            self.tell_changes();
        }
    }

    fn tell_changes(&mut self) {
        // Where nothing tells of changes, there may be some that were not looked at yet.
        self.look_at_files();
        let now = Instant::now();
        if self.settling.due().is_none_or(|due| due > now) {
            return;
        }
        let Some(cause) = self.settling.take(Path::exists) else {
            return;
        };
        self.changes.add();
        self.tell(News::Changed(cause));
    }

    fn tell(&mut self, news: News) {
        self.deaf |= self.news.blocking_send(news).is_err();
    }

    // === seeing ===

    fn saw(&mut self, seen: Seen) {
        let now = Instant::now();
        let mut reopen = seen.missed;
        for (path, what) in seen.events {
            if self.roots.iter().any(|root| root.turns_at(&path)) {
                self.look_at = self.look_at.min(now + AWAY);
                self.turning = true;
            }
            if let Some(root) = self.roots.iter().find(|root| root.file() == Some(&path)) {
                let shown = || root.shown(&path);
                self.settling.note(&path, what, now, shown);
            } else if path.file_name().is_some_and(|name| name == GITIGNORE) {
                reopen = true;
            } else {
                self.saw_below(&path, what, now);
            }
        }
        if seen.missed {
            self.note_all(now);
            warn!(
                app = %self.app,
                "more files changed at once than could be followed; everything counts as changed"
            );
        }
        if reopen {
            self.open_eyes();
        }
    }

    /// Something happened to this path, which is below a folder.
    fn saw_below(&mut self, path: &Path, what: What, now: Instant) {
        let found = path.symlink_metadata();
        let is_folder = found.as_ref().is_ok_and(std::fs::Metadata::is_dir);
        // What is gone may have been a folder, and is ignored by either name.
        let minds = |root: &&mut Root| {
            root.minds(path, is_folder) && (found.is_ok() || root.minds(path, true))
        };
        let Some(root) = self.roots.iter_mut().find(minds) else {
            return;
        };
        if !is_folder {
            let shown = || root.shown(path);
            return self.settling.note(path, what, now, shown);
        }
        if what == What::Came {
            let entered = self.eyes.enter(root, path);
            for file in entered.files {
                let shown = || root.shown(&file);
                self.settling.note(&file, What::Came, now, shown);
            }
            if let Some(why) = entered.blinded {
                self.look_instead(why);
            }
        }
    }

    /// Nobody knows what changed.
    fn note_all(&mut self, now: Instant) {
        for root in &self.roots {
            if let Some(place) = &root.place {
                let shown = || root.shown(&place.path);
                self.settling.note(&place.path, What::Written, now, shown);
            }
        }
    }

    fn look_at_files(&mut self) {
        if self.note_looked() {
            self.open_eyes();
        }
    }

    /// Notes what changed since the last look, which would not show in the next one once the eyes are opened anew. True:
    /// what is ignored changed, too.
    fn note_looked(&mut self) -> bool {
        let now = Instant::now();
        let mut reopen = false;
        for (index, path, what) in self.eyes.look(&mut self.roots) {
            reopen |= path.file_name().is_some_and(|name| name == GITIGNORE);
            if path.file_name().is_none_or(|name| name != GITIGNORE) {
                let shown = || self.roots[index].shown(&path);
                self.settling.note(&path, what, now, shown);
            }
        }
        reopen
    }

    // === where to look ===

    fn look_where_paths_lead(&mut self) {
        let now = Instant::now();
        self.look_at = now + LOOK_EVERY;
        self.turning = false;
        let mut turned = Vec::new();
        for root in &self.roots {
            let place = Place::find(&root.given).ok();
            if place == root.place {
                continue;
            }
            let given = root.given.display();
            match (&root.place, &place) {
                (_, None) => {
                    warn!(app = %self.app, path = %given, "a watched path is gone; it is watched again when it is back")
                }
                (None, Some(_)) => info!(app = %self.app, path = %given, "a watched path is back"),
                (Some(_), Some(_)) => {
                    info!(app = %self.app, path = %given, "a watched path leads elsewhere now")
                }
            }
            turned.push((root.given.clone(), root.place.clone(), place));
        }
        if turned.is_empty() {
            return;
        }
        self.note_looked();
        for (given, before, place) in &turned {
            if let Some(before) = before {
                self.settling.forget(&before.path);
            }
            if let Some(place) = place {
                let shown = || Root::called(given);
                self.settling.note(&place.path, What::Written, now, shown);
            }
        }
        self.open_eyes();
    }

    /// Looks anew where the paths lead, and watches what is there.
    fn open_eyes(&mut self) {
        let new = |path: &PathBuf| Root::new(path, &self.config.ignore);
        self.roots = self.config.paths.iter().map(new).collect();
        let (eyes, remark) = Eyes::open(&self.inbox, &mut self.roots, self.config.poll, self.open);
        (self.eyes, self.remark) = (eyes, remark);
        self.tell_notes();
    }

    /// Events come no longer for all of it.
    fn look_instead(&mut self, why: String) {
        self.eyes = Eyes::look_instead(&mut self.roots);
        self.remark = Some(why);
        self.tell_notes();
    }

    fn tell_notes(&mut self) {
        let mut notes: Vec<_> = self.remark.iter().cloned().collect();
        for root in self.roots.iter().filter(|root| root.place.is_none()) {
            let given = Root::called(&root.given);
            notes.push(format!(
                "{given} is not there; it is watched again when it is back"
            ));
        }
        if notes == self.told {
            return;
        }
        if let Some(remark) = self
            .remark
            .iter()
            .find(|remark| !self.told.contains(remark))
        {
            warn!(app = %self.app, "watching files: {remark}");
        }
        self.told = notes.clone();
        self.tell(News::Notes(notes));
    }
}
