//! What the clients are to do, from the command line.

use std::net::SocketAddr;
use std::time::Duration;

pub struct Plan {
    pub address: SocketAddr,
    pub connections: usize,
    pub end: End,
    /// All connections together, a second; none: as fast as answers come.
    pub rate: Option<f64>,
    /// The whole request.
    pub request: Vec<u8>,
    /// How long the body of each answer must be.
    pub answer: u64,
    /// A new connection for each request.
    pub close: bool,
    /// One request on each connection, and then nothing.
    pub idle: bool,
    /// Every connection is made and used once before the clock runs.
    pub warm: bool,
}

pub enum End {
    After(Duration),
    Requests(u64),
    /// The end of the standard input.
    Told,
}

impl Plan {
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut words = arguments.iter();
        let address = words.next().ok_or("load wants an address")?;
        let mut plan = Self {
            address: number("address", address)?,
            connections: 1,
            end: End::Told,
            rate: None,
            request: Vec::new(),
            answer: 0,
            close: false,
            idle: false,
            warm: false,
        };
        let (mut path, mut host, mut upload) = ("/100".to_owned(), "lab".to_owned(), 0);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--close" => plan.close = true,
                "--idle" => plan.idle = true,
                "--warm" => plan.warm = true,
                name => {
                    let value = words.next().ok_or(format!("{name} wants a value"))?;
                    match name {
                        "--connections" => plan.connections = number(name, value)?,
                        "--seconds" => {
                            plan.end = End::After(Duration::from_secs_f64(number(name, value)?));
                        }
                        "--requests" => plan.end = End::Requests(number(name, value)?),
                        "--rate" => plan.rate = Some(number(name, value)?),
                        "--path" => path.clone_from(value),
                        "--host" => host.clone_from(value),
                        "--upload" => upload = number(name, value)?,
                        _ => return Err(format!("load knows no {name}")),
                    }
                }
            }
        }
        if plan.connections == 0 || plan.rate.is_some_and(|rate| rate <= 0.0) {
            return Err("at least one connection, and a rate above 0".to_owned());
        }
        let size = path.rsplit('/').next().unwrap_or_default();
        plan.answer = number("the last part of --path", size)?;
        plan.request = request(&path, &host, upload, plan.close);
        Ok(plan)
    }
}

fn request(path: &str, host: &str, upload: usize, close: bool) -> Vec<u8> {
    let method = if upload > 0 { "POST" } else { "GET" };
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lab/1\r\nAccept: */*\r\n");
    if upload > 0 {
        head += &format!("Content-Length: {upload}\r\n");
    }
    if close {
        head += "Connection: close\r\n";
    }
    head += "\r\n";
    let mut request = head.into_bytes();
    request.resize(request.len() + upload, b'x');
    request
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{name} cannot be {value}"))
}
