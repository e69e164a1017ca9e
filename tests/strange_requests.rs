//! Promise: whatever bytes a stranger sends, they are answered as `docs/http.md` says, no byte of what is refused reaches
//! the app, and what is allowed reaches it unchanged.
//!
//! The cases stand in the folder of this file, written from RFC 9110 and 9112 and from the lists that others have
//! published. One hitless meets all of them.

mod support;

#[path = "strange_requests/bodies.rs"]
mod bodies;
#[path = "strange_requests/case.rs"]
mod case;
#[path = "strange_requests/connections.rs"]
mod connections;
#[path = "strange_requests/fields.rs"]
mod fields;
#[path = "strange_requests/framing.rs"]
mod framing;
#[path = "strange_requests/hosts.rs"]
mod hosts;
#[path = "strange_requests/lines.rs"]
mod lines;
#[path = "strange_requests/targets.rs"]
mod targets;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use case::{Case, Upstream};
use support::raw::{Ends, Message, Raw, find, latin, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Long enough for what comes at once on a busy machine, and short enough to wait for what does not come.
const MOMENT: Duration = Duration::from_secs(5);

/// What the app got, over all its connections.
type Record = Arc<Mutex<Vec<Got>>>;

#[derive(Debug)]
enum Got {
    Whole(Message),
    /// A request that the connection ended in.
    Part(String),
}

#[tokio::test]
async fn strange_requests_are_answered_as_written_down() {
    let cases = all();
    assert!(cases.len() >= 150, "only {} cases", cases.len());
    let (mut hitless, listener) = start("").await;
    let record = Record::default();
    let app = tokio::spawn(serve(listener, Arc::clone(&record)));
    let mut wrong = String::new();
    for (number, case) in cases.iter().enumerate() {
        // In a task of its own, so that a case that panics does not hide the others.
        let met = tokio::spawn(meet(hitless.address(), number, *case)).await;
        if let Err(found) = met.unwrap_or_else(|_| Err("panicked, see above".to_owned())) {
            writeln!(wrong, "{}: {found}", case.name).expect("a String takes it");
        }
    }
    // Also what hyper refuses before there is a request is counted.
    let statuses = cases.iter().flat_map(|case| case.answers);
    let bad = statuses.filter(|status| **status == 400).count();
    let metrics = hitless.metrics().await;
    // A body that ends before its end is the client's leaving.
    let counted: f64 = ["bad_request", "client_gone"]
        .map(|reason| {
            let labels = [("app", support::world::APP), ("reason", reason)];
            metrics.sum("hitless_answers_total", &labels)
        })
        .iter()
        .sum();
    assert!(counted >= bad as f64, "{counted} counted of {bad}");
    // Nothing can come upstream any more once hitless has ended, and every byte is in the record then.
    hitless.program().signal(rustix::process::Signal::TERM);
    hitless.program().ends(Duration::from_secs(30)).await;
    app.abort();
    let mut got = sorted(&record);
    for (number, case) in cases.iter().enumerate() {
        let seen = got.remove(&marker(number)).unwrap_or_default();
        if let Err(found) = compare(number, case, &seen) {
            writeln!(wrong, "{}: {found}", case.name).expect("a String takes it");
        }
    }
    for (marker, seen) in got {
        writeln!(wrong, "{marker:?} reached the app: {seen:?}").expect("a String takes it");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for list in [
        lines::CASES,
        targets::CASES,
        fields::CASES,
        fields::EXPECTATIONS,
        hosts::CASES,
        framing::CASES,
        bodies::CASES,
        connections::CASES,
    ] {
        cases.extend_from_slice(list);
    }
    cases
}

/// What a case's requests are known by, wherever it stands in them.
fn marker(number: usize) -> String {
    format!("c{number:03}")
}

/// Sends a case and looks at what comes back.
async fn meet(address: SocketAddr, number: usize, case: Case) -> Result<(), String> {
    let mut client = Raw::open(address).await;
    client.send(&filled(case.send, number)).await;
    if case.finish {
        client.finish().await;
    }
    let is_head = case.send.starts_with(b"HEAD");
    let mut statuses = Vec::new();
    while statuses.len() < case.answers.len() {
        match timeout(MOMENT, client.answer(is_head)).await {
            Ok(Some(answer)) => statuses.push(answer.status),
            Ok(None) => break,
            Err(_) => return Err(format!("after {statuses:?} nothing came")),
        }
    }
    if statuses != case.answers {
        return Err(format!("answered {statuses:?}, not {:?}", case.answers));
    }
    match case.ends {
        Ends::Closed => match client.ends(MOMENT).await {
            Ends::Closed => Ok(()),
            Ends::Open => Err("the connection was not closed".to_owned()),
        },
        Ends::Open => {
            let next = format!("GET /{}-next HTTP/1.1\r\nHost: a\r\n\r\n", marker(number));
            client.send(next.as_bytes()).await;
            match timeout(MOMENT, client.answer(false)).await {
                Ok(Some(answer)) if answer.status == 200 => Ok(()),
                other => Err(format!("the connection does not go on: {other:?}")),
            }
        }
    }
}

fn filled(bytes: &[u8], number: usize) -> Vec<u8> {
    let mut filled = bytes.to_vec();
    while let Some(at) = find(&filled, b"{c}") {
        filled.splice(at..at + 3, marker(number).into_bytes());
    }
    filled
}

/// Looks at what the app got of a case.
fn compare(number: usize, case: &Case, seen: &[String]) -> Result<(), String> {
    let expected: Vec<String> = match case.upstream {
        Upstream::Nothing => Vec::new(),
        Upstream::Whole(messages) => messages
            .iter()
            .map(|message| latin(&filled(message, number)))
            .collect(),
        Upstream::Part => {
            let is_part = |seen: &String| seen.starts_with("part of ");
            return match seen {
                [] => Ok(()),
                [one] if is_part(one) => Ok(()),
                _ => Err(format!("the app took for whole what is not: {seen:#?}")),
            };
        }
    };
    let mut expected = expected;
    if case.ends == Ends::Open {
        expected.push(format!(
            "GET /{}-next HTTP/1.1\nhost: a\n\n",
            marker(number)
        ));
    }
    if seen == expected {
        Ok(())
    } else {
        Err(format!("the app got {seen:#?}\nand not {expected:#?}"))
    }
}

/// The record by the marker of each case; what has none has none to fear.
fn sorted(record: &Record) -> BTreeMap<String, Vec<String>> {
    let mut sorted = BTreeMap::<String, Vec<String>>::new();
    for got in record.lock().expect("no holder panics").drain(..) {
        let text = match got {
            Got::Whole(message) => shown(&message),
            Got::Part(bytes) => format!("part of {bytes}"),
        };
        let bytes = text.as_bytes();
        let is_marker = |window: &&[u8]| {
            window[0] == b'c' && window[1..].iter().all(|byte| byte.is_ascii_digit())
        };
        let marker = bytes.windows(4).find(is_marker).map(latin);
        sorted
            .entry(marker.unwrap_or_default())
            .or_default()
            .push(text);
    }
    sorted
}

/// A request as the cases write it: its line, its fields in the order of their names, less what hitless has added, then
/// body and trailers.
fn shown(message: &Message) -> String {
    let mut fields: Vec<_> = message.fields.iter().collect();
    fields.sort();
    let mut text = format!("{}\n", message.line);
    for (name, value) in fields {
        match name.as_str() {
            "x-forwarded-for" => assert_eq!(value, "127.0.0.1", "{message:?}"),
            "x-forwarded-proto" => assert_eq!(value, "http", "{message:?}"),
            "x-forwarded-port" | "x-forwarded-host" => {}
            "x-request-id" => assert_eq!(value.len(), 32, "{message:?}"),
            _ => writeln!(text, "{name}: {value}").expect("a String takes it"),
        }
    }
    write!(text, "\n{}", latin(&message.body)).expect("a String takes it");
    for (name, value) in &message.trailers {
        write!(text, "\n{name}: {value}").expect("a String takes it");
    }
    text
}

/// The app: answers every request alike and keeps all that it got.
async fn serve(listener: TcpListener, record: Record) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("it listens");
        connections.spawn(serve_one(stream, Arc::clone(&record)));
    }
}

async fn serve_one(mut stream: TcpStream, record: Record) {
    let mut bytes = Vec::new();
    loop {
        while let Some((message, length)) = Message::read(&bytes) {
            bytes.drain(..length);
            record
                .lock()
                .expect("no holder panics")
                .push(Got::Whole(message));
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            drop(stream.write_all(answer).await);
        }
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            break;
        }
    }
    if !bytes.is_empty() {
        let part = Got::Part(latin(&bytes));
        record.lock().expect("no holder panics").push(part);
    }
}
