//! An HTTP/1.1 server on a free loopback port that records requests and answers as a test wants.

mod connection;
pub(crate) mod received;
pub(crate) mod reply;
mod samples;

use std::fmt;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use socket2::SockRef;
use tokio::sync::{oneshot, watch};

use crate::deadline::{ShownBy, within};
use crate::{DeadPort, Gate, Received, Reply, dead_port};

/// A server in a thread of its own. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Upstream {
    // Taken by `stop` only.
    port: Option<DeadPort>,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What an upstream has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections accepted.
    pub accepted: usize,
    /// Connections open now.
    pub open: usize,
    /// Request heads read.
    pub heads: usize,
    /// Requests recorded: their body has come, ended early, or is not to be read.
    pub requests: usize,
    /// Requests that broke the rules of HTTP/1.1; they are answered with 400 and not recorded.
    pub malformed: usize,
    /// Bytes of request bodies read.
    pub body_bytes: u64,
    /// Bytes of responses handed to the kernel.
    pub sent_bytes: u64,
}

/// What an upstream does with request bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bodies {
    /// Reads and keeps them.
    #[default]
    Keep,
    /// Reads them, counts their bytes and forgets them.
    Count,
    /// Answers first, ends its side, and then reads what comes without looking at it.
    Ignore,
}

/// An upstream in the making.
#[derive(Debug)]
#[must_use]
pub struct UpstreamBuilder {
    port: Option<DeadPort>,
    options: Options,
}

impl Upstream {
    /// Starts one that answers each request with what `handler` makes of it.
    pub fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::builder().serve(handler)
    }

    /// To choose more than the answers.
    pub fn builder() -> UpstreamBuilder {
        UpstreamBuilder {
            port: None,
            options: Options::default(),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.as_ref().expect("taken by `stop` only").addr()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.addr().port()
    }

    /// The address of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests().clone()
    }

    /// What it has seen so far.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Waits until at least `n` requests have come and returns all there are.
    ///
    /// # Panics
    ///
    /// If they do not come in time.
    pub async fn wait_for_requests(&self, n: usize) -> Vec<Received> {
        self.wait_until(&format!("{n} requests"), |counts| counts.requests >= n)
            .await;
        self.requests()
    }

    /// Waits until what it has seen is as `reached` wants it.
    ///
    /// # Panics
    ///
    /// If that does not happen in time; the message has `what` and the counts.
    pub async fn wait_until(&self, what: &str, reached: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.shared.counts.subscribe();
        let seen = counts.clone();
        let state = ShownBy(move |f: &mut fmt::Formatter<'_>| {
            write!(f, "{what}; the upstream has seen {:?}", *seen.borrow())
        });
        *within(state, counts.wait_for(reached))
            .await
            .expect("the sender is in `self`, so it is alive")
    }

    /// Stops it: nothing listens and no connection is open once this returns. The port stays reserved.
    ///
    /// # Panics
    ///
    /// As its thread did, if it did.
    pub fn stop(mut self) -> DeadPort {
        self.port.take().expect("taken here only")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the upstream's thread panicked");
        }
    }
}

impl UpstreamBuilder {
    /// Comes to life on a port that was dead, instead of on a free one.
    pub fn on(mut self, port: DeadPort) -> Self {
        self.port = Some(port);
        self
    }

    /// Listens on this address instead of on a free loopback port.
    ///
    /// # Panics
    ///
    /// If it is taken.
    pub fn addr(self, addr: SocketAddr) -> Self {
        self.on(DeadPort::at(addr))
    }

    /// What is done with request bodies.
    pub fn bodies(mut self, bodies: Bodies) -> Self {
        self.options.bodies = bodies;
        self
    }

    /// Reads no request body before the gate opens.
    pub fn read_bodies_after(mut self, gate: &Gate) -> Self {
        self.options.gate = Some(gate.clone());
        self
    }

    /// Closes each connection as soon as it is accepted.
    pub fn close_on_accept(mut self) -> Self {
        self.options.close_on_accept = true;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn serve(self, handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Upstream {
        let port = self.port.unwrap_or_else(dead_port);
        let listener = port.listen();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            options: self.options,
            counts: watch::Sender::default(),
            requests: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("upstream-{}", port.port()))
            .spawn(move || serve(listener, serving, stopped))
            .expect("a thread can be started");
        Upstream {
            port: Some(port),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

#[derive(Debug, Default)]
struct Options {
    bodies: Bodies,
    gate: Option<Gate>,
    close_on_accept: bool,
}

struct Shared {
    handler: Box<dyn Fn(&Received) -> Reply + Send + Sync>,
    options: Options,
    counts: watch::Sender<Counts>,
    requests: Mutex<Vec<Received>>,
}

impl Shared {
    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<Received>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    fn record(&self, request: Received) {
        self.requests().push(request);
        self.count(|counts| counts.requests += 1);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("options", &self.options)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

fn serve(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is non-blocking");
        tokio::select! {
            _ = stopped => {}
            () = accept(&listener, &shared) => {}
        }
        // Closing is not enough while another thread is starting a process: until that process has replaced itself,
        // it has a copy of the listener, and the kernel goes on accepting.
        let _stopped = SockRef::from(&listener).shutdown(Shutdown::Both);
    });
    // Dropping the runtime drops every connection with its task.
}

async fn accept(listener: &tokio::net::TcpListener, shared: &Arc<Shared>) {
    let mut number = 0;
    // A connection may be gone before it is accepted; the listener itself does not fail.
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(connection::serve(stream, number, Arc::clone(shared)));
        number += 1;
    }
}
