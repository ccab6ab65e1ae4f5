//! An upstream's connection under hyper: bounds the time between two reads and between two writes.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stall;
use super::stream::UpstreamStream;
use crate::lock;

/// What an upstream's connection shares with the exchange that uses it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// An exchange waits for the connection. While none does, nothing stalls.
    busy: AtomicBool,
    /// The request's body is still coming from the client: it is not the upstream who is late.
    uploading: AtomicBool,
    /// A byte of the request has been written.
    begun: AtomicBool,
    /// A byte of the response has come.
    answered: AtomicBool,
    late: AtomicBool,
    /// Bytes that have come before the response's head was taken.
    early: AtomicU32,
    read_limit: AtomicU32,
    write_limit: AtomicU32,
    /// What is written next begins with a head that is to be kept.
    keeps_head: AtomicBool,
    /// The head that was kept last. Its room serves all requests of the connection.
    head: Mutex<Vec<u8>>,
}

impl Link {
    /// An exchange takes the connection.
    pub(crate) fn begin(&self, read: Duration, write: Duration, uploading: bool) {
        let millis = |limit: Duration| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        self.read_limit.store(millis(read), Relaxed);
        self.write_limit.store(millis(write), Relaxed);
        self.uploading.store(uploading, Relaxed);
        self.begun.store(false, Relaxed);
        self.answered.store(false, Relaxed);
        self.early.store(0, Relaxed);
        self.busy.store(true, Relaxed);
    }

    /// The head of the request that is sent next may be needed once more. Copied as it is written, it costs a fraction of
    /// a copied header map.
    pub(crate) fn keep_head(&self) {
        self.keeps_head.store(true, Relaxed);
    }

    /// The head that was kept, as it was written; none if none has been.
    pub(crate) fn with_head<T>(&self, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let written = !self.keeps_head.load(Relaxed);
        written.then(|| read(&lock(&self.head))).flatten()
    }

    /// Looks at what hyper is about to write.
    ///
    /// Invariant: it is what hyper writes, nothing is encrypted in between; and hyper writes a head whole, at the start of a
    /// write.
    fn note(&self, written: &[u8]) {
        if self.keeps_head.load(Relaxed) {
            self.keeps_head.store(false, Relaxed);
            let mut head = lock(&self.head);
            head.clear();
            head.extend_from_slice(written);
        }
    }

    /// The request has been handed over to its end.
    pub(crate) fn uploaded(&self) {
        self.uploading.store(false, Relaxed);
    }

    /// The response's head has been taken.
    pub(crate) fn taken(&self) {
        self.early.store(TAKEN, Relaxed);
    }

    /// Counts what comes before that; false if it is too much.
    fn bears(&self, read: usize) -> bool {
        let early = self.early.load(Relaxed);
        if early == TAKEN || !self.busy.load(Relaxed) {
            return true;
        }
        let early = early.saturating_add(u32::try_from(read).unwrap_or(u32::MAX));
        self.early.store(early.min(TAKEN - 1), Relaxed);
        early <= EARLY
    }

    /// The exchange is over.
    pub(crate) fn end(&self) {
        self.busy.store(false, Relaxed);
    }

    pub(crate) fn is_uploading(&self) -> bool {
        self.uploading.load(Relaxed)
    }

    /// Whether a byte of the response has come.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    /// Whether the upstream was given up because it stalled.
    pub(crate) fn is_late(&self) -> bool {
        self.late.load(Relaxed)
    }

    /// The upstream is given up.
    pub(crate) fn late(&self) -> io::Error {
        self.late.store(true, Relaxed);
        io::ErrorKind::TimedOut.into()
    }
}

/// Bound: interim responses before the one that counts, in bytes; several times what one head may take.
const EARLY: u32 = 1 << 20;

/// Nothing is early any more.
const TAKEN: u32 = u32::MAX;

fn millis(limit: &AtomicU32) -> Duration {
    Duration::from_millis(limit.load(Relaxed).into())
}

/// An upstream's connection: bounds the time between two successive reads and between two successive writes.
#[derive(Debug)]
pub(crate) struct UpstreamIo {
    stream: UpstreamStream,
    link: Arc<Link>,
    read: Stall,
    write: Stall,
}

impl UpstreamIo {
    pub(crate) fn new(stream: UpstreamStream, link: Arc<Link>) -> Self {
        Self {
            stream,
            link,
            read: Stall::default(),
            write: Stall::default(),
        }
    }

    /// What a write of so many bytes came to: progress counts for both sides, no progress is timed.
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
        bytes: usize,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = result {
            self.write.end();
            if self.link.is_uploading() {
                self.read.restart();
            }
            if written.is_ok() {
                self.link.begun.store(true, Relaxed);
                return Poll::Ready(written);
            }
            // Who closes in the middle of a body may have said why: what is left of the body is dropped, and the reading tells.
            let may_have_answered = self.link.is_uploading() && self.link.begun.load(Relaxed);
            return Poll::Ready(if may_have_answered { Ok(bytes) } else { written });
        }
        if !self.link.busy.load(Relaxed) {
            return Poll::Pending;
        }
        self.write
            .poll(cx, millis(&self.link.write_limit))
            .map(|()| Err(self.link.late()))
    }
}

impl AsyncRead for UpstreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            this.read.end();
            let read = buf.filled().len() - before;
            if read > 0 {
                this.link.answered.store(true, Relaxed);
            }
            if !this.link.bears(read) {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            return Poll::Ready(result);
        }
        if !this.link.busy.load(Relaxed) {
            this.read.end();
            return Poll::Pending;
        }
        while this.read.poll(cx, millis(&this.link.read_limit)).is_ready() {
            if !this.link.is_uploading() {
                return Poll::Ready(Err(this.link.late()));
            }
            this.read.restart();
        }
        Poll::Pending
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.link.note(buf);
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, result, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.link.note(bufs.first().map_or(&[], |first| first));
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, result, bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
