//! What does not change while a request goes through its phases, once it is known.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use gw_core::Retry;
use gw_plugins::cx::Facts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};

use crate::conn::{Conn, Connection};
use crate::plan::{RoutePlan, ServicePlan};
use crate::pool::Pool;
use crate::proxy_protocol;
use crate::real_ip::RealClient;
use crate::snapshot::Snapshot;

/// What does not change while a request goes through its phases, once it is known.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) conn: Arc<Conn>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) id: HeaderValue,
    pub(crate) begun: Instant,
    pub(crate) method: Method,
    /// The target as the client sent it.
    pub(crate) target: Option<PathAndQuery>,
    /// The client's `Host`.
    pub(crate) host: Option<HeaderValue>,
    /// What the parameters of the route's path took, if a plugin needs it.
    pub(crate) captures: Vec<(Box<str>, Box<str>)>,
    /// How many requests of plugins have led to this one.
    pub(crate) depth: u8,
    /// The name of the request that this one is a part of.
    pub(crate) parent: Option<Box<HeaderValue>>,
    pub(crate) route: Option<Arc<RoutePlan>>,
    pub(crate) service: Option<Arc<ServicePlan>>,
    /// Whom it is from, if a proxy that is trusted says that it is not whoever speaks.
    pub(crate) real: Option<Box<RealClient>>,
    /// When the request began, once somebody has wanted to know.
    pub(crate) wall: Option<SystemTime>,
}

impl About {
    /// What a plugin is told.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            config: self.snapshot.config(),
            client: self.client(),
            server: self.conn.local,
            scheme: self.conn.scheme,
            client_certificate: self.conn.tls.certificate(),
            id: &self.id,
            method: &self.method,
            target: self.target.as_ref(),
            host: self.host.as_ref(),
            route: self.route.as_deref().map(|plan| &plan.route),
            service: self.service.as_deref().map(|plan| &plan.service),
            captures: &self.captures,
            now: self.wall.unwrap_or(SystemTime::UNIX_EPOCH),
            begun: self.begun,
            worker: self.conn.worker.index,
            inner: self,
        }
    }

    /// Whom the request is from.
    pub(crate) fn client(&self) -> IpAddr {
        self.real
            .as_ref()
            .map_or(self.conn.client, |real| real.address.ip())
    }

    pub(crate) fn client_port(&self) -> u16 {
        let real = self.real.as_ref();
        real.map_or(self.conn.client_port, |real| real.address.port())
    }

    /// The same address, as it stands in headers.
    pub(crate) fn client_value(&self) -> &HeaderValue {
        self.real
            .as_ref()
            .map_or(&self.conn.client_value, |real| &real.value)
    }

    /// What a connection to an upstream begins with that is to be told of the client.
    pub(crate) fn preamble(&self) -> Option<Box<[u8]>> {
        let version = self.service.as_deref()?.proxy_protocol?;
        let connection = Connection {
            client: SocketAddr::new(self.client(), self.client_port()),
            local: self.conn.local,
            scheme: self.conn.scheme,
        };
        let unix = self.conn.peer.unix && self.real.is_none();
        Some(proxy_protocol::write(version, connection.origin(unix)).into())
    }

    /// Where the connections to upstreams are that may serve it: among all of the worker's, unless they are told whom they
    /// are for.
    pub(crate) fn pool(&self) -> &Mutex<Pool> {
        let told = self
            .service
            .as_deref()
            .is_some_and(|plan| plan.proxy_protocol.is_some());
        if told {
            self.conn.own_pool()
        } else {
            &self.conn.worker.pool
        }
    }

    /// When it is tried again, if there is a service to try.
    pub(crate) fn retry(&self) -> Option<&Retry> {
        Some(&self.service.as_deref()?.service.retry)
    }

    pub(crate) fn request_id(&self) -> &str {
        // Quicker than `HeaderValue::to_str`, which looks at each byte by itself.
        std::str::from_utf8(self.id.as_bytes()).unwrap_or_default()
    }

    /// When the request began.
    pub(crate) fn wall(&self) -> SystemTime {
        self.wall.unwrap_or_else(|| self.conn.worker.wall.at(self.begun))
    }

    /// Finds out when that was, if that has not been done. Needed before [`About::facts`].
    pub(crate) fn stamp(&mut self) {
        self.wall = Some(self.wall());
    }
}
