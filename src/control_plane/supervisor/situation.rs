//! All that the supervisor knows, as plain data. What can be read off it is in `questions`.
//!
//! What cannot be is not sayable: there is one attempt, a standby exists only on probation, and once shutdown was asked
//! nothing is live. The types of generations that run are moved and never copied, so that each is in one place.

mod questions;

use crate::generation::{GenerationId, TriggerId};

/// All that the supervisor knows at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Situation {
    /// The number of the next generation.
    pub next: GenerationId,
    /// How far hitless is in its own life.
    pub phase: Phase,
    /// What was live or was to be, and is on its way out.
    pub leaving: Leaving,
}

/// How far hitless is in its own life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It serves, or tries to.
    Up(Up),
    /// It was asked to stop.
    Down {
        /// It was asked twice.
        hurry: bool,
    },
    /// It has said `Exit`.
    Gone,
}

/// What there is only while hitless serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Up {
    /// Somebody asked to hold all requests.
    pub paused: bool,
    /// Who serves.
    pub stage: Stage,
    /// The one thing that is being started.
    pub attempt: Option<Attempt>,
    /// Where a rollback leads. After going back it is the version gone back to: twice is once.
    pub previous: Option<Version>,
}

/// Who serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Nobody; requests are held.
    Empty {
        /// The last good version; none before the first success.
        want: Option<Version>,
    },
    /// This one.
    Live(Live),
}

/// The generation that gets new requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Live {
    /// Its number.
    pub generation: GenerationId,
    /// What it runs.
    pub version: Version,
    /// How well it stands.
    pub standing: Standing,
}

/// How well the live generation stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It stays until something newer is ready.
    Proven,
    /// May still be sent back. The only place where a standby can be, so its time cannot outlast the probation.
    Probation {
        /// The version to go back to.
        back: Version,
        /// The generation that was live before, ready to take over.
        standby: Option<Old>,
        /// The trigger whose caller still waits for the end of the probation.
        watch: Option<TriggerId>,
    },
    /// Serves in place of `want`, which is being started again.
    StandIn {
        /// The version that takes over when it is ready.
        want: Version,
    },
    /// Judged bad, but nobody else is alive; serves until `want` is up.
    Bad {
        /// The version that takes over when it is ready.
        want: Version,
    },
}

/// What is being started, for whom, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// What, and for whom.
    pub kind: Kind,
    /// How far.
    pub step: Step,
}

/// Why something is being started. What is started follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A trigger asked for it.
    Reload(TriggerId),
    /// A rollback to this version asked for it.
    GoBack(TriggerId, Version),
    /// Something that served is gone, or nothing ever served. Nobody waits for a verdict.
    Restart(Option<Version>),
}

/// How far an attempt is. It has a number only once it is spawned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Waits, because the last one failed.
    Backoff,
    /// Waits for room.
    Queued,
    /// Its processes are being started.
    Spawning(GenerationId),
    /// It runs and is asked whether it is ready.
    Probing(GenerationId),
}

/// Generations on their way out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Leaving {
    /// Were live and still have requests or streams; the oldest first.
    pub retiring: Vec<Old>,
    /// Have nothing left to do.
    pub stopping: Vec<Stopping>,
}

/// A generation that was live.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Old {
    /// Its number.
    pub generation: GenerationId,
    /// What it runs.
    pub version: Version,
    /// Its ordinary requests.
    pub requests: Requests,
    /// Its streams.
    pub streams: Streams,
    /// It was left because it is bad: requests never go back to it.
    pub fallen: bool,
}

/// The ordinary requests of a generation that was live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Requests {
    /// There may be some.
    Open,
    /// There are none, or they were cut.
    Done,
}

/// The streams of a generation that was live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Streams {
    /// There may be some.
    Open,
    /// They are being closed.
    Closing,
    /// There are none, or they were given up.
    Done,
}

/// A generation that was told to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stopping {
    /// Its number.
    pub generation: GenerationId,
    /// How it was told.
    pub how: How,
}

/// How a generation was told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// Not yet: it is still being spawned.
    Unborn,
    /// By SIGTERM.
    Terminating,
    /// By SIGKILL.
    Killing,
}

/// A recorded command, directory and environment, named by the generation that first ran it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub GenerationId);

/// Where new requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// To this generation.
    To(GenerationId),
    /// Nowhere yet: they are held.
    Hold,
    /// Where they went when shutdown was asked.
    Frozen,
}
