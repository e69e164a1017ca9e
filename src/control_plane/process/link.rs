//! hitless's side of the keeper: starts it, asks it, notices its death, cleans up after it and starts another.
//!
//! One task owns the socket. Everybody else sends it orders and watches the life of an instance.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Resource, Rlimit, Signal as KernelSignal, getpid, getrlimit, kill_process_group,
    set_child_subreaper, setrlimit,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};

use super::connection::{Connection, Outbox, Running};
use super::protocol::{Exit, Reply, Request, Signal, Spawn, SpawnFailure, frame};
use super::table;

/// How long a new keeper may take until it is there.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long what a dead keeper left behind is hunted.
const SWEEP_PATIENCE: Duration = Duration::from_secs(10);

/// How long the keeper may take to end everything and itself; a little more than its own patience.
const END_PATIENCE: Duration = Duration::from_secs(12);

/// A keeper that lived shorter than this is followed by another only when something is to be started.
const LIFE_MIN: Duration = Duration::from_secs(1);

/// A running keeper, before the control plane's runtime exists.
#[derive(Debug)]
pub struct Keeper {
    starter: Starter,
    running: Running,
}

/// How a keeper is started, now and again.
#[derive(Debug)]
struct Starter {
    program: PathBuf,
    /// The soft limit of descriptors that apps get.
    descriptors: Option<u64>,
}

/// What the task is asked for.
#[derive(Debug)]
pub(super) enum Order {
    /// Start a program, and tell of its life there.
    Spawn {
        spawn: Spawn,
        descriptors: [OwnedFd; 2],
        life: watch::Sender<Life>,
    },
    /// Signal an instance's group.
    Signal { id: u64, signal: Signal },
    /// End everything, and say when it is done.
    Close { done: oneshot::Sender<()> },
}

/// What is known of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Starting,
    Failed(SpawnFailure),
    Running { pid: u32 },
    Exited { pid: u32, exit: Exit },
}

/// The task.
#[derive(Debug)]
pub(super) struct Link {
    starter: Starter,
    connection: Option<Connection>,
    orders: mpsc::UnboundedReceiver<Order>,
    lives: HashMap<u64, watch::Sender<Life>>,
}

/// What the task woke for.
#[derive(Debug)]
enum Happened {
    Ordered(Option<Order>),
    Readable,
    Writable,
}

/// Raises this process's soft limit of open descriptors to the hard one and returns the soft limit (before, after);
/// `u64::MAX` is no limit. To be called after [`Keeper::start`], so that apps get the limit from before.
pub fn raise_descriptor_limit() -> (u64, u64) {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    // Refused: what was before goes on.
    let _ = setrlimit(Resource::Nofile, raised);
    let number = |limit: Rlimit| limit.current.unwrap_or(u64::MAX);
    (number(before), number(getrlimit(Resource::Nofile)))
}

// === impl Keeper ===

impl Keeper {
    /// Starts the keeper, this very binary. To be called before this process has a second thread and before
    /// [`raise_descriptor_limit`]. Makes this process a child subreaper, too, so that what a dead keeper leaves behind
    /// comes here.
    ///
    /// # Errors
    ///
    /// When no process or socket can be made, or the keeper does not say within 10 s that it is there.
    pub fn start() -> io::Result<Self> {
        Self::start_at(Path::new("/proc/self/exe"))
    }

    /// The same with another binary of hitless; for tests, whose own binary is none.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn start_at(program: &Path) -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        let starter = Starter {
            program: program.to_owned(),
            descriptors: getrlimit(Resource::Nofile).current,
        };
        let running = starter.start()?;
        await_ready(&running.socket)?;
        Ok(Self { starter, running })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.running.child.id()
    }
}

/// Until it has said so, a signal to the whole process group would end the keeper.
fn await_ready(mut socket: &StdUnixStream) -> io::Result<()> {
    let expected = frame(&Reply::Ready).map_err(io::Error::other)?;
    let mut said = vec![0; expected.len()];
    socket.set_read_timeout(Some(START_PATIENCE))?;
    socket.read_exact(&mut said)?;
    socket.set_read_timeout(None)?;
    if said == expected {
        Ok(())
    } else {
        Err(io::Error::other("what was started is no keeper"))
    }
}

// === impl Starter ===

impl Starter {
    #[allow(
        clippy::disallowed_methods,
        reason = "the keeper is what starts programs"
    )]
    fn start(&self) -> io::Result<Running> {
        let (socket, theirs) = StdUnixStream::pair()?;
        let mut command = Command::new(&self.program);
        command
            .arg0("hitless")
            .arg("keeper")
            .args(self.descriptors.map(|limit| limit.to_string()))
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null());
        let child = command.spawn()?;
        Ok(Running { socket, child })
    }
}

// === impl Link ===

impl Link {
    /// The task of this keeper. Needs the runtime it will run in.
    pub(super) fn new(keeper: Keeper, orders: mpsc::UnboundedReceiver<Order>) -> io::Result<Self> {
        Ok(Self {
            starter: keeper.starter,
            connection: Some(Connection::new(keeper.running)?),
            orders,
            lives: HashMap::new(),
        })
    }

    /// Runs until nobody is left to give orders or one is to close.
    pub(super) async fn run(mut self) {
        loop {
            match self.next().await {
                Happened::Ordered(Some(Order::Spawn {
                    spawn,
                    descriptors,
                    life,
                })) => self.spawn(spawn, descriptors, life),
                Happened::Ordered(Some(Order::Signal { id, signal })) => self.signal(id, signal),
                Happened::Ordered(Some(Order::Close { done })) => {
                    self.close().await;
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                    return;
                }
                Happened::Ordered(None) => return,
                Happened::Writable => self.write().await,
                Happened::Readable => self.read().await,
            }
        }
    }

    async fn next(&mut self) -> Happened {
        let Some(connection) = &self.connection else {
            return Happened::Ordered(self.orders.recv().await);
        };
        let sending = !connection.outbox.is_empty();
        // The keeper alone has the other end, so its death is the end of the stream, after its last words.
        tokio::select! {
            biased;
            _ = connection.stream.readable() => Happened::Readable,
            _ = connection.stream.writable(), if sending => Happened::Writable,
            order = self.orders.recv(), if !sending => Happened::Ordered(order),
        }
    }

    fn spawn(&mut self, spawn: Spawn, descriptors: [OwnedFd; 2], life: watch::Sender<Life>) {
        let id = spawn.id;
        match self.request(&Request::Spawn(spawn), descriptors.into()) {
            Ok(()) => {
                self.lives.insert(id, life);
            }
            Err(error) => {
                life.send_replace(Life::Failed(SpawnFailure {
                    errno: error.raw_os_error().unwrap_or(0),
                    message: format!("the keeper cannot be asked to start it: {error}"),
                }));
            }
        }
    }

    fn signal(&mut self, id: u64, signal: Signal) {
        if self.lives.contains_key(&id) {
            // It fits a frame, and without a keeper nothing is left to be signalled.
            let _ = self.request(&Request::Signal { id, signal }, Vec::new());
        }
    }

    fn request(&mut self, request: &Request, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let bytes = frame(request).map_err(io::Error::other)?;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::new(self.starter.start()?)?,
        };
        let connection = self.connection.insert(connection);
        connection.outbox = Outbox::new(bytes, descriptors);
        Ok(())
    }

    async fn write(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if connection.write().is_err() {
            self.bury().await;
        }
    }

    async fn read(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        match connection.read() {
            Ok(replies) => {
                for reply in replies {
                    self.hear(reply);
                }
            }
            Err(_) => self.bury().await,
        }
    }

    fn hear(&mut self, reply: Reply) {
        match reply {
            Reply::Ready => {}
            Reply::Spawned { id, pid } => {
                if let Some(life) = self.lives.get(&id) {
                    life.send_replace(Life::Running { pid });
                }
            }
            Reply::SpawnFailed { id, failure } => {
                if let Some(life) = self.lives.remove(&id) {
                    life.send_replace(Life::Failed(failure));
                }
            }
            Reply::Exited { id, exit } => {
                if let Some(life) = self.lives.remove(&id) {
                    life.send_modify(|life| life.end(exit));
                }
            }
        }
    }

    /// The keeper is dead or as good as dead. Everybody hears at once that all instances are gone; what really is
    /// left of them is killed after that, and only then is another keeper started, so that it is spared.
    async fn bury(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        tracing::error!(
            keeper = connection.child.id(),
            instances = self.lives.len(),
            "the keeper died: every instance is lost"
        );
        let mut groups = Vec::new();
        for (_, life) in self.lives.drain() {
            life.send_modify(|life| life.end(Exit::Keeper));
            if let Life::Exited { pid, .. } = *life.borrow() {
                groups.extend(table::pid(pid));
            }
        }
        let lived = connection.since.elapsed();
        let buried = tokio::task::spawn_blocking(move || {
            // Dead already is as good; its number is its own until it is waited for.
            let _ = connection.child.kill();
            let _ = connection.child.wait();
            clear(&groups)
        });
        if let Ok(left @ 1..) = buried.await {
            tracing::error!(left, "processes of the dead keeper cannot be killed");
        }
        if lived >= LIFE_MIN {
            self.revive();
        }
    }

    fn revive(&mut self) {
        match self.starter.start().and_then(Connection::new) {
            Ok(connection) => {
                tracing::info!(keeper = connection.child.id(), "another keeper is started");
                self.connection = Some(connection);
            }
            Err(error) => tracing::error!(%error, "no other keeper can be started yet"),
        }
    }

    /// Closes the socket, upon which the keeper ends everything, and waits for its own end.
    async fn close(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let Connection {
            mut stream,
            mut child,
            ..
        } = connection;
        // Half of it: the other half tells of the keeper's end.
        let _ = stream.shutdown().await;
        let mut rest = [0; 4096];
        let ended = async { while let Ok(1..) = stream.read(&mut rest).await {} };
        if tokio::time::timeout(END_PATIENCE, ended).await.is_ok() {
            // It is exiting: this takes no time.
            let _ = child.wait();
        }
    }
}

/// Kills the groups of a dead keeper and whatever else of it came here. The groups cannot be others by now: their
/// first processes are children of this process since, and nobody has reaped them.
fn clear(groups: &[Pid]) -> usize {
    let mine = table::Table::read();
    let me = getpid().as_raw_pid().unsigned_abs();
    for group in groups {
        let number = group.as_raw_pid().unsigned_abs();
        if mine.row(number).is_some_and(|row| row.parent == me) {
            // Gone already is as good.
            let _ = kill_process_group(*group, KernelSignal::KILL);
        }
    }
    table::sweep(SWEEP_PATIENCE)
}

// === impl Life ===

impl Life {
    /// Ends it: what never ran has failed.
    fn end(&mut self, exit: Exit) {
        *self = match *self {
            Self::Running { pid } => Self::Exited { pid, exit },
            _ => Self::Failed(SpawnFailure {
                errno: 0,
                message: "cannot start: the keeper died".to_owned(),
            }),
        };
    }
}
