//! What somebody or something outside asks, as events of the core.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::clock::Deadline;
use super::handle::{Asked, Wish};
use super::{Driver, Input, Origin, Settings, Shutdown};
use crate::control_plane::progress::Watchers;
use crate::control_plane::status::TriggerSource;
use crate::control_plane::supervisor::Event;

impl Driver {
    pub(super) fn asked(&mut self, asked: Asked) {
        match asked {
            Asked::Reload {
                origin,
                settings,
                wish,
                watchers,
            } => {
                if let Some(settings) = settings {
                    self.apply(*settings);
                }
                self.reload(origin, wish, watchers);
            }
            Asked::Configure { settings } => self.apply(*settings),
            Asked::Rollback { watchers } => self.rollback(watchers),
            Asked::FileNotes { notes } => self.file_notes = notes,
            Asked::Pause { lasting } => self.pause(lasting),
            Asked::Resume => self.resume(),
            Asked::ShutDown { deadline } => self.shut_down(deadline),
            Asked::ClientsGone => {
                if let Some(shutdown) = &mut self.shutdown {
                    shutdown.clients_gone = true;
                }
                self.look_for_drained();
            }
        }
    }

    /// Triggers found waiting in one turn of the loop become one: each asker gets its verdict, and the newest says how.
    pub(super) fn reload(&mut self, mut origin: Origin, mut wish: Wish, mut watchers: Watchers) {
        while let Some(asked) = self.next_reload() {
            if let Asked::Reload {
                origin: other,
                settings,
                wish: newest,
                watchers: others,
            } = asked
            {
                watchers.join(others);
                origin.cause = origin.cause.or(other.cause);
                wish = newest;
                if let Some(settings) = settings {
                    self.apply(*settings);
                }
            }
        }
        let accepted = origin.clone();
        let id = self.triggers.accept(&self.name, accepted, wish, watchers);
        let (source, cause) = (origin.source.as_str(), origin.cause);
        info!(app = %self.name, trigger = %id, source, cause, "reload asked for");
        self.happened(Event::Triggered(id));
    }

    /// A reload that waits, and was not asked for after something else that somebody asks.
    fn next_reload(&mut self) -> Option<Asked> {
        if self
            .waiting
            .iter()
            .any(|input| matches!(input, Input::Asked(_)))
        {
            return None;
        }
        while let Ok(input) = self.inbox.try_recv() {
            match input {
                Input::Asked(asked @ Asked::Reload { .. }) => return Some(asked),
                other => {
                    let ends = matches!(other, Input::Asked(_));
                    self.waiting.push_back(other);
                    if ends {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn apply(&mut self, settings: Settings) {
        self.core.set_rules(settings.driver.rules());
        self.settings = settings;
    }

    fn rollback(&mut self, watchers: Watchers) {
        let id = self.triggers.accept(
            &self.name,
            TriggerSource::Rollback.into(),
            Wish::default(),
            watchers,
        );
        let to = self.core.rollback_target().map(|version| version.0);
        self.triggers.going_back(&self.name, id, to);
        let to = to.map(crate::generation::GenerationId::get);
        info!(app = %self.name, trigger = %id, to, "rollback asked for");
        self.happened(Event::RollbackAsked(id));
        // What leads there may be on its way already.
        if self.core.owner() == Some(id)
            && let Some(candidate) = self.core.candidate()
        {
            self.triggers.starting(&self.name, id, candidate);
        }
    }

    fn pause(&mut self, lasting: Option<Duration>) {
        match lasting {
            Some(lasting) => self.clock.set(Deadline::PauseEnd, lasting),
            None => self.clock.clear(Deadline::PauseEnd),
        }
        self.happened(Event::Paused);
    }

    pub(super) fn resume(&mut self) {
        self.clock.clear(Deadline::PauseEnd);
        self.happened(Event::Resumed);
    }

    fn shut_down(&mut self, deadline: Instant) {
        if self.shutdown.is_none() {
            self.shutdown = Some(Shutdown {
                frozen: self.core.live(),
                clients_gone: false,
            });
        }
        self.clock.limit(deadline);
        self.happened(Event::ShutdownAsked);
        // Those that were to close little by little do it now.
        let all: Vec<_> = self.generations.iter().map(|(id, _)| id).collect();
        for id in all {
            self.order(id, |orders| {
                orders.closes += 1;
                orders.close_spread = Duration::ZERO;
            });
        }
    }
}
