//! Listeners and worker threads: one acceptor per address hands each connection to the least loaded worker.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gw_core::Protocol;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use crate::conn::Connection;
use crate::gateway::Gateway;
use crate::worker::{self, Message, Worker};

/// A gateway that listens: threads of its own, apart from the runtime that started it.
///
/// Dropping it stops it at once; [`Server::shutdown`] lets requests finish.
#[derive(Debug)]
pub struct Server {
    gateway: Arc<Gateway>,
    addresses: Vec<SocketAddr>,
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
    socket: TcpListener,
    speaks: Speaks,
}

/// What is spoken at a listener, besides HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speaks {
    pub(crate) tls: bool,
    /// Negotiated in TLS; without TLS for clients that begin with it.
    pub(crate) http2: bool,
}

/// How connections find a worker.
#[derive(Clone, Debug)]
struct Dispatch {
    workers: Vec<(Arc<Worker>, mpsc::UnboundedSender<Message>)>,
}

impl Listener {
    /// What comes in at this socket, as plain HTTP.
    #[must_use]
    pub fn new(socket: TcpListener) -> Self {
        Self {
            socket,
            speaks: Speaks {
                tls: false,
                http2: true,
            },
        }
    }

    /// Clients speak TLS, and are shown the certificate that is configured for the server name they ask for.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.speaks.tls = true;
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
            .map(|listener| listener.socket.local_addr())
            .collect::<io::Result<_>>()?;
        let mut workers = Vec::new();
        let mut dispatch = Dispatch { workers: Vec::new() };
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
            acceptors,
            workers,
        })
    }

    /// Where it listens, in the order of the listeners.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
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
    let Listener {
        socket: listener,
        speaks,
    } = listener;
    listener.set_nonblocking(true)?;
    let local = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name(format!("accept-{}", local.port()))
        .spawn(move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => accept(&listener, (local, speaks), &dispatch, stopped).await,
                    Err(error) => warn!(%local, %error, "cannot listen"),
                }
            });
        })?;
    Ok(Acceptor { stop, thread })
}

async fn accept(
    listener: &tokio::net::TcpListener,
    at: (SocketAddr, Speaks),
    dispatch: &Dispatch,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted.and_then(|(stream, client)| Ok((stream.into_std()?, client))) {
                Ok((stream, client)) => dispatch.hand_over(stream, client, at),
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
        if let Ok(stream) = stream.into_std() {
            dispatch.hand_over(stream, client, at);
        }
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
    fn hand_over(&self, stream: TcpStream, client: SocketAddr, (local, speaks): (SocketAddr, Speaks)) {
        // A listener on all addresses tells nothing, the connection does.
        let local = stream.local_addr().unwrap_or(local);
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
            .send(Message::Serve(stream, (connection, speaks)))
            .is_err()
        {
            worker.load.fetch_sub(1, Relaxed);
        }
    }
}
