//! One HTTP request at a time, for configuring a proxy and for looking at what it does.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
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

/// A connection for one request after the other.
#[derive(Debug)]
pub(crate) struct Kept(BufReader<TcpStream>);

impl Kept {
    pub(crate) fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a JSON document, or none, and reads an answer whose head tells how long it is.
    pub(crate) fn send(&mut self, method: &str, path: &str, document: Option<&Value>) -> io::Result<Answer> {
        let body = document.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(name, value)| {
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse().ok())?
            });
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body)?;
        Ok(Answer {
            status: status(&head)?,
            head,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
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
    Ok(Answer {
        status: status(head)?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

fn status(head: &str) -> io::Result<u16> {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or(ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_kept_connection_reads_each_answer_to_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let answers = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none\
                           HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answers.as_bytes()).unwrap();
            let mut asked = String::new();
            stream.read_to_string(&mut asked).unwrap();
            asked.matches("PUT /a HTTP/1.1\r\n").count()
        });
        let mut kept = Kept::open(to).unwrap();
        let answers = [Some(json!({})), None, None].map(|document| {
            let answer = kept.send("PUT", "/a", document.as_ref()).unwrap();
            (answer.status, answer.body)
        });
        let expected = [(200, "one"), (204, ""), (404, "")].map(|(status, body)| (status, body.to_owned()));
        assert_eq!(answers, expected);
        drop(kept);
        assert_eq!(served.join().unwrap(), 3);
    }
}
