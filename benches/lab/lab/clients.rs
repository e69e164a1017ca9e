//! The clients: many connections, one thread, each answer checked.
//!
//! With a rate, a request's time counts from when it was due, not from when a connection was free for it: a server that
//! stops for a moment is not let off by clients that wait politely.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::epoll::{Epoll, Event, GONE, IN, OUT};
use crate::histogram::Histogram;
use crate::message;
use crate::plan::{End, Plan};

const INPUT: usize = usize::MAX;
/// Past it the request counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);

struct Client {
    stream: TcpStream,
    /// When its request was due; none: it has nothing to do.
    began: Option<Instant>,
    written: usize,
    head: Vec<u8>,
    /// What is still to come of the answer's body, once its head is there.
    body: Option<u64>,
    closes: bool,
    writes: bool,
}

/// What was seen in one phase.
struct Phase {
    name: String,
    began: Instant,
    /// How long it lasted when it was left.
    lasted: Duration,
    times: Histogram,
    lost: u64,
    wrong: u64,
}

struct Clients<'a> {
    plan: &'a Plan,
    epoll: Epoll,
    clients: Vec<Option<Client>>,
    idle: VecDeque<usize>,
    phases: Vec<Phase>,
    /// Which of them is under way.
    phase: usize,
    /// How many requests have been begun, all phases together.
    sent: u64,
    ended: u64,
    connects: u64,
    refused: u64,
    problems: Vec<String>,
    /// Each connection is being made and used once, before anything counts.
    warms: bool,
}

/// What became of a turn.
enum Turn {
    Waits,
    Answered,
    Lost(&'static str),
    Wrong(String),
}

pub fn run(plan: &Plan) -> Result<(), String> {
    run_clients(plan).map_err(|error| format!("lab load: {error}"))
}

fn run_clients(plan: &Plan) -> io::Result<()> {
    let mut clients = Clients::new(plan)?;
    if plan.warm {
        clients.warm_up()?;
        println!("warm");
        wait_for_a_word()?;
    }
    clients.work()?;
    println!("{}", clients.json());
    if plan.warm {
        // Whoever measures reads the clocks before the connections are closed.
        while wait_for_a_word()? > 0 {}
    }
    Ok(())
}

/// Waits for a line or the end of the standard input, at which it returns 0.
fn wait_for_a_word() -> io::Result<usize> {
    io::stdin().lock().read(&mut [0; 4096])
}

impl<'a> Clients<'a> {
    fn new(plan: &'a Plan) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        // Not every input can be waited for; /dev/null has nothing to say.
        let listens = epoll.add(&io::stdin(), INPUT, IN).is_ok();
        if !listens && matches!(plan.end, End::Told) {
            return Err(io::Error::other(
                "nobody could tell when to end: stdin is no pipe",
            ));
        }
        let mut clients = Vec::new();
        clients.resize_with(plan.connections, || None);
        Ok(Self {
            plan,
            epoll,
            clients,
            idle: (0..plan.connections).collect(),
            phases: vec![Phase::new("first".to_owned())],
            phase: 0,
            sent: 0,
            ended: 0,
            connects: 0,
            refused: 0,
            problems: Vec::new(),
            warms: false,
        })
    }

    /// Makes every connection and asks once on each. Nothing of it counts, but what went wrong is told.
    fn warm_up(&mut self) -> io::Result<()> {
        self.warms = true;
        self.work()?;
        self.warms = false;
        let problems = std::mem::take(&mut self.problems);
        if let Some(problem) = problems.into_iter().next() {
            return Err(io::Error::other(format!("while warming up: {problem}")));
        }
        self.phases = vec![Phase::new("first".to_owned())];
        (self.sent, self.ended, self.connects) = (0, 0, 0);
        Ok(())
    }

    fn work(&mut self) -> io::Result<()> {
        let began = Instant::now();
        self.phases[self.phase].began = began;
        let mut events = Vec::new();
        let mut buffer = vec![0; 256 * 1024];
        let mut told = false;
        let mut said = false;
        let mut looked = began;
        loop {
            let now = Instant::now();
            let over = self.is_over(now - began, told);
            if over && (self.ended == self.sent || self.plan.idle) {
                return Ok(());
            }
            if !over {
                self.begin(now, began)?;
            }
            if self.plan.idle && !said && self.ended == self.plan.connections as u64 {
                println!("idle");
                said = true;
            }
            let wait = self.pause(began).min(Duration::from_millis(500));
            self.epoll.wait(Some(wait), &mut events)?;
            for event in &events {
                if event.key == INPUT {
                    told |= self.hear()?;
                } else {
                    self.turn(event, &mut buffer)?;
                }
            }
            if looked.elapsed() > Duration::from_secs(1) {
                looked = Instant::now();
                self.give_up(looked)?;
            }
        }
    }

    fn is_over(&self, time: Duration, told: bool) -> bool {
        told || match self.plan.end {
            _ if self.warms => self.sent >= self.plan.connections as u64,
            End::After(end) => time >= end,
            End::Requests(count) => self.sent >= count,
            End::Told => false,
        }
    }

    /// Begins what is due.
    fn begin(&mut self, now: Instant, began: Instant) -> io::Result<()> {
        loop {
            let due = self.due(began);
            let most = match self.plan.end {
                _ if self.plan.idle || self.warms => self.plan.connections as u64,
                End::Requests(count) => count,
                _ => u64::MAX,
            };
            if due > now || self.sent >= most {
                return Ok(());
            }
            let Some(key) = self.idle.pop_front() else {
                return Ok(());
            };
            let since = if self.plan.rate.is_some() {
                due
            } else {
                Instant::now()
            };
            self.ask(key, since)?;
        }
    }

    /// When the next request is due.
    fn due(&self, began: Instant) -> Instant {
        let rate = self.plan.rate.filter(|_| !self.warms);
        rate.map_or(began, |rate| {
            began + Duration::from_secs_f64(self.sent as f64 / rate)
        })
    }

    /// How long until something is due that can be begun.
    fn pause(&self, began: Instant) -> Duration {
        if self.plan.rate.is_none() || self.idle.is_empty() || self.warms {
            return Duration::MAX;
        }
        self.due(began).saturating_duration_since(Instant::now())
    }

    fn ask(&mut self, key: usize, since: Instant) -> io::Result<()> {
        self.sent += 1;
        if self.clients[key].is_none() {
            match TcpStream::connect(self.plan.address) {
                Ok(stream) => {
                    self.connects += 1;
                    self.clients[key] = Some(Client::new(stream)?);
                    let client = self.clients[key].as_ref().expect("it was made just now");
                    self.epoll.add(&client.stream, key, IN)?;
                }
                Err(error) => {
                    self.refused += 1;
                    self.end(key, since, Turn::Wrong(format!("no connection: {error}")));
                    return Ok(());
                }
            }
        }
        let client = self.clients[key].as_mut().expect("it is there by now");
        client.began = Some(since);
        client.written = 0;
        let turn = client.write(&self.plan.request);
        self.follow(key, turn)
    }

    fn turn(&mut self, event: &Event, buffer: &mut [u8]) -> io::Result<()> {
        let Some(client) = &mut self.clients[event.key] else {
            return Ok(());
        };
        let mut turn = Turn::Waits;
        if event.events & OUT != 0 {
            turn = client.write(&self.plan.request);
        }
        if event.events & (IN | GONE) != 0 {
            turn = client.read(buffer, self.plan.answer);
        }
        self.follow(event.key, turn)
    }

    /// Carries out what follows from a turn.
    fn follow(&mut self, key: usize, turn: Turn) -> io::Result<()> {
        let Some(client) = &mut self.clients[key] else {
            return Ok(());
        };
        if matches!(turn, Turn::Waits) {
            let writes = client.began.is_some() && client.written < self.plan.request.len();
            if writes != client.writes {
                client.writes = writes;
                let events = if writes { IN | OUT } else { IN };
                self.epoll.change(&client.stream, key, events)?;
            }
            return Ok(());
        }
        let began = client.began.take();
        let answered = matches!(turn, Turn::Answered);
        let stays = answered && !client.closes && !self.plan.close;
        if !stays {
            let client = self.clients[key].take().expect("it was there just now");
            self.epoll.remove(&client.stream)?;
        }
        // Without one it was idle and was closed: the next request makes another one.
        if let Some(began) = began {
            self.end(key, began, turn);
        }
        Ok(())
    }

    /// A request has come to its end.
    fn end(&mut self, key: usize, began: Instant, turn: Turn) {
        self.ended += 1;
        self.idle.push_back(key);
        let phase = &mut self.phases[self.phase];
        let problem = match turn {
            Turn::Answered => {
                phase.times.add(began.elapsed());
                return;
            }
            Turn::Waits => return,
            Turn::Lost(how) => {
                phase.lost += 1;
                how.to_owned()
            }
            Turn::Wrong(how) => {
                phase.wrong += 1;
                how
            }
        };
        if self.problems.len() < 10 {
            self.problems.push(problem);
        }
    }

    /// Requests that have waited for too long are lost.
    fn give_up(&mut self, now: Instant) -> io::Result<()> {
        for key in 0..self.clients.len() {
            let began = self.clients[key].as_ref().and_then(|client| client.began);
            if began.is_some_and(|began| now.saturating_duration_since(began) > PATIENCE) {
                self.follow(key, Turn::Lost("no answer in 20 seconds"))?;
            }
        }
        Ok(())
    }

    /// Hears the standard input. Whether it has ended.
    fn hear(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        let size = io::stdin().lock().read(&mut bytes)?;
        for line in String::from_utf8_lossy(&bytes[..size]).lines() {
            self.enter(line.trim());
        }
        if size == 0 {
            self.epoll.remove(&io::stdin())?;
        }
        Ok(size == 0)
    }

    /// A phase begins, or goes on that was there before.
    fn enter(&mut self, name: &str) {
        let now = Instant::now();
        self.phases[self.phase].leave(now);
        let known = self.phases.iter().position(|phase| phase.name == name);
        self.phase = known.unwrap_or(self.phases.len());
        match known {
            Some(known) => self.phases[known].began = now,
            None => self.phases.push(Phase::new(name.to_owned())),
        }
    }

    fn json(&mut self) -> String {
        self.phases[self.phase].leave(Instant::now());
        let phases: Vec<_> = self.phases.iter().map(Phase::json).collect();
        let problems: Vec<_> = self.problems.iter().map(|text| quoted(text)).collect();
        format!(
            "{{\"connects\":{},\"refused\":{},\"problems\":[{}],\"phases\":[{}]}}",
            self.connects,
            self.refused,
            problems.join(","),
            phases.join(",")
        )
    }
}

impl Client {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            began: None,
            written: 0,
            head: Vec::new(),
            body: None,
            closes: false,
            writes: false,
        })
    }

    fn write(&mut self, request: &[u8]) -> Turn {
        while self.written < request.len() {
            match self.stream.write(&request[self.written..]) {
                Ok(size) => self.written += size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Turn::Lost("closed while the request was written"),
            }
        }
        Turn::Waits
    }

    fn read(&mut self, buffer: &mut [u8], wanted: u64) -> Turn {
        let size = match self.stream.read(buffer) {
            Ok(0) => return Turn::Lost("closed before the end of the answer"),
            Ok(size) => size,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Waits,
            Err(_) => return Turn::Lost("broken off before the end of the answer"),
        };
        let mut bytes = &buffer[..size];
        if self.began.is_none() {
            return Turn::Wrong("an answer that nobody asked for".to_owned());
        }
        if self.body.is_none() {
            self.head.extend_from_slice(bytes);
            let head = match message::head(&self.head) {
                Ok(Some(head)) => head,
                Ok(None) => return Turn::Waits,
                Err(why) => return Turn::Wrong(why.to_owned()),
            };
            bytes = &bytes[bytes.len() - (self.head.len() - head.size)..];
            if !self.head.starts_with(b"HTTP/1.1 200 ") || head.body != wanted {
                let line = self.head.split(|byte| *byte == b'\r').next();
                let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
                return Turn::Wrong(format!("{line}, {} bytes", head.body));
            }
            self.closes = head.closes;
            self.body = Some(head.body);
            self.head.clear();
        }
        let left = self.body.unwrap_or(0);
        let size = bytes.len() as u64;
        if size > left {
            return Turn::Wrong("more than the answer".to_owned());
        }
        self.body = Some(left - size);
        if left > size {
            return Turn::Waits;
        }
        self.body = None;
        Turn::Answered
    }
}

impl Phase {
    fn new(name: String) -> Self {
        Self {
            name,
            began: Instant::now(),
            lasted: Duration::ZERO,
            times: Histogram::new(),
            lost: 0,
            wrong: 0,
        }
    }

    fn leave(&mut self, now: Instant) {
        self.lasted += now - self.began;
    }

    fn json(&self) -> String {
        format!(
            "{{\"name\":{},\"seconds\":{:.3},\"answered\":{},\"lost\":{},\"wrong\":{},{}}}",
            quoted(&self.name),
            self.lasted.as_secs_f64(),
            self.times.total(),
            self.lost,
            self.wrong,
            self.times.json()
        )
    }
}

fn quoted(text: &str) -> String {
    let kept = |c: char| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    };
    let text: String = text.chars().map(kept).collect();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
