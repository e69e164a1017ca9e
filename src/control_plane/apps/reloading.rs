//! A reload, from the reading of the configuration to the last verdict. It goes on whether or not anybody waits.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::newest::{Led, Record};
use super::underway::Underway;
use super::{Apps, Changes, Error, Fresh, Reread, Scope, Unread};
use crate::control_plane::driver::{Handle, Origin, ReloadOptions};
use crate::control_plane::progress::{Progress, Updates};
use crate::generation::AppName;

// === impl Apps ===

impl Apps {
    /// Reads the configuration anew and asks one app, or every one, for a fresh generation. The updates end with a
    /// verdict for each. For every one, the rest of the configuration is in force by then, too. What was changed beside the
    /// generation, and what was left, is the first update; of one app alone only where there is something to tell.
    ///
    /// # Errors
    ///
    /// An unknown app, or one that has no addresses and was to get others; a configuration with problems. Then nothing was
    /// asked of anybody.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the reload was asked for all the same.
    pub async fn reload(
        &self,
        app: Option<&str>,
        origin: impl Into<Origin>,
        options: ReloadOptions,
    ) -> Result<Updates, Error> {
        let (apps, origin) = (self.clone(), origin.into());
        let app = app.map(str::to_owned);
        // A client that goes away must not leave a configuration half in force.
        let asked = tokio::spawn(async move { apps.begin(app.as_deref(), origin, options).await });
        asked
            .await
            .unwrap_or_else(|_| Err(Error::Configuration("hitless is stopping".to_owned())))
    }

    async fn begin(
        &self,
        app: Option<&str>,
        origin: Origin,
        options: ReloadOptions,
    ) -> Result<Updates, Error> {
        let chosen = self.chosen(app).map_err(|error| self.written(error))?;
        let underway = self.0.reloads.begin();
        if self.is_stopping() {
            return Ok(cancelled(&chosen, origin, options).await);
        }
        let scope = match (app, &chosen[..]) {
            (Some(_), [one]) => Scope::App(one.name().clone()),
            _ => Scope::All,
        };
        let reread = self.0.configure.reread(scope, &origin, &options);
        let Reread { changes, apps } = reread.await?;
        if options.wish.addresses.is_some()
            && let Some(name) = without_addresses(&apps)
        {
            return Err(Error::NoAddresses(name));
        }
        let is_left =
            |fresh: &Fresh| options.only_changed && fresh.start.is_none() && !fresh.differs;
        let (left, wanted): (Vec<_>, Vec<_>) = apps.into_iter().partition(is_left);
        let (sender, updates) = mpsc::unbounded_channel();
        if app.is_none() || wanted.is_empty() || changes != Changes::default() {
            let reloads = wanted.iter().map(|fresh| fresh.handle.name().clone());
            let told = Progress::Configured {
                changes,
                apps: reloads.collect(),
            };
            // The receiver is here.
            let _ = sender.send(told);
        }
        let record = self.note(&wanted);
        for Fresh {
            handle, settings, ..
        } in left
        {
            handle.configure(settings).await;
        }
        for fresh in wanted {
            let updates = match fresh.start {
                Some(start) => start,
                None => {
                    let settings = Some(fresh.settings);
                    let asked = fresh
                        .handle
                        .reload(origin.clone(), settings, options.clone());
                    asked.await
                }
            };
            let part = Part {
                apps: self.clone(),
                _underway: underway.clone(),
                record: Arc::clone(&record),
            };
            tokio::spawn(pass_on(updates, sender.clone(), Some(part)));
        }
        Ok(updates)
    }

    /// This reload is the newest from now on, unless it starts nothing.
    fn note(&self, wanted: &[Fresh]) -> Arc<Record> {
        let apps = wanted.iter().map(|fresh| {
            let led = match fresh.start {
                Some(_) => Led::New,
                None => Led::Starting,
            };
            (fresh.handle.name().clone(), led)
        });
        match wanted {
            [] => Arc::default(),
            _ => self.0.newest.begin(apps.collect()),
        }
    }

    /// An app that nobody knows may be one of the file that was not put in force.
    fn written(&self, error: Error) -> Error {
        match error {
            Error::UnknownApp { name, known, .. } => Error::UnknownApp {
                written: self.0.configure.would_add(&name),
                name,
                known,
            },
            error => error,
        }
    }
}

impl From<Unread> for Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Invalid(problem) => Self::Configuration(problem),
            Unread::Refused(problem) => Self::Refused(problem),
            Unread::Gone(app) => Self::Gone(app),
        }
    }
}

/// Nothing is changed any more, and each app says so.
async fn cancelled(handles: &[Handle], origin: Origin, options: ReloadOptions) -> Updates {
    let (sender, updates) = mpsc::unbounded_channel();
    for handle in handles {
        let asked = handle.reload(origin.clone(), None, options.clone()).await;
        tokio::spawn(pass_on(asked, sender.clone(), None));
    }
    updates
}

fn without_addresses(apps: &[Fresh]) -> Option<AppName> {
    let mut apps = apps.iter();
    let first = apps.find(|fresh| fresh.settings.backing.addresses().is_none());
    first.map(|fresh| fresh.handle.name().clone())
}

/// What one app is of a reload, until its verdict.
pub(super) struct Part {
    apps: Apps,
    _underway: Underway,
    record: Arc<Record>,
}

/// Nobody listening any more does not interrupt a reload, which is under way until its verdict.
pub(super) async fn pass_on(
    mut updates: Updates,
    to: mpsc::UnboundedSender<Progress>,
    mut part: Option<Part>,
) {
    while let Some(mut update) = updates.recv().await {
        if let Progress::Verdict {
            app,
            status,
            awaited,
            ..
        } = &mut update
            && let Some(part) = part.take()
        {
            part.record.ended(app, status.verdict);
            *awaited = part
                .apps
                .0
                .whole
                .borrow()
                .configuration
                .awaited
                .contains(app);
        }
        if to.send(update).is_err() && part.is_none() {
            return;
        }
    }
}
