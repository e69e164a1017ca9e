//! Where requests go: where they went before, until every app is live that is new; then all at once where the
//! configuration wants them, and the apps leave that it does not speak of.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Configurator, State, names, speaks_of};
use crate::control_plane::driver::Handle;
use crate::control_plane::progress::{Progress, Updates};
use crate::control_plane::status::VerdictWord;
use crate::generation::AppName;
use crate::server::members::Member;
use crate::server::tables::{Gate, Routing};

// === impl Configurator ===

impl Configurator {
    /// Has requests go where the configuration wants them, once every app that they did not go to before is live; then
    /// those apps leave that it does not speak of. Until then what served goes on.
    pub(super) async fn route(&self, state: &mut State) {
        let awaited = state.awaited();
        let waits = !awaited.is_empty();
        self.whole
            .send_modify(|whole| whole.configuration.awaited = awaited);
        let wanted = Routing::new(&state.config.apps);
        let is_behind = state.routing != wanted || state.gates.iter().any(Gate::is_behind);
        if is_behind && !waits {
            state.routing = wanted;
            state.gates.iter_mut().for_each(Gate::settle);
        }
        let go = state.take_unwanted(waits);
        if go.is_empty() && (waits || !is_behind) {
            return;
        }
        self.change(state, None).await;
        self.publish_handles(state);
        // Nothing is on its way to them but what they have already.
        for member in go {
            let whole = self.whole.subscribe();
            self.maker.part(member, move |name| {
                let handles = &whole.borrow().handles;
                handles.iter().any(|handle| handle.name() == name)
            });
        }
    }

    /// Looks after a new app until requests go to it, or it is gone again.
    pub(super) async fn await_live(self: Arc<Self>, handle: Handle) {
        let mut changes = handle.changes();
        while changes
            .wait_for(|status| status.live.is_some())
            .await
            .is_ok()
        {
            let mut state = self.state.lock().await;
            self.route(&mut state).await;
            let is_routed = state.routing.leads_to(handle.name());
            let is_there = state.members.iter().any(|member| member.handle.is(&handle));
            drop(state);
            // It may die again while another one is awaited.
            if is_routed || !is_there || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Passes on how an app starts; that it is live is told when requests go to it.
    pub(super) fn routed_first(self: Arc<Self>, mut updates: Updates) -> Updates {
        let (sender, passed_on) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(update) = updates.recv().await {
                let is_live = matches!(&update, Progress::Verdict { status, .. } if status.verdict == VerdictWord::Live);
                if is_live {
                    let mut state = self.state.lock().await;
                    self.route(&mut state).await;
                }
                // Nobody may be listening.
                let _ = sender.send(update);
            }
        });
        passed_on
    }
}

// === impl State ===

impl State {
    /// The apps that requests are to go to and did not go to before, and that are not live.
    fn awaited(&self) -> Vec<AppName> {
        names(&self.config.apps, |name| {
            let member = self.members.iter().find(|member| member.name == *name);
            let is_live = member.is_some_and(|member| member.handle.status().live.is_some());
            !is_live && !self.routing.leads_to(name)
        })
    }

    /// Takes out the apps that the configuration does not speak of, but for those that serve while others are awaited.
    fn take_unwanted(&mut self, waits: bool) -> Vec<Member> {
        let (config, routing) = (&self.config, &self.routing);
        let is_unwanted = |member: &mut Member| {
            let serves = waits && routing.leads_to(&member.name);
            !speaks_of(config, &member.name) && !serves
        };
        self.members.extract_if(.., is_unwanted).collect()
    }
}
