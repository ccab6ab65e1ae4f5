//! The upstream: answers at once, on several ports, with as little work of its own as can be.
//!
//! A path that begins with `/64k` is answered with 64 KiB, `/echo` with the head of the request, anything else with a
//! short text. As many ports again take calls of gRPC.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use crate::answer;
use crate::grpc;
use crate::ready::{Interest, Ready};

/// The number of the listener among the sockets; connections count from the next one.
const LISTENER: u64 = 0;

/// What is answered to most requests.
pub(crate) const SHORT: &str = "Hello from the origin";

/// Serves until standard input ends, so that it never outlives whoever started it.
pub(crate) fn run(ports: usize) -> io::Result<()> {
    let mut addresses = start(ports)?;
    addresses.extend(grpc::start(ports)?);
    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    writeln!(io::stdout(), "listening on {}", addresses.join(" "))?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

/// Serves on free loopback ports, each from a thread of its own, as long as the program runs.
pub(crate) fn start(ports: usize) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for _ in 0..ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        addresses.push(listener.local_addr()?);
        std::thread::spawn(move || {
            if let Err(error) = serve(&listener) {
                eprintln!("gw-load: an origin ended: {error}");
                std::process::exit(1);
            }
        });
    }
    Ok(addresses)
}

fn serve(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut ready = Ready::new()?;
    ready.add(listener, LISTENER)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let answers = Answers::new();
    let mut numbers = Vec::new();
    loop {
        numbers.clear();
        numbers.extend(ready.wait(None)?);
        for number in &numbers {
            if *number == LISTENER {
                accept(listener, &ready, &mut connections)?;
                continue;
            }
            let place = &mut connections[*number as usize - 1];
            let Some(connection) = place else { continue };
            // A peer that goes away or breaks the rules loses its connection and nothing else.
            match connection.go_on(&answers) {
                Ok(Some(interest)) => connection.wait_for(interest, &ready, *number)?,
                Ok(None) | Err(_) => *place = None,
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    ready: &Ready,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // It went away before it was accepted.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let place = connections.iter().position(Option::is_none).unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        ready.add(&stream, place as u64 + 1)?;
        connections[place] = Some(Connection {
            stream,
            unread: Vec::new(),
            unsent: Vec::new(),
            body_left: 0,
            interest: Interest::Read,
        });
    }
}

struct Connection {
    stream: TcpStream,
    /// The head of a request as far as it came.
    unread: Vec<u8>,
    unsent: Vec<u8>,
    body_left: u64,
    interest: Interest,
}

struct Answers {
    short: Vec<u8>,
    long: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        Self {
            short: whole(SHORT.as_bytes()),
            long: whole(&[b'x'; 64 * 1024]),
        }
    }

    fn write(&self, head: &[u8], to: &mut Vec<u8>) {
        let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        match path {
            path if path.starts_with(b"/64k") => to.extend_from_slice(&self.long),
            path if path.starts_with(b"/echo") => to.extend(whole(head)),
            _ => to.extend_from_slice(&self.short),
        }
    }
}

fn whole(body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

impl Connection {
    /// Reads what is there and answers it; `None` at the end of the connection.
    fn go_on(&mut self, answers: &Answers) -> io::Result<Option<Interest>> {
        if self.interest == Interest::Read {
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.take(buffer.get(..count).unwrap_or_default(), answers)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(Interest::Write)),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(Interest::Read))
    }

    fn take(&mut self, mut bytes: &[u8], answers: &Answers) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let body = bytes
                    .len()
                    .min(usize::try_from(self.body_left).unwrap_or(usize::MAX));
                self.body_left -= body as u64;
                bytes = bytes.get(body..).unwrap_or_default();
                continue;
            }
            self.unread.extend_from_slice(bytes);
            let Some(end) = answer::head_end(&self.unread) else {
                return Ok(());
            };
            // Of what was just added, this much belongs to the head.
            let added = end - (self.unread.len() - bytes.len());
            bytes = bytes.get(added..).unwrap_or_default();
            self.unread.truncate(end);
            self.body_left = answer::content_length(&self.unread)?.unwrap_or(0);
            answers.write(&self.unread, &mut self.unsent);
            self.unread.clear();
        }
        Ok(())
    }

    fn wait_for(&mut self, interest: Interest, ready: &Ready, number: u64) -> io::Result<()> {
        if self.interest != interest {
            self.interest = interest;
            ready.change(&self.stream, number, interest)?;
        }
        Ok(())
    }
}
