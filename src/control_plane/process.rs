//! One instance: its port, environment, output, signals, who listens. The only place that starts a program.
//!
//! ```text
//!   Processes::start -> link -- socket pair --> keeper -- fork, exec --> the app's processes
//!        Instance    <- link <-- exits --------   |  <-- SIGCHLD ------
//!        Output      <---------------- pipes ---------------------------
//! ```
//!
//! The keeper is the parent of every app process, so that none is left behind when hitless is killed. This module
//! never decides when an instance is to be started or ended, and never asks it anything over the network.

mod connection;
mod console;
mod environment;
mod instance;
mod journal;
pub mod keeper;
mod link;
pub(crate) mod listeners;
mod notify;
mod output;
mod port;
mod protocol;
mod recipe;
mod spawn;
mod table;

pub use self::console::Console;
pub use self::environment::Environment;
pub use self::instance::Instance;
pub use self::journal::{Cursor, Journals, Selection};
pub use self::link::{Keeper, raise_descriptor_limit};
pub use self::output::{Line, Output, OutputSink, Stream};
pub use self::protocol::Exit;
pub use self::recipe::{Changes, Recipe};
pub use self::spawn::no_program;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, PipeReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::instance::Line as KeeperLine;
use self::link::{Life, Link, Order};
use self::notify::Notify;
use self::port::{Filler, Port, PrivateFolder};
use self::protocol::Spawn;
use crate::generation::{Address, AppName, GenerationId, Reason, ReasonKind};

/// How long the end waits for what ended apps have written.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// What to start for each generation of an app, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The program and its arguments, with `{port}` `{socket}` `{generation}` `{instance}` not yet filled in.
    pub command: Vec<String>,
    /// Where to start it, resolved anew through symlinks for each generation. `None`: hitless's own directory.
    pub directory: Option<PathBuf>,
    /// A file of `KEY=value` lines, read again for each generation.
    pub env_file: Option<PathBuf>,
    /// Variables set for the app, over those of `env_file`.
    pub env: BTreeMap<String, String>,
    /// Whether the port stays bound by hitless until the app listens.
    pub reserve_port: bool,
}

/// All app processes of hitless, behind its keeper. Dropped, all of them end.
#[derive(Debug)]
pub struct Processes {
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
    sink: Arc<dyn OutputSink>,
    journals: Arc<Journals>,
    next: AtomicU64,
}

/// What hitless holds ready for an instance before it runs.
#[derive(Debug)]
struct Place {
    port: Port,
    folder: Option<PrivateFolder>,
    socket: Option<PathBuf>,
    notify: Option<(PathBuf, Notify)>,
}

/// Both ends of what an app writes.
#[derive(Debug)]
struct Pipes {
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
    theirs: [OwnedFd; 2],
}

// === impl Processes ===

impl Processes {
    /// Takes the keeper into the runtime that this is called in. Lines of the apps go to `sink`, too.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch the keeper's socket.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time.
    pub fn new(keeper: Keeper, sink: Arc<dyn OutputSink>) -> io::Result<Self> {
        let (orders, received) = mpsc::unbounded_channel();
        let task = tokio::spawn(Link::new(keeper, received)?.run());
        Ok(Self {
            orders,
            task,
            sink,
            journals: Arc::default(),
            next: AtomicU64::new(1),
        })
    }

    /// Starts one instance and returns when its process runs the program. `instance` counts from 1.
    ///
    /// # Errors
    ///
    /// [`ReasonKind::Spawn`] with what failed: command not found, not executable, no permission, directory missing,
    /// out of memory, no port. Nothing of the instance is left then.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, the process is killed if it came to life.
    pub async fn start(
        &self,
        recipe: &Recipe,
        app: &AppName,
        generation: GenerationId,
        instance: u32,
    ) -> Result<Instance, Reason> {
        let cannot =
            |error: io::Error| Reason::new(ReasonKind::Spawn, format!("cannot start: {error}"));
        let place = Place::make(recipe).map_err(cannot)?;
        let pipes = Pipes::open().map_err(cannot)?;
        let output = self.journals.output(app, generation, &self.sink);
        let (life, watched) = watch::channel(Life::Starting);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let line = KeeperLine::new(id, self.orders.clone(), watched);
        let order = Order::Spawn {
            spawn: place.spawn(id, recipe, app, generation, instance),
            descriptors: pipes.theirs,
            life,
        };
        // Refused only when the link is gone, and then `life` says so.
        let _ = self.orders.send(order);
        let captured = output.capture(instance, pipes.stdout, pipes.stderr);
        let pid = spawned(line.life.clone()).await?;
        Ok(Instance {
            app: app.clone(),
            generation,
            number: instance,
            pid,
            address: place.address(),
            port: place.port.number,
            line,
            output,
            pipes: captured,
            reserves_port: place.port.reservation.is_some(),
            reservation: Mutex::new(place.port.reservation),
            notify: place.notify.map(|(_, notify)| notify),
            folder: place.folder,
        })
    }

    /// What the apps have written last.
    pub fn journals(&self) -> &Arc<Journals> {
        &self.journals
    }

    /// Ends every process that is left and the keeper, and returns when they have ended and their last words have been read,
    /// at most 13 s later.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.orders.send(Order::Close { done }).is_ok() {
            // Dropped without a word: the link has ended before.
            let _ = closed.await;
        }
        let last_words = async {
            for output in self.journals.open() {
                output.ended().await;
            }
        };
        // A process that has left its group may keep a pipe open for ever.
        let _ = timeout(LAST_WORDS_MAX, last_words).await;
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // With the task goes the socket, and with that the keeper and all it started.
        self.task.abort();
    }
}

/// The process number, when the keeper has said it.
async fn spawned(mut life: watch::Receiver<Life>) -> Result<u32, Reason> {
    let known = life.wait_for(|life| *life != Life::Starting).await;
    match known.as_deref() {
        // It may have exited already: its output and exit are the instance's to tell.
        Ok(Life::Running { pid } | Life::Exited { pid, .. }) => Ok(*pid),
        Ok(Life::Failed(failure)) => Err(Reason::new(ReasonKind::Spawn, failure.message.as_str())),
        Ok(Life::Starting) | Err(_) => Err(Reason::new(
            ReasonKind::Keeper,
            "cannot start: hitless is ending",
        )),
    }
}

// === impl Exit ===

impl Exit {
    /// The reason it is: how it ended, and when.
    pub fn reason(&self, when: &str) -> Reason {
        let kind = match self {
            Self::Status(_) | Self::Signal(_) => ReasonKind::Exited,
            Self::Keeper => ReasonKind::Keeper,
        };
        Reason::new(kind, format!("{self} {when}"))
    }
}

// === impl Place ===

impl Place {
    fn make(recipe: &Recipe) -> io::Result<Self> {
        let (user, group) = (recipe.user, recipe.group);
        let port = Port::pick(recipe.reserve_port)?;
        let folder = (recipe.notify || recipe.wants_socket())
            .then(|| PrivateFolder::make(user, group))
            .transpose()?;
        let path = |name: &str, wanted: bool| {
            let folder = folder.as_ref().filter(|_| wanted);
            folder.map(|folder| folder.socket(name)).transpose()
        };
        let socket = path("app.sock", recipe.wants_socket())?;
        let notify = path("notify", recipe.notify)?
            .map(|path| Notify::bind(&path, user, group).map(|notify| (path, notify)))
            .transpose()?;
        Ok(Self {
            port,
            folder,
            socket,
            notify,
        })
    }

    fn address(&self) -> Address {
        match &self.socket {
            Some(path) => Address::Unix(path.as_path().into()),
            None => Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number))),
        }
    }

    fn spawn(
        &self,
        id: u64,
        recipe: &Recipe,
        app: &AppName,
        generation: GenerationId,
        instance: u32,
    ) -> Spawn {
        let filler = Filler {
            port: self.port.number,
            socket: self.socket.as_deref(),
            generation: generation.get(),
            instance,
        };
        let mut environment = recipe.environment.clone();
        let mut set = |name: &str, value: OsString| environment.insert(name.into(), value);
        set("PORT", self.port.number.to_string().into());
        set("HOST", "127.0.0.1".into());
        set("HITLESS_APP", app.as_str().into());
        set("HITLESS_GENERATION", generation.to_string().into());
        set("HITLESS_INSTANCE", instance.to_string().into());
        if let Some((path, _)) = &self.notify {
            set("NOTIFY_SOCKET", path.as_os_str().to_owned());
        }
        Spawn {
            id,
            command: recipe
                .command
                .iter()
                .map(|part| filler.fill(part).into())
                .collect(),
            environment: environment.into_iter().collect(),
            directory: Path::as_os_str(&recipe.directory).to_owned(),
            user: recipe.user,
            group: recipe.group,
        }
    }
}

// === impl Pipes ===

impl Pipes {
    fn open() -> io::Result<Self> {
        let receiver = |reader: PipeReader| pipe::Receiver::from_owned_fd(reader.into());
        let (stdout, their_stdout) = io::pipe()?;
        let (stderr, their_stderr) = io::pipe()?;
        Ok(Self {
            stdout: receiver(stdout)?,
            stderr: receiver(stderr)?,
            theirs: [their_stdout.into(), their_stderr.into()],
        })
    }
}
