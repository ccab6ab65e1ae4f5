//! The beginning of a client's connection: the TLS handshake, and which version of HTTP is spoken.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::{Accept, TlsAcceptor};

use crate::io::stream::ClientStream;
use crate::tls_client::H2;

/// What a client that knows beforehand that HTTP/2 is spoken here begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection of which it is not known yet what is spoken.
pub(crate) struct Opening {
    stage: Stage,
    /// Armed with the first wait.
    timer: Option<Pin<Box<Sleep>>>,
    limit: Duration,
}

enum Stage {
    /// Plain, and the preface may come.
    Peek(TcpStream, BytesMut),
    /// TLS, and nothing has come.
    Silent(TcpStream, Arc<ServerConfig>),
    Handshake(Box<Accept<TcpStream>>),
    Done,
}

/// A connection of which that is known.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) stream: ClientStream,
    pub(crate) http2: bool,
    /// The server name that the client asked for.
    pub(crate) server_name: Option<Box<str>>,
}

impl Opening {
    /// One that has to be open within `limit`; with `tls`, that is spoken.
    pub(crate) fn new(stream: TcpStream, tls: Option<Arc<ServerConfig>>, limit: Duration) -> Self {
        Self {
            stage: match tls {
                Some(config) => Stage::Silent(stream, config),
                None => Stage::Peek(stream, BytesMut::new()),
            },
            timer: None,
            limit,
        }
    }

    /// One that leads nowhere.
    pub(crate) fn done() -> Self {
        Self {
            stage: Stage::Done,
            timer: None,
            limit: Duration::ZERO,
        }
    }

    /// Whether the client has not sent anything.
    pub(crate) fn is_silent(&self) -> bool {
        match &self.stage {
            Stage::Peek(_, read) => read.is_empty(),
            Stage::Silent(..) => true,
            Stage::Handshake(_) | Stage::Done => false,
        }
    }

    /// `None` when the client went without a word.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Opened>>> {
        if let Poll::Ready(opened) = self.poll_open(cx) {
            return Poll::Ready(opened);
        }
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Opened>>> {
        loop {
            match &mut self.stage {
                Stage::Peek(stream, read) => {
                    let ended = ready!(read_some(stream, read, cx))?;
                    let http2 = read.starts_with(PREFACE);
                    if !ended && !http2 && PREFACE.starts_with(read) {
                        continue;
                    }
                    let Stage::Peek(stream, read) = std::mem::replace(&mut self.stage, Stage::Done) else {
                        continue;
                    };
                    let silent = read.is_empty();
                    let opened = Opened {
                        stream: ClientStream::Plain(stream, read.freeze()),
                        http2,
                        server_name: None,
                    };
                    return Poll::Ready(Ok((!silent).then_some(opened)));
                }
                Stage::Silent(stream, config) => {
                    ready!(stream.poll_read_ready(cx))?;
                    let acceptor = TlsAcceptor::from(Arc::clone(config));
                    let Stage::Silent(stream, _) = std::mem::replace(&mut self.stage, Stage::Done) else {
                        continue;
                    };
                    self.stage = Stage::Handshake(Box::new(acceptor.accept(stream)));
                }
                Stage::Handshake(accept) => {
                    let stream = ready!(Pin::new(&mut **accept).poll(cx))?;
                    self.stage = Stage::Done;
                    let (_, session) = stream.get_ref();
                    return Poll::Ready(Ok(Some(Opened {
                        http2: session.alpn_protocol() == Some(H2),
                        server_name: session.server_name().map(Into::into),
                        stream: ClientStream::Tls(Box::new(stream)),
                    })));
                }
                Stage::Done => return Poll::Ready(Ok(None)),
            }
        }
    }
}

/// Reads what is there; true at the end.
fn read_some(stream: &mut TcpStream, read: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
    let mut bytes = [0; 2048];
    let mut buf = ReadBuf::new(&mut bytes);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    read.extend_from_slice(buf.filled());
    Poll::Ready(Ok(buf.filled().is_empty()))
}

impl Opened {
    /// A plain connection on which nothing but HTTP/1 is spoken.
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self {
            stream: ClientStream::Plain(stream, Bytes::new()),
            http2: false,
            server_name: None,
        }
    }
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}
