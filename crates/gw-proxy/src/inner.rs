//! Requests that plugins make to the gateway itself: each goes the whole way of a request, from its route to its access log.

use std::sync::Arc;

use bytes::Bytes;
use gw_plugins::cx::InnerRequests;
use gw_plugins::env::Lent;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};

use crate::about::About;
use crate::body::RequestBody;
use crate::engine;
use crate::real_ip::RealClient;
use crate::snapshot::Snapshot;

/// Bound: how many requests of plugins may lead to one.
pub(crate) const DEEPEST: u8 = 4;

/// What a request of a plugin has of the request it is made for.
#[derive(Debug)]
pub(crate) struct Within {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) real: Option<Box<RealClient>>,
    /// How many requests of plugins have led to this one, itself counted.
    pub(crate) depth: u8,
    /// The name of the request it is made for.
    pub(crate) parent: HeaderValue,
}

impl InnerRequests for About {
    fn send(&self, mut request: Request<Bytes>, most: usize) -> Lent<'static, Response<Bytes>> {
        let conn = Arc::clone(&self.conn);
        let within = Within {
            snapshot: Arc::clone(&self.snapshot),
            real: self.real.clone(),
            depth: self.depth.saturating_add(1),
            parent: self.id.clone(),
        };
        // Of a connection that there is not.
        for name in [CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING, UPGRADE] {
            request.headers_mut().remove(name);
        }
        let request = request.map(|body| match body.is_empty() {
            true => RequestBody::Empty,
            false => RequestBody::Buffered(body),
        });
        Box::pin(async move {
            let answer = engine::handle(conn, Some(Box::new(within)), request).await;
            let (head, body) = answer.into_parts();
            match Limited::new(body, most).collect().await {
                Ok(body) => Response::from_parts(head, body.to_bytes()),
                Err(_) => broken_off(), // too much of it, or not all
            }
        })
    }
}

fn broken_off() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    *response.headers_mut() = HeaderMap::new();
    response
}
