//! Behind a verdict: how what served before finishes what it has, as the status tells it. For people at a terminal alone.
//!
//! A generation is drained when its ordinary requests are done; its streams may go on for long, and are not waited for.

use super::words::under_way;
use crate::cli::screen::{EVERY, Screen};
use crate::control_plane::api::client::Client;
use crate::control_plane::apps::Status;
use crate::control_plane::status::GenerationState;
use crate::generation::{AppName, GenerationId};

/// The generations that finish what they have, at most one of each app: the newest that was replaced.
#[derive(Debug, Default)]
pub(super) struct Drains(Vec<(AppName, GenerationId)>);

/// How far one of them is.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// Requests are under way, and so many streams.
    UnderWay(u32, u32),
    /// They are done; in a sentence, what becomes of it.
    Done(String),
}

// === impl Drains ===

impl Drains {
    pub(super) fn add(&mut self, app: AppName, generation: GenerationId) {
        self.0.retain(|(known, _)| *known != app);
        self.0.push((app, generation));
    }

    /// Shows what is left of each, until nothing is; or until hitless is gone.
    pub(super) async fn follow(&mut self, client: &Client, screen: &mut Screen) {
        let mut ticks = tokio::time::interval(EVERY);
        while !self.0.is_empty() {
            ticks.tick().await;
            let Ok(status) = client.status().await else {
                return;
            };
            let (ended, going_on) = self.look(&status);
            ended.iter().for_each(|line| screen.say(line));
            if !going_on.is_empty() {
                screen.now(&going_on.join("; "));
            }
        }
    }

    /// Lets go of those that are done; what is to be said of them, and of the others.
    fn look(&mut self, status: &Status) -> (Vec<String>, Vec<String>) {
        let (mut ended, mut going_on) = (Vec::new(), Vec::new());
        self.0.retain(|(app, generation)| {
            let left = left(status, app, *generation);
            match left {
                Left::UnderWay(requests, streams) => {
                    let left = under_way(requests, streams);
                    going_on.push(format!(
                        "{app}: generation {generation} drains: {left} left"
                    ));
                    true
                }
                Left::Done(how) => {
                    ended.push(format!("{app}: {how}"));
                    false
                }
            }
        });
        (ended, going_on)
    }
}

fn left(status: &Status, app: &AppName, id: GenerationId) -> Left {
    let app = status.apps.iter().find(|known| known.name == *app);
    let generations = app.map(|app| &app.generations[..]).unwrap_or_default();
    let Some(known) = generations.iter().find(|known| known.generation == id) else {
        return Left::Done(format!("done; generation {id} has finished and is gone"));
    };
    let keeps = match known.streams {
        0 => String::new(),
        streams => format!(", and keeps {} until they end", under_way(0, streams)),
    };
    match known.state {
        // It was sent back meanwhile.
        GenerationState::Live | GenerationState::Starting => {
            Left::Done(format!("generation {id} serves again: see hitless status"))
        }
        _ if known.requests > 0 => Left::UnderWay(known.requests, known.streams),
        GenerationState::Standby => Left::Done(format!(
            "done; generation {id} has drained and stands by{keeps}"
        )),
        GenerationState::Retiring => {
            Left::Done(format!("done; generation {id} has drained{keeps}"))
        }
        GenerationState::Stopping => {
            Left::Done(format!("done; generation {id} has drained and stops"))
        }
    }
}
