//! The watching of each app's files, joined with who reloads it.

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::mpsc;
use tracing::error;

use crate::config;
use crate::control_plane::apps::Apps;
use crate::control_plane::driver::{Origin, ReloadOptions};
use crate::control_plane::process::Changes;
use crate::control_plane::status::TriggerSource;
use crate::control_plane::trigger::files::{self, Files, News};
use crate::generation::AppName;

/// The files of every app.
#[derive(Debug, Default)]
pub(super) struct Watching {
    watched: Mutex<Vec<Watched>>,
    /// Who is asked for reloads, from the start on.
    apps: OnceLock<Apps>,
}

#[derive(Debug)]
struct Watched {
    app: AppName,
    files: Files,
    changes: Changes,
    /// What is told; taken by who hears it.
    news: Option<mpsc::Receiver<News>>,
}

// === impl Watching ===

impl Watching {
    /// How often the files of an app have changed.
    pub(super) fn changes(&self, app: &AppName) -> Changes {
        self.with(|all| Watched::of(all, app).changes.clone())
    }

    /// Begins, and asks for a reload of each app whose files change.
    pub(super) fn start(&self, apps: &Apps, configured: &[config::App]) {
        // Set once: there is one start.
        let _ = self.apps.set(apps.clone());
        self.follow(configured);
    }

    /// The configuration was read anew, and there are these apps.
    pub(super) fn follow(&self, configured: &[config::App]) {
        self.with(|all| {
            all.retain(|watched| configured.iter().any(|app| app.name == watched.app));
        });
        for app in configured {
            self.follow_one(app);
        }
    }

    /// What it says of one app was read anew.
    pub(super) fn follow_one(&self, configured: &config::App) {
        self.with(|all| {
            let watched = Watched::of(all, &configured.name);
            if let Some(apps) = self.apps.get()
                && let Some(news) = watched.news.take()
            {
                tokio::spawn(hear(watched.app.clone(), news, apps.clone()));
            }
            watched.follow(&configured.watch);
        });
    }

    fn with<T>(&self, with: impl FnOnce(&mut Vec<Watched>) -> T) -> T {
        with(&mut self.watched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watched {
    /// The one of this app; nothing of it is watched before it is asked for.
    fn of<'a>(all: &'a mut Vec<Self>, app: &AppName) -> &'a mut Self {
        let known = all.iter().position(|watched| watched.app == *app);
        let place = known.unwrap_or_else(|| {
            let changes = Changes::default();
            let (files, news) = Files::new(app.clone(), changes.clone());
            all.push(Self {
                app: app.clone(),
                files,
                changes,
                news: Some(news),
            });
            all.len() - 1
        });
        &mut all[place]
    }
}

impl Watched {
    fn follow(&self, config: &files::Config) {
        if let Err(error) = self.files.follow(config) {
            error!(app = %self.app, %error, "files are not watched: the system refuses a thread");
        }
    }
}

/// Until nothing is watched any more.
async fn hear(app: AppName, mut news: mpsc::Receiver<News>, apps: Apps) {
    while let Some(news) = news.recv().await {
        match news {
            News::Changed(cause) => {
                let origin = Origin {
                    source: TriggerSource::File,
                    cause: Some(cause.to_string()),
                };
                let options = ReloadOptions::default();
                let asked = apps.reload(Some(app.as_str()), origin, options).await;
                if let Err(problem) = asked {
                    error!(%app, %cause, "files changed, but the reload is refused: {problem}");
                }
            }
            News::Notes(notes) => {
                let handles = apps.handles();
                if let Some(handle) = handles.iter().find(|handle| *handle.name() == app) {
                    handle.note_files(notes).await;
                }
            }
        }
    }
}
