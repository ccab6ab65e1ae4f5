//! The beginning of a client's connection: who speaks, whether in TLS and with whom, and which version of HTTP.

mod hello;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::{Accept, TlsAcceptor};
use tracing::{debug, warn};

use crate::client_tls::ClientTls;
use crate::conn::Connection;
use crate::gateway::Gateway;
use crate::io::stream::{ClientStream, Raw, Socket};
use crate::listener::Speaks;
use crate::opening::hello::{Hello, Looked};
use crate::plan::RoutePlan;
use crate::proxy_protocol::{self, Origin, Read};
use crate::real_ip::Peer;
use crate::snapshot::Snapshot;
use crate::tls_client::H2;
use crate::worker::Worker;

/// What a client that knows beforehand that HTTP/2 is spoken here begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bound: bytes of a hello that is read to see whom it is for. A larger one is TLS's to refuse.
const HELLO: usize = 16 << 10;

/// A connection of which it is not known yet what is spoken.
pub(crate) struct Opening {
    stage: Stage,
    gateway: Arc<Gateway>,
    worker: Arc<Worker>,
    speaks: Speaks,
    /// As it was accepted.
    connection: Connection,
    /// Who speaks.
    peer: Peer,
    /// Armed with the first wait.
    timer: Option<Pin<Box<Sleep>>>,
    limit: Duration,
}

enum Stage {
    /// A header of the PROXY protocol comes first.
    Proxied(Socket, BytesMut),
    /// Plain, and the preface may come.
    Peek(Socket, BytesMut),
    /// TLS, and nothing has come.
    Silent(Raw),
    /// TLS, of which it is not known who ends it.
    Hello(Box<Greeting>),
    Handshake(Box<Accept<Raw>>),
    Done,
}

/// A client that says whom it wants to speak TLS with.
struct Greeting {
    socket: Socket,
    read: BytesMut,
    hello: Hello,
}

/// A connection of which it is known what is spoken.
#[derive(Debug)]
pub(crate) enum Opened {
    Http(Box<Http>),
    /// TLS that is not ended here: it goes to the service of this route.
    Passed(Box<Passed>),
}

/// A connection for HTTP.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) stream: ClientStream,
    pub(crate) http2: bool,
    pub(crate) peer: Peer,
    /// The server name that the client asked for.
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) tls: ClientTls,
}

/// A connection for somebody else.
#[derive(Debug)]
pub(crate) struct Passed {
    stream: Option<Raw>,
    pub(crate) peer: Peer,
    pub(crate) server_name: Box<str>,
    pub(crate) route: Arc<RoutePlan>,
    pub(crate) snapshot: Arc<Snapshot>,
}

impl Opening {
    /// One that has to be open within `limit`.
    pub(crate) fn new(
        socket: Socket,
        (gateway, worker): (&Arc<Gateway>, &Arc<Worker>),
        (connection, speaks): (Connection, Speaks),
        limit: Duration,
    ) -> Self {
        let peer = Peer {
            address: connection.client,
            unix: socket.is_unix(),
        };
        let mut opening = Self {
            stage: Stage::Done,
            gateway: Arc::clone(gateway),
            worker: Arc::clone(worker),
            speaks,
            connection,
            peer,
            timer: None,
            limit,
        };
        opening.stage = match speaks.proxied {
            true => Stage::Proxied(socket, BytesMut::new()),
            false => opening.begin(socket, BytesMut::new()),
        };
        opening
    }

    /// What is waited for once it is known who speaks.
    fn begin(&self, socket: Socket, read: BytesMut) -> Stage {
        if !self.speaks.tls {
            return Stage::Peek(socket, read);
        }
        if !self.gateway.snapshot_now().passages().is_empty() {
            return Stage::Hello(Box::new(Greeting {
                socket,
                read,
                hello: Hello::default(),
            }));
        }
        let read = read.freeze();
        Stage::Silent(Raw { socket, read })
    }

    /// Whether the client has not sent anything that asks for something.
    pub(crate) fn is_silent(&self) -> bool {
        match &self.stage {
            Stage::Proxied(..) => true,
            Stage::Peek(_, read) => read.is_empty(),
            Stage::Hello(greeting) => greeting.read.is_empty(),
            Stage::Silent(raw) => raw.read.is_empty(),
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
            let opened = match &mut self.stage {
                Stage::Proxied(..) => ready!(self.poll_proxied(cx))?,
                Stage::Peek(..) => return self.poll_preface(cx).map_ok(Some),
                Stage::Silent(raw) => {
                    if raw.read.is_empty() {
                        ready!(raw.socket.poll_read_ready(cx))?;
                    }
                    let Stage::Silent(raw) = std::mem::replace(&mut self.stage, Stage::Done) else {
                        continue;
                    };
                    self.stage = self.handshake(raw);
                    continue;
                }
                Stage::Hello(..) => ready!(self.poll_hello(cx))?,
                Stage::Handshake(accept) => {
                    let stream = ready!(Pin::new(&mut **accept).poll(cx))?;
                    self.stage = Stage::Done;
                    let (_, session) = stream.get_ref();
                    return Poll::Ready(Ok(Some(Opened::Http(Box::new(Http {
                        http2: session.alpn_protocol() == Some(H2),
                        peer: self.peer,
                        server_name: session.server_name().map(Into::into),
                        tls: ClientTls::new(self.gateway.tls(), self.speaks.verify, session),
                        stream: ClientStream::Tls(Box::new(stream)),
                    })))));
                }
                Stage::Done => return Poll::Ready(Ok(None)),
            };
            match opened {
                Some(opened) => return Poll::Ready(Ok(Some(opened))),
                None if matches!(self.stage, Stage::Done) => return Poll::Ready(Ok(None)),
                None => {}
            }
        }
    }

    /// Reads the header, and goes on with what follows it.
    fn poll_proxied(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Opened>>> {
        let Stage::Proxied(socket, read) = &mut self.stage else {
            return Poll::Ready(Ok(None));
        };
        let (length, origin) = loop {
            match proxy_protocol::read(read) {
                Ok(Read::Whole(length, origin)) => break (length, origin),
                Ok(Read::Part) => {}
                Err(error) => return Poll::Ready(Err(self.refuse(error))),
            }
            if ready!(read_some(socket, read, cx))? {
                let silent = read.is_empty();
                self.stage = Stage::Done;
                return match silent {
                    true => Poll::Ready(Ok(None)), // somebody has looked whether we are there
                    false => Poll::Ready(Err(self.refuse(proxy_protocol::Malformed::Missing))),
                };
            }
        };
        let Stage::Proxied(socket, mut read) = std::mem::replace(&mut self.stage, Stage::Done) else {
            return Poll::Ready(Ok(None));
        };
        drop(read.split_to(length));
        self.come_from(origin);
        self.stage = self.begin(socket, read);
        Poll::Ready(Ok(None))
    }

    /// Whoever connects is believed, unless it is said who is.
    fn come_from(&mut self, origin: Origin) {
        let trusted = &self.gateway.settings().edge.trusted_ips;
        if !trusted.is_empty() && !trusted.trusts(&self.peer) {
            return;
        }
        match origin {
            Origin::Unknown => {}
            Origin::Ip { source, .. } => {
                self.peer = Peer {
                    address: source,
                    unix: false,
                };
            }
            Origin::Unix => self.peer.unix = true,
        }
    }

    fn refuse(&self, error: proxy_protocol::Malformed) -> io::Error {
        let count = self.worker.counters.bad_preambles.fetch_add(1, Relaxed) + 1;
        let client = self.peer.address;
        // Whoever reaches the listener can have any number of these.
        if count.is_power_of_two() {
            warn!(%client, %error, count, "a connection is closed");
        } else {
            debug!(%client, %error, count, "a connection is closed");
        }
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    fn poll_preface(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Opened>> {
        let Stage::Peek(socket, read) = &mut self.stage else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        let mut http2 = false;
        if self.speaks.http2 {
            loop {
                http2 = read.starts_with(PREFACE);
                if http2 || !PREFACE.starts_with(read) {
                    break;
                }
                if ready!(read_some(socket, read, cx))? {
                    break;
                }
            }
        }
        let Stage::Peek(socket, read) = std::mem::replace(&mut self.stage, Stage::Done) else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        let raw = Raw {
            socket,
            read: read.freeze(),
        };
        Poll::Ready(Ok(Opened::plain(raw, self.peer, http2)))
    }

    /// Reads whom a hello is for, and decides who ends the TLS.
    fn poll_hello(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Opened>>> {
        let Stage::Hello(greeting) = &mut self.stage else {
            return Poll::Ready(Ok(None));
        };
        let Greeting { socket, read, hello } = &mut **greeting;
        let name = loop {
            match hello.look(read) {
                Looked::Name(name) => break name,
                Looked::More if read.len() < HELLO => {}
                Looked::More | Looked::Nothing => break None,
            }
            if ready!(read_some(socket, read, cx))? {
                if read.is_empty() {
                    self.stage = Stage::Done;
                    return Poll::Ready(Ok(None));
                }
                break None;
            }
        };
        let Stage::Hello(greeting) = std::mem::replace(&mut self.stage, Stage::Done) else {
            return Poll::Ready(Ok(None));
        };
        let stream = Raw {
            socket: greeting.socket,
            read: greeting.read.freeze(),
        };
        let snapshot = self.gateway.snapshot();
        let connection = Connection {
            client: self.peer.address,
            ..self.connection
        };
        if let Some(server_name) = name
            && let Some(route) = snapshot.passages().find(&server_name, &connection).cloned()
        {
            return Poll::Ready(Ok(Some(Opened::Passed(Box::new(Passed {
                stream: Some(stream),
                peer: self.peer,
                server_name,
                route,
                snapshot,
            })))));
        }
        self.stage = self.handshake(stream);
        Poll::Ready(Ok(None))
    }

    fn handshake(&self, raw: Raw) -> Stage {
        let config = self.gateway.tls().config(self.speaks.http2, self.speaks.verify);
        Stage::Handshake(Box::new(TlsAcceptor::from(config).accept(raw)))
    }
}

/// Reads what is there; true at the end.
fn read_some(socket: &mut Socket, read: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
    let mut bytes = [0; 2048];
    let mut buf = ReadBuf::new(&mut bytes);
    ready!(Pin::new(socket).poll_read(cx, &mut buf))?;
    read.extend_from_slice(buf.filled());
    Poll::Ready(Ok(buf.filled().is_empty()))
}

impl Opened {
    /// A plain connection.
    pub(crate) fn plain(stream: Raw, peer: Peer, http2: bool) -> Self {
        Self::Http(Box::new(Http {
            stream: ClientStream::Plain(stream),
            http2,
            peer,
            server_name: None,
            tls: ClientTls::default(),
        }))
    }
}

impl Passed {
    /// The connection; once.
    pub(crate) fn take_stream(&mut self) -> Option<Raw> {
        self.stream.take()
    }
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}
