//! One client connection: hyper's servers over our I/O, with its limits, its drain and its panics.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tracing::{debug, error};

use crate::body::{RequestBody, ResponseBody};
use crate::conn::{Conn, Connection};
use crate::engine;
use crate::gateway::Gateway;
use crate::io::Stall;
use crate::io::client::ClientIo;
use crate::listener::Speaks;
use crate::opening::{Opened, Opening};
use crate::plan::is_grpc;
use crate::settings::Settings;
use crate::worker::Worker;

/// How connections are served: hyper's settings, made once per worker.
#[derive(Debug)]
pub(crate) struct Door {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    header_timeout: Duration,
}

impl Door {
    pub(crate) fn new(settings: &Settings) -> Self {
        /// hyper will not have a smaller buffer.
        const SMALLEST_BUFFER: usize = 8192;
        let limits = &settings.limits;
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_timeout)
            .max_header_size(limits.head.max(1024))
            .half_close(settings.half_close)
            .max_buf_size(limits.head.max(SMALLEST_BUFFER).max(64 << 10));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .enable_connect_protocol()
            .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
            .keep_alive_interval(Some(settings.client_timeout / 2))
            .keep_alive_timeout(settings.client_timeout / 2)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(RESETS);
        Self {
            http1,
            http2,
            header_timeout: settings.header_timeout,
        }
    }
}

/// Bound: how many streams of one connection may have been reset before they were looked at. More ends the connection: a
/// client that opens streams to reset them costs more than it pays.
const RESETS: usize = 64;

/// Bound: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Bound: how many requests a client may let go of, if that is also more than half of them. More ends the connection.
const ABORTS: u32 = 200;

/// Bound: for how long nothing may move on a connection that has been told to end and has nothing to do.
const FAREWELL: Duration = Duration::from_secs(3);

/// A future that hyper's connection is polled through: it can be told to end, and a panic costs only itself.
trait Connected: Future<Output = hyper::Result<()>> + Send {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<S, F> Connected for http1::UpgradeableConnection<TokioIo<ClientIo>, S>
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

impl<S, F> Connected for http2::Connection<TokioIo<ClientIo>, S, TokioExecutor>
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
    door: Arc<Door>,
    gateway: Arc<Gateway>,
    worker: Arc<Worker>,
    connection: Connection,
    stage: Stage,
    number: Option<u64>,
    draining: bool,
}

enum Stage {
    /// What is spoken is not known yet.
    Opening(Box<Opening>),
    Http1(Pin<Box<dyn Connected>>),
    Http2(Box<Multiplexed>),
}

/// A connection of HTTP/2, which is idle when it has no stream.
struct Multiplexed {
    http: Pin<Box<dyn Connected>>,
    conn: Arc<Conn>,
    idle: Stall,
    /// How much had been written when that was last looked at.
    written: u64,
    ending: bool,
}

impl Serve {
    pub(crate) fn new(
        door: &Arc<Door>,
        gateway: &Arc<Gateway>,
        worker: &Arc<Worker>,
        stream: TcpStream,
        (connection, speaks): (Connection, Speaks),
    ) -> Self {
        // Without it a response would only be later, so an old kernel that refuses is no reason to fail.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "small writes will be delayed");
        }
        let mut serve = Self {
            door: Arc::clone(door),
            gateway: Arc::clone(gateway),
            worker: Arc::clone(worker),
            connection,
            stage: Stage::Opening(Box::new(Opening::done())),
            number: None,
            draining: false,
        };
        let tls = speaks.tls.then(|| gateway.tls().config(speaks.http2));
        serve.stage = match tls {
            None if !speaks.http2 => serve.open(Opened::plain(stream)),
            tls => Stage::Opening(Box::new(Opening::new(stream, tls.cloned(), door.header_timeout))),
        };
        serve
    }

    fn open(&self, opened: Opened) -> Stage {
        let Opened {
            stream,
            http2,
            server_name,
        } = opened;
        let mut conn = Conn::new(
            Arc::clone(&self.gateway),
            Arc::clone(&self.worker),
            self.connection,
        );
        conn.server_name = server_name;
        let conn = Arc::new(conn);
        let io = TokioIo::new(ClientIo::new(stream, http2, Arc::clone(&conn)));
        let (shared, limit) = (Arc::clone(&conn), self.gateway.settings().client_timeout);
        let service = service_fn(move |request: Request<Incoming>| {
            let conn = Arc::clone(&shared);
            // A call of gRPC may be silent for as long as the service lets it.
            let limit = if http2 && is_grpc(request.headers()) {
                LONGEST
            } else {
                limit
            };
            let request = request.map(|body| RequestBody::incoming(body, limit));
            async move { Ok::<_, Infallible>(engine::handle(conn, request).await) }
        });
        if http2 {
            Stage::Http2(Box::new(Multiplexed {
                http: Box::pin(self.door.http2.serve_connection(io, service)),
                conn,
                idle: Stall::default(),
                written: 0,
                ending: false,
            }))
        } else {
            Stage::Http1(Box::pin(
                self.door.http1.serve_connection(io, service).with_upgrades(),
            ))
        }
    }

    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drain = !self.draining && self.worker.draining.load(Relaxed);
        if let Stage::Opening(opening) = &mut self.stage {
            match opening.poll(cx)? {
                Poll::Ready(Some(opened)) => self.stage = self.open(opened),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending if drain && opening.is_silent() => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        let http = match &mut self.stage {
            Stage::Opening(_) => return Poll::Pending,
            Stage::Http1(http) => http,
            Stage::Http2(multiplexed) => {
                if drain && !multiplexed.ending {
                    multiplexed.ending = true;
                    multiplexed.idle.end(); // however long it has idled, it is given a moment from now on
                }
                if multiplexed.is_over(cx, self.door.header_timeout) {
                    return Poll::Ready(Ok(()));
                }
                &mut multiplexed.http
            }
        };
        let polled = http.as_mut().poll(cx);
        if !drain || polled.is_ready() {
            return polled.map_err(io::Error::other);
        }
        // Told only after it has read what had arrived: a request that is there already gets its answer.
        self.draining = true;
        http.as_mut().graceful_shutdown();
        http.as_mut().poll(cx).map_err(io::Error::other)
    }
}

impl Multiplexed {
    /// Tells a connection that idles to end, for hyper would wait for the next stream for ever; whether it is to be dropped.
    fn is_over(&mut self, cx: &mut Context<'_>, limit: Duration) -> bool {
        let aborted = self.conn.aborted.load(Relaxed);
        if aborted > ABORTS && aborted > self.conn.heads.load(Relaxed) / 2 {
            debug!(client = %self.conn.client, aborted, "a client lets go of most of its requests");
            return true;
        }
        let written = self.conn.written.load(Relaxed);
        // What has been answered may still be on its way.
        let moves = std::mem::replace(&mut self.written, written) != written;
        if moves || self.conn.in_flight.load(Relaxed) > 0 {
            self.idle.end();
        }
        if self.conn.in_flight.load(Relaxed) > 0 {
            return false;
        }
        if !self.ending && self.idle.poll(cx, limit).is_ready() {
            self.ending = true;
            self.http.as_mut().graceful_shutdown();
            self.idle.end();
        }
        // It has been told; a client that does not hear it is not waited for.
        self.ending && self.idle.poll(cx, FAREWELL).is_ready()
    }
}

impl Future for Serve {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.number.is_none() {
            // A task has one waker for its whole life.
            this.number = Some(this.worker.enlist(cx.waker().clone()));
        }
        let client = this.connection.client;
        match catch_unwind(AssertUnwindSafe(|| this.poll_stage(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => {
                if let Err(error) = result {
                    debug!(%client, %error, "client connection ended");
                }
                Poll::Ready(())
            }
            Err(_) => {
                this.worker.counters.panics.fetch_add(1, Relaxed);
                error!(%client, "a connection's task panicked");
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let worker = &self.worker;
        if let Some(number) = self.number {
            worker.dismiss(number);
        }
        worker.load.fetch_sub(1, Relaxed);
        worker.ended.notify_waiters();
    }
}
