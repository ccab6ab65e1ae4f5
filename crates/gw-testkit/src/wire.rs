//! HTTP/1.1 as bytes on a connection: heads as they were sent, bodies by their framing.

use std::io::{Error, ErrorKind, Result};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Header fields or trailers, in order and in the sender's spelling.
pub(crate) type Fields = Vec<(String, String)>;

/// The first line and the fields of a message.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) fields: Fields,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Head {
    /// All values of a field, in order.
    pub(crate) fn values<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h str> {
        values(&self.fields, name)
    }

    /// The framing that the fields declare, if any. Two that disagree are an error, as they are a way to smuggle.
    pub(crate) fn framing(&self) -> Result<Option<Framing>> {
        let chunked = self
            .values("transfer-encoding")
            .next()
            .map(|coding| coding.eq_ignore_ascii_case("chunked"));
        let mut lengths = self.values("content-length");
        match (chunked, lengths.next(), lengths.next()) {
            (None, None, _) => Ok(None),
            (Some(true), None, _) => Ok(Some(Framing::Chunked)),
            (None, Some(length), None) if length.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Some(Framing::Length(
                    length
                        .parse()
                        .map_err(|_| malformed("content-length is too large"))?,
                )))
            }
            _ => Err(malformed(
                "the length of the body is declared twice or not understood",
            )),
        }
    }

    /// Whether a `Connection` field has this token.
    pub(crate) fn connection_has(&self, token: &str) -> bool {
        self.values("connection")
            .flat_map(|v| v.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    }
}

/// All values of a field among `fields`, in order.
pub(crate) fn values<'h>(fields: &'h Fields, name: &str) -> impl Iterator<Item = &'h str> {
    fields
        .iter()
        .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.as_str())
}

/// A connection with what has been read ahead of it.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    ahead: BytesMut,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            ahead: BytesMut::new(),
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Ends our side; the other may go on sending.
    pub(crate) async fn shutdown(&mut self) -> Result<()> {
        self.stream.shutdown().await
    }

    /// The next head; `None` if the other side closed instead.
    pub(crate) async fn head(&mut self) -> Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                let head = self.ahead.split_to(end + 4);
                return parse(head.get(..end).unwrap_or_default()).map(Some);
            }
            if self.ahead.len() > HEAD_LIMIT {
                return Err(malformed("the head does not end"));
            }
            if self.read().await? == 0 {
                return if self.ahead.is_empty() {
                    Ok(None)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Hands the body to `sink` piece by piece as it comes; returns the trailers.
    pub(crate) async fn body(
        &mut self,
        framing: Framing,
        sink: &mut (impl FnMut(Bytes) + Send),
    ) -> Result<Fields> {
        match framing {
            Framing::Length(length) => self.exactly(length, sink).await.map(|()| Fields::new()),
            Framing::Chunked => self.chunks(sink).await,
            Framing::UntilClose => {
                self.rest(sink).await?;
                Ok(Fields::new())
            }
        }
    }

    /// Reads until the other side ends; what was read ahead comes first.
    pub(crate) async fn rest(&mut self, sink: &mut (impl FnMut(Bytes) + Send)) -> Result<()> {
        loop {
            if !self.ahead.is_empty() {
                sink(self.ahead.split().freeze());
            }
            if self.read().await? == 0 {
                return Ok(());
            }
        }
    }

    /// Waits until the other side has closed, keeping what it sends before.
    pub(crate) async fn closed(&mut self) {
        // A failed read is a closed connection too.
        while self.ahead.len() < HEAD_LIMIT {
            if self.read().await.unwrap_or(0) == 0 {
                return;
            }
        }
        std::future::pending().await
    }

    async fn exactly(&mut self, mut left: u64, sink: &mut (impl FnMut(Bytes) + Send)) -> Result<()> {
        while left > 0 {
            if self.ahead.is_empty() && self.read().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let take = left.min(self.ahead.len() as u64);
            sink(self.ahead.split_to(take as usize).freeze());
            left -= take;
        }
        Ok(())
    }

    async fn chunks(&mut self, sink: &mut (impl FnMut(Bytes) + Send)) -> Result<Fields> {
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size =
                u64::from_str_radix(size, 16).map_err(|_| malformed("a chunk's size is not a number"))?;
            if size == 0 {
                break;
            }
            self.exactly(size, sink).await?;
            if !self.line().await?.is_empty() {
                return Err(malformed("a chunk is longer than its size"));
            }
        }
        let mut trailers = Fields::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.push(field(&line)?);
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                let line = self.ahead.split_to(end);
                self.ahead.advance(2);
                return Ok(latin1(&line));
            }
            if self.ahead.len() > HEAD_LIMIT {
                return Err(malformed("a line does not end"));
            }
            if self.read().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads what is there; 0 at the end. Cancel safe.
    async fn read(&mut self) -> Result<usize> {
        self.ahead.reserve(64 * 1024);
        self.stream.read_buf(&mut self.ahead).await
    }
}

const HEAD_LIMIT: usize = 1 << 20;

fn parse(head: &[u8]) -> Result<Head> {
    let text = latin1(head);
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let fields = lines.map(field).collect::<Result<_>>()?;
    Ok(Head { line, fields })
}

fn field(line: impl AsRef<str>) -> Result<(String, String)> {
    let (name, value) = line
        .as_ref()
        .split_once(':')
        .ok_or_else(|| malformed("a field has no colon"))?;
    if name.is_empty() || name.contains(|c: char| c.is_ascii_whitespace()) {
        return Err(malformed("a field's name is empty or has a space"));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

/// One character per byte, so that nothing sent is lost.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn find(bytes: &[u8], end: &[u8]) -> Option<usize> {
    bytes.windows(end.len()).position(|window| window == end)
}

fn malformed(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}
