//! A client's connection under hyper: counts bytes, bounds stalled writes, keeps from hyper what is not to be parsed, and
//! fills in its bare answers.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use super::Pace;
use super::stream::ClientStream;
use super::watch::Watch;
use crate::conn::Conn;
use crate::engine;
use crate::failure::Failure;
use crate::framing::{Framing, Reading};

/// A client's connection.
#[derive(Debug)]
pub(crate) struct ClientIo {
    stream: ClientStream,
    /// Of HTTP/1, whose heads hyper refuses by itself.
    is_http1: bool,
    /// Where one is in the messages of HTTP/1.
    framing: Framing,
    /// What hyper still reads in place of what was refused.
    poison: &'static [u8],
    /// What came behind a request, before its answer.
    ahead: Bytes,
    /// Whether a client that closes its side is gone.
    may_leave: bool,
    conn: Arc<Conn>,
    /// Of HTTP/2.
    watch: Option<Box<Watch>>,
    write: Pace,
    /// What goes out in place of hyper's bare answer.
    instead: Option<Bytes>,
    /// How many requests had begun when the last of them was answered to its end, as far as has been seen.
    settled: u32,
    /// How many requests had begun when bytes were read last.
    heads: u32,
    /// Bytes read since the last of them.
    since: usize,
    /// Our side is closed.
    closed: bool,
    /// How long the client may still send.
    linger: Option<Pin<Box<Sleep>>>,
}

/// Bound: how long what a client still sends is read and dropped after its answer. A socket closed over unread bytes
/// resets the connection, and the answer may be lost with it.
const LINGER: Duration = Duration::from_secs(2);

impl ClientIo {
    pub(crate) fn new(stream: ClientStream, http2: bool, conn: Arc<Conn>) -> Self {
        let settings = conn.gateway.settings();
        Self {
            stream,
            is_http1: !http2,
            framing: Framing::new(),
            poison: b"",
            ahead: Bytes::new(),
            may_leave: !http2 && !settings.half_close,
            watch: http2.then(|| Box::new(Watch::new(settings.limits.frames))),
            write: Pace::new(settings.client_timeout, settings.limits.min_rate),
            conn,
            instead: None,
            settled: 0,
            heads: 0,
            since: 0,
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

    /// Looks at what has been read, from `before` on, and takes out of it what hyper is not to see.
    fn inspect(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let read = buf.filled().get(before..).unwrap_or_default();
        let heads = self.conn.heads.load(Relaxed);
        if heads != self.heads {
            (self.heads, self.since) = (heads, 0);
        }
        self.since += read.len();
        match self.framing.read(read) {
            Reading::Whole => {}
            Reading::Refused { at, instead, why } => {
                debug!(client = %self.conn.client, why, "refused what a client sent");
                buf.set_filled(before + at);
                self.poison = instead;
                self.put_poison(buf);
            }
            Reading::Undecided { at } => {
                let rest = read.get(at..).unwrap_or_default();
                self.ahead = Bytes::from([rest, &self.ahead].concat());
                buf.set_filled(before + at);
            }
        }
    }

    fn put_poison(&mut self, buf: &mut ReadBuf<'_>) {
        let (now, later) = self.poison.split_at(self.poison.len().min(buf.remaining()));
        buf.put_slice(now);
        self.poison = later;
    }

    /// Reads what is HTTP, or has been agreed not to be.
    fn poll_messages(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.framing.is_undecided() {
            self.decide();
        }
        if !self.poison.is_empty() {
            self.put_poison(buf);
            return Poll::Ready(Ok(()));
        }
        if self.framing.is_over() && !self.conn.tunnel.load(Relaxed) {
            return Poll::Pending; // hyper has what it needs to answer and to close
        }
        let undecided = self.framing.is_undecided();
        if !self.ahead.is_empty() {
            if undecided {
                return Poll::Pending; // it is polled again once it has answered
            }
            let length = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(length));
        } else {
            ready!(self.poll_stream(cx, buf))?;
        }
        self.inspect(buf, before);
        let is_end = undecided && !self.ahead.is_empty();
        if is_end {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Whether what follows a request for an upgrade is HTTP, if that is known.
    fn decide(&mut self) {
        let begun = self.conn.heads.load(Relaxed) == self.framing.heads();
        if self.conn.tunnel.load(Relaxed) {
            self.framing.end();
        } else if begun && self.conn.in_flight.load(Relaxed) == 0 {
            self.framing.decline();
        }
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if let Some(watch) = &mut self.watch {
            watch.read(read, &self.conn);
        }
        let counters = &self.conn.worker.counters;
        counters.bytes_in.fetch_add(read.len() as u64, Relaxed);
        Poll::Ready(Ok(()))
    }

    /// Fails if the client has left while it waits for its answer. hyper would look as well, but makes room for 8 KiB before
    /// each look, while the head that it has read is in use: memory that each request would have to be given. What comes
    /// in place of the end is read later.
    fn unless_gone(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        /// Bound: what is read of it at once.
        const LOOK: usize = 1024;
        let conn = &self.conn;
        let waits = self.may_leave
            && conn.in_flight.load(Relaxed) > 0
            && self.framing.is_between()
            && self.framing.heads() == conn.heads.load(Relaxed)
            && !conn.tunnel.load(Relaxed);
        if !waits || !self.ahead.is_empty() {
            return Ok(());
        }
        let mut room = [const { MaybeUninit::uninit() }; LOOK];
        let mut buf = ReadBuf::uninit(&mut room);
        if let Poll::Ready(read) = self.poll_stream(cx, &mut buf) {
            read?;
            if buf.filled().is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.ahead = Bytes::copy_from_slice(buf.filled());
        }
        Ok(())
    }

    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(result) => {
                self.write.moved(result.as_ref().map_or(0, |written| *written));
                if let Ok(written) = result {
                    let order = match &mut self.watch {
                        Some(watch) => watch.wrote(bufs, written, &self.conn),
                        None => 0,
                    };
                    if self.is_calmed() {
                        cx.waker().wake_by_ref(); // nothing else may: it ends when it is read from
                    }
                    let moved = (written as u64).wrapping_sub(order);
                    self.conn.written.fetch_add(moved, Relaxed);
                    self.conn
                        .worker
                        .counters
                        .bytes_out
                        .fetch_add(written as u64, Relaxed);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                self.unless_gone(cx)?;
                self.poll_patience(cx)
            }
        }
    }

    /// Fails what the client keeps waiting for too long, or takes too little of.
    fn poll_patience<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.conn.tunnel.load(Relaxed) {
            return Poll::Pending;
        }
        ready!(self.write.poll(cx));
        self.conn.worker.counters.slow_clients.fetch_add(1, Relaxed);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ends a connection on which the client sent too much: tells it so, and drops what it still sends for a while, for a
    /// socket closed over unread bytes could cost it that word.
    fn poll_calm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(watch) = self.watch.as_mut().filter(|watch| !watch.farewell().is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, watch.farewell()) {
                Poll::Ready(Ok(said)) if said > 0 => watch.said(said),
                _ => watch.said(usize::MAX), // it does not even read
            }
        }
        if !self.closed {
            let flushed = Pin::new(&mut self.stream).poll_flush(cx);
            self.closed = flushed.is_pending() || Pin::new(&mut self.stream).poll_shutdown(cx).is_ready();
        }
        self.poll_linger(cx)
    }

    /// Whether the client has sent too much of what is no request.
    fn is_calmed(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_over())
    }

    /// Whether every request that has begun is answered to its last byte: what is written now answers a head that is none,
    /// and no upstream has a say in it.
    fn is_settled(&self) -> bool {
        self.conn.in_flight.load(Relaxed) == 0 && self.conn.heads.load(Relaxed) == self.settled
    }

    /// Fails what the client keeps waiting for too long.
    fn unless_stalled(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if result.is_ready() {
            self.write.moved(0);
            return result;
        }
        self.poll_patience(cx)
    }

    /// Writes our answer; reports hyper's as written once ours is.
    fn write_instead(&mut self, cx: &mut Context<'_>, hyper_len: usize) -> Poll<io::Result<usize>> {
        while let Some(mut instead) = self.instead.take() {
            let result = Pin::new(&mut self.stream).poll_write(cx, &instead);
            let result = self.wrote(cx, &[], result);
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
        if this.is_calmed() {
            ready!(this.poll_calm(cx));
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if this.is_http1 {
            this.poll_messages(cx, buf)
        } else {
            this.poll_stream(cx, buf)
        }
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
                431 if self.framing.line() > self.conn.gateway.settings().limits.target => {
                    Failure::UriTooLong
                }
                // All of the head fits, so there are too many of what is in it.
                431 if self.since < self.conn.gateway.settings().limits.head => Failure::TooManyHeaders,
                431 => Failure::HeadTooLarge,
                _ => Failure::BadRequest,
            };
            self.instead = Some(engine::refuse_head(&self.conn, &failure));
            self.conn.unread.store(true, Relaxed);
        }
        if self.instead.is_some() {
            return self.write_instead(cx, buf.len());
        }
        if self.is_calmed() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, &[io::IoSlice::new(buf)], result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        if self.is_calmed() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, bufs, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_calmed() {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        ready!(this.unless_stalled(cx, flushed))?;
        this.unless_gone(cx)?;
        // hyper flushes when all it has is written.
        if this.conn.in_flight.load(Relaxed) == 0 {
            this.settled = this.conn.heads.load(Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_calmed() {
            return this.poll_calm(cx).map(Ok);
        }
        if !this.closed {
            let closed = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.unless_stalled(cx, closed))?;
            this.closed = true;
        }
        // A client of HTTP/2 may be giving windows for what it has just been sent.
        if this.conn.unread.load(Relaxed) || !this.is_http1 {
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
