//! Generations on their way out: they retire until nothing of theirs is left to finish, and then stop.
//!
//! The same while hitless is up and while it is shutting down. Each of them has a deadline or a spawn under way, so
//! none of them leaves for ever.

use super::Action;
use super::actions::Actions;
use super::situation::{How, Leaving, Old, Stopping, Streams};
use crate::generation::GenerationId;

// === impl Leaving: procedures ===

impl Leaving {
    /// It stops at once if nothing of it is left to finish; else it retires.
    pub(super) fn let_go(&mut self, old: Old, actions: &mut Actions) {
        if old.is_done() {
            self.terminate(old.generation, actions);
        } else {
            self.retire(old);
        }
    }

    pub(super) fn retire(&mut self, old: Old) {
        let older = |other: &Old| other.generation < old.generation;
        let place = self.retiring.partition_point(older);
        self.retiring.insert(place, old);
    }

    pub(super) fn terminate(&mut self, generation: GenerationId, actions: &mut Actions) {
        actions.push(Action::Terminate(generation));
        self.stop(generation, How::Terminating);
    }

    /// Its spawn cannot be taken back: it is told to go when it arrives.
    pub(super) fn await_birth(&mut self, generation: GenerationId) {
        self.stop(generation, How::Unborn);
    }

    fn stop(&mut self, generation: GenerationId, how: How) {
        self.stopping.push(Stopping { generation, how });
    }

    /// At most `retiring_max` retire with open streams; the oldest pay for it.
    pub(super) fn cap(&mut self, retiring_max: usize, actions: &mut Actions) {
        let open = self.retiring.iter().filter(|old| old.has_open_streams());
        let excess = open.count().saturating_sub(retiring_max);
        let open = self
            .retiring
            .iter_mut()
            .filter(|old| old.has_open_streams());
        open.take(excess).for_each(|old| old.close_streams(actions));
    }

    pub(super) fn close_all_streams(&mut self, actions: &mut Actions) {
        for old in &mut self.retiring {
            old.close_streams(actions);
        }
    }

    /// Takes the youngest that may serve again and fits.
    pub(super) fn take_usable(&mut self, fits: impl Fn(&Old) -> bool) -> Option<Old> {
        let place = self
            .retiring
            .iter()
            .rposition(|old| !old.fallen && fits(old))?;
        Some(self.retiring.remove(place))
    }

    /// Takes this one out again.
    pub(super) fn take(&mut self, generation: GenerationId) -> Option<Old> {
        let place = self
            .retiring
            .iter()
            .position(|old| old.generation == generation)?;
        Some(self.retiring.remove(place))
    }

    pub(super) fn retiring_named(&mut self, generation: GenerationId) -> Option<&mut Old> {
        self.retiring
            .iter_mut()
            .find(|old| old.generation == generation)
    }

    fn stopping_named(&mut self, generation: GenerationId, how: How) -> Option<&mut Stopping> {
        self.stopping
            .iter_mut()
            .find(|stopping| stopping.generation == generation && stopping.how == how)
    }

    /// Is nothing left that would have to end before hitless may?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.retiring.is_empty() && self.stopping.is_empty()
    }
}

// === impl Leaving: rows ===

impl Leaving {
    /// `Spawned`, of one that was told to go meanwhile.
    pub(super) fn born(&mut self, generation: GenerationId, hurry: bool, actions: &mut Actions) {
        if let Some(unborn) = self.stopping_named(generation, How::Unborn) {
            if hurry {
                unborn.kill(actions);
            } else {
                unborn.how = How::Terminating;
                actions.push(Action::Terminate(generation));
            }
        }
    }

    /// `SpawnFailed`, of one that was told to go meanwhile.
    pub(super) fn never_born(&mut self, generation: GenerationId) {
        self.stopping
            .retain(|stopping| (stopping.generation, stopping.how) != (generation, How::Unborn));
    }

    /// `Exited`. What is not yet born cannot exit.
    pub(super) fn exited(&mut self, generation: GenerationId) {
        self.retiring.retain(|old| old.generation != generation);
        self.stopping
            .retain(|stopping| stopping.generation != generation || stopping.how == How::Unborn);
    }

    /// `Drained`.
    pub(super) fn drained(&mut self, generation: GenerationId, actions: &mut Actions) {
        if let Some(old) = self.retiring_named(generation) {
            old.drained();
            self.stop_if_done(generation, actions);
        }
    }

    /// `StreamsEnded`.
    pub(super) fn streams_ended(&mut self, generation: GenerationId, actions: &mut Actions) {
        if let Some(old) = self.retiring_named(generation) {
            old.streams_ended();
            self.stop_if_done(generation, actions);
        }
    }

    fn stop_if_done(&mut self, generation: GenerationId, actions: &mut Actions) {
        if let Some(old) = self.take(generation) {
            self.let_go(old, actions);
        }
    }

    /// `Fired(Stop)`.
    pub(super) fn stop_timed_out(&mut self, generation: GenerationId, actions: &mut Actions) {
        if let Some(stopping) = self.stopping_named(generation, How::Terminating) {
            stopping.kill(actions);
        }
    }

    /// `Fired(Reap)`: a process in an uninterruptible sleep must not keep hitless from exiting.
    pub(super) fn reap_timed_out(&mut self, generation: GenerationId, actions: &mut Actions) {
        if self.stopping_named(generation, How::Killing).is_some() {
            actions.push(Action::Abandon(generation));
            self.exited(generation);
        }
    }

    /// The second `ShutdownAsked`. What is not yet born is killed when it arrives.
    pub(super) fn kill_all(&mut self, actions: &mut Actions) {
        for stopping in &mut self.stopping {
            if stopping.how == How::Terminating {
                stopping.kill(actions);
            }
        }
        for old in std::mem::take(&mut self.retiring) {
            actions.push(Action::Kill(old.generation));
            self.stop(old.generation, How::Killing);
        }
    }
}

// === impl Old ===

impl Old {
    pub(super) fn close_streams(&mut self, actions: &mut Actions) {
        if self.streams == Streams::Open {
            actions.push(Action::CloseStreams(self.generation));
            self.streams = Streams::Closing;
        }
    }
}

// === impl Stopping ===

impl Stopping {
    fn kill(&mut self, actions: &mut Actions) {
        actions.push(Action::Kill(self.generation));
        self.how = How::Killing;
    }
}
