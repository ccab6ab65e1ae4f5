//! One HTTP request at a time, for configuring a proxy and for looking at what it does.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Bound: nothing asked here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and fields.
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn get(to: SocketAddr, path: &str) -> io::Result<Answer> {
    exchange(to, &format!("GET {path} HTTP/1.1\r\n"), "")
}

/// Sends a JSON document.
pub(crate) fn send_json(to: SocketAddr, method: &str, path: &str, document: &Value) -> io::Result<Answer> {
    send(to, method, path, "application/json", &document.to_string())
}

fn send(to: SocketAddr, method: &str, path: &str, media_type: &str, body: &str) -> io::Result<Answer> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n",
        body.len()
    );
    exchange(to, &head, body)
}

fn exchange(to: SocketAddr, head: &str, body: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("{head}Host: localhost\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes())?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    let all = String::from_utf8_lossy(&all);
    let (head, body) = all.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.ok_or(ErrorKind::InvalidData)?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}
