//! Those who come: some stay and must be served, others cut, crawl or vanish.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Kind, Soak, pause, tls};

/// One that goes on until the soak is over.
pub(crate) type Client = fn(&Soak);

pub(crate) fn all() -> Vec<Client> {
    let several = |count: usize, client: Client| vec![client; count];
    [
        several(4, steady),
        several(2, cutting),
        several(2, streams),
        several(2, secure),
        several(2, websocket),
        several(4, slow),
    ]
    .concat()
}

/// Bound: nothing that is asked here takes longer, but for what is lost.
const PATIENCE: Duration = Duration::from_secs(20);

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: soak.test\r\n\r\n").into_bytes()
}

/// Reads an answer with a length; its status.
fn answer(stream: &mut impl Read) -> io::Result<u16> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = head
        .split("\r\ncontent-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next());
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let read = io::copy(&mut stream.take(length), &mut io::sink())?;
    if read < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    status.ok_or_else(|| ErrorKind::InvalidData.into())
}

fn served(status: io::Result<u16>) -> io::Result<()> {
    match status? {
        200 => Ok(()),
        status => Err(io::Error::other(format!("status {status}"))),
    }
}

/// Keeps its connection, and must be served each time, whatever happens around it. What it asks for is small: an answer that
/// breaks off because its upstream died on the way cannot be helped.
fn steady(soak: &Soak) {
    while !soak.is_over() {
        let served = connect(soak.doors.plain).and_then(|mut stream| {
            for number in 0..500_u32 {
                if soak.is_over() {
                    break;
                }
                let path = if number % 2 == 0 { "/steady" } else { "/kept" };
                stream.write_all(&request(path))?;
                served(answer(&mut stream))?;
                soak.count(Kind::Request);
                pause(Duration::from_millis(2));
            }
            Ok(())
        });
        if let Err(error) = served {
            soak.lost("a request on a kept connection", &error);
        }
    }
}

/// Goes away in the middle: of its head, of its body, of the answer.
fn cutting(soak: &Soak) {
    for number in 0.. {
        if soak.is_over() {
            return;
        }
        // That it is cut is what is wanted.
        let _cut: io::Result<()> = connect(soak.doors.plain).and_then(|mut stream| match number % 4 {
            0 => stream.write_all(b"GET /cut HTTP/1.1\r\nHost: so"),
            1 => stream
                .write_all(b"POST /cut HTTP/1.1\r\nHost: soak.test\r\nContent-Length: 100000\r\n\r\nabc"),
            2 => stream.write_all(
                b"POST /cut HTTP/1.1\r\nHost: soak.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            ),
            _ => {
                stream.write_all(&request("/large"))?;
                stream.read(&mut [0; 1000]).map(drop)
            }
        });
        soak.count(Kind::Cut);
        pause(Duration::from_millis(10));
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Twenty streams at once; every third connection is cut before the answers have come.
fn streams(soak: &Soak) {
    const STREAMS: u32 = 20;
    let mut block = vec![0x82, 0x86]; // GET, http
    for (name, value) in [(":path", "/stream"), (":authority", "soak.test")] {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    for number in 0.. {
        if soak.is_over() {
            return;
        }
        let cut = number % 3 == 0;
        let done = connect(soak.doors.plain).and_then(|mut stream| {
            let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            sent.extend(frame(4, 0, 0, &[]));
            for number in 0..STREAMS {
                sent.extend(frame(1, 5, 2 * number + 1, &block));
            }
            stream.write_all(&sent)?;
            let mut ended = 0;
            while ended < if cut { 1 } else { STREAMS } {
                let mut head = [0; 9];
                stream.read_exact(&mut head)?;
                let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
                stream.read_exact(&mut payload)?;
                match head[3] {
                    1 if payload.first() != Some(&0x88) => {
                        let block = String::from_utf8_lossy(&payload).into_owned();
                        return Err(io::Error::other(format!("not 200 but {block:?}")));
                    }
                    3 | 7 => return Err(io::Error::other(format!("ended by a frame of type {}", head[3]))),
                    0 | 1 if head[4] & 1 == 1 => ended += 1,
                    _ => {}
                }
            }
            Ok(())
        });
        match done {
            Ok(()) if cut => soak.count(Kind::StreamsCut),
            Ok(()) => (0..STREAMS).for_each(|_| soak.count(Kind::Stream)),
            Err(error) => soak.lost("streams of HTTP/2", &error),
        }
        pause(Duration::from_millis(20));
    }
}

/// A handshake each time, some requests, and a sudden end.
fn secure(soak: &Soak) {
    let config = match tls::client() {
        Ok(config) => config,
        Err(error) => return soak.lost("a client of TLS", &error),
    };
    for number in 0.. {
        if soak.is_over() {
            return;
        }
        let done = connect(soak.doors.secure).and_then(|stream| {
            let mut stream = tls::over(&config, stream)?;
            for _ in 0..number % 5 + 1 {
                stream.write_all(&request("/secure"))?;
                served(answer(&mut stream))?;
            }
            Ok(())
        });
        match done {
            Ok(()) => soak.count(Kind::Handshake),
            Err(error) => soak.lost("a request over TLS", &error),
        }
        pause(Duration::from_millis(20));
    }
}

/// Talks through a tunnel, and leaves it without a word. The upstream may die meanwhile: nothing can be done about that.
fn websocket(soak: &Soak) {
    while !soak.is_over() {
        let mut opened = false;
        let done = connect(soak.doors.plain).and_then(|mut stream| {
            stream.write_all(
                b"GET /ws HTTP/1.1\r\nHost: soak.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            )?;
            if answer(&mut stream)? != 101 {
                return Err(io::Error::other("not granted"));
            }
            opened = true;
            for _ in 0..20 {
                stream.write_all(b"to and fro")?;
                stream.read_exact(&mut [0; 10])?;
            }
            Ok(())
        });
        match done {
            Err(error) if !opened => soak.lost("a WebSocket", &error),
            _ => soak.count(Kind::WebSocket),
        }
        pause(Duration::from_millis(20));
    }
}

/// Sends its request byte by byte, and takes a large answer in small pieces.
fn slow(soak: &Soak) {
    while !soak.is_over() {
        let done = connect(soak.doors.plain).and_then(|mut stream| {
            for byte in request("/large") {
                stream.write_all(&[byte])?;
                pause(Duration::from_millis(20));
            }
            let mut left = 64;
            while left > 0 && !soak.is_over() {
                let read = stream.read(&mut [0; 4096])?;
                left = if read == 0 { 0 } else { left - 1 };
                pause(Duration::from_millis(20));
            }
            Ok(())
        });
        match done {
            Ok(()) => soak.count(Kind::Slow),
            Err(error) => soak.lost("a client that crawls", &error),
        }
    }
}
