//! The watching of each app's files, joined with who reloads it.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use tracing::error;

use crate::config;
use crate::control_plane::apps::Apps;
use crate::control_plane::driver::{Origin, ReloadOptions};
use crate::control_plane::process::Changes;
use crate::control_plane::status::TriggerSource;
use crate::control_plane::trigger::files::{Config, Files, News};
use crate::generation::AppName;

/// The files of every app.
#[derive(Debug)]
pub(super) struct Watching(Vec<Watched>);

#[derive(Debug)]
struct Watched {
    app: AppName,
    files: Files,
    changes: Changes,
    /// What is watched from the start on.
    config: Config,
    /// What is told; taken by who hears it.
    news: Mutex<Option<mpsc::Receiver<News>>>,
}

// === impl Watching ===

impl Watching {
    /// Watches nothing before [`start`](Self::start).
    pub(super) fn new(apps: &[config::App]) -> Self {
        let watched = apps.iter().map(|app| {
            let changes = Changes::default();
            let (files, news) = Files::new(app.name.clone(), changes.clone());
            Watched {
                app: app.name.clone(),
                files,
                changes,
                config: app.watch.clone(),
                news: Mutex::new(Some(news)),
            }
        });
        Self(watched.collect())
    }

    /// How often the files of an app have changed.
    pub(super) fn changes(&self, app: &AppName) -> Changes {
        let watched = self.0.iter().find(|watched| watched.app == *app);
        watched
            .map(|watched| watched.changes.clone())
            .unwrap_or_default()
    }

    /// Begins, and asks for a reload of each app whose files change.
    pub(super) fn start(&self, apps: &Apps) {
        for watched in &self.0 {
            let mut news = watched.news.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(news) = news.take() {
                tokio::spawn(hear(watched.app.clone(), news, apps.clone()));
            }
            watched.follow(&watched.config);
        }
    }

    /// The configuration was read anew.
    pub(super) fn follow(&self, apps: &[config::App]) {
        for watched in &self.0 {
            if let Some(app) = apps.iter().find(|app| app.name == watched.app) {
                watched.follow(&app.watch);
            }
        }
    }
}

impl Watched {
    fn follow(&self, config: &Config) {
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
                let mut handles = apps.handles().iter();
                if let Some(handle) = handles.find(|handle| *handle.name() == app) {
                    handle.note_files(notes).await;
                }
            }
        }
    }
}
