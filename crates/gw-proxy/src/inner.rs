//! Requests that plugins make to the gateway itself: each goes the whole way of a request, from its route to its access log.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};
use gw_plugins::cx::InnerRequests;
use gw_plugins::env::Lent;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;

use crate::about::About;
use crate::body::{RequestBody, ResponseBody};
use crate::conn::Conn;
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
            let answer = engine::handle(Arc::clone(&conn), Some(Box::new(within)), request).await;
            let (head, body) = answer.into_parts();
            match collected(body, most, &conn).await {
                Ok(body) => Response::from_parts(head, body),
                Err(status) => {
                    let mut response = Response::new(Bytes::new());
                    *response.status_mut() = status;
                    response
                }
            }
        })
    }
}

/// A body that a plugin has of an answer: it counts among those that are held for as long as there is a copy of it.
struct Kept {
    body: Bytes,
    _counted: Counted,
}

/// Bytes that are counted until it is dropped.
struct Counted {
    conn: Arc<Conn>,
    bytes: usize,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.conn.worker.held.fetch_sub(self.bytes, Relaxed);
    }
}

/// All of a body; if there is none, the status that says why: it is more than `most`, or broke off, or there is no room for it.
async fn collected(mut body: ResponseBody, most: usize, conn: &Arc<Conn>) -> Result<Bytes, StatusCode> {
    let mut counted = Counted {
        conn: Arc::clone(conn),
        bytes: 0,
    };
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_GATEWAY)?;
        let Ok(data) = frame.into_data() else { continue };
        if counted.bytes + data.len() > most {
            return Err(StatusCode::BAD_GATEWAY);
        }
        let mut held = conn.gateway.overload().held(&conn.worker, &mut counted.bytes);
        held.need(data.len()).map_err(|failure| failure.status())?;
        if first.is_empty() && all.is_empty() {
            first = data; // one of one piece, the usual case, is not copied
            continue;
        }
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&data);
    }
    let body = if all.is_empty() { first } else { all.freeze() };
    Ok(match body.is_empty() {
        true => body,
        false => Bytes::from_owner(Kept {
            body,
            _counted: counted,
        }),
    })
}
