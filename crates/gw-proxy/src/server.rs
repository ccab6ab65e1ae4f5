//! One client connection: hyper's HTTP/1 server over our I/O, with its limits, its drain and its panics.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tracing::{debug, error};

use crate::body::{RequestBody, ResponseBody};
use crate::conn::Conn;
use crate::engine;
use crate::io::client::ClientIo;
use crate::settings::Settings;

/// How connections are served: hyper's settings, made once per worker.
#[derive(Debug)]
pub(crate) struct Door {
    http1: Builder,
}

impl Door {
    pub(crate) fn new(settings: &Settings) -> Self {
        /// hyper will not have a smaller buffer.
        const SMALLEST_BUFFER: usize = 8192;
        let mut http1 = Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_timeout)
            .max_header_size(settings.limits.head.max(1024))
            .half_close(settings.half_close)
            .max_buf_size(settings.limits.head.max(SMALLEST_BUFFER).max(64 << 10));
        Self { http1 }
    }
}

/// A future that hyper's connection is polled through: it can be told to end, and a panic costs only itself.
trait Connected: Future<Output = hyper::Result<()>> + Send {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<S, F> Connected for hyper::server::conn::http1::Connection<TokioIo<ClientIo>, S>
where
    S: hyper::service::Service<
            Request<Incoming>,
            Response = Response<ResponseBody>,
            Error = Infallible,
            Future = F,
        > + Send
        + 'static,
    F: Future<Output = Result<Response<ResponseBody>, Infallible>> + Send + 'static,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

/// One connection being served.
pub(crate) struct Serve {
    http: Pin<Box<dyn Connected>>,
    conn: Arc<Conn>,
    number: Option<u64>,
    draining: bool,
}

impl Serve {
    pub(crate) fn new(door: &Door, stream: TcpStream, conn: Arc<Conn>) -> Self {
        // Without it a response would only be later, so an old kernel that refuses is no reason to fail.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "small writes will be delayed");
        }
        let io = TokioIo::new(ClientIo::new(stream, Arc::clone(&conn)));
        let (shared, limit) = (Arc::clone(&conn), conn.gateway.settings().client_timeout);
        let service = service_fn(move |request: Request<Incoming>| {
            let conn = Arc::clone(&shared);
            let request = request.map(|body| RequestBody::incoming(body, limit));
            async move { Ok::<_, Infallible>(engine::handle(conn, request).await) }
        });
        let http = Box::pin(door.http1.serve_connection(io, service));
        Self {
            http,
            conn,
            number: None,
            draining: false,
        }
    }
}

impl Future for Serve {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let worker = &this.conn.worker;
        if this.number.is_none() {
            // A task has one waker for its whole life.
            this.number = Some(worker.enlist(cx.waker().clone()));
        }
        let drain = !this.draining && worker.draining.load(Relaxed);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let polled = this.http.as_mut().poll(cx);
            if !drain || polled.is_ready() {
                return polled;
            }
            // Told only after it has read what had arrived: a request that is there already gets its answer.
            this.draining = true;
            this.http.as_mut().graceful_shutdown();
            this.http.as_mut().poll(cx)
        }));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => {
                if let Err(error) = result {
                    debug!(client = %this.conn.client, %error, "client connection ended");
                }
                Poll::Ready(())
            }
            Err(_) => {
                worker.counters.panics.fetch_add(1, Relaxed);
                error!(client = %this.conn.client, "a connection's task panicked");
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let worker = &self.conn.worker;
        if let Some(number) = self.number {
            worker.dismiss(number);
        }
        worker.load.fetch_sub(1, Relaxed);
        worker.ended.notify_waiters();
    }
}
