//! What a person types: every command and option, and the variable behind each option.
//!
//! Only the words are read here. What they mean together with the file is `config`'s to judge.

mod asking;
mod groups;
mod printing;
mod values;

pub use self::asking::{
    Addresses, ControlArgs, LogsArgs, PauseArgs, ReloadArgs, ResumeArgs, RollbackArgs, StatusArgs,
};

pub use self::groups::command;
pub use self::printing::{CheckArgs, CompletionsArgs};

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};

use self::asking::{
    LOGS_EXAMPLES, PAUSE_EXAMPLES, RELOAD_EXAMPLES, RELOAD_MORE, RESUME_EXAMPLES,
    ROLLBACK_EXAMPLES, STATUS_EXAMPLES,
};
use self::printing::{CHECK_EXAMPLES, COMPLETIONS_EXAMPLES, MAN_EXAMPLES};
use self::values::{admin, duration, instances, log_format, positive, threads};
use crate::config::{Config, Error, Overrides, ReadyCheck, words};
use crate::data_plane::listen::ListenAddress;
use crate::telemetry::access::Destination;
use crate::telemetry::log;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "hitless", version, about, long_about = ABOUT, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const ABOUT: &str = "\
The zero-downtime reloading reverse proxy: it owns the listening sockets, runs your app, and on each reload starts \
the new version beside the old one, moves the requests over when it is ready, and keeps the old one if it is not.";

/// The commands, in the order in which people meet them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hold the sockets, run the app and forward requests to it.
    #[command(after_help = RUN_EXAMPLES, after_long_help = RUN_MORE)]
    Run(RunArgs),
    /// Watch a built-in app being changed, broken and taken back.
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Print every problem of a configuration file; start nothing.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Start the app anew and move requests to it when it is ready.
    #[command(after_help = RELOAD_EXAMPLES, after_long_help = RELOAD_MORE)]
    Reload(ReloadArgs),
    /// Undo the newest reload.
    #[command(after_help = ROLLBACK_EXAMPLES)]
    Rollback(RollbackArgs),
    /// Hold all requests, for a while or until `resume`.
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(PauseArgs),
    /// Let held requests go on.
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(ResumeArgs),
    /// Show what is wrong, what serves and why, and what to do next.
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Show what the app wrote last.
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(LogsArgs),
    /// Print the completions of a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Print the manual page.
    #[command(after_help = MAN_EXAMPLES)]
    Man,
    /// The parent of all app processes; started by `run`.
    #[command(hide = true, disable_help_flag = true, disable_version_flag = true)]
    Keeper(InnerArgs),
    /// The built-in app; started by `demo`.
    #[command(hide = true, disable_help_flag = true, disable_version_flag = true)]
    DemoApp(InnerArgs),
}

/// By what the options of `run` are about.
const APP: &str = "The app";
const CLIENTS: &str = "Clients";
const LOGS: &str = "Logs";
const OPERATORS: &str = "Operators";
const READINESS: &str = "Readiness";
const RELOADS: &str = "Reloads";

const RUN_EXAMPLES: &str = "\
Examples:
  hitless run -- python3 app.py
  hitless run --watch . -- python3 app.py
  hitless run -l :80 --ready /healthz -- ./server --port {port}
  hitless run -l unix:/run/web.sock -- ./server --unix {socket}
  hitless run -c hitless.toml

The app is to listen on 127.0.0.1:$PORT, or where {port} or {socket} in its
command tell it. Each option has a variable, as --listen has HITLESS_LISTEN,
and all other settings are keys of the file: see --help.";

const RUN_MORE: &str = "\
Examples:
  hitless run -- python3 app.py
  hitless run --watch . -- python3 app.py
  hitless run -l :80 --ready /healthz -- ./server --port {port}
  hitless run -l unix:/run/web.sock -- ./server --unix {socket}
  hitless run -c hitless.toml

The app is to listen on 127.0.0.1:$PORT, or where {port} or {socket} in its
command tell it. {generation} and {instance} are filled in as well.

A flag beats its variable, and both beat the file. The file has a key for each
of them and for much else: `hitless check --schema` names them all, and
`hitless check -c FILE --show` prints what is in force, and who says so.

Signals: HUP reloads, USR1 reopens log files, TERM and INT stop gracefully, a
second one at once.
Exit status: 0 stopped as asked, 1 failed, 2 usage, 78 invalid configuration.";

const DEMO_EXAMPLES: &str = "\
Examples:
  hitless demo                   about 20 seconds, on free ports of loopback
  hitless demo --keep            the same, and then it goes on for you to try

Exit status: 0 every promise was kept, 1 a request failed that should not have,
or the show was interrupted, 2 usage.";

const LISTEN: &str = "\
Where clients come in; may be given several times [default: 127.0.0.1:8080].

127.0.0.1:8080, [::1]:8080, :8080 for all addresses, or unix:/path. Port 0 picks a free one. Replaces the list of the \
file. Several may stand in one value with commas between them.";

const WATCH: &str = "\
Reload when a file changes there; may be given several times.

A folder with all that is below it, or a single file. What editors, caches and version control leave behind does not \
count, nor does what a .gitignore names. Replaces the paths of the file. Several may stand in one value with commas \
between them.";

/// `hitless run`
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The configuration file.
    #[arg(help_heading = APP,
        short,
        long,
        value_name = "FILE",
        env = "HITLESS_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,

    /// Where clients come in; may be given several times [default: 127.0.0.1:8080].
    #[arg(help_heading = CLIENTS,
        short,
        long,
        value_name = "ADDR",
        env = "HITLESS_LISTEN",
        hide_env_values = true,
        value_delimiter = ',',
        long_help = LISTEN
    )]
    pub listen: Vec<ListenAddress>,

    /// Where metrics, health and status are shown; "" for nowhere [default: 127.0.0.1:9900].
    #[arg(help_heading = OPERATORS, long, value_name = "ADDR", env = "HITLESS_ADMIN", hide_env_values = true, value_parser = admin)]
    pub admin: Option<Admin>,

    /// Where this hitless is controlled.
    #[command(flatten, next_help_heading = OPERATORS)]
    pub control: ControlArgs,

    /// How the app shows that it is ready: /PATH, http:/PATH, tcp or notify [default: /].
    #[arg(help_heading = READINESS,
        long,
        value_name = "CHECK",
        env = "HITLESS_READY",
        hide_env_values = true
    )]
    pub ready: Option<ReadyCheck>,

    /// Reload when a file changes there; may be given several times.
    #[arg(help_heading = RELOADS,
        short,
        long,
        value_name = "PATH",
        env = "HITLESS_WATCH",
        hide_env_values = true,
        value_delimiter = ',',
        long_help = WATCH
    )]
    pub watch: Vec<PathBuf>,

    /// A file of KEY=value lines for the app, read again for each start.
    #[arg(help_heading = APP,
        long,
        value_name = "FILE",
        env = "HITLESS_ENV_FILE",
        hide_env_values = true
    )]
    pub env_file: Option<PathBuf>,

    /// How long the app may take to become ready [default: 60s].
    #[arg(help_heading = READINESS, long, value_name = "D", env = "HITLESS_START_TIMEOUT", hide_env_values = true, value_parser = positive)]
    pub start_timeout: Option<Duration>,

    /// How long requests under way may take after a reload [default: 60s].
    ///
    /// Never less than the app's answer_timeout, which is 60s unless the file says otherwise.
    #[arg(help_heading = RELOADS, long, value_name = "D", env = "HITLESS_DRAIN_TIMEOUT", hide_env_values = true, value_parser = positive)]
    pub drain_timeout: Option<Duration>,

    /// How many processes the app has [default: 1].
    #[arg(help_heading = APP, long, value_name = "N", env = "HITLESS_INSTANCES", hide_env_values = true, value_parser = instances)]
    pub instances: Option<u32>,

    /// How long a new version can be sent back after it went live; 0 for no way back [default: 30s].
    #[arg(help_heading = RELOADS, long, value_name = "D", env = "HITLESS_PROBATION", hide_env_values = true, value_parser = duration)]
    pub probation: Option<Duration>,

    /// How many threads forward requests; 0 for as many as this process may use [default: 0].
    #[arg(help_heading = CLIENTS, long, value_name = "N", env = "HITLESS_THREADS", hide_env_values = true, value_parser = threads)]
    pub threads: Option<usize>,

    /// The shape of log lines [default: text].
    #[arg(help_heading = LOGS, long, env = "HITLESS_LOG_FORMAT", hide_env_values = true, value_parser = log_format())]
    pub log_format: Option<log::Format>,

    /// Where the line of each request goes: off, stdout, stderr or a file [default: stdout].
    #[arg(help_heading = LOGS, long, value_name = "DEST", env = "HITLESS_ACCESS_LOG", hide_env_values = true, value_parser = words::access_log)]
    pub access_log: Option<Destination>,

    /// Exit when the app's first start fails, instead of trying again; for containers.
    #[arg(help_heading = READINESS,
        long,
        value_name = "BOOL",
        env = "HITLESS_EXIT_ON_FAILED_START", hide_env_values = true,
        value_parser = BoolishValueParser::new(),
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide_possible_values = true
    )]
    pub exit_on_failed_start: Option<bool>,

    /// The app: a program and its arguments.
    #[arg(help_heading = APP, last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `hitless demo`
#[derive(Args, Clone, Copy, Debug)]
pub struct DemoArgs {
    /// Go on afterwards until TERM or INT, and show what to try.
    #[arg(long)]
    pub keep: bool,
}

/// What a hidden command gets from the hitless that starts it.
#[derive(Args, Clone, Debug)]
pub struct InnerArgs {
    /// Read by the command itself.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// The admin address; none for `""`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin(pub Option<ListenAddress>);

// === impl RunArgs ===

impl RunArgs {
    /// The configuration that the file, the variables and the flags make together.
    ///
    /// # Errors
    ///
    /// There is nothing to run, or everything that is wrong with it.
    pub fn configuration(&self) -> Result<Config, Error> {
        match &self.config {
            Some(path) => Config::load(path, &self.overrides()),
            None => Config::from_flags(&self.overrides()),
        }
    }

    /// What the flags and variables say about the configuration.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen.clone(),
            admin: self.admin.clone().map(|Admin(address)| address),
            name: self.control.name.clone(),
            control: self.control.control.clone(),
            ready: self.ready.clone(),
            watch: self.watch.clone(),
            env_file: self.env_file.clone(),
            start_timeout: self.start_timeout,
            drain_timeout: self.drain_timeout,
            instances: self.instances,
            probation: self.probation,
            threads: self.threads,
            log_format: self.log_format,
            access_log: self.access_log.clone(),
            exit_on_failed_start: self.exit_on_failed_start,
            command: self.command.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run(line: &[&str]) -> RunArgs {
        let line = ["hitless", "run"].iter().chain(line);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Run(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn refused(line: &[&str]) -> String {
        let line = ["hitless"].iter().chain(line);
        Cli::try_parse_from(line).unwrap_err().to_string()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_of_run_has_a_variable() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for option in run.get_opts() {
            let long = option.get_long().unwrap();
            let variable = format!("HITLESS_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(option.get_env().unwrap().to_str(), Some(&*variable));
        }
    }

    #[test]
    fn reads_a_whole_command_line() {
        let args = run(&[
            "-l",
            ":80",
            "-l",
            "unix:/run/a.sock",
            "--admin",
            "",
            "--name",
            "web",
            "--ready",
            "tcp",
            "--start-timeout",
            "5s",
            "--threads",
            "2",
            "--log-format",
            "json",
            "--exit-on-failed-start",
            "-w",
            "src",
            "--watch",
            "a,b",
            "--",
            "./app",
            "--port",
            "{port}",
        ]);
        let overrides = args.overrides();
        assert_eq!(overrides.listen.len(), 2);
        assert_eq!(overrides.admin, Some(None));
        assert_eq!(overrides.name.as_deref(), Some("web"));
        assert_eq!(overrides.ready, Some(ReadyCheck::Tcp));
        assert_eq!(overrides.start_timeout, Some(Duration::from_secs(5)));
        assert_eq!(overrides.threads, Some(2));
        assert_eq!(overrides.log_format, Some(log::Format::Json));
        assert_eq!(overrides.exit_on_failed_start, Some(true));
        assert_eq!(overrides.watch, ["src", "a", "b"].map(PathBuf::from));
        assert_eq!(overrides.command, ["./app", "--port", "{port}"]);
        assert_eq!(
            run(&["--exit-on-failed-start=no"]).exit_on_failed_start,
            Some(false)
        );
        assert_eq!(run(&[]).overrides(), Overrides::default());
    }

    #[test]
    fn says_what_an_option_takes() {
        for (line, part) in [
            (["run", "-l", "localhost:80"], "is no IP address"),
            (["run", "--drain-timeout", "30"], r#"write "30s""#),
            (["run", "--start-timeout", "0"], "at least 1ms"),
            (["run", "--threads", "-1"], "unexpected argument"),
            (["run", "--threads", "9999"], "from 0 to 1024"),
            (["run", "--name", "a/b"], "letters, digits"),
            (["run", "--ready", "health"], "http:/PATH"),
            (
                ["run", "--log-format", "xml"],
                "possible values: text, json",
            ),
            (
                ["reload", "--timeout=1s", "--no-wait"],
                "cannot be used with",
            ),
            (["check", "--show", "--schema"], "cannot be used with"),
            (["run", "--instances", "0"], "from 1 to 1000"),
            (["run", "--probation", "30"], r#"write "30s""#),
            (["pause", "--for", "0"], "at least 1ms"),
            (["rollback", "--json", "a b"], "letters, digits"),
            (["pause", "--for", "5"], r#"write "5s""#),
            (["reload", "--addresses", "a:1"], "<APP>"),
            (["reload", "web", "--addresses=3000"], "HOST:PORT"),
            (["reload", "web", "--addresses=a:1,a:1"], "twice"),
        ] {
            assert!(refused(&line).contains(part), "{}", refused(&line));
        }
    }
}
