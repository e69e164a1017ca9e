//! Another configuration while hitless serves: read as a whole, refused as a whole, and put in force without touching what
//! stays.
//!
//! ```text
//!   read -> prepare (bind, open; any of it may be refused) -> settings, addresses, new apps -> routes, once new apps are live
//! ```

mod one_app;
mod prepare;
mod routing;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Mutex as Turn, watch};
use tracing::{error, info, warn};

use self::prepare::Prepared;
use super::logs::Logs;
use super::members::{Maker, Member, settings};
use super::operators::{Ready, Scraping};
use super::tables::{Gate, Routing};
use super::{Read, difference, fitting};
use crate::config::{self, Config, ShutdownConfig};
use crate::control_plane::apps::{
    Apps, Changes, Configure, Fresh, Refusal, Reread, Scope, Unread, Whole,
};
use crate::control_plane::driver::{Driver, Handle, Origin, ReloadOptions};
use crate::data_plane::listen::ListenAddress;
use crate::data_plane::pages::CurrentPages;
use crate::data_plane::{self, Change, ClientConfig, GateId, Workers};
use crate::generation::AppName;

/// Puts configurations in force, one at a time.
pub(super) struct Configurator {
    read: Read,
    /// What hitless was started with.
    started: Config,
    state: Turn<State>,
    whole: watch::Sender<Whole>,
    workers: Arc<Workers>,
    maker: Maker,
    logs: Logs,
    pages: Arc<CurrentPages>,
    scraping: Scraping,
    shutdown: Mutex<ShutdownConfig>,
    /// For what goes on after a reload has returned.
    this: OnceLock<std::sync::Weak<Self>>,
}

/// What is in force.
pub(super) struct State {
    pub(super) config: Config,
    /// Its limits towards clients, as far as they fit.
    pub(super) client: ClientConfig,
    pub(super) members: Vec<Member>,
    pub(super) gates: Vec<Gate>,
    /// The number of the next gate.
    pub(super) next_gate: u64,
    /// What leads where; behind `config` while new apps are awaited.
    pub(super) routing: Routing,
}

/// What a configurator is made of.
pub(super) struct Parts {
    pub(super) read: Read,
    pub(super) state: State,
    pub(super) whole: watch::Sender<Whole>,
    pub(super) workers: Arc<Workers>,
    pub(super) maker: Maker,
    pub(super) logs: Logs,
    pub(super) pages: Arc<CurrentPages>,
    pub(super) scraping: Scraping,
}

// === impl Configurator ===

impl Configurator {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let configurator = Arc::new(Self {
            read: parts.read,
            started: parts.state.config.clone(),
            shutdown: Mutex::new(parts.state.config.shutdown.clone()),
            state: Turn::new(parts.state),
            whole: parts.whole,
            workers: parts.workers,
            maker: parts.maker,
            logs: parts.logs,
            pages: parts.pages,
            scraping: parts.scraping,
            this: OnceLock::new(),
        });
        let _ = configurator.this.set(Arc::downgrade(&configurator));
        configurator
    }

    /// Answers scrapers from now on, about these apps.
    pub(super) fn tell_of(&self, apps: &Apps, admin: Option<Ready>) {
        self.scraping.tell_of(apps);
        self.scraping.serve(admin);
    }

    /// The times of a graceful stop, as of this moment.
    pub(super) fn shutdown(&self) -> ShutdownConfig {
        let shutdown = self.shutdown.lock();
        shutdown.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file; what is wrong with it is loud.
    fn read(&self) -> Result<Config, Unread> {
        let config = (self.read)().map_err(|error| error.to_string());
        let config = config.map_err(|problem| Unread::Invalid(self.refuse(problem, false)))?;
        for warning in &config.warnings {
            warn!("{warning}");
        }
        Ok(config)
    }

    /// Nothing was changed, and everybody who looks is to see it.
    fn refuse(&self, problem: String, valid: bool) -> String {
        self.maker.metrics.config_reread(false);
        match valid {
            true => error!(
                "the configuration could not be put in force, and nothing was changed: {problem}"
            ),
            false => error!("the configuration is refused, and nothing was changed: {problem}"),
        }
        let refusal = Refusal {
            at: SystemTime::now(),
            problem: problem.clone(),
            valid,
        };
        self.whole
            .send_modify(|whole| whole.configuration.refused = Some(refusal));
        problem
    }

    /// All of the configuration.
    async fn reread_all(&self, origin: &Origin, options: &ReloadOptions) -> Result<Reread, Unread> {
        let mut state = self.state.lock().await;
        let config = self.read()?;
        let prepared = Prepared::new(&state, &config, self.workers.count())
            .map_err(|error| Unread::Refused(self.refuse(format!("{error:#}"), true)))?;
        self.maker.metrics.config_reread(true);
        let changes = Changes {
            in_force: difference::in_place(&state.config, &config),
            added: names(&config.apps, |name| !state.has(name)),
            removed: names(&state.config.apps, |name| !speaks_of(&config, name)),
            needs_restart: difference::needs_restart(&self.started, &config),
            left: Vec::new(),
        };
        let apps = self
            .put_in_force(&mut state, config, prepared, (origin, options))
            .await;
        tell(&changes);
        self.publish(&state, &changes.needs_restart);
        self.route(&mut state).await;
        Ok(Reread { changes, apps })
    }

    /// Everything but where requests go. Returns what it says of each app.
    async fn put_in_force(
        &self,
        state: &mut State,
        config: Config,
        prepared: Prepared,
        asked: (&Origin, &ReloadOptions),
    ) -> Vec<Fresh> {
        let Prepared {
            gates,
            opened,
            admin,
            access,
        } = prepared;
        self.pages.replace(Arc::clone(&config.pages));
        self.maker
            .starts
            .change(super::starts_max(&config, self.workers.count()));
        if config.client != state.config.client {
            state.client = fitting(config.client.clone());
        }
        if config.log != state.config.log {
            self.logs.reshape(&config.log);
        }
        if let Some(access) = access {
            self.logs.replace_access(access);
        }
        if let Some(ready) = admin {
            self.scraping.serve(ready);
        }
        self.scraping.answer_to(&config.admin_hosts);
        *self.shutdown.lock().unwrap_or_else(PoisonError::into_inner) = config.shutdown.clone();
        let mut fresh = Vec::new();
        for app in &config.apps {
            fresh.push(self.member(state, app, asked).await);
        }
        self.maker.watching.follow(&config.apps);
        let place = |member: &Member| {
            let mut apps = config.apps.iter();
            apps.position(|app| app.name == member.name)
                .unwrap_or(usize::MAX)
        };
        state.members.sort_by_key(place);
        state.gates = gates;
        state.next_gate += opened.1.len() as u64;
        state.config = config;
        self.change(state, Some(opened)).await;
        fresh
    }

    /// What is new about an app; one that is new itself is started.
    async fn member(
        &self,
        state: &mut State,
        app: &config::App,
        (origin, options): (&Origin, &ReloadOptions),
    ) -> Fresh {
        if let Some(member) = state
            .members
            .iter_mut()
            .find(|known| known.name == app.name)
        {
            return member.renew(app);
        }
        let (member, driver) = self.maker.make(app);
        let handle = member.handle.clone();
        // Found waiting by its driver, this trigger and the start become one.
        let asked = handle.reload(origin.clone(), None, options.clone()).await;
        state.members.push(member);
        self.maker.drive(driver);
        if let Some(this) = self.this.get().and_then(std::sync::Weak::upgrade) {
            tokio::spawn(Arc::clone(&this).await_live(handle.clone()));
            return Fresh {
                start: Some(this.routed_first(asked)),
                ..Fresh::of(handle, app)
            };
        }
        Fresh::of(handle, app)
    }

    /// Tells the workers.
    async fn change(&self, state: &State, opened: Option<prepare::Opened>) {
        let wanted = Routing::new(&state.config.apps);
        let gates = state.gates.iter();
        let opened = opened.unwrap_or_else(|| prepare::nothing(self.workers.count()));
        let change = Change {
            apps: state
                .members
                .iter()
                .map(|member| Arc::clone(&member.app))
                .collect(),
            gates: gates
                .map(|gate| gate.table(&state.members, &state.routing, &wanted))
                .collect(),
            opened,
            settings: state.settings(&self.logs, &self.pages),
            idle: state.config.shutdown.idle,
        };
        self.workers.change(change).await;
    }

    fn publish(&self, state: &State, needs_restart: &[String]) {
        self.whole.send_modify(|whole| {
            let listen = state.gates.iter().map(|gate| gate.address.to_string());
            whole.about.listen = listen.collect();
            whole.about.admin = self.scraping.address();
            whole.configuration.read = SystemTime::now();
            whole.configuration.refused = None;
            whole.configuration.needs_restart = needs_restart.to_vec();
        });
        self.publish_handles(state);
    }

    fn publish_handles(&self, state: &State) {
        let handles = state.members.iter().map(|member| member.handle.clone());
        let handles: Arc<[_]> = handles.collect();
        self.whole.send_modify(|whole| whole.handles = handles);
    }
}

impl Configure for Configurator {
    fn reread<'a>(
        &'a self,
        scope: Scope,
        origin: &'a Origin,
        options: &'a ReloadOptions,
    ) -> Pin<Box<dyn Future<Output = Result<Reread, Unread>> + Send + 'a>> {
        Box::pin(async move {
            match scope {
                Scope::All => self.reread_all(origin, options).await,
                Scope::App(name) => self.reread_app(&name).await,
            }
        })
    }

    fn would_add(&self, app: &str) -> bool {
        // Nobody has asked for it to be put in force: what is wrong with it is not the answer here.
        (self.read)().is_ok_and(|config| config.apps.iter().any(|known| known.name.as_str() == app))
    }
}

// === impl State ===

impl State {
    /// What is in force from the start on, with the drivers of its apps, which have not begun. It listens there.
    pub(super) fn first(
        config: Config,
        maker: &Maker,
        listen: &[ListenAddress],
    ) -> (Self, Vec<Driver>) {
        let made = config.apps.iter().map(|app| maker.make(app));
        let (members, drivers) = made.unzip();
        let gates = config.listen.iter().cloned().zip(listen);
        let gates = gates.zip((0..).map(GateId));
        let mut gates: Vec<_> = gates
            .map(|((listen, address), id)| Gate::new(id, listen, address.clone()))
            .collect();
        gates.iter_mut().for_each(Gate::settle);
        let state = Self {
            members,
            next_gate: gates.len() as u64,
            gates,
            routing: Routing::new(&config.apps),
            client: fitting(config.client.clone()),
            config,
        };
        (state, drivers)
    }

    /// What the data plane is told beside its apps.
    pub(super) fn settings(&self, logs: &Logs, pages: &Arc<CurrentPages>) -> data_plane::Settings {
        data_plane::Settings {
            client: self.client.clone(),
            trusted_proxies: self.config.trusted_proxies.clone(),
            pages: Arc::clone(pages),
            access: logs.access(),
        }
    }

    fn has(&self, name: &AppName) -> bool {
        self.members.iter().any(|member| member.name == *name)
    }
}

// === impl Member, Fresh ===

impl Member {
    /// From now on this is what the configuration says of it.
    fn renew(&mut self, app: &config::App) -> Fresh {
        let new = settings(app);
        let variables = difference::variables(&new.backing);
        let status = self.handle.status();
        let differs = difference::needs_start(&self.settings, &new)
            || self.variables != variables
            // What serves is not what was wanted last, and nothing is on its way that is.
            || (status.pending.is_none() && (status.stale || status.live.is_none()));
        self.app = Arc::new(self.app.with(app.traffic.clone()));
        self.settings = new;
        self.variables = variables;
        Fresh {
            differs,
            ..Fresh::of(self.handle.clone(), app)
        }
    }
}

impl Fresh {
    fn of(handle: Handle, app: &config::App) -> Self {
        Self {
            handle,
            settings: settings(app),
            differs: false,
            start: None,
        }
    }
}

fn names(apps: &[config::App], which: impl Fn(&AppName) -> bool) -> Vec<AppName> {
    let names = apps.iter().map(|app| &app.name);
    names.filter(|name| which(name)).cloned().collect()
}

fn speaks_of(config: &Config, name: &AppName) -> bool {
    config.apps.iter().any(|app| app.name == *name)
}

fn tell(changes: &Changes) {
    let joined = |names: &[AppName]| {
        let names: Vec<_> = names.iter().map(AppName::as_str).collect();
        names.join(" ")
    };
    if *changes != Changes::default() {
        let (added, removed) = (joined(&changes.added), joined(&changes.removed));
        let in_force = changes.in_force.join(", ");
        info!(in_force, added, removed, "the configuration has changed");
    }
    if !changes.needs_restart.is_empty() {
        let keys = changes.needs_restart.join(", ");
        warn!("changed in the configuration and not in effect before a restart: {keys}");
    }
}
