//! The app: answers `/N` with N bytes once the request is there as a whole, and does nothing else.
//!
//! It is hitless's app and everybody's upstream. Where `$LAB_TIMES` names a folder, it notes there when it was ready and
//! when the first request came that was no probe: both by the same clock.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::epoll::{Epoll, GONE, IN, OUT, lengthen_queue};
use crate::message;

const LISTENER: usize = usize::MAX;
const BODY: [u8; 256 * 1024] = [b'x'; 256 * 1024];
const EVENTS: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
    9\r\ndata: 1\n\n\r\n";

struct Connection {
    stream: TcpStream,
    /// What has been read of a head.
    head: Vec<u8>,
    /// How much of the request's body is still to come.
    body: u64,
    /// The answer, which waits for the end of the request.
    answer: Option<Answer>,
    /// What of the answer is still to be written.
    out: Vec<u8>,
    out_body: u64,
    waits: bool,
    /// What is waited for at the socket.
    watched: u32,
}

#[derive(Clone, Copy)]
enum Answer {
    Bytes(u64),
    Events,
}

/// When what was.
struct Times {
    ready: f64,
    path: Option<String>,
}

pub fn run(arguments: &[String]) -> Result<(), String> {
    let [port] = arguments else {
        return Err("usage: lab backend PORT".to_owned());
    };
    let port: u16 = port.parse().map_err(|_| format!("{port} is no port"))?;
    serve(port).map_err(|error| format!("lab backend: {error}"))
}

fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    lengthen_queue(&listener)?;
    listener.set_nonblocking(true)?;
    let mut times = Times::new();
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        UnixDatagram::unbound()?.send_to(b"READY=1", socket)?;
    }
    let mut epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER, IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut events = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        epoll.wait(None, &mut events)?;
        for event in &events {
            if event.key == LISTENER {
                accept(&listener, &epoll, &mut connections, &mut free)?;
                continue;
            }
            let Some(connection) = &mut connections[event.key] else {
                continue;
            };
            let goes_on = connection.turn(event.events, &mut buffer, &mut times);
            if goes_on {
                connection.watch(&epoll, event.key)?;
            } else {
                connections[event.key] = None;
                free.push(event.key);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<Connection>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let key = free.pop().unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        epoll.add(&stream, key, IN)?;
        connections[key] = Some(Connection::new(stream));
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            head: Vec::new(),
            body: 0,
            answer: None,
            out: Vec::new(),
            out_body: 0,
            waits: false,
            watched: IN,
        }
    }

    /// Whether the connection goes on.
    fn turn(&mut self, events: u32, buffer: &mut [u8], times: &mut Times) -> bool {
        if events & OUT != 0 && !self.flush() {
            return false;
        }
        if events & (IN | GONE) == 0 || self.waits {
            return events & GONE == 0;
        }
        match self.stream.read(buffer) {
            Ok(0) => false,
            Ok(size) => self.take(&buffer[..size], times),
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    fn take(&mut self, mut bytes: &[u8], times: &mut Times) -> bool {
        while !bytes.is_empty() {
            if self.answer.is_none() {
                self.head.extend_from_slice(bytes);
                let head = match message::head(&self.head) {
                    Ok(Some(head)) => head,
                    Ok(None) => return true,
                    Err(_) => return false,
                };
                times.asked(&self.head[..head.size]);
                bytes = &bytes[bytes.len() - (self.head.len() - head.size)..];
                self.answer = Some(answer(&self.head));
                self.body = head.body;
                self.head.clear();
            }
            let passed = self.body.min(bytes.len() as u64);
            self.body -= passed;
            bytes = &bytes[passed as usize..];
            if self.body == 0 {
                let answer = self.answer.take();
                self.begin(answer.unwrap_or(Answer::Bytes(0)));
                if !self.flush() {
                    return false;
                }
                // Nobody pipelines here.
                return bytes.is_empty();
            }
        }
        true
    }

    fn begin(&mut self, answer: Answer) {
        match answer {
            Answer::Bytes(size) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
                );
                self.out.extend_from_slice(head.as_bytes());
                // A small answer is one write.
                let first = size.min(16 * 1024);
                self.out.extend_from_slice(&BODY[..first as usize]);
                self.out_body = size - first;
            }
            Answer::Events => self.out.extend_from_slice(EVENTS),
        }
    }

    /// Whether the connection goes on.
    fn flush(&mut self) -> bool {
        loop {
            let from_body = self.out.is_empty();
            let rest = BODY.len().min(self.out_body as usize);
            let bytes = if from_body {
                &BODY[..rest]
            } else {
                &self.out[..]
            };
            if bytes.is_empty() {
                self.waits = false;
                return true;
            }
            match self.stream.write(bytes) {
                Ok(0) => return false,
                Ok(size) if from_body => self.out_body -= size as u64,
                Ok(size) => drop(self.out.drain(..size)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.waits = true;
                    return true;
                }
                Err(_) => return false,
            }
        }
    }

    fn watch(&mut self, epoll: &Epoll, key: usize) -> io::Result<()> {
        let wanted = if self.waits { OUT } else { IN };
        if wanted == self.watched {
            return Ok(());
        }
        self.watched = wanted;
        epoll.change(&self.stream, key, wanted)
    }
}

fn answer(head: &[u8]) -> Answer {
    let target = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if target == b"/events" {
        return Answer::Events;
    }
    let last = target.rsplit(|byte| *byte == b'/').next();
    let digits = last.and_then(|last| std::str::from_utf8(last).ok());
    Answer::Bytes(digits.and_then(|digits| digits.parse().ok()).unwrap_or(100))
}

impl Times {
    fn new() -> Self {
        let folder = std::env::var("LAB_TIMES").ok();
        let generation = std::env::var("HITLESS_GENERATION").unwrap_or_default();
        Self {
            ready: now(),
            path: folder.map(|folder| format!("{folder}/{generation}")),
        }
    }

    fn asked(&mut self, head: &[u8]) {
        let is_probe = |head: &[u8]| head.windows(13).any(|part| part == b"hitless-probe");
        if self.path.is_none() || is_probe(head) {
            return;
        }
        if let Some(path) = self.path.take() {
            // A half-written line is not read: it appears under its name when it is whole.
            let whole = format!("{path}.new");
            let line = format!("{} {}\n", self.ready, now());
            let _ = fs::write(&whole, line).and_then(|()| fs::rename(&whole, &path));
        }
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}
