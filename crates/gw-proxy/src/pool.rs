//! One worker's idle connections to upstreams, and how new ones are made.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tracing::debug;

use crate::body::RequestBody;
use crate::failure::Failure;
use crate::io::upstream::{Link, UpstreamIo};
use crate::settings::PoolLimits;

/// A connection in the hands of one exchange.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) sender: SendRequest<RequestBody>,
    pub(crate) link: Arc<Link>,
    address: SocketAddr,
    served: u32,
}

impl Lease {
    /// Waits for a connection that is about to be ready. On a worker's thread none has to.
    pub(crate) async fn ready(mut self) -> Option<Self> {
        const MOMENT: Duration = Duration::from_millis(10);
        if !self.sender.is_ready() {
            let ready = tokio::time::timeout(MOMENT, self.sender.ready()).await;
            ready.ok()?.ok()?;
        }
        Some(self)
    }
}

/// One worker's idle connections, by address; the last one used is used next.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: PoolLimits,
    idle: HashMap<SocketAddr, Vec<Idle>, foldhash::fast::RandomState>,
    count: usize,
}

#[derive(Debug)]
struct Idle {
    lease: Lease,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            idle: HashMap::default(),
            count: 0,
        }
    }

    /// An idle connection to this address. It may close any moment; one that has is not given out.
    pub(crate) fn take(&mut self, address: SocketAddr) -> Option<Lease> {
        let idle = self.idle.get_mut(&address)?;
        let before = idle.len();
        while idle.pop_if(|idle| idle.lease.sender.is_closed()).is_some() {}
        let ready = idle.iter().rposition(|idle| idle.lease.sender.is_ready());
        // One that is not ready yet is about to be: its last exchange is over.
        let taken = ready.map(|place| idle.remove(place)).or_else(|| idle.pop());
        self.count -= before - idle.len();
        if idle.is_empty() {
            self.idle.remove(&address);
        }
        taken.map(|idle| idle.lease)
    }

    /// Takes a connection back, if it may serve again.
    pub(crate) fn put(&mut self, mut lease: Lease, now: Instant) {
        lease.served += 1;
        if lease.served >= self.limits.requests || lease.sender.is_closed() || self.limits.idle == 0 {
            return;
        }
        if self.count >= self.limits.idle {
            self.evict_oldest();
        }
        self.count += 1;
        self.idle
            .entry(lease.address)
            .or_default()
            .push(Idle { lease, since: now });
    }

    fn evict_oldest(&mut self) {
        let oldest = |idle: &Vec<Idle>| idle.first().map(|idle| idle.since);
        let address = self
            .idle
            .iter()
            .min_by_key(|(_, idle)| oldest(idle))
            .map(|(address, _)| *address);
        let Some(address) = address else { return };
        if let Some(idle) = self.idle.get_mut(&address) {
            drop(idle.drain(..1)); // Invariant: no address is kept without a connection.
            self.count -= 1;
            if idle.is_empty() {
                self.idle.remove(&address);
            }
        }
    }

    /// Closes what has idled too long.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let timeout = self.limits.idle_timeout;
        self.idle.retain(|_, idle| {
            let fresh =
                |idle: &Idle| !idle.lease.sender.is_closed() && now.duration_since(idle.since) < timeout;
            idle.retain(fresh);
            !idle.is_empty()
        });
        self.count = self.idle.values().map(Vec::len).sum();
    }

    /// Closes all.
    pub(crate) fn clear(&mut self) {
        self.idle.clear();
        self.count = 0;
    }
}

/// Opens a connection, driven by a task of its own on the runtime this is called from.
pub(crate) async fn connect(address: SocketAddr, limit: Duration) -> Result<Lease, Failure> {
    let connected = tokio::time::timeout(limit, TcpStream::connect(address)).await;
    let stream = connected.map_err(|_| Failure::ConnectTimeout)?.map_err(|error| {
        debug!(%address, %error, "upstream connection failed");
        Failure::ConnectFailed
    })?;
    // Without it an answer would only be later, so an old kernel that refuses is no reason to fail.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%address, %error, "small writes will be delayed");
    }
    let link = Arc::new(Link::default());
    let io = TokioIo::new(UpstreamIo::new(stream, Arc::clone(&link)));
    let (sender, connection) = Builder::new()
        .handshake(io)
        .await
        .map_err(|_| Failure::ConnectFailed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%address, %error, "upstream connection ended");
        }
    });
    Ok(Lease {
        sender,
        link,
        address,
        served: 0,
    })
}
