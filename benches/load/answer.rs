//! The client's side of a connection: one request at a time, and its answer read to the end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

/// A connection that is idle, or waits for an answer.
pub(crate) struct Connection {
    stream: TcpStream,
    /// The head of the answer as far as it came.
    head: Vec<u8>,
    /// Bytes of the body that are to come; `None` while the head is not complete.
    left: Option<u64>,
    last: bool,
}

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The answer goes on.
    More,
    /// The answer is complete; the connection is good for another request.
    Done,
    /// The answer is complete, and it was the connection's last.
    DoneLast,
}

impl Connection {
    pub(crate) fn open(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            head: Vec::new(),
            left: None,
            last: false,
        })
    }

    /// Sends a request. They are small: a socket that cannot take one at once is a failure.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match self.stream.write(request)? {
            count if count == request.len() => Ok(()),
            _ => Err(ErrorKind::WriteZero.into()),
        }
    }

    /// Reads what is there. The body must have `expect` bytes and the status must be 200.
    pub(crate) fn read(&mut self, buffer: &mut [u8], expect: u64) -> io::Result<Progress> {
        let mut bytes = match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::More),
            Err(error) => return Err(error),
        };
        let left = match self.left {
            Some(left) => left,
            None => {
                let before = self.head.len();
                self.head.extend_from_slice(bytes);
                let Some(end) = head_end(&self.head) else {
                    return Ok(Progress::More);
                };
                self.head.truncate(end);
                bytes = bytes.get(end - before..).unwrap_or_default();
                let length = self.length()?;
                if length != expect {
                    return Err(wrong("an answer's body has another length than expected"));
                }
                length
            }
        };
        let left = left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| wrong("more came than the answer declared"))?;
        self.left = Some(left);
        if left > 0 {
            return Ok(Progress::More);
        }
        self.left = None;
        self.head.clear();
        Ok(if self.last {
            Progress::DoneLast
        } else {
            Progress::Done
        })
    }

    fn length(&mut self) -> io::Result<u64> {
        if !self.head.starts_with(b"HTTP/1.1 200") {
            let line = self.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            return Err(wrong(format!("answered `{}`", String::from_utf8_lossy(line))));
        }
        self.last =
            field(&self.head, b"connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        content_length(&self.head)?.ok_or_else(|| wrong("an answer declares no length"))
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Where the body begins, if the head is complete.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let at = bytes.windows(END.len()).position(|window| window == END)?;
    Some(at + END.len())
}

/// The declared length of the body.
pub(crate) fn content_length(head: &[u8]) -> io::Result<Option<u64>> {
    let Some(value) = field(head, b"content-length") else {
        return Ok(None);
    };
    let read = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    read.map(Some).ok_or_else(|| wrong("a length is not a number"))
}

fn field<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    lines
        .filter_map(|line| line.split_at_checked(name.len()))
        .find(|(found, rest)| found.eq_ignore_ascii_case(name) && rest.first() == Some(&b':'))
        .map(|(_, rest)| rest.get(1..).unwrap_or_default().trim_ascii())
}

fn wrong(why: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A connection whose other side sends `pieces` one after the other, and what reading each gives.
    fn read(pieces: &[&str], expect: u64) -> Vec<Result<Progress, String>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = Connection::open(listener.local_addr().unwrap()).unwrap();
        connection.stream.set_nonblocking(false).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let each = pieces.iter().map(|piece| {
            other.write_all(piece.as_bytes()).unwrap();
            connection
                .read(&mut buffer, expect)
                .map_err(|error| error.to_string())
        });
        each.collect()
    }

    #[test]
    fn an_answer_is_read_to_its_end_however_it_is_cut() {
        let pieces = ["HTTP/1.1 200 OK\r\ncontent-LENGTH:  5\r", "\n\r\nab", "cde"];
        assert_eq!(
            read(&pieces, 5),
            [Ok(Progress::More), Ok(Progress::More), Ok(Progress::Done)]
        );
        let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(&[last], 0), [Ok(Progress::DoneLast)]);
    }

    #[test]
    fn an_answer_that_is_not_as_expected_is_a_failure() {
        for (answer, why) in [
            (
                "HTTP/1.1 502 Bad Gateway\r\n\r\n",
                "answered `HTTP/1.1 502 Bad Gateway`",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
                "another length",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", "more came"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "declares no length",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "not a number"),
        ] {
            let found = read(&[answer], 2).remove(0);
            assert!(
                found.as_ref().is_err_and(|error| error.contains(why)),
                "{found:?}"
            );
        }
    }
}
