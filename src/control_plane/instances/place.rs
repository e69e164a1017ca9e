//! The place of one instance, and the tasks that work for it. Each brings home what happened.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::addressed::{self, Manner, Tidings};
use super::{Liveness, Record, monitor};
use crate::control_plane::backoff::Backoff;
use crate::control_plane::endpoint::Endpoint;
use crate::control_plane::process::{Exit, Instance, Processes};
use crate::control_plane::readiness::{self, Probe};
use crate::generation::{Address, AppName, GenerationId, Reason, ReasonKind};

/// One instance.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Counts its processes, so that news of an earlier one are known to be old.
    pub(super) serial: u64,
    pub(super) process: Option<Arc<Instance>>,
    /// Where it serves: a process at one address, an endpoint at each that answers.
    pub(super) addresses: Vec<Address>,
    /// How its last process ended.
    pub(super) why: Option<String>,
    pub(super) backoff: Backoff,
    /// The strongest signal that its process was sent.
    pub(super) told: Option<Told>,
    pub(super) monitors: JoinSet<()>,
    /// Why it was killed although it served.
    pub(super) unwell: Option<Reason>,
    /// Has an endpoint looked at in a hurry.
    pub(super) look: Arc<Notify>,
    ready_since: Option<Instant>,
    asking: Option<AbortHandle>,
}

/// What a process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    /// SIGTERM.
    ToEnd,
    /// SIGKILL.
    ToDie,
}

/// What a task brings home.
#[derive(Debug)]
pub(super) struct News {
    pub(super) number: usize,
    pub(super) serial: u64,
    pub(super) happened: Happened,
}

/// What happened to an instance.
#[derive(Debug)]
pub(super) enum Happened {
    /// It is started again, and its directory is no longer the one that was recorded.
    FilesChanged,
    Spawned(Arc<Instance>),
    NotSpawned(Reason),
    /// It is somebody else's, and there without being started.
    Found,
    Probed(Probe),
    /// It serves there. Of an endpoint again, when its addresses are others.
    Passed(Vec<Address>),
    /// An endpoint that was looked at in a hurry answers.
    StillThere,
    /// None of an endpoint's addresses answers any more.
    Lost(Reason),
    /// An endpoint was let go, as it was told.
    LetGo,
    Unfit(Reason),
    /// A check of one that serves had an answer, good or bad.
    Checked(bool),
    /// On probation its readiness check failed too often.
    Unready(Reason),
    /// Its liveness check did.
    Unwell(Reason),
    Exited(Exit),
    /// A candidate's process is gone, and this is why.
    Explained(Reason),
}

/// What the tasks of all places need.
#[derive(Debug)]
pub(super) struct Tasks {
    pub(super) app: AppName,
    pub(super) generation: GenerationId,
    pub(super) processes: Arc<Processes>,
    pub(super) record: Record,
    pub(super) readiness: readiness::Config,
    pub(super) liveness: Option<Liveness>,
    pub(super) news: mpsc::UnboundedSender<News>,
}

/// Brings home what happens to one process.
#[derive(Clone, Debug)]
struct Messenger {
    news: mpsc::UnboundedSender<News>,
    number: usize,
    serial: u64,
}

// === impl Place ===

impl Place {
    /// Says whether it did not before.
    pub(super) fn serves_at(&mut self, addresses: Vec<Address>) -> bool {
        self.addresses = addresses;
        let first = self.ready_since.is_none();
        self.ready_since.get_or_insert_with(Instant::now);
        first
    }

    /// Whether that is how its process ends when it does as it was told. Another status or signal came before the order,
    /// or in spite of it.
    pub(super) fn obeys(&self, exit: Exit) -> bool {
        const TERM: i32 = rustix::process::Signal::TERM.as_raw();
        const KILL: i32 = rustix::process::Signal::KILL.as_raw();
        const SHELL: i32 = 128 + TERM;
        match exit {
            Exit::Status(0 | SHELL) | Exit::Signal(TERM) => self.told.is_some(),
            Exit::Signal(KILL) => self.told == Some(Told::ToDie),
            Exit::Status(_) | Exit::Signal(_) | Exit::Keeper => false,
        }
    }

    /// How long it has served.
    pub(super) fn served(&self) -> Duration {
        self.ready_since
            .map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(super) fn ended(&mut self, why: String) {
        self.quiet();
        self.process = None;
        self.addresses.clear();
        self.ready_since = None;
        self.why = Some(why);
    }

    pub(super) fn terminate(&mut self) {
        self.quiet();
        self.told = self.told.max(Some(Told::ToEnd));
        if let Some(process) = &self.process {
            process.terminate();
        }
    }

    pub(super) fn kill(&mut self) {
        self.quiet();
        self.told = Some(Told::ToDie);
        if let Some(process) = &self.process {
            process.kill();
        }
    }

    /// Nobody asks it anything any more.
    fn quiet(&mut self) {
        self.monitors.abort_all();
        if let Some(asking) = self.asking.take() {
            asking.abort();
        }
    }
}

// === impl Tasks ===

impl Tasks {
    fn messenger(&self, number: usize, place: &Place) -> Messenger {
        Messenger {
            news: self.news.clone(),
            number,
            serial: place.serial,
        }
    }

    pub(super) fn spawn(&self, number: usize, place: &mut Place) {
        place.serial += 1;
        place.told = None;
        place.unwell = None;
        let messenger = self.messenger(number, place);
        let Record::Processes(recipe) = &self.record else {
            return messenger.tell(Happened::Found);
        };
        let (processes, recipe) = (Arc::clone(&self.processes), Arc::clone(recipe));
        let (app, generation) = (self.app.clone(), self.generation);
        let again = place.serial > 1;
        tokio::spawn(async move {
            if again && files_changed(Record::Processes(Arc::clone(&recipe))).await {
                messenger.tell(Happened::FilesChanged);
            }
            let outside = super::shell::outside(number);
            match processes.start(&recipe, &app, generation, outside).await {
                Ok(process) => {
                    let process = Arc::new(process);
                    let exited = process.exited();
                    messenger.tell(Happened::Spawned(process));
                    messenger.tell(Happened::Exited(exited.await));
                }
                Err(reason) => messenger.tell(Happened::NotSpawned(reason)),
            }
        });
    }

    /// Asks it until it is ready, and warms it up.
    pub(super) fn probe(&self, number: usize, place: &mut Place) {
        if let Some(endpoint) = self.endpoint(number) {
            return self.attend(endpoint.clone(), number, place);
        }
        let Some(process) = place.process.clone() else {
            return;
        };
        let (config, messenger) = (self.readiness.clone(), self.messenger(number, place));
        let task = tokio::spawn(async move {
            let progress = |probe| messenger.tell(Happened::Probed(probe));
            let ready = readiness::until_ready(&config, &process, progress).await;
            let warm = match ready {
                Ok(ready) => readiness::warm_up(&config, &ready.address)
                    .await
                    .map(|()| ready.address),
                Err(reason) => Err(reason),
            };
            match warm {
                Ok(address) => messenger.tell(Happened::Passed(vec![address])),
                // Its exit is told by whoever waits for it.
                Err(reason) if matches!(reason.kind, ReasonKind::Exited | ReasonKind::Keeper) => {}
                Err(reason) => messenger.tell(Happened::Unfit(reason)),
            }
        });
        place.asking = Some(task.abort_handle());
    }

    /// The endpoint of this number, where the instances are somebody else's.
    fn endpoint(&self, number: usize) -> Option<&Endpoint> {
        self.record.addressed()?.list.get(number)
    }

    /// Asks an endpoint whether it is ready, and from then on whether it still is.
    fn attend(&self, endpoint: Endpoint, number: usize, place: &mut Place) {
        let (readiness, messenger) = (self.readiness.clone(), self.messenger(number, place));
        let liveness = self.liveness.clone();
        let liveness = liveness.unwrap_or_else(|| Liveness::of(&readiness));
        let manner = Manner {
            readiness,
            liveness,
        };
        let look = Arc::clone(&place.look);
        let attended = addressed::attend(endpoint, manner, look, move |tidings| {
            messenger.tell(match tidings {
                Tidings::Probed(probe) => Happened::Probed(probe),
                Tidings::Up(addresses) => Happened::Passed(addresses),
                Tidings::Checked(check) if check.hurried && check.passed => Happened::StillThere,
                Tidings::Checked(check) => Happened::Checked(check.passed),
                Tidings::Unfit(reason) => Happened::Unfit(reason),
                Tidings::Down(reason) => Happened::Lost(reason),
            });
        });
        place.asking = Some(tokio::spawn(attended).abort_handle());
    }

    /// Nothing of an endpoint is stopped, so it is gone as soon as it is told to.
    pub(super) fn let_go(&self, number: usize, place: &Place) {
        if self.endpoint(number).is_some() {
            self.messenger(number, place).tell(Happened::LetGo);
        }
    }

    /// The addresses of an instance, as they are told.
    pub(super) fn shown(&self, number: usize, place: &Place) -> Vec<String> {
        let serves: Vec<_> = place.addresses.iter().map(Address::to_string).collect();
        match (self.endpoint(number), &place.process) {
            _ if !serves.is_empty() => serves,
            (Some(endpoint), _) => vec![endpoint.to_string()],
            (None, Some(process)) => vec![process.address().to_string()],
            (None, None) => Vec::new(),
        }
    }

    /// Finds out why a candidate has exited, and says so instead of its exit.
    pub(super) fn explain(&self, number: usize, place: &mut Place, exit: Exit) {
        let Some(process) = place.process.take() else {
            return;
        };
        let messenger = self.messenger(number, place);
        place.ended(exit.to_string());
        tokio::spawn(async move {
            let reason = readiness::explain_exit(&process, exit).await;
            messenger.tell(Happened::Explained(reason));
        });
    }

    /// Asks one that serves whether it is still well.
    pub(super) fn monitor(&self, number: usize, place: &mut Place, probation: bool) {
        let (Record::Processes(_), [address]) = (&self.record, &place.addresses[..]) else {
            // An endpoint is attended all its life.
            return;
        };
        let address = address.clone();
        if probation {
            let messenger = self.messenger(number, place);
            let (readiness, address) = (self.readiness.clone(), address.clone());
            place.monitors.spawn(async move {
                let checked = |passed| messenger.tell(Happened::Checked(passed));
                let unready = monitor::unready(readiness, address, checked).await;
                messenger.tell(Happened::Unready(unready));
            });
        }
        if let Some(liveness) = self.liveness.clone() {
            let messenger = self.messenger(number, place);
            place.monitors.spawn(async move {
                let checked = |passed| messenger.tell(Happened::Checked(passed));
                let unwell = monitor::unwell(liveness, address, checked).await;
                messenger.tell(Happened::Unwell(unwell));
            });
        }
    }
}

/// On a thread of its own: a file system may hang.
async fn files_changed(record: Record) -> bool {
    let looked = tokio::task::spawn_blocking(move || record.files_changed());
    looked.await.unwrap_or(false)
}

// === impl Messenger ===

impl Messenger {
    fn tell(&self, happened: Happened) {
        // Refused only when all is over.
        let _ = self.news.send(News {
            number: self.number,
            serial: self.serial,
            happened,
        });
    }
}
