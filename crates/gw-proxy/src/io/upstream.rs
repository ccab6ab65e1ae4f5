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
    /// A write has failed of which nobody was told: nothing more is written.
    broken: AtomicBool,
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

    /// Whether the upstream has not got all that was written.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// Takes note of a write that failed. Who closes in the middle of a request may have said why: then the writer is told that
    /// all is well, what is left of the request is dropped, and the reading tells. Any other failure is the writer's to know.
    fn hushes(&self, error: &io::Error) -> bool {
        let is_closed = matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        );
        let hushed = is_closed && self.busy.load(Relaxed) && self.begun.load(Relaxed);
        if hushed {
            self.broken.store(true, Relaxed);
        }
        hushed
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
pub(crate) struct UpstreamIo<S = UpstreamStream> {
    stream: S,
    link: Arc<Link>,
    read: Stall,
    write: Stall,
}

impl<S> UpstreamIo<S> {
    pub(crate) fn new(stream: S, link: Arc<Link>) -> Self {
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
            return Poll::Ready(match written {
                Ok(written) => {
                    self.link.begun.store(true, Relaxed);
                    Ok(written)
                }
                Err(error) if self.link.hushes(&error) => Ok(bytes),
                Err(error) => Err(error),
            });
        }
        if !self.link.busy.load(Relaxed) {
            return Poll::Pending;
        }
        self.write
            .poll(cx, millis(&self.link.write_limit))
            .map(|()| Err(self.link.late()))
    }

    /// What flushing or closing came to.
    fn settled(&self, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        result.map(|settled| {
            settled.or_else(|error| {
                if self.link.hushes(&error) {
                    Ok(())
                } else {
                    Err(error)
                }
            })
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for UpstreamIo<S> {
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

/// Invariant: once a write was hushed up nothing is written any more, or what is written would have a hole.
impl<S: AsyncWrite + Unpin> AsyncWrite for UpstreamIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.link.is_broken() {
            return Poll::Ready(Ok(buf.len()));
        }
        self.link.note(buf);
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, result, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        if self.link.is_broken() {
            return Poll::Ready(Ok(bytes));
        }
        self.link.note(bufs.first().map_or(&[], |first| first));
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, result, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.link.is_broken() {
            return Poll::Ready(Ok(()));
        }
        // Over TLS what was written goes out only now.
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.settled(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.link.is_broken() {
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.settled(result)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Takes what is written, but where a failure is due.
    #[derive(Default)]
    struct Faulty {
        taken: Vec<u8>,
        /// How each write and each flush ends, by the system's number of the error; all is well where nothing is said.
        writes: VecDeque<Option<i32>>,
        flushes: VecDeque<Option<i32>>,
    }

    impl AsyncWrite for Faulty {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            if let Some(Some(error)) = self.writes.pop_front() {
                return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
            }
            self.taken.extend_from_slice(buf);
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(match self.flushes.pop_front() {
                Some(Some(error)) => Err(io::Error::from_raw_os_error(error)),
                _ => Ok(()),
            })
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }
    }

    const PIPE: Option<i32> = Some(32);
    const RESET: Option<i32> = Some(104);
    const NO_BUFFERS: Option<i32> = Some(105);

    fn upstream<const W: usize, const F: usize>(
        writes: [Option<i32>; W],
        flushes: [Option<i32>; F],
    ) -> UpstreamIo<Faulty> {
        let link = Arc::new(Link::default());
        let limit = Duration::from_secs(1);
        link.begin(limit, limit, true);
        let faulty = Faulty {
            writes: writes.into(),
            flushes: flushes.into(),
            ..Faulty::default()
        };
        UpstreamIo::new(faulty, link)
    }

    #[tokio::test]
    async fn after_a_write_that_was_hushed_up_nothing_is_written() {
        for error in [PIPE, RESET] {
            let mut io = upstream([None, error], []);
            io.write_all(b"head").await.unwrap();
            assert!(!io.link.is_broken());
            // What the system would take again would have a hole before it.
            for piece in [&b"lost"[..], b"more"] {
                assert_eq!(io.write(piece).await.unwrap(), 4);
            }
            let pieces = [io::IoSlice::new(b"and"), io::IoSlice::new(b"more")];
            assert_eq!(io.write_vectored(&pieces).await.unwrap(), 7);
            io.flush().await.unwrap();
            io.shutdown().await.unwrap();
            assert_eq!(io.stream.taken, b"head");
            assert!(io.link.is_broken());
        }
    }

    #[tokio::test]
    async fn what_is_flushed_in_vain_is_hushed_up_to_the_last_piece() {
        let mut io = upstream([], [None, PIPE]);
        io.write_all(b"head").await.unwrap();
        io.flush().await.unwrap();
        io.write_all(b"last").await.unwrap();
        io.link.uploaded();
        io.flush().await.unwrap();
        assert!(io.link.is_broken());
        let mut io = upstream([None, RESET], []);
        io.write_all(b"head").await.unwrap();
        io.link.uploaded();
        io.write_all(b"last").await.unwrap();
        assert!(io.link.is_broken());
    }

    #[tokio::test]
    async fn other_failures_are_told() {
        // The system was short of something: the upstream is still there, and waits.
        let mut io = upstream([None, NO_BUFFERS], []);
        io.write_all(b"head").await.unwrap();
        io.write_all(b"body").await.unwrap_err();
        // Nothing has been sent: the request may go elsewhere.
        upstream([PIPE], []).write_all(b"head").await.unwrap_err();
        upstream([], [PIPE]).flush().await.unwrap_err();
        // Nobody waits.
        let mut io = upstream([None, PIPE], []);
        io.write_all(b"head").await.unwrap();
        io.link.end();
        io.write_all(b"more").await.unwrap_err();
        io.shutdown().await.unwrap_err();
        assert!(!io.link.is_broken());
    }
}
