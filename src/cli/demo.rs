//! `hitless demo`: serves the built-in app from this very process, and plays the show in front of it.
//!
//! The main thread is that of `hitless run`; the show has one of its own.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::oneshot;

use super::args::DemoArgs;
use super::{complain, exit};
use crate::config::{Config, Overrides};
use crate::control_plane::process::{Console, Keeper, Line, OutputSink, raise_descriptor_limit};
use crate::demo::show::{self, Ending, Stage};
use crate::server;
use crate::telemetry::log::{self, AppFormat, LogConfig};

/// Plays the show, and with `--keep` serves on afterwards.
pub(super) fn demo(args: DemoArgs) -> ExitCode {
    match perform(args) {
        Ok(Ending::Kept) => ExitCode::SUCCESS,
        Ok(Ending::Broken | Ending::Interrupted) => ExitCode::from(exit::FAILED),
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(exit::FAILED)
        }
    }
}

fn perform(args: DemoArgs) -> anyhow::Result<Ending> {
    let stage = Arc::new(Stage::set()?);
    let path = stage.config();
    let load = move || Config::load(&path, &Overrides::default());
    let config = load()?;
    let log = config.log.clone();
    // First of all: it is to have no thread of ours.
    let keeper = Keeper::start()?;
    raise_descriptor_limit();
    let curtain = Arc::new(Curtain::closed(log.app)?);
    let (serving, gone) = oneshot::channel();
    let show = thread::Builder::new().name("demo-show".to_owned()).spawn({
        let (stage, curtain) = (Arc::clone(&stage), Arc::clone(&curtain));
        move || play(&stage, args, &log, &curtain, gone)
    })?;
    let served = server::run(config, keeper, curtain, load);
    drop(serving);
    let shown = show.join();
    served?;
    let shown = shown.map_err(|_| anyhow::anyhow!("the show broke off: see above"))?;
    shown.context("the show broke off")
}

/// What the thread of the show does: unless hitless is to stay, it ends it as a person would.
fn play(
    stage: &Stage,
    args: DemoArgs,
    log: &LogConfig,
    curtain: &Curtain,
    gone: oneshot::Receiver<()>,
) -> Result<Ending, show::Error> {
    let played = show::play(stage, args.keep, gone);
    let stays = args.keep && matches!(played, Ok(Ending::Kept | Ending::Broken));
    if stays {
        log::init(log);
        curtain.open();
    } else if !matches!(played, Err(show::Error::Gone)) {
        // Refused by nobody: it is this very process.
        let _ = kill_process(getpid(), Signal::TERM);
    }
    played
}

/// Between the app's output and the terminal: closed while the show is drawn there.
#[derive(Debug)]
struct Curtain {
    console: Console,
    is_open: AtomicBool,
}

// === impl Curtain ===

impl Curtain {
    fn closed(format: Option<AppFormat>) -> std::io::Result<Self> {
        Ok(Self {
            console: Console::start(format)?,
            is_open: AtomicBool::new(false),
        })
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }
}

impl OutputSink for Curtain {
    fn take(&self, line: &Line) {
        if self.is_open.load(Ordering::Relaxed) {
            self.console.take(line);
        }
    }

    fn dropped(&self) -> u64 {
        self.console.dropped()
    }

    fn flush(&self, patience: Duration) {
        self.console.flush(patience);
    }
}
