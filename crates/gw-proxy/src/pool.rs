//! One worker's idle connections to upstreams, and how new ones are made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tracing::{debug, warn};

use crate::address::Address;
use crate::addresses::Tenure;
use crate::body::RequestBody;
use crate::failure::Failure;
use crate::io::stream::{Raw, UpstreamStream};
use crate::io::upstream::{Link, UpstreamIo};
use crate::own::OwnAddresses;
use crate::settings::PoolLimits;
use crate::upstream_tls::{Secured, Wanted};
use crate::wire::Wire;

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/1, for requests that are there whole.
    Whole,
    /// HTTP/1, for requests whose body is on its way, and those that ask for another protocol.
    Http1,
    Http2,
}

#[derive(Debug)]
enum Sender {
    Wire(Box<Wire>),
    Http1(http1::SendRequest<RequestBody>),
    /// One of many of its connection, and what tells whether there are others.
    Http2(http2::SendRequest<RequestBody>, Arc<()>),
}

/// A connection in the hands of one exchange, or its part in one of HTTP/2.
#[derive(Debug)]
pub(crate) struct Lease {
    sender: Sender,
    pub(crate) link: Arc<Link>,
    address: Address,
    /// What it was opened with.
    secured: Option<Secured>,
    tenure: Tenure,
    served: u32,
}

impl Lease {
    /// Waits for a connection that is about to be ready. On a worker's thread none has to.
    pub(crate) async fn ready(mut self) -> Option<Self> {
        const MOMENT: Duration = Duration::from_millis(10);
        match &mut self.sender {
            Sender::Http1(sender) if !sender.is_ready() => {
                let ready = tokio::time::timeout(MOMENT, sender.ready()).await;
                ready.ok()?.ok()?;
            }
            Sender::Wire(_) | Sender::Http1(_) | Sender::Http2(..) => {}
        }
        Some(self)
    }

    pub(crate) fn speaks(&self) -> Speaks {
        match self.sender {
            Sender::Wire(_) => Speaks::Whole,
            Sender::Http1(_) => Speaks::Http1,
            Sender::Http2(..) => Speaks::Http2,
        }
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.secured.as_ref().is_some_and(Secured::is_tls)
    }

    /// Whether the upstream has been told whom it is for.
    pub(crate) fn is_told(&self) -> bool {
        self.secured.as_ref().is_some_and(Secured::is_told)
    }

    /// Sends a request over a connection of hyper's; hands it back if nothing of it was sent. Over another nothing can be.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Option<Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> {
        match &mut self.sender {
            Sender::Wire(_) => None,
            Sender::Http1(sender) => Some(sender.try_send_request(request).await),
            Sender::Http2(sender, _) => Some(sender.try_send_request(request).await),
        }
    }

    /// The connection, if the exchange drives it itself.
    pub(crate) fn wire(&mut self) -> Option<&mut Wire> {
        match &mut self.sender {
            Sender::Wire(wire) => Some(wire),
            Sender::Http1(_) | Sender::Http2(..) => None,
        }
    }

    /// Whether the upstream was given up because it stalled.
    pub(crate) fn is_late(&self) -> bool {
        match &self.sender {
            Sender::Wire(wire) => wire.is_late(),
            Sender::Http1(_) | Sender::Http2(..) => self.link.is_late(),
        }
    }
}

impl Sender {
    fn is_ready(&mut self) -> bool {
        match self {
            Self::Wire(wire) => wire.is_open(),
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(sender, _) => sender.is_ready(),
        }
    }

    /// Looks whether it is closed, also where nobody would have noticed.
    fn is_gone(&mut self) -> bool {
        match self {
            Self::Wire(wire) => !wire.is_open(),
            other => other.is_closed(),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Wire(wire) => wire.is_spent(),
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender, _) => sender.is_closed(),
        }
    }
}

/// One worker's idle connections, by address; the last one used is used next.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: PoolLimits,
    idle: HashMap<Address, Vec<Idle>, foldhash::fast::RandomState>,
    count: usize,
    /// Those of HTTP/2, in use or not.
    shared: HashMap<Address, Vec<Shared>, foldhash::fast::RandomState>,
}

/// A connection of HTTP/2, on which many requests are at once.
#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    users: Arc<()>,
    secured: Option<Secured>,
    tenure: Tenure,
    since: Instant,
    served: u32,
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
            shared: HashMap::default(),
        }
    }

    /// A connection to this address that is open already, with TLS as it is wanted; of HTTP/2 a part in one.
    pub(crate) fn take(
        &mut self,
        address: &Address,
        wanted: Option<Wanted<'_>>,
        speaks: Speaks,
    ) -> Option<Lease> {
        match speaks {
            Speaks::Whole | Speaks::Http1 => self.take_idle(address, wanted, speaks),
            Speaks::Http2 => self.join(address, wanted),
        }
    }

    fn join(&mut self, address: &Address, wanted: Option<Wanted<'_>>) -> Option<Lease> {
        let all = self.shared.get_mut(address)?;
        all.retain(|shared| shared.served < self.limits.requests && !shared.sender.is_closed());
        let fits = |shared: &&mut Shared| {
            let room = Arc::strong_count(&shared.users) <= STREAMS;
            room && is_wanted(shared.secured.as_ref(), wanted) && !shared.tenure.is_over()
        };
        let shared = all.iter_mut().find(fits)?;
        shared.served += 1;
        Some(Lease {
            sender: Sender::Http2(shared.sender.clone(), Arc::clone(&shared.users)),
            link: Arc::default(),
            address: address.clone(),
            secured: wanted.map(|wanted| wanted.secured()),
            tenure: shared.tenure.clone(),
            served: 0,
        })
    }

    /// Lets others join a connection of HTTP/2 that has just been opened.
    pub(crate) fn share(&mut self, lease: &Lease, wanted: Option<Wanted<'_>>, now: Instant) {
        let Sender::Http2(sender, users) = &lease.sender else {
            return;
        };
        // Clients may choose the name that connections are kept apart by.
        let count: usize = self.shared.values().map(Vec::len).sum();
        if count >= self.limits.idle {
            return;
        }
        self.shared
            .entry(lease.address.clone())
            .or_default()
            .push(Shared {
                sender: sender.clone(),
                users: Arc::clone(users),
                secured: wanted.map(|wanted| wanted.secured()),
                tenure: lease.tenure.clone(),
                since: now,
                served: 1,
            });
    }

    /// An idle connection may close any moment; one that has is not given out.
    fn take_idle(&mut self, address: &Address, wanted: Option<Wanted<'_>>, speaks: Speaks) -> Option<Lease> {
        let idle = self.idle.get_mut(address)?;
        let before = idle.len();
        while idle.pop_if(|idle| idle.lease.sender.is_closed()).is_some() {}
        let fits = |idle: &Idle| {
            idle.lease.speaks() == speaks
                && is_wanted(idle.lease.secured.as_ref(), wanted)
                && !idle.lease.tenure.is_over()
        };
        let ready = idle
            .iter_mut()
            .rposition(|idle| fits(idle) && idle.lease.sender.is_ready());
        // One that is not ready yet is about to be: its last exchange is over.
        let place = ready.or_else(|| {
            idle.iter_mut()
                .rposition(|idle| fits(idle) && !idle.lease.sender.is_closed())
        });
        let taken = place.map(|place| idle.remove(place));
        self.count -= before - idle.len();
        // Where none is left the next will be soon; what stays empty is swept away.
        taken.map(|idle| idle.lease)
    }

    /// Takes a connection back, if it may serve again.
    pub(crate) fn put(&mut self, mut lease: Lease, now: Instant) {
        if lease.speaks() == Speaks::Http2 {
            return; // the connection has never left
        }
        lease.served += 1;
        let spent = lease.served >= self.limits.requests || lease.tenure.is_over() || lease.link.is_broken();
        if spent || lease.sender.is_closed() || self.limits.idle == 0 {
            return;
        }
        if self.count >= self.limits.idle {
            self.evict_oldest();
        }
        self.count += 1;
        self.idle
            .entry(lease.address.clone())
            .or_default()
            .push(Idle { lease, since: now });
    }

    /// Closes what idles at an address that nobody uses any more.
    pub(crate) fn retire(&mut self, address: &Address) {
        self.shared.remove(address);
        self.count -= self.idle.remove(address).map_or(0, |idle| idle.len());
    }

    fn evict_oldest(&mut self) {
        let connections = self.idle.values_mut().filter(|idle| !idle.is_empty());
        let oldest = connections.min_by_key(|idle| idle.first().map(|idle| idle.since));
        if let Some(idle) = oldest {
            drop(idle.drain(..1));
            self.count -= 1;
        }
    }

    /// Closes what has idled too long.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let timeout = self.limits.idle_timeout;
        self.idle.retain(|_, idle| {
            idle.retain_mut(|idle| now.duration_since(idle.since) < timeout && !idle.lease.sender.is_gone());
            !idle.is_empty()
        });
        self.count = self.idle.values().map(Vec::len).sum();
        self.shared.retain(|_, all| {
            all.retain_mut(|shared| {
                if Arc::strong_count(&shared.users) > 1 {
                    shared.since = now;
                }
                !shared.sender.is_closed() && now.duration_since(shared.since) < timeout
            });
            !all.is_empty()
        });
    }

    /// Closes all.
    pub(crate) fn clear(&mut self) {
        self.idle.clear();
        self.count = 0;
        self.shared.clear();
    }
}

/// Bound: how many requests share a connection of HTTP/2. Servers commonly take no more at once, and what is beyond would wait.
const STREAMS: usize = 100;

fn is_wanted(secured: Option<&Secured>, wanted: Option<Wanted<'_>>) -> bool {
    match (secured, wanted) {
        (None, None) => true,
        (Some(secured), Some(wanted)) => wanted.is(secured),
        _ => false,
    }
}

/// Opens a connection, driven by a task of its own on the runtime this is called from. It is used again for as long as
/// the address's tenure lasts.
pub(crate) async fn connect(
    address: &Address,
    tenure: Tenure,
    wanted: Option<Wanted<'_>>,
    speaks: Speaks,
    limit: Duration,
    own: &OwnAddresses,
) -> Result<Lease, Failure> {
    let stream = tokio::time::timeout(limit, open(address, wanted, own)).await;
    let stream = stream.map_err(|_| Failure::ConnectTimeout)??;
    let link = Arc::new(Link::default()); // of HTTP/2 the connection's own, which nobody begins
    let io = |stream| TokioIo::new(UpstreamIo::new(stream, Arc::clone(&link)));
    let sender = match speaks {
        Speaks::Whole => Sender::Wire(Box::new(Wire::new(stream))),
        Speaks::Http1 => {
            // Invariant: what is written goes out piece by piece, a head at the start of a write: see `Link::keep_head`.
            let handshake = http1::Builder::new().writev(true).handshake(io(stream)).await;
            let (sender, connection) = handshake.map_err(|_| Failure::ConnectFailed)?;
            drive(address, connection.with_upgrades());
            Sender::Http1(sender)
        }
        Speaks::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            let builder = builder.timer(TokioTimer::new());
            // A connection that is gone without a word is noticed while it is in use.
            let builder = builder.keep_alive_interval(Some(PING)).keep_alive_timeout(PING);
            let handshake = builder.handshake(io(stream)).await;
            let (sender, connection) = handshake.map_err(|_| Failure::ConnectFailed)?;
            drive(address, connection);
            Sender::Http2(sender, Arc::default())
        }
    };
    let link = match speaks {
        Speaks::Whole | Speaks::Http1 => link,
        Speaks::Http2 => Arc::default(),
    };
    Ok(Lease {
        sender,
        link,
        address: address.clone(),
        secured: wanted.map(|wanted| wanted.secured()),
        tenure,
        served: 0,
    })
}

/// Bound: how long a connection of HTTP/2 that is in use may be silent, and then how long an answer to a ping may take.
const PING: Duration = Duration::from_secs(10);

fn drive(address: &Address, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    let address = address.clone();
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%address, %error, "upstream connection ended");
        }
    });
}

async fn open(
    address: &Address,
    wanted: Option<Wanted<'_>>,
    own: &OwnAddresses,
) -> Result<UpstreamStream, Failure> {
    let socket = address.connect().await.map_err(|error| {
        debug!(%address, %error, "upstream connection failed");
        Failure::ConnectFailed
    })?;
    if own.is_reached(&socket) {
        return Err(Failure::OwnAddress);
    }
    let mut stream = Raw::from(socket);
    if let Some(preamble) = wanted.and_then(|wanted| wanted.preamble) {
        stream.write_all(preamble).await.map_err(|error| {
            debug!(%address, %error, "an upstream takes no header of the PROXY protocol");
            Failure::ConnectFailed
        })?;
    }
    let Some((client, name)) = wanted.and_then(|wanted| wanted.tls()) else {
        return Ok(UpstreamStream::Plain(stream));
    };
    let name = name.ok_or(Failure::UpstreamTls)?;
    let secured = client.connect(name, stream).await;
    let secured = secured.map_err(|error| {
        warn!(%address, %error, "no TLS with an upstream");
        Failure::UpstreamTls
    })?;
    Ok(UpstreamStream::Tls(Box::new(secured)))
}
