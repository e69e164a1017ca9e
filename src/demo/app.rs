//! The app itself: when it listens, when it breaks, when it ends. What it answers is in `routes`.
//!
//! One thread, one runtime, no signal handling unless asked for: like the plainest of the apps that hitless is for.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use super::faults::{self, Faults};
use super::routes::Routes;

/// The built-in app, with faults on command.
#[derive(Clone, Debug, Parser)]
#[command(name = "hitless demo-app", args_override_self = true)]
pub(super) struct Options {
    /// Listen on 127.0.0.1 and this port
    #[arg(long, env = "PORT", default_value_t = 0)]
    port: u16,

    /// Listen on this unix socket instead
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Read further options from this file at start, one a line: changing the file is a deploy
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,

    /// What every answer says in X-Version
    #[arg(long, value_name = "TEXT", default_value = "1")]
    pub(super) version: String,

    /// The number that every answer says in X-Generation
    #[arg(long, env = "HITLESS_GENERATION", default_value_t = 0, hide = true)]
    pub(super) generation: u64,

    /// How long to start up before listening
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration, default_value = "0s")]
    boot: Duration,

    /// End with this status after `--boot`, before listening
    #[arg(long, value_name = "STATUS")]
    die_at_start: Option<u8>,

    /// Run, but listen nowhere
    #[arg(long)]
    never_listen: bool,

    /// Listen on another port than the one given
    #[arg(long)]
    listen_elsewhere: bool,

    /// Answer hitless's probes with this status
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(200..=599))]
    pub(super) probe_status: Option<u16>,

    #[command(flatten)]
    pub(super) faults: Faults,

    /// Only the instance of this number has the faults; the others are well
    #[arg(long, value_name = "N")]
    faulty_instance: Option<u32>,

    /// The number that every answer says in X-Instance
    #[arg(long, env = "HITLESS_INSTANCE", default_value_t = 0, hide = true)]
    pub(super) instance: u32,

    /// Start up until this file is there, however long that takes
    #[arg(long, value_name = "FILE")]
    boot_until: Option<PathBuf>,

    /// Hold a lock on this file while running; say `two at once` and exit with status 1 if another one holds it
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,

    /// Say READY=1 to the socket in NOTIFY_SOCKET once it listens
    #[arg(long)]
    notify: bool,

    /// Go on after SIGTERM
    #[arg(long)]
    ignore_term: bool,
}

/// Where it listens.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Runs the app with these arguments (without the program's and the subcommand's name) until a fault or a signal ends
/// it. Usage errors end with status 2, what goes wrong at start with 1.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match parse(arguments.into_iter().collect()) {
        Ok(options) => options,
        Err(error) => {
            // A usage error whose printing fails has nobody left to tell.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| LocalSet::new().block_on(&runtime, run(options)));
    match ended {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            say(&format!("cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What stands in the options file wins over the command line.
fn parse(arguments: Vec<OsString>) -> Result<Options, clap::Error> {
    let name = || std::iter::once(OsString::from("demo-app"));
    let options = Options::try_parse_from(name().chain(arguments.clone()))?;
    let Some(file) = &options.options else {
        return Ok(options.of_this_instance());
    };
    let text = std::fs::read_to_string(file).map_err(|error| {
        let message = format!("{}: {error}\n", file.display());
        clap::Error::raw(clap::error::ErrorKind::Io, message)
    })?;
    let further = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(OsString::from);
    let options = Options::try_parse_from(name().chain(arguments).chain(further))?;
    Ok(options.of_this_instance())
}

/// Until it fails for good, or ends before it listens: with that status.
async fn run(options: Options) -> io::Result<u8> {
    // Kept to the end: a handler that nobody reads is what ignoring means.
    let _term = options
        .ignore_term
        .then(|| signal(SignalKind::terminate()))
        .transpose()?;
    // Kept to the end as well.
    let _lock = match options.lock.as_deref().map(faults::lock).transpose()? {
        Some(None) => {
            say("two at once");
            return Ok(1);
        }
        lock => lock,
    };
    tokio::time::sleep(options.boot).await;
    if let Some(file) = &options.boot_until {
        faults::until_there(file).await;
    }
    if let Some(status) = options.die_at_start {
        say(&format!("dying at start with status {status}, as told"));
        return Ok(status);
    }
    if options.never_listen {
        say("listening nowhere, as told");
        std::future::pending::<()>().await;
    }
    let listener = listen(&options).await?;
    if options.notify {
        notify_ready()?;
    }
    tokio::select! {
        error = serve(listener, &options) => Err(error),
        (end, words) = options.faults.end() => {
            say(&words);
            // At once, with all sockets open: a crash closes no listener first.
            end.now()
        }
    }
}

async fn listen(options: &Options) -> io::Result<Listener> {
    if let Some(path) = &options.socket {
        say(&format!(
            "version {} on {}",
            options.version,
            path.display()
        ));
        return UnixListener::bind(path).map(Listener::Unix);
    }
    let port = if options.listen_elsewhere {
        0
    } else {
        options.port
    };
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    say(&format!("version {} on {address}", options.version));
    Ok(Listener::Tcp(listener))
}

/// The notify protocol of systemd: a datagram to a socket whose name starts with `@` if it is an abstract one.
fn notify_ready() -> io::Result<()> {
    let name =
        std::env::var("NOTIFY_SOCKET").map_err(|_| io::Error::other("NOTIFY_SOCKET is not set"))?;
    let socket = UnixDatagram::unbound()?;
    if let Some(name) = name.strip_prefix('@') {
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        socket.send_to_addr(b"READY=1\n", &address)?;
    } else {
        socket.send_to(b"READY=1\n", Path::new(&name))?;
    }
    Ok(())
}

/// Serves until accepting fails for good, or goes on without listening when told to.
async fn serve(listener: Listener, options: &Options) -> io::Error {
    let routes = Rc::new(Routes::new(options));
    tokio::select! {
        error = accept(&listener, &routes) => return error,
        () = options.faults.closes_listener() => say("closing the listening socket, as told"),
    }
    drop(listener);
    std::future::pending().await
}

async fn accept(listener: &Listener, routes: &Rc<Routes>) -> io::Error {
    loop {
        let accepted = match listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                // An answer in two writes would wait for the peer's delayed acknowledgement.
                drop(stream.set_nodelay(true));
                spawn_connection(stream, routes);
            }),
            Listener::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| spawn_connection(stream, routes)),
        };
        match accepted {
            // The client was gone before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return error,
            Ok(()) => {}
        }
    }
}

fn spawn_connection<S>(stream: S, routes: &Rc<Routes>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let routes = Rc::clone(routes);
    let service = service_fn(move |request| {
        let routes = Rc::clone(&routes);
        async move { Ok::<_, Infallible>(routes.answer(request).await) }
    });
    tokio::task::spawn_local(async move {
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            say(&format!("a connection ended early: {error}"));
        }
    });
}

/// A line for whoever captures the output; there is nothing to do about a closed one.
pub(super) fn say(line: &str) {
    drop(writeln!(
        io::stderr(),
        "demo-app[{}]: {line}",
        std::process::id()
    ));
}

// === impl Options ===

impl Options {
    /// Without the faults, if they are another instance's.
    fn of_this_instance(self) -> Self {
        if self
            .faulty_instance
            .is_none_or(|number| number == self.instance)
        {
            return self;
        }
        Self {
            die_at_start: None,
            never_listen: false,
            listen_elsewhere: false,
            probe_status: None,
            faults: self.faults.none(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_options_file_wins_over_the_command_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "--version=2\n\n--boot=300ms\n").unwrap();
        let path = file.path().display().to_string();
        let options = parse(arguments(&["--version", "1", "--options", &path])).unwrap();
        assert_eq!(options.version, "2");
        assert_eq!(options.boot, Duration::from_millis(300));
    }

    #[test]
    fn the_faults_of_one_instance_are_not_those_of_another() {
        let words = [
            "--faulty-instance=2",
            "--never-listen",
            "--fail-traffic=500",
        ];
        let of = |instance: &str| {
            let options =
                parse(arguments(&[&words[..], &["--instance", instance]].concat())).unwrap();
            (options.never_listen, options.faults.fail_traffic)
        };
        assert_eq!(of("1"), (false, None));
        assert_eq!(of("2"), (true, Some(500)));
    }

    #[test]
    fn a_missing_options_file_is_an_error() {
        let error = parse(arguments(&["--options", "/nowhere/at/all"])).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }

    #[test]
    fn an_unknown_option_is_a_usage_error() {
        assert!(parse(arguments(&["--no-such-option"])).is_err());
    }
}
