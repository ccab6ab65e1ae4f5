//! A client that sends bytes and reads bytes, for requests that no honest client makes.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;

use crate::deadline::within;
use crate::wire::{Framing, Head, Wire, values};

/// A TCP connection in the hand of a test.
#[derive(Debug)]
pub struct Raw {
    wire: Wire,
}

/// A response as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    /// The status line, without its end.
    pub line: String,
    /// The status.
    pub status: u16,
    /// The header fields, in the order and spelling of the wire.
    pub headers: Vec<(String, String)>,
    /// The body, with chunks put together.
    pub body: Bytes,
    /// The trailers of a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = within(format_args!("a connection to {addr}"), TcpStream::connect(addr)).await;
        Self {
            wire: Wire::new(stream.unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"))),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    ///
    /// If the other side has gone. Use [`try_send`](Self::try_send) where it may.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes)
            .await
            .expect("the other side takes what is sent");
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// If the other side has gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        within("bytes to be sent", self.wire.write(bytes.as_ref())).await
    }

    /// Reads one response: an interim one (1xx) counts as one.
    ///
    /// # Panics
    ///
    /// If none comes, or a broken one.
    pub async fn read_response(&mut self) -> RawAnswer {
        self.try_read_response(true).await.expect("a response comes")
    }

    /// Reads the response to a HEAD request: it declares a body that does not come.
    ///
    /// # Panics
    ///
    /// If none comes, or a broken one.
    pub async fn read_response_to_head(&mut self) -> RawAnswer {
        self.try_read_response(false).await.expect("a response comes")
    }

    /// Reads one response, with its body unless it has none by nature or `with_body` is false.
    ///
    /// # Errors
    ///
    /// If the connection ends before the response does, or what comes is not a response.
    pub async fn try_read_response(&mut self, with_body: bool) -> std::io::Result<RawAnswer> {
        within("a response", async {
            let head = self.wire.head().await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
            let status = status(&head).ok_or(std::io::ErrorKind::InvalidData)?;
            let framing = if with_body && !matches!(status, 100..=199 | 204 | 304) {
                head.framing()?.unwrap_or(Framing::UntilClose)
            } else {
                Framing::Length(0)
            };
            let mut body = BytesMut::new();
            let trailers = self
                .wire
                .body(framing, &mut |piece| body.extend_from_slice(&piece))
                .await?;
            Ok(RawAnswer {
                line: head.line,
                status,
                headers: head.fields,
                body: body.freeze(),
                trailers,
            })
        })
        .await
    }

    /// Reads until the other side closes; a reset counts as that.
    pub async fn read_to_end(&mut self) -> Bytes {
        let mut all = BytesMut::new();
        // Only how much came before the end is asked for, not how it ended.
        let _ended = within(
            "the end of the connection",
            self.wire.rest(&mut |piece| all.extend_from_slice(&piece)),
        )
        .await;
        all.freeze()
    }

    /// Ends our side of the connection; the other may still answer.
    pub async fn shutdown(&mut self) {
        within("our side to end", self.wire.shutdown())
            .await
            .expect("the connection is open");
    }

    /// Drops the connection with a reset instead of an orderly end.
    pub fn reset(self) {
        self.wire.stream().set_zero_linger().expect("the socket is open");
    }
}

impl RawAnswer {
    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        values(&self.headers, name).next()
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

fn status(head: &Head) -> Option<u16> {
    let (version, rest) = head.line.split_once(' ')?;
    let status = rest.split(' ').next()?;
    (version.starts_with("HTTP/1.") && status.len() == 3).then(|| status.parse().ok())?
}
