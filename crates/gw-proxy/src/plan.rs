//! A route and a service as requests need them: what their entities say, ready to use.

use std::sync::Arc;

use gw_core::{Protocol, Protocols, ProxyProtocol, Route, Service, Upstream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode, Version, request};

use crate::cell::Cell;
use crate::failure::Failure;
use crate::forward::without_port;
use crate::hash_key::Sticking;
use crate::pool::Speaks;
use crate::upstream_tls::UpstreamTls;

/// A route in the router.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    pub(crate) route: Arc<Route>,
    /// What logs call it, if it has no name.
    id: Option<Box<str>>,
}

/// A service and the cell its host stands for.
#[derive(Debug)]
pub(crate) struct ServicePlan {
    pub(crate) service: Arc<Service>,
    pub(crate) cell: Arc<Cell>,
    /// Whether the cell belongs to an upstream, not to this service.
    pub(crate) balanced: bool,
    sticking: Option<Sticking>,
    pub(crate) speaks: Speaks,
    /// How TLS is spoken with it, if it is.
    pub(crate) tls: Option<Arc<UpstreamTls>>,
    /// What its connections begin with.
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    /// What logs call it.
    pub(crate) label: Box<str>,
}

impl RoutePlan {
    pub(crate) fn new(route: Arc<Route>) -> Self {
        let id = route.name.is_none().then(|| route.id.to_string().into());
        Self { route, id }
    }

    /// What logs call it.
    pub(crate) fn label(&self) -> &str {
        self.route
            .name
            .as_deref()
            .or(self.id.as_deref())
            .unwrap_or_default()
    }

    /// Whether it has anything to do with requests over HTTP.
    pub(crate) fn is_http(route: &Route) -> bool {
        let http: Protocols = [Protocol::Http, Protocol::Https, Protocol::Grpc, Protocol::Grpcs]
            .into_iter()
            .collect();
        route.protocols.overlaps(http)
    }

    /// Why it does not take this request, though it matches.
    pub(crate) fn refuses(
        &self,
        scheme: Protocol,
        head: &request::Parts,
        host: &str,
        target: &str,
    ) -> Option<Failure> {
        let protocols = self.route.protocols;
        if protocols.contains(Protocol::Grpc) || protocols.contains(Protocol::Grpcs) {
            if !is_grpc(&head.headers) {
                return Some(Failure::NotGrpc);
            }
            if head.version != Version::HTTP_2 {
                return Some(Failure::Http2Required);
            }
            let insecure = scheme == Protocol::Http && !protocols.contains(Protocol::Grpc);
            return insecure.then_some(Failure::GrpcsRequired);
        }
        if protocols.contains(scheme) {
            return None;
        }
        if scheme != Protocol::Http {
            return None;
        }
        let status = self.route.https_redirect_status;
        let redirect = || HeaderValue::try_from(["https://", without_port(host), target].concat()).ok();
        let location = if status == StatusCode::UPGRADE_REQUIRED {
            None
        } else {
            redirect()
        };
        Some(Failure::HttpsRequired { status, location })
    }
}

/// Whether a message is one of gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|content_type| content_type.starts_with(b"application/grpc"))
}

impl ServicePlan {
    /// The cell is the upstream's, or the service's own if there is none.
    pub(crate) fn new(
        service: Arc<Service>,
        cell: Arc<Cell>,
        upstream: Option<&Upstream>,
        tls: Option<Arc<UpstreamTls>>,
    ) -> Self {
        let label = service
            .name
            .clone()
            .unwrap_or_else(|| service.id.to_string().into());
        let speaks = match service.target.protocol {
            Protocol::Grpc | Protocol::Grpcs => Speaks::Http2,
            _ => Speaks::Http1,
        };
        Self {
            speaks,
            proxy_protocol: service
                .send_proxy_protocol
                .or(upstream.and_then(|upstream| upstream.send_proxy_protocol)),
            service,
            cell,
            balanced: upstream.is_some(),
            sticking: upstream.and_then(Sticking::new),
            tls,
            label,
        }
    }

    /// The same service at another upstream.
    pub(crate) fn toward(&self, upstream: &Upstream, cell: &Arc<Cell>) -> Self {
        let service = Arc::clone(&self.service);
        Self::new(service, Arc::clone(cell), Some(upstream), self.tls.clone())
    }

    /// What its requests stick to a target by, if they do.
    pub(crate) fn sticking(&self) -> Option<&Sticking> {
        self.sticking.as_ref()
    }
}
