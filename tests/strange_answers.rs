//! Promise: whatever bytes an app answers with, the client gets a whole answer, a 502 or a broken-off connection, never a
//! clean end of what is not whole, and no connection is used again that nobody knows the state of.
//!
//! The cases stand in `cases.rs`, written from RFC 9110 and 9112. One hitless meets all of them.

mod support;

#[path = "strange_answers/cases.rs"]
mod cases;

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cases::{Case, Then, Want};
use support::raw::{Body, Message, Raw, RawAnswer, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Long enough for what comes at once on a busy machine.
const MOMENT: Duration = Duration::from_secs(10);

/// Which connection each target came by.
type Ways = Arc<Mutex<Vec<(String, usize)>>>;

#[tokio::test]
async fn strange_answers_become_what_is_written_down() {
    let cases = cases::all();
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    let (hitless, listener) = start("[app.app.failover]\nresends = 0").await;
    let ways = Ways::default();
    let app = tokio::spawn(serve(listener, cases.clone(), Arc::clone(&ways)));
    let mut wrong = String::new();
    for (number, case) in cases.iter().enumerate() {
        // In a task of its own, so that a case that panics does not hide the others.
        let (case, ways) = (case.clone(), Arc::clone(&ways));
        let address = hitless.address();
        let met = tokio::spawn(async move { meet(address, number, &case, &ways).await }).await;
        if let Err(found) = met.unwrap_or_else(|_| Err("panicked, see above".to_owned())) {
            writeln!(wrong, "{}: {found}", cases[number].name).expect("a String takes it");
        }
    }
    app.abort();
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Asks for a case, and then for something else by another connection.
async fn meet(address: SocketAddr, number: usize, case: &Case, ways: &Ways) -> Result<(), String> {
    let mut client = Raw::open(address).await;
    let (method, fields) = (case.method, case.fields);
    let request = format!("{method} /{number} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    client.send(request.as_bytes()).await;
    let answer = match timeout(MOMENT, client.answer(method == "HEAD")).await {
        Ok(Some(answer)) if answer.status < 200 && answer.status != 101 => {
            return Err(format!("an interim answer: {}", answer.head));
        }
        Ok(answer) => answer,
        Err(_) => return Err("nothing came".to_owned()),
    };
    compare(case, answer.as_ref())?;
    let mut next = Raw::open(address).await;
    let request = format!("GET /{number}-next HTTP/1.1\r\nHost: a\r\n\r\n");
    next.send(request.as_bytes()).await;
    let answer = timeout(MOMENT, next.answer(false)).await;
    match answer {
        Ok(Some(answer)) if answer.body == Body::Whole(b"next".to_vec()) => {}
        other => return Err(format!("the next request got {other:?}")),
    }
    match reused(number, ways) {
        reused if reused == case.reused => Ok(()),
        true => Err("the connection was used again".to_owned()),
        false => Err("the connection was not used again".to_owned()),
    }
}

/// Looks at what the client got; none: the end of the connection.
fn compare(case: &Case, answer: Option<&RawAnswer>) -> Result<(), String> {
    let Some(answer) = answer else {
        return match case.want {
            Want::Cut => Ok(()),
            _ => Err("no answer".to_owned()),
        };
    };
    let head = answer.head.to_ascii_lowercase();
    let fits = match case.want {
        Want::Gateway => answer.status == 502 && head.contains("\r\nproxy-status: hitless;"),
        Want::Broken(status) => answer.status == status && answer.body == Body::Broken,
        Want::Cut => answer.body == Body::Broken,
        Want::Passes(status, body) => {
            answer.status == status && answer.body == Body::Whole(body.to_vec())
        }
    };
    if !fits {
        return Err(format!("not {:?}: {answer:?}", case.want));
    }
    let lacking = case
        .has
        .iter()
        .find(|has| !head.contains(&format!("\r\n{has}\r\n")));
    if let Some(has) = lacking {
        return Err(format!("no {has:?} in {head}"));
    }
    let left = case
        .lacks
        .iter()
        .find(|name| head.contains(&format!("\r\n{name}:")));
    match left {
        Some(name) => Err(format!("{name:?} in {head}")),
        None => Ok(()),
    }
}

fn reused(number: usize, ways: &Ways) -> bool {
    let ways = ways.lock().expect("no holder panics");
    let way = |target: &str| {
        let mut same = ways.iter().rev().filter(|way| way.0 == target);
        same.next().expect("the app was asked").1
    };
    way(&format!("/{number}")) == way(&format!("/{number}-next"))
}

/// The app: answers each target with the bytes of its case.
async fn serve(listener: TcpListener, cases: Vec<Case>, ways: Ways) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let (stream, _) = listener.accept().await.expect("it listens");
        connections.spawn(serve_one(stream, number, cases.clone(), Arc::clone(&ways)));
    }
}

async fn serve_one(mut stream: TcpStream, connection: usize, cases: Vec<Case>, ways: Ways) {
    let mut bytes = Vec::new();
    loop {
        while let Some((message, length)) = Message::read(&bytes) {
            bytes.drain(..length);
            let target = message.target().to_owned();
            let number = target.trim_start_matches('/').parse::<usize>();
            ways.lock()
                .expect("no holder panics")
                .push((target, connection));
            let Ok(number) = number else {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";
                drop(stream.write_all(answer).await);
                continue;
            };
            drop(stream.write_all(&cases[number].answer).await);
            if cases[number].then == Then::Closes {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}
