//! Listeners and worker threads: one acceptor per address hands each connection to the least loaded worker.

mod farewell;

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gw_core::Protocol;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use crate::address::Address;
use crate::admission::{Admission, Spare};
use crate::client_tls::VerifyClient;
use crate::conn::Connection;
use crate::gateway::Gateway;
use crate::real_ip::Peer;
use crate::socket::{Accepted, ListenSocket, SocketFile};
use crate::worker::{self, Message, Worker};

/// A gateway that listens: threads of its own, apart from the runtime that started it.
///
/// Dropping it stops it at once; [`Server::shutdown`] lets requests finish.
#[derive(Debug)]
pub struct Server {
    gateway: Arc<Gateway>,
    addresses: Vec<Address>,
    /// Of unix sockets.
    files: Vec<SocketFile>,
    /// Those files are another process's now.
    left: Arc<AtomicBool>,
    acceptors: Vec<Acceptor>,
    workers: Vec<WorkerThread>,
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that still had a request in flight when the grace was over.
    pub cut: usize,
}

#[derive(Debug)]
struct Acceptor {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct WorkerThread {
    mailbox: mpsc::UnboundedSender<Message>,
    thread: JoinHandle<()>,
}

/// A socket that clients connect to, and what is spoken there.
#[derive(Debug)]
pub struct Listener {
    socket: ListenSocket,
    speaks: Speaks,
    /// Whether the file of a unix socket goes when it is over.
    owns_file: bool,
}

/// What is spoken at a listener, besides HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speaks {
    pub(crate) tls: bool,
    /// Negotiated in TLS; without TLS for clients that begin with it.
    pub(crate) http2: bool,
    /// A header of the PROXY protocol comes first.
    pub(crate) proxied: bool,
    /// What clients are asked for in TLS.
    pub(crate) verify: VerifyClient,
}

/// How connections find a worker.
#[derive(Clone, Debug)]
struct Dispatch {
    workers: Vec<(Arc<Worker>, mpsc::UnboundedSender<Message>)>,
    admission: Arc<Admission>,
}

impl Listener {
    /// What comes in at this socket, as plain HTTP.
    #[must_use]
    pub fn new(socket: impl Into<ListenSocket>) -> Self {
        Self {
            socket: socket.into(),
            speaks: Speaks {
                tls: false,
                http2: true,
                proxied: false,
                verify: VerifyClient::Auto,
            },
            owns_file: true,
        }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &ListenSocket {
        &self.socket
    }

    /// The file of a unix socket is not removed in the end: somebody else has made it.
    #[must_use]
    pub fn keep_file(mut self) -> Self {
        self.owns_file = false;
        self
    }

    /// Every connection begins with a header of the PROXY protocol, version 1 or 2, which tells whom it is for. One that
    /// does not is closed.
    #[must_use]
    pub fn proxy_protocol(mut self) -> Self {
        self.speaks.proxied = true;
        self
    }

    /// Clients speak TLS, and are shown the certificate that is configured for the server name they ask for.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.speaks.tls = true;
        self
    }

    /// What clients are asked for in TLS.
    #[must_use]
    pub fn verify_client(mut self, verify: VerifyClient) -> Self {
        self.speaks.verify = verify;
        self
    }

    /// Whether HTTP/2 is spoken besides HTTP/1, as it is unless told otherwise.
    #[must_use]
    pub fn http2(mut self, on: bool) -> Self {
        self.speaks.http2 = on;
        self
    }
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self::new(socket)
    }
}

impl From<ListenSocket> for Listener {
    fn from(socket: ListenSocket) -> Self {
        Self::new(socket)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Server {
    /// Starts the workers and serves what comes in at these listeners. One gateway serves one server.
    ///
    /// A [`TcpListener`] is one for plain HTTP/1 and HTTP/2.
    ///
    /// # Errors
    /// A listener cannot be used, or no thread can be started.
    pub fn start(
        gateway: Arc<Gateway>,
        listeners: impl IntoIterator<Item: Into<Listener>>,
    ) -> io::Result<Self> {
        let listeners: Vec<Listener> = listeners.into_iter().map(Into::into).collect();
        let addresses = listeners
            .iter()
            .map(|listener| listener.socket.address())
            .collect::<io::Result<_>>()?;
        let asks = |verify| !matches!(verify, VerifyClient::Auto | VerifyClient::Off);
        if listeners.iter().any(|listener| asks(listener.speaks.verify)) {
            gateway.ask_for_certificates();
        }
        let left = Arc::new(AtomicBool::new(false));
        let owned = listeners.iter().filter(|listener| listener.owns_file);
        let files = owned.filter_map(|listener| listener.socket.file(&left)).collect();
        let mut workers = Vec::new();
        let mut dispatch = Dispatch {
            workers: Vec::new(),
            admission: Arc::clone(gateway.admission()),
        };
        for worker in gateway.workers() {
            let thread = start_worker(&gateway, worker)?;
            dispatch
                .workers
                .push((Arc::clone(worker), thread.mailbox.clone()));
            workers.push(thread);
        }
        let acceptors = listeners
            .into_iter()
            .map(|listener| start_acceptor(listener, dispatch.clone()))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            gateway,
            addresses,
            files,
            left,
            acceptors,
            workers,
        })
    }

    /// Where it listens, in the order of the listeners.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Has the files of unix sockets stay when this server ends: another process listens there now.
    pub fn leave_files(&self) {
        self.left.store(true, Relaxed);
    }

    /// Stops accepting, closes idle connections, lets requests in flight finish for at most `grace`, and writes out
    /// the access log.
    pub async fn shutdown(self, grace: Duration) -> Drained {
        let deadline = tokio::time::Instant::now() + grace;
        let mut threads = Vec::new();
        for Acceptor { stop, thread } in self.acceptors {
            drop(stop);
            threads.push(thread);
        }
        // First the acceptors, so that every connection accepted is in a mailbox before the word to drain.
        join(threads).await;
        drop(self.files);
        let mut reports = Vec::new();
        let mut threads = Vec::new();
        for WorkerThread { mailbox, thread } in self.workers {
            let (report, drained) = oneshot::channel();
            if mailbox.send(Message::Drain(deadline, report)).is_ok() {
                reports.push(drained);
            }
            threads.push(thread);
        }
        let mut cut = 0;
        for report in reports {
            cut += report.await.unwrap_or_default();
        }
        join(threads).await;
        let gateway = self.gateway;
        // A pipe that nobody reads must not keep the process.
        let flushed = tokio::time::timeout(LOG_PATIENCE, blocking(move || gateway.flush_access_log()));
        if flushed.await.is_err() {
            warn!("the access log does not take its last lines; they are lost");
        }
        Drained { cut }
    }
}

/// Bound: how long the access log may take to write its last lines.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

async fn join(threads: Vec<JoinHandle<()>>) {
    blocking(move || {
        for thread in threads {
            if thread.join().is_err() {
                warn!("a gateway thread panicked");
            }
        }
    })
    .await;
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    if tokio::task::spawn_blocking(work).await.is_err() {
        warn!("shutdown was interrupted");
    }
}

fn start_worker(gateway: &Arc<Gateway>, worker: &Arc<Worker>) -> io::Result<WorkerThread> {
    let (mailbox, messages) = mpsc::unbounded_channel();
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let (gateway, worker) = (Arc::clone(gateway), Arc::clone(worker));
    let thread = thread::Builder::new()
        .name(format!("worker-{}", worker.index))
        .spawn(move || {
            runtime.block_on(worker::run(gateway, worker, messages));
            // Dropping the runtime drops what was cut, and so finishes its exchanges.
        })?;
    Ok(WorkerThread { mailbox, thread })
}

fn start_acceptor(listener: Listener, dispatch: Dispatch) -> io::Result<Acceptor> {
    let Listener { socket, speaks, .. } = listener;
    socket.set_nonblocking()?;
    let address = socket.address()?;
    // A unix socket has no port: what its clients came to is told by what is spoken.
    let port = if speaks.tls { 443 } else { 80 };
    let local = address.ip().unwrap_or((Ipv4Addr::LOCALHOST, port).into());
    let name = address
        .ip()
        .map_or_else(|| "unix".to_owned(), |ip| ip.port().to_string());
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name(format!("accept-{name}"))
        .spawn(move || {
            runtime.block_on(async move {
                match Listening::new(socket) {
                    Ok(listening) => accept(&listening, (local, speaks), &dispatch, stopped).await,
                    Err(error) => warn!(%address, %error, "cannot listen"),
                }
            });
        })?;
    Ok(Acceptor { stop, thread })
}

/// A socket that listens, on the runtime of its thread.
#[derive(Debug)]
enum Listening {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listening {
    fn new(socket: ListenSocket) -> io::Result<Self> {
        Ok(match socket {
            ListenSocket::Tcp(socket) => Self::Tcp(tokio::net::TcpListener::from_std(socket)?),
            ListenSocket::Unix(socket) => Self::Unix(tokio::net::UnixListener::from_std(socket)?),
        })
    }

    /// A connection, and whose it is. A client on this machine has the address 127.0.0.1 and the port 0.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Accepted, SocketAddr)>> {
        const HERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
        Poll::Ready(match self {
            Self::Tcp(listener) => ready!(listener.poll_accept(cx))
                .and_then(|(stream, client)| Ok((Accepted::Tcp(stream.into_std()?), client))),
            Self::Unix(listener) => ready!(listener.poll_accept(cx))
                .and_then(|(stream, _)| Ok((Accepted::Unix(stream.into_std()?), HERE))),
        })
    }
}

async fn accept(
    listener: &Listening,
    at: (SocketAddr, Speaks),
    dispatch: &Dispatch,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut spare = Spare::new();
    loop {
        tokio::select! {
            accepted = poll_fn(|cx| listener.poll_accept(cx)) => match accepted {
                Ok((stream, client)) => dispatch.hand_over(stream, client, at),
                Err(error) if Spare::is_out(&error) => {
                    // Whoever waits is told so by a closed connection.
                    let polled = poll_fn(|cx| Poll::Ready(spare.lend(|| listener.poll_accept(cx).is_ready())));
                    polled.await;
                    pause(&error).await;
                }
                Err(error) => pause(&error).await,
            },
            _ = &mut stopped => break,
        }
    }
    // What the system has accepted already is served; otherwise closing the listener would reset it.
    while let Some((stream, client)) = poll_fn(|cx| match listener.poll_accept(cx) {
        Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
        Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
    })
    .await
    {
        dispatch.hand_over(stream, client, at);
    }
}

/// A connection that was gone before it was accepted is nothing; out of descriptors, trying at once is no use.
async fn pause(error: &io::Error) {
    const BREATH: Duration = Duration::from_millis(50);
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        return debug!(%error, "connection gone before it was accepted");
    }
    warn!(%error, "cannot accept connections");
    tokio::time::sleep_until(tokio::time::Instant::now() + BREATH).await;
}

impl Dispatch {
    fn hand_over(&self, stream: Accepted, client: SocketAddr, (local, speaks): (SocketAddr, Speaks)) {
        // A listener on all addresses tells nothing, the connection does.
        let local = stream.local().unwrap_or(local);
        let peer = Peer {
            address: client,
            unix: stream.is_unix(),
        };
        let place = match self.admission.admit(&peer, speaks.proxied) {
            Ok(place) => place,
            Err(failure) => {
                debug!(%client, %failure, "connection refused");
                return self.admission.refuse(stream, &failure, !speaks.tls);
            }
        };
        let Some((worker, mailbox)) = self
            .workers
            .iter()
            .min_by_key(|(worker, _)| worker.load.load(Relaxed))
        else {
            return;
        };
        worker.load.fetch_add(1, Relaxed);
        let connection = Connection {
            client,
            local,
            scheme: if speaks.tls {
                Protocol::Https
            } else {
                Protocol::Http
            },
        };
        if mailbox
            .send(Message::Serve(stream, (connection, speaks), place))
            .is_err()
        {
            worker.load.fetch_sub(1, Relaxed);
        }
    }
}
