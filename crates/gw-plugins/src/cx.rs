//! What the gateway lends to a plugin in each phase.

mod log;
mod request;
mod response;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use gw_core::{Config, Protocol, Route, Service};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response};

use crate::client_certificate::ClientCertificate;
use crate::env::Lent;

pub use log::{Kept, LogCx, LogParts, NoTries, Source, Tries, TryRecord};
pub use request::{RequestCx, RequestParts};
pub use response::{BodyCx, BodyParts, ResponseCx, ResponseParts};

/// What does not change while a request goes through its phases.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The configuration this request is served under: consumers and credentials are looked up here.
    pub config: &'a Config,
    /// The client's address, after trusted proxies have said whom they speak for.
    pub client: IpAddr,
    /// The address it connected to.
    pub server: SocketAddr,
    /// How the request came in.
    pub scheme: Protocol,
    /// The certificate that the client has shown in TLS.
    pub client_certificate: Option<&'a ClientCertificate>,
    /// The gateway's name for this request, as it stands in headers: see [`Facts::request_id`].
    pub id: &'a HeaderValue,
    /// The method, as the client sent it.
    pub method: &'a Method,
    /// Path and query, as the client sent them.
    pub target: Option<&'a PathAndQuery>,
    /// `Host`, as the client sent it.
    pub host: Option<&'a HeaderValue>,
    /// The matched route.
    pub route: Option<&'a Arc<Route>>,
    /// The route's service.
    pub service: Option<&'a Arc<Service>>,
    /// What the parameters or groups of the route's path took, in their order: each by its number, from 1, and by its name if it has
    /// one. Only if an instance of the chain [needs](crate::Needs::captures) them.
    pub captures: &'a [(Box<str>, Box<str>)],
    /// When the request began.
    pub now: SystemTime,
    /// The same, for durations.
    pub begun: Instant,
    /// Which worker serves it: for what is spread over them.
    pub worker: usize,
    /// Requests to the gateway itself.
    pub inner: &'a dyn InnerRequests,
}

impl<'a> Facts<'a> {
    /// The gateway's name for this request, 32 hexadecimal digits.
    #[must_use]
    pub fn request_id(&self) -> &'a str {
        // Quicker than `HeaderValue::to_str`, which looks at each byte by itself.
        std::str::from_utf8(self.id.as_bytes()).unwrap_or_default()
    }
}

/// Requests that a plugin makes to the gateway itself: they are routed and go through their own route's plugins.
pub trait InnerRequests: Send + Sync {
    /// Sends a request as if the same client had sent it, and reads the answer whole, up to `most` bytes: what is larger is
    /// answered 502.
    ///
    /// It has the configuration, the client and the scheme of the request at hand. Depth is bounded: a request that a plugin made of
    /// a request that a plugin made, four times over, is answered 508.
    fn send(&self, request: Request<Bytes>, most: usize) -> Lent<'static, Response<Bytes>>;
}

impl std::fmt::Debug for dyn InnerRequests + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InnerRequests")
    }
}

impl std::fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts")
            .field("request_id", &self.request_id())
            .field("client", &self.client)
            .field("method", &self.method)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Requests to a gateway that is not there: each is answered 502. For tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGateway;

impl InnerRequests for NoGateway {
    fn send(&self, _: Request<Bytes>, _: usize) -> Lent<'static, Response<Bytes>> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
        Box::pin(std::future::ready(response))
    }
}
