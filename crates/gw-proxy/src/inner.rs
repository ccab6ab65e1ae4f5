//! Requests that plugins make to the gateway itself.

use std::sync::Arc;

use bytes::Bytes;
use gw_plugins::cx::InnerRequests;
use gw_plugins::env::Lent;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};

use crate::about::About;
use crate::body::RequestBody;
use crate::engine;

impl InnerRequests for About {
    fn send(&self, request: Request<Bytes>, most: usize) -> Lent<'static, Response<Bytes>> {
        let conn = Arc::clone(&self.conn);
        Box::pin(async move {
            let answer = engine::handle(conn, request.map(RequestBody::Buffered)).await;
            let (mut head, body) = answer.into_parts();
            match Limited::new(body, most).collect().await {
                Ok(body) => Response::from_parts(head, body.to_bytes()),
                Err(_) => {
                    head.status = http::StatusCode::BAD_GATEWAY;
                    head.headers.clear();
                    Response::from_parts(head, Bytes::new())
                }
            }
        })
    }
}
