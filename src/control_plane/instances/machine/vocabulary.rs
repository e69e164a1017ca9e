//! The words of the machine: where a generation and each of its instances are, what happens, what is to be done.

/// How far the generation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its first processes are on their way.
    Launching,
    /// One of them could not be started; the others are killed.
    Aborting,
    /// All run, and are asked until enough are ready.
    Candidate {
        /// It was told that it cannot become ready.
        bad: bool,
    },
    /// Enough were ready.
    Serving,
    /// It was told to end, or its last ready instance is gone.
    Ending {
        /// With SIGKILL.
        killed: bool,
    },
    /// No process is left, and that was told.
    Over,
}

/// The place of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Nothing, and nothing is to come.
    Vacant,
    /// It is started again after a pause.
    Backoff,
    /// Its process is on its way.
    Spawning,
    /// Its process runs and was not asked anything yet.
    Running,
    /// It is asked until it is ready.
    Probing,
    /// It gets requests.
    Ready,
    /// It was told to end.
    Dying,
}

/// What has happened. Each may be stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The process of an instance runs.
    Spawned(usize),
    /// It never came to life.
    NotSpawned(usize),
    /// Every check of it holds.
    Passed(usize),
    /// It cannot become ready, or is no longer well.
    Unfit(usize),
    /// Its process is gone.
    Exited(usize),
    /// The candidate is to be asked.
    ProbeAsked,
    /// It is live.
    Routed,
    /// It is live no more.
    Retired,
    /// It is to end.
    TerminateAsked,
    /// It is to end at once.
    KillAsked,
    /// A timer that was armed is due.
    Fired(Timer),
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Start the process of an instance; answered by `Spawned` or `NotSpawned`.
    Spawn(usize),
    /// Ask it until it is ready; answered by `Passed` or `Unfit`.
    Probe(usize),
    /// Ask its process to end; answered by `Exited`.
    Terminate(usize),
    /// End its process; answered by `Exited`.
    Kill(usize),
    /// Which instances get requests has changed.
    Balance,
    /// Tell the core.
    Tell(Word),
    /// Start this timer from its full time.
    Arm(Timer),
    /// Stop this timer. Not said of one that fired.
    Disarm(Timer),
}

/// What the core is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// All processes run.
    Spawned,
    /// One could not be started, and nothing is left.
    SpawnFailed,
    /// Enough are ready.
    Ready,
    /// It cannot become ready.
    WentBad,
    /// One is gone, and the generation goes on.
    Lost(usize),
    /// One that was started again gets requests.
    Back(usize),
    /// No process is left.
    Exited,
}

/// When to do something that nothing else causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// When to start an instance again.
    Backoff(usize),
    /// When to give up on one that was started again and is not ready.
    Start(usize),
}
