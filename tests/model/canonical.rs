//! Renames the generations and triggers of a situation to 1, 2, 3 … in their order, so that any number of reloads is a
//! finite number of situations. The core only compares ids, so renamed situations behave alike.

use hitless::control_plane::supervisor::Version;
use hitless::control_plane::supervisor::situation::{
    Kind, Old, Phase, Situation, Stage, Standing, Step,
};
use hitless::generation::{GenerationId, TriggerId};

/// A situation, and all the history that the search needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) situation: Situation,
    /// F: the version of a live generation that left by failover or by an at-once rollback; cleared by the next trigger.
    pub(crate) failed: Option<Version>,
}

impl Node {
    /// The same in the smallest numbers.
    pub(crate) fn renamed(mut self) -> Self {
        let mut generations = Vec::with_capacity(8);
        self.each_generation(&mut |id| generations.push(*id));
        generations.sort_unstable();
        generations.dedup();
        self.each_generation(&mut |id| *id = GenerationId::from(rank(&generations, id)));
        self.situation.next = GenerationId::from(generations.len() as u64 + 1);

        let mut triggers = Vec::with_capacity(2);
        each_trigger(&mut self.situation, &mut |id| triggers.push(*id));
        triggers.sort_unstable();
        triggers.dedup();
        each_trigger(&mut self.situation, &mut |id| {
            *id = TriggerId::from(rank(&triggers, id));
        });
        self
    }

    fn each_generation(&mut self, visit: &mut impl FnMut(&mut GenerationId)) {
        each_generation(&mut self.situation, visit);
        if let Some(version) = &mut self.failed {
            visit(&mut version.0);
        }
    }
}

fn rank<T: Ord>(sorted: &[T], id: &T) -> u64 {
    let place = sorted.binary_search(id).expect("it was collected before");
    place as u64 + 1
}

/// Every generation and version that the situation names.
fn each_generation(situation: &mut Situation, visit: &mut impl FnMut(&mut GenerationId)) {
    if let Phase::Up(up) = &mut situation.phase {
        match &mut up.stage {
            Stage::Empty { want } => {
                if let Some(version) = want {
                    visit(&mut version.0);
                }
            }
            Stage::Live(live) => {
                visit(&mut live.generation);
                visit(&mut live.version.0);
                each_of_standing(&mut live.standing, visit);
            }
        }
        if let Some(attempt) = &mut up.attempt {
            match &mut attempt.kind {
                Kind::GoBack(_, version) | Kind::Restart(Some(version)) => visit(&mut version.0),
                Kind::Reload(_) | Kind::Restart(None) => {}
            }
            match &mut attempt.step {
                Step::Spawning(id) | Step::Probing(id) => visit(id),
                Step::Backoff | Step::Queued => {}
            }
        }
        if let Some(version) = &mut up.previous {
            visit(&mut version.0);
        }
    }
    for old in &mut situation.leaving.retiring {
        each_of_old(old, visit);
    }
    for stopping in &mut situation.leaving.stopping {
        visit(&mut stopping.generation);
    }
}

fn each_of_standing(standing: &mut Standing, visit: &mut impl FnMut(&mut GenerationId)) {
    match standing {
        Standing::Proven => {}
        Standing::Probation { back, standby, .. } => {
            visit(&mut back.0);
            if let Some(standby) = standby {
                each_of_old(standby, visit);
            }
        }
        Standing::StandIn { want } | Standing::Bad { want } => visit(&mut want.0),
    }
}

fn each_of_old(old: &mut Old, visit: &mut impl FnMut(&mut GenerationId)) {
    visit(&mut old.generation);
    visit(&mut old.version.0);
}

/// Every trigger that still waits for something.
fn each_trigger(situation: &mut Situation, visit: &mut impl FnMut(&mut TriggerId)) {
    let Phase::Up(up) = &mut situation.phase else {
        return;
    };
    if let Some(attempt) = &mut up.attempt {
        match &mut attempt.kind {
            Kind::Reload(id) | Kind::GoBack(id, _) => visit(id),
            Kind::Restart(_) => {}
        }
    }
    if let Stage::Live(live) = &mut up.stage
        && let Standing::Probation {
            watch: Some(id), ..
        } = &mut live.standing
    {
        visit(id);
    }
}
