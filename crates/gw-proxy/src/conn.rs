//! What the engine knows of the connection a request came over; not its transport.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use gw_core::Protocol;
use http::{HeaderMap, HeaderValue};

use crate::admission::Place;
use crate::arrival::Arrival;
use crate::client_tls::ClientTls;
use crate::forward::told;
use crate::gateway::Gateway;
use crate::pool::Pool;
use crate::proxy_protocol::Origin;
use crate::real_ip::{self, Peer, RealClient};
use crate::settings::PoolLimits;
use crate::worker::Worker;

/// Where a request came from and where it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The client's address.
    pub client: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// How it came in: [`Protocol::Http`] or [`Protocol::Https`].
    pub scheme: Protocol,
}

impl Connection {
    /// What an upstream is told of it.
    pub(crate) fn origin(&self, unix: bool) -> Origin {
        if unix {
            return Origin::Unix;
        }
        Origin::Ip {
            source: self.client,
            destination: self.local,
        }
    }
}

/// One connection of a client, shared by its requests.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) scheme: Protocol,
    /// The client's address; one of IPv4 is never written as IPv6.
    pub(crate) client: IpAddr,
    pub(crate) client_port: u16,
    pub(crate) client_value: HeaderValue,
    /// Lines of heads that say the same of all of its requests, once one has needed them.
    told: OnceLock<Box<[u8]>>,
    /// The port it connected to.
    pub(crate) port: u16,
    pub(crate) port_value: HeaderValue,
    /// The server name that the client asked for in TLS.
    pub(crate) server_name: Option<Box<str>>,
    /// Its place among the connections that may be; one of another server's has none.
    pub(crate) place: Option<Place>,
    /// What is known of the client's certificate.
    pub(crate) tls: ClientTls,
    /// Who speaks, before any header is believed.
    pub(crate) peer: Peer,
    /// The address it connected to.
    pub(crate) local: SocketAddr,
    /// Whether its requests' headers are believed when they say whom they are from.
    pub(crate) trusted: bool,
    /// Connections to upstreams that are told whom they are for: nobody else's.
    pub(crate) own: OnceLock<Box<Mutex<Pool>>>,
    /// Requests begun.
    pub(crate) heads: AtomicU32,
    /// Requests begun and not finished.
    pub(crate) in_flight: AtomicU32,
    /// Bytes written to the client; of HTTP/2 without what only keeps the connection in order, so that it is told from one that
    /// answers pings and nothing else.
    pub(crate) written: AtomicU64,
    /// Requests that the client let go of before it had its answer.
    pub(crate) aborted: AtomicU32,
    /// The client sent too much of what is no request.
    flooded: AtomicBool,
    /// What passes is no longer HTTP, and has a time limit of its own.
    pub(crate) tunnel: AtomicBool,
    /// The client was answered before it had sent all: closing on it at once could cost it the answer.
    pub(crate) unread: AtomicBool,
}

impl Conn {
    pub(crate) fn new(gateway: Arc<Gateway>, worker: Arc<Worker>, connection: Connection) -> Self {
        let peer = Peer {
            address: connection.client,
            unix: false,
        };
        Self::of_peer(gateway, worker, connection, peer)
    }

    /// As [`Self::new`], where it is known who speaks.
    pub(crate) fn of_peer(
        gateway: Arc<Gateway>,
        worker: Arc<Worker>,
        connection: Connection,
        peer: Peer,
    ) -> Self {
        let client = peer.address.ip().to_canonical();
        let trusted = gateway.settings().edge.trusted_ips.trusts(&peer);
        Self {
            gateway,
            worker,
            scheme: connection.scheme,
            client,
            client_port: peer.address.port(),
            client_value: text_value(client.to_string()),
            told: OnceLock::new(),
            port: connection.local.port(),
            port_value: HeaderValue::from(connection.local.port()),
            server_name: None,
            tls: ClientTls::default(),
            peer,
            local: connection.local,
            trusted,
            own: OnceLock::new(),
            place: None,
            heads: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            written: AtomicU64::new(0),
            aborted: AtomicU32::new(0),
            flooded: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            unread: AtomicBool::new(false),
        }
    }

    /// Whom a request with these headers is from, if somebody trusted says so.
    pub(crate) fn real_client(&self, headers: &HeaderMap) -> Option<Box<RealClient>> {
        if !self.trusted {
            return None;
        }
        real_ip::find(&self.gateway.settings().edge, headers)
    }

    /// How a request with these headers has come in at the first proxy, if that is trusted.
    pub(crate) fn scheme_of(&self, headers: &HeaderMap) -> Protocol {
        let told = headers.get("x-forwarded-proto").filter(|_| self.trusted);
        match told.map(HeaderValue::as_bytes) {
            Some(b"https") => Protocol::Https,
            Some(b"http") => Protocol::Http,
            _ => self.scheme,
        }
    }

    /// Lines of heads that tell upstreams of it.
    pub(crate) fn told(&self) -> &[u8] {
        self.told.get_or_init(|| told::shared(self))
    }

    /// Connections to upstreams that serve nobody else.
    pub(crate) fn own_pool(&self) -> &Mutex<Pool> {
        self.own.get_or_init(|| {
            let limits = PoolLimits {
                idle: OWN,
                ..self.gateway.settings().pool.clone()
            };
            Box::new(Mutex::new(Pool::new(limits)))
        })
    }

    /// Takes note that the client sent too much of what is no request.
    pub(crate) fn flooded(&self) {
        if !self.flooded.swap(true, Relaxed) {
            self.worker.counters.floods.fetch_add(1, Relaxed);
        }
    }

    /// What decides on the routes of its requests.
    pub(crate) fn arrival(&self) -> Arrival<'_> {
        Arrival {
            client: self.client,
            scheme: self.scheme,
            port: self.port,
            sni: self.server_name.as_deref(),
        }
    }
}

/// Bound: how many connections to upstreams idle for one client.
const OWN: usize = 8;

fn text_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("an address is visible ASCII")
}
