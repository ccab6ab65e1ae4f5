//! A client's connection under hyper, which is not closed over what the client still sends.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bound: how long what a client still sends is read and dropped after its answer. A socket closed over unread bytes
/// resets the connection, and the answer may be lost with it.
const LINGER: Duration = Duration::from_secs(2);

/// Whether the client may be in the middle of a request: it has sent something that was not read as one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unread(Arc<AtomicBool>);

impl Unread {
    fn set(&self, unread: bool) {
        self.0.store(unread, Relaxed);
    }
}

/// A connection whose end waits for the client's, for a short time, if a request was not read to its end.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: S,
    unread: Unread,
    /// Our side is closed.
    closed: bool,
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(crate) fn new(stream: S, unread: Unread) -> Self {
        Self {
            stream,
            unread,
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
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        // Nothing read: the client's side is closed, and nothing more can come.
        self.unread.set(buf.filled().len() > before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.closed {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.closed = true;
        }
        if this.unread.0.load(Relaxed) {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

/// A request's body, which tells when it was read to its end.
#[derive(Debug)]
pub(crate) struct Watched<B> {
    body: B,
    unread: Unread,
}

impl<B: Body> Watched<B> {
    pub(crate) fn new(body: B, unread: Unread) -> Self {
        unread.set(!body.is_end_stream());
        Self { body, unread }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.unread.set(false);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_unread_is_waited_for_and_not_for_ever() {
        let (mut client, server) = duplex(64);
        let unread = Unread::default();
        let mut server = Socket::new(server, unread.clone());
        client.write_all(b"part").await.unwrap();
        server.read_exact(&mut [0; 4]).await.unwrap();
        // The client sends on for a second, and never closes.
        let started = Instant::now();
        let sending = async {
            for _ in 0..10 {
                client.write_all(&[0; 1000]).await.unwrap();
                sleep_until(Instant::now() + Duration::from_millis(100)).await;
            }
        };
        let (ended, ()) = tokio::join!(server.shutdown(), sending);
        ended.unwrap();
        assert_eq!(started.elapsed(), LINGER);

        // One whose request was read whole is not waited for.
        let (mut client, server) = duplex(64);
        let mut server = Socket::new(server, unread.clone());
        client.write_all(b"whole").await.unwrap();
        server.read_exact(&mut [0; 5]).await.unwrap();
        let body = Watched::new(Full::new(Bytes::from("x")), unread.clone());
        assert!(unread.0.load(Relaxed));
        body.collect().await.unwrap();
        let started = Instant::now();
        server.shutdown().await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_closes_is_not_waited_for() {
        let (mut client, server) = duplex(64);
        let mut server = Socket::new(server, Unread::default());
        client.write_all(b"part").await.unwrap();
        server.read_exact(&mut [0; 4]).await.unwrap();
        client.shutdown().await.unwrap();
        let started = Instant::now();
        server.shutdown().await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
