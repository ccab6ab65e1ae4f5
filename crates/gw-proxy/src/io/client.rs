//! A client's connection under hyper: counts bytes, bounds stalled writes, and fills in hyper's own bare answers.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Stall;
use super::stream::ClientStream;
use crate::conn::Conn;
use crate::engine;
use crate::failure::Failure;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct ClientIo {
    stream: ClientStream,
    /// Of HTTP/1, whose heads hyper refuses by itself.
    is_http1: bool,
    conn: Arc<Conn>,
    write: Stall,
    /// What goes out in place of hyper's bare answer.
    instead: Option<Bytes>,
    /// How many requests had begun when the last of them was answered to its end, as far as has been seen.
    settled: u32,
    /// How many requests had begun when the next one's line was measured.
    heads: u32,
    line: Line,
    /// Our side is closed.
    closed: bool,
    /// How long the client may still send.
    linger: Option<Pin<Box<Sleep>>>,
}

/// Bound: how long what a client still sends is read and dropped after its answer. A socket closed over unread bytes
/// resets the connection, and the answer may be lost with it.
const LINGER: Duration = Duration::from_secs(2);

/// The next request's line, so far.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    length: usize,
    complete: bool,
}

impl ClientIo {
    pub(crate) fn new(stream: ClientStream, http2: bool, conn: Arc<Conn>) -> Self {
        Self {
            stream,
            is_http1: !http2,
            conn,
            write: Stall::default(),
            instead: None,
            settled: 0,
            heads: 0,
            line: Line::default(),
            closed: false,
            linger: None,
        }
    }

    /// Reads and drops what the client still sends, until it has seen that it is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut dropped = [0; 4096];
        let timer = self
            .linger
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + LINGER)));
        while timer.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut dropped);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(())
    }

    fn note_line(&mut self, read: &[u8]) {
        let heads = self.conn.heads.load(Relaxed);
        if heads != self.heads {
            (self.heads, self.line) = (heads, Line::default());
        }
        if !self.line.complete {
            let end = memchr::memchr(b'\n', read);
            self.line.length += end.unwrap_or(read.len());
            self.line.complete = end.is_some();
        }
    }

    fn wrote(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(result) => {
                self.write.end();
                if let Ok(written) = result {
                    self.conn.written.fetch_add(written as u64, Relaxed);
                    self.conn
                        .worker
                        .counters
                        .bytes_out
                        .fetch_add(written as u64, Relaxed);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                let limit = self.conn.gateway.settings().client_timeout;
                self.write
                    .poll(cx, limit)
                    .map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Whether every request that has begun is answered to its last byte: what is written now answers a head that is none,
    /// and no upstream has a say in it.
    fn is_settled(&self) -> bool {
        self.conn.in_flight.load(Relaxed) == 0 && self.conn.heads.load(Relaxed) == self.settled
    }

    /// Fails what the client keeps waiting for too long.
    fn unless_stalled(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if result.is_ready() {
            self.write.end();
            return result;
        }
        let limit = self.conn.gateway.settings().client_timeout;
        self.write
            .poll(cx, limit)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes our answer; reports hyper's as written once ours is.
    fn write_instead(&mut self, cx: &mut Context<'_>, hyper_len: usize) -> Poll<io::Result<usize>> {
        while let Some(mut instead) = self.instead.take() {
            let result = Pin::new(&mut self.stream).poll_write(cx, &instead);
            let result = self.wrote(cx, result);
            if let Poll::Ready(Ok(written)) = result {
                instead.advance(written);
            }
            if instead.has_remaining() {
                self.instead = Some(instead);
            }
            if ready!(result)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(hyper_len))
    }
}

/// Which failure hyper answered by itself, if this is such an answer: nothing but a status, a length and a date.
///
/// No answer of the gateway looks like that, each carries the request's id.
fn bare_answer(bytes: &[u8]) -> Option<u16> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 ").filter(|rest| rest.len() < 160)?;
    let status = match rest.get(..4)? {
        b"400 " => 400,
        b"414 " => 414,
        b"431 " => 431,
        _ => return None,
    };
    let text = std::str::from_utf8(rest).ok()?;
    let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n").skip(1);
    let known = |line: &str| {
        ["content-length: 0", "date: ", "connection: close"]
            .iter()
            .any(|l| line.starts_with(l))
    };
    lines.all(known).then_some(status)
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if this.is_http1 {
            this.note_line(read);
        }
        this.conn
            .worker
            .counters
            .bytes_in
            .fetch_add(read.len() as u64, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_http1
            && self.instead.is_none()
            && self.is_settled()
            && let Some(status) = bare_answer(buf)
        {
            let failure = match status {
                414 => Failure::UriTooLong,
                431 if self.line.length > self.conn.gateway.settings().limits.target => Failure::UriTooLong,
                431 => Failure::HeadTooLarge,
                _ => Failure::BadRequest,
            };
            self.instead = Some(engine::refuse_head(&self.conn, &failure));
            self.conn.unread.store(true, Relaxed);
        }
        if self.instead.is_some() {
            return self.write_instead(cx, buf.len());
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        ready!(this.unless_stalled(cx, flushed))?;
        // hyper flushes when all it has is written.
        if this.conn.in_flight.load(Relaxed) == 0 {
            this.settled = this.conn.heads.load(Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.closed {
            let closed = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.unless_stalled(cx, closed))?;
            this.closed = true;
        }
        if this.conn.unread.load(Relaxed) {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::bare_answer;

    #[test]
    fn only_an_answer_without_any_header_of_ours_is_bare() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        assert_eq!(bare_answer(bare), Some(431));
        for other in [
            &b"HTTP/1.1 400 Bad Request\r\nx-kong-request-id: 1\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nHTTP/1.1",
            b"HTTP/1.1 400",
            b"",
        ] {
            assert_eq!(bare_answer(other), None);
        }
    }
}
