//! A server in one file, linked statically: nothing but the binary is deployed. VERSION is compiled in; without it the
//! version is a broken one.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

fn main() -> io::Result<()> {
    let Some(version) = option_env!("VERSION") else {
        panic!("this version was built without a version");
    };
    let port = std::env::args().nth(1).expect("usage: server PORT");
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || serve(&stream, version));
    }
    Ok(())
}

/// Kept-alive GETs, until the other side has enough.
fn serve(mut stream: &TcpStream, version: &str) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next() {
        // The end of a head; bodies nobody sends.
        if !line?.is_empty() {
            continue;
        }
        let body = format!("hello from version {version}, process {}\n", std::process::id());
        let length = body.len();
        stream.write_all(
            format!("HTTP/1.1 200 OK\r\nX-Version: {version}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
        )?;
    }
    Ok(())
}
