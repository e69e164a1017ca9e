//! The two ends of every measurement in `benches/`: an app that costs next to nothing, and clients.
//!
//! `lab backend PORT` answers; `lab load ADDRESS …` asks, checks every answer, and prints what it saw as one line of JSON.
//! One thread each and nothing but the standard library, so that `rustc -O` builds it in a second and as little as
//! possible of the machine is theirs. Never part of hitless.

#[path = "lab/backend.rs"]
mod backend;
#[path = "lab/clients.rs"]
mod clients;
#[path = "lab/epoll.rs"]
mod epoll;
#[path = "lab/histogram.rs"]
mod histogram;
#[path = "lab/message.rs"]
mod message;
#[path = "lab/plan.rs"]
mod plan;

use std::process::ExitCode;

const USAGE: &str = "\
usage: lab backend PORT
       lab load ADDRESS [--connections N] [--seconds S | --requests N] [--rate PER_SECOND]
                        [--path /BYTES] [--host NAME] [--upload BYTES] [--close] [--idle] [--warm]

backend: GET /N is answered with N bytes, GET /events with a stream that never ends.
load: each line on its standard input begins the phase of that name, or goes on with it; --idle asks once on each
connection, says so, and keeps them until the input ends; --warm makes every connection and asks once on each, says so,
waits for a line, and after the last answer for the end of the input.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some("backend") => backend::run(&arguments[1..]),
        Some("load") => plan::Plan::parse(&arguments[1..]).and_then(|plan| clients::run(&plan)),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
