//! A route and a service as requests need them: what their entities say, ready to use.

use std::sync::Arc;

use gw_core::{Protocol, Protocols, Route, Service};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode, request};

use crate::cell::Cell;
use crate::failure::Failure;
use crate::forward::without_port;

/// A route in the router.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    pub(crate) route: Arc<Route>,
    /// What logs call it.
    pub(crate) label: Box<str>,
}

/// A service and the cell its host stands for.
#[derive(Debug)]
pub(crate) struct ServicePlan {
    pub(crate) service: Arc<Service>,
    pub(crate) cell: Arc<Cell>,
    /// Whether the cell belongs to an upstream, not to this service.
    pub(crate) balanced: bool,
    /// What logs call it.
    pub(crate) label: Box<str>,
}

impl RoutePlan {
    pub(crate) fn new(route: Arc<Route>) -> Self {
        let label = route.name.clone().unwrap_or_else(|| route.id.to_string().into());
        Self { route, label }
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
        if protocols.contains(scheme) {
            return None;
        }
        if protocols.contains(Protocol::Grpc) || protocols.contains(Protocol::Grpcs) {
            let content_type = head
                .headers
                .get(CONTENT_TYPE)
                .map_or(&[][..], HeaderValue::as_bytes);
            let rpc = content_type.starts_with(b"application/grpc");
            return Some(if rpc {
                Failure::Http2Required
            } else {
                Failure::NotGrpc
            });
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

impl ServicePlan {
    pub(crate) fn new(service: Arc<Service>, cell: Arc<Cell>, balanced: bool) -> Self {
        let label = service
            .name
            .clone()
            .unwrap_or_else(|| service.id.to_string().into());
        Self {
            service,
            cell,
            balanced,
            label,
        }
    }
}
