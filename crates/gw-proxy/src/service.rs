//! The gateway as a `tower::Service`, for another server's requests.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use crate::body::{Intake, RequestBody, ResponseBody};
use crate::conn::{Conn, Connection};
use crate::engine;
use crate::gateway::Gateway;

/// The gateway for the requests of one connection of another server. Cloning shares it.
///
/// It must be called from within a tokio runtime with time and I/O: connections to upstreams live on that one.
#[derive(Clone, Debug)]
pub struct GatewayService {
    conn: Arc<Conn>,
}

impl GatewayService {
    /// The gateway for the requests that come over `connection`.
    #[must_use]
    pub fn new(gateway: &Arc<Gateway>, connection: Connection) -> Self {
        let worker = Arc::clone(gateway.embedded());
        Self {
            conn: Arc::new(Conn::new(Arc::clone(gateway), worker, connection)),
        }
    }
}

impl<B> tower::Service<Request<B>> for GatewayService
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let conn = Arc::clone(&self.conn);
        let intake = Intake::new(conn.gateway.settings());
        let request = request.map(|body| RequestBody::foreign(body, intake));
        Box::pin(async move { Ok(engine::handle(conn, None, request).await) })
    }
}
