//! The shell around the machine of one generation: owns its processes, its checks and its timers. One task; never decides.

mod shown;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::beginning::begin;
use super::machine::{Action, Event, Machine, Slot, Timer, Word};
use super::place::{Happened, News, Place, Tasks};
use super::{Order, Plan, Record, Report, Shown, Told};
use crate::control_plane::backoff::GOOD_SERVICE;
use crate::control_plane::process::Exit;
use crate::control_plane::readiness::Probe;
use crate::control_plane::starts::Turn;
use crate::generation::{GenerationId, Reason, ReasonKind};
use crate::live::{self, Backend};

/// One generation's processes and all that waits for them.
struct Shell<T> {
    plan: Plan,
    tasks: Tasks,
    home: mpsc::Sender<T>,
    shown: Arc<Mutex<Shown>>,
    machine: Machine,
    published: Option<Arc<live::Generation<Backend>>>,
    places: Vec<Place>,
    timers: BTreeMap<Timer, Instant>,
    probation: bool,
    /// Why the candidate is bad or could not be started.
    blame: Option<Reason>,
    /// How the process that ended last did, and whether by itself.
    exit: Option<(Reason, bool)>,
    over: bool,
    /// Others may be waiting for the end of its start.
    turn: Option<Turn>,
}

/// Runs a generation from its first process to its last.
pub(super) async fn run<T: From<Told> + Send + 'static>(
    plan: Plan,
    home: mpsc::Sender<T>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    shown: Arc<Mutex<Shown>>,
) {
    let begun = tokio::select! {
        begun = begin(&plan) => begun,
        // Of what has not begun nothing is asked but that it does not.
        _ = orders.recv() => Err(Reason::new(ReasonKind::Spawn, "no longer wanted")),
    };
    let (record, turn) = match begun {
        Ok(begun) => begun,
        Err(reason) => return tell(&home, plan.generation, Report::SpawnFailed(reason)).await,
    };
    let (news, mut received) = mpsc::unbounded_channel();
    let (mut shell, actions) = Shell::new(plan, home, shown, record, news);
    shell.turn = turn;
    shell.perform(actions).await;
    while !shell.over {
        let due = shell.timers.values().min().copied();
        tokio::select! {
            news = received.recv() => {
                let news = news.expect("the shell holds a sender of its own");
                shell.hear(news).await;
            }
            // Nobody holds it any more: nothing of it is to stay.
            order = orders.recv() => shell.obey(order.unwrap_or(Order::Kill)).await,
            () = until(due) => shell.fire().await,
        }
    }
}

/// Waits for a deadline, for ever if there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn tell<T: From<Told>>(home: &mpsc::Sender<T>, generation: GenerationId, report: Report) {
    // The driver waits for the last word of each generation.
    let _ = home.send(Told { generation, report }.into()).await;
}

/// Instances are counted from 1 outside.
pub(super) fn outside(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1)
}

impl<T: From<Told> + Send + 'static> Shell<T> {
    fn new(
        plan: Plan,
        home: mpsc::Sender<T>,
        shown: Arc<Mutex<Shown>>,
        record: Record,
        news: mpsc::UnboundedSender<News>,
    ) -> (Self, Vec<Action>) {
        let whole = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let count = match record.addressed() {
            Some(addressed) => addressed.list.len(),
            None => whole(plan.config.count),
        };
        let (machine, actions) = Machine::new(count, whole(plan.config.min_ready));
        let tasks = Tasks {
            app: plan.app.clone(),
            generation: plan.generation,
            processes: Arc::clone(&plan.processes),
            record,
            readiness: plan.readiness.clone(),
            liveness: plan.config.liveness.clone(),
            news,
        };
        let shell = Self {
            plan,
            tasks,
            home,
            shown,
            machine,
            published: None,
            places: (0..count).map(|_| Place::default()).collect(),
            timers: BTreeMap::new(),
            probation: false,
            blame: None,
            exit: None,
            over: false,
            turn: None,
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        shell.show(|shown| shown.count = count);
        (shell, actions)
    }

    async fn hear(&mut self, news: News) {
        let News {
            number,
            serial,
            happened,
        } = news;
        if self.places[number].serial != serial {
            return;
        }
        let event = match happened {
            Happened::Spawned(process) => {
                self.show(|shown| shown.output = Some(Arc::clone(process.output())));
                self.places[number].process = Some(process);
                Event::Spawned(number)
            }
            Happened::NotSpawned(reason) => {
                self.warn_of_repair(number, &reason);
                self.blame.get_or_insert(reason);
                Event::NotSpawned(number)
            }
            Happened::Probed(probe) => return self.probed(number, probe),
            Happened::Checked(passed) => return self.mention(Report::Checked { passed }),
            Happened::FilesChanged => {
                let instance = outside(number);
                return self.tell(Report::FilesChanged { instance }).await;
            }
            Happened::Found => Event::Spawned(number),
            Happened::Passed(addresses) => {
                let first = self.places[number].serves_at(addresses);
                if !first {
                    // The machine counts instances, and this one is in the balance as before.
                    self.balance();
                    return self.show_members();
                }
                Event::Passed(number)
            }
            Happened::StillThere => return self.tell(Report::StillThere).await,
            Happened::Lost(reason) => return self.lost(number, Some(reason)).await,
            Happened::LetGo => return self.lost(number, None).await,
            Happened::Unfit(reason) => {
                self.warn_of_repair(number, &reason);
                self.blame = Some(self.of_several(number, reason));
                Event::Unfit(number)
            }
            Happened::Unready(reason) => {
                let reason = self.of_several(number, reason);
                return self.tell(Report::Unready(reason)).await;
            }
            Happened::Unwell(reason) => {
                warn!(app = %self.plan.app, generation = %self.plan.generation, instance = outside(number), reason = reason.to_string(), "instance is not well: killing it");
                self.places[number].unwell = Some(reason);
                Event::Unfit(number)
            }
            Happened::Exited(exit) => return self.exited(number, exit).await,
            Happened::Explained(reason) => {
                self.blame = Some(self.of_several(number, reason.clone()));
                self.exit = Some((reason, true));
                Event::Exited(number)
            }
        };
        self.step(event).await;
    }

    /// Of a generation that serves, one that was to be started again could not be.
    fn warn_of_repair(&self, number: usize, reason: &Reason) {
        if self.published.is_some() {
            warn!(app = %self.plan.app, generation = %self.plan.generation, instance = outside(number), reason = reason.to_string(), "instance was not started again; it is tried once more");
        }
    }

    fn probed(&self, number: usize, probe: Probe) {
        let instance = outside(number);
        self.show(|shown| {
            shown.probes.insert(instance, probe.clone());
        });
        let report = Report::Probed { instance, probe };
        self.mention(report);
    }

    /// Tells what nothing depends on.
    fn mention(&self, report: Report) {
        let told = Told {
            generation: self.plan.generation,
            report,
        };
        // There is room, or the next one says more.
        let _ = self.home.try_send(told.into());
    }

    /// Says which instance it was, where there are several.
    fn of_several(&self, number: usize, reason: Reason) -> Reason {
        if self.places.len() == 1 {
            return reason;
        }
        let message = format!("instance {}: {}", outside(number), reason.message);
        Reason::new(reason.kind, message)
    }

    async fn exited(&mut self, number: usize, exit: Exit) {
        let candidate = matches!(self.machine.slots()[number], Slot::Running | Slot::Probing)
            && self.published.is_none();
        if candidate {
            // It has no requests to lose: its last words come first, for the reason may stand in them.
            return self.tasks.explain(number, &mut self.places[number], exit);
        }
        let by_itself = !self.places[number].obeys(exit);
        let when = match (self.machine.is_routed(), by_itself) {
            (true, _) => "while it served",
            (false, true) => "after it had served",
            (false, false) => "while it was stopping",
        };
        let unwell = self.places[number].unwell.take();
        let reason = unwell.unwrap_or_else(|| exit.reason(when));
        let reason = self.of_several(number, reason);
        self.exit = Some((reason, by_itself));
        let place = &mut self.places[number];
        if place.served() >= GOOD_SERVICE {
            place.backoff.reset();
        }
        place.ended(exit.to_string());
        self.show(|shown| shown.exits += 1);
        self.step(Event::Exited(number)).await;
    }

    /// An address is none of this generation's any more: by itself, or because it was let go.
    async fn lost(&mut self, number: usize, why: Option<Reason>) {
        let slot = self.machine.slots()[number];
        if why.is_none() && slot != Slot::Dying {
            return;
        }
        let place = &mut self.places[number];
        if place.served() >= GOOD_SERVICE {
            place.backoff.reset();
        }
        place.ended(why.as_ref().map_or_else(String::new, ToString::to_string));
        let by_itself = why.is_some();
        if let Some(reason) = why {
            let reason = self.of_several(number, reason);
            self.blame.get_or_insert_with(|| reason.clone());
            self.show(|shown| shown.exits += 1);
            self.exit = Some((reason, by_itself));
        } else {
            place.why.take();
            let let_go = || Reason::new(ReasonKind::Exited, "was let go");
            self.exit.get_or_insert_with(|| (let_go(), by_itself));
        }
        self.step(Event::Exited(number)).await;
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Probe => self.step(Event::ProbeAsked).await,
            Order::Route { probation } => {
                self.probation = probation;
                self.step(Event::Routed).await;
                self.monitor();
            }
            Order::Proven => {
                self.probation = false;
                self.monitor();
            }
            Order::Look => {
                for place in &self.places {
                    place.look.notify_one();
                }
            }
            Order::Retire => {
                self.step(Event::Retired).await;
                self.monitor();
            }
            Order::Terminate => self.step(Event::TerminateAsked).await,
            Order::Kill => self.step(Event::KillAsked).await,
        }
    }

    /// Those that serve are asked whether they are still well, for as long as clients are sent there.
    fn monitor(&mut self) {
        for number in 0..self.places.len() {
            self.monitor_one(number);
        }
    }

    fn monitor_one(&mut self, number: usize) {
        let watched = self.machine.is_routed() && self.machine.slots()[number] == Slot::Ready;
        let place = &mut self.places[number];
        place.monitors = JoinSet::new();
        if watched {
            self.tasks.monitor(number, place, self.probation);
        }
    }

    async fn fire(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.timers.extract_if(.., |_, at| *at <= now).collect();
        for (timer, _) in due {
            if let Timer::Start(number) = timer {
                warn!(app = %self.plan.app, generation = %self.plan.generation, instance = outside(number), "instance is not ready in time: killing it");
            }
            self.step(Event::Fired(timer)).await;
        }
    }

    async fn step(&mut self, event: Event) {
        let actions = self.machine.step(event);
        self.perform(actions).await;
    }

    async fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Spawn(number) => self.tasks.spawn(number, &mut self.places[number]),
                Action::Probe(number) => self.tasks.probe(number, &mut self.places[number]),
                Action::Terminate(number) => {
                    self.places[number].terminate();
                    self.tasks.let_go(number, &self.places[number]);
                }
                Action::Kill(number) => {
                    self.places[number].kill();
                    self.tasks.let_go(number, &self.places[number]);
                }
                Action::Balance => self.balance(),
                Action::Tell(word) => self.told(word).await,
                Action::Arm(timer) => self.arm(timer),
                Action::Disarm(timer) => {
                    self.timers.remove(&timer);
                }
            }
        }
        self.show_members();
    }

    fn arm(&mut self, timer: Timer) {
        let after = match timer {
            Timer::Backoff(number) => self.places[number].backoff.pause(),
            Timer::Start(_) => self.plan.readiness.start_timeout,
        };
        self.timers.insert(timer, Instant::now() + after);
    }

    async fn told(&mut self, word: Word) {
        let report = match word {
            Word::Spawned => {
                self.show_members();
                Report::Spawned(self.tasks.record.clone())
            }
            Word::SpawnFailed => Report::SpawnFailed(self.blamed()),
            Word::Ready => Report::Ready(self.publish()),
            Word::WentBad => Report::WentBad(self.blamed()),
            Word::Lost(number) => match self.places[number].why.take() {
                Some(why) => Report::InstanceLost {
                    instance: outside(number),
                    why,
                },
                None => return,
            },
            Word::Back(number) => {
                self.monitor_one(number);
                Report::InstanceBack {
                    instance: outside(number),
                }
            }
            Word::Exited => {
                let ended = self.exit.take();
                let (reason, by_itself) = ended.unwrap_or_else(|| (self.blamed(), true));
                Report::Exited { reason, by_itself }
            }
        };
        self.over = matches!(report, Report::SpawnFailed(_) | Report::Exited { .. });
        self.show_members();
        self.tell(report).await;
    }

    fn blamed(&mut self) -> Reason {
        let ended = || Reason::new(ReasonKind::Spawn, "ended before all of it was started");
        self.blame.take().unwrap_or_else(ended)
    }

    async fn tell(&self, report: Report) {
        tell(&self.home, self.plan.generation, report).await;
    }
}
