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

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::{debug, error};

use crate::admission::Place;
use crate::body::{Intake, RequestBody, ResponseBody};
use crate::conn::{Conn, Connection};
use crate::engine;
use crate::gateway::Gateway;
use crate::io::Stall;
use crate::io::client::ClientIo;
use crate::io::stream::Socket;
use crate::io::timer::ConnTimer;
use crate::listener::Speaks;
use crate::lull::Lull;
use crate::opening::{Http, Opened, Opening};
use crate::passthrough;
use crate::plan::is_grpc;
use crate::settings::Settings;
use crate::streams::Streams;
use crate::worker::Worker;

/// How connections are served: hyper's settings, made once per worker.
#[derive(Debug)]
pub(crate) struct Door {
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
    header_timeout: Duration,
    intake: Intake,
    /// Requests of one connection.
    most_requests: u32,
}

impl Door {
    pub(crate) fn new(worker: &Arc<Worker>, settings: &Settings) -> Self {
        /// hyper will not have a smaller buffer.
        const SMALLEST_BUFFER: usize = 8192;
        /// hyper has so many without being told, and needs no memory for them then.
        const USUAL_HEADERS: usize = 100;
        let limits = &settings.limits;
        let mut http1 = http1::Builder::new();
        http1
            .header_read_timeout(settings.header_timeout)
            .max_header_size(limits.head.max(1024))
            .half_close(true) // `ClientIo` sees who leaves
            .max_buf_size(limits.head.max(SMALLEST_BUFFER).max(64 << 10));
        if limits.headers > USUAL_HEADERS {
            http1.max_headers(limits.headers);
        }
        let mut http2 = http2::Builder::new(Streams::new(worker, settings));
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .enable_connect_protocol()
            .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
            .keep_alive_interval(Some(settings.client_timeout / 2))
            .keep_alive_timeout(settings.client_timeout / 2)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(FAULTS);
        Self {
            http1,
            http2,
            header_timeout: settings.header_timeout,
            intake: Intake::new(settings),
            most_requests: limits.requests_per_connection.unwrap_or(u32::MAX),
        }
    }
}

/// Bound: how many streams of one connection may have been reset before they were looked at. More ends the connection: a
/// client that opens streams to reset them costs more than it pays.
const RESETS: usize = 64;

/// Bound: how many streams of one connection may be reset, in its whole life, because of what the client sent. How many in a
/// second is counted by `io/frames.rs`.
const FAULTS: usize = 1024;

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

impl<S, F> Connected for http2::Connection<TokioIo<ClientIo>, S, Streams>
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
    /// Until it is known what is spoken.
    place: Option<Place>,
    stage: Stage,
    number: Option<u64>,
    draining: bool,
    lull: Lull,
}

enum Stage {
    /// What is spoken is not known yet.
    Opening(Box<Opening>),
    Http1(Pin<Box<dyn Connected>>, Arc<Conn>),
    Http2(Box<Multiplexed>),
    /// Not ours to speak.
    Passed(Pin<Box<dyn Future<Output = ()> + Send>>),
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
        socket: Socket,
        (connection, speaks): (Connection, Speaks),
        place: Place,
    ) -> Self {
        let opening = Opening::new(
            socket,
            (gateway, worker),
            (connection, speaks),
            door.header_timeout,
        );
        Self {
            door: Arc::clone(door),
            gateway: Arc::clone(gateway),
            worker: Arc::clone(worker),
            connection,
            place: Some(place),
            stage: Stage::Opening(Box::new(opening)),
            number: None,
            draining: false,
            lull: Lull::default(),
        }
    }

    fn open(&mut self, opened: Opened) -> Stage {
        let (gateway, worker) = (Arc::clone(&self.gateway), Arc::clone(&self.worker));
        // Whom a header of the PROXY protocol names is known only now.
        let peer = match &opened {
            Opened::Http(http) => http.peer,
            Opened::Passed(passed) => passed.peer,
        };
        if let Some(Err(failure)) = self.place.as_mut().map(|place| place.claim(&peer)) {
            debug!(client = %peer.address, %failure, "connection refused");
            return Stage::Passed(Box::pin(std::future::ready(())));
        }
        let http = match opened {
            Opened::Http(http) => *http,
            Opened::Passed(passed) => {
                let connection = Connection {
                    client: passed.peer.address,
                    ..self.connection
                };
                return Stage::Passed(Box::pin(passthrough::run(gateway, worker, connection, *passed)));
            }
        };
        let Http { stream, http2, .. } = http;
        let mut conn = Conn::of_peer(gateway, worker, self.connection, http.peer);
        conn.server_name = http.server_name;
        conn.tls = http.tls;
        conn.place = self.place.take();
        let conn = Arc::new(conn);
        let io = TokioIo::new(ClientIo::new(stream, http2, Arc::clone(&conn)));
        let (shared, intake, most) = (Arc::clone(&conn), self.door.intake, self.door.most_requests);
        let service = service_fn(move |request: Request<Incoming>| {
            let conn = Arc::clone(&shared);
            // A call of gRPC may be silent for as long as the service lets it.
            let is_call = http2 && is_grpc(request.headers());
            let intake = if is_call { intake.patient() } else { intake };
            // HTTP/2 has another way to say so.
            let is_last = !http2
                && (conn.heads.load(Relaxed).saturating_add(1) >= most || conn.worker.parting.load(Relaxed));
            let request = request.map(|body| RequestBody::incoming(body, intake));
            async move {
                let mut response = engine::handle(conn, None, request).await;
                if is_last {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().entry(CONNECTION).or_insert(close);
                }
                Ok::<_, Infallible>(response)
            }
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
            // A timer of its own, that outlives its heads.
            let mut http1 = self.door.http1.clone();
            let http = http1.timer(ConnTimer::default()).serve_connection(io, service);
            let http = http.with_upgrades();
            Stage::Http1(Box::pin(http), conn)
        }
    }

    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drain = !self.draining && self.worker.draining.load(Relaxed);
        if let Stage::Opening(opening) = &mut self.stage {
            match opening.poll(cx)? {
                Poll::Ready(Some(opened)) => self.stage = self.open(opened),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending if drain && (opening.is_silent() || self.lull.is_over(None, cx)) => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let http = match &mut self.stage {
            Stage::Opening(_) => return Poll::Pending,
            // A shutdown waits for it as long as it waits for requests.
            Stage::Passed(passing) => return passing.as_mut().poll(cx).map(Ok),
            Stage::Http1(http, conn) => {
                if (drain || self.draining) && self.lull.is_over(Some(conn), cx) {
                    return Poll::Ready(Ok(()));
                }
                http
            }
            Stage::Http2(multiplexed) => {
                if drain && !multiplexed.ending {
                    multiplexed.ending = true;
                    multiplexed.idle.end(); // however long it has idled, it is given a moment from now on
                }
                multiplexed.note_requests(self.door.most_requests);
                if self.worker.parting.load(Relaxed) {
                    multiplexed.ask_to_leave();
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
    /// Tells a client that has had its share of requests to take another connection for more.
    fn note_requests(&mut self, most: u32) {
        if self.conn.heads.load(Relaxed) >= most {
            self.tell_to_end();
        }
    }

    /// Asks a client to leave once it has had what it came for.
    fn ask_to_leave(&mut self) {
        if self.conn.heads.load(Relaxed) > 0 {
            self.tell_to_end();
        }
    }

    /// Asks the client to take another connection for more. What it sends before it has heard that is served: hyper names the
    /// last request only after an answer to a ping.
    fn tell_to_end(&mut self) {
        if !self.ending {
            self.ending = true;
            self.idle.end();
            self.http.as_mut().graceful_shutdown();
        }
    }

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
                    if let Stage::Http2(multiplexed) = &this.stage
                        && is_calmed(&error)
                    {
                        multiplexed.conn.flooded();
                    }
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

/// Whether the HTTP/2 library ended a connection because of what the client sent too much of.
fn is_calmed(error: &io::Error) -> bool {
    let hyper = error.get_ref().and_then(|error| error.source());
    let error = hyper.and_then(|error| error.downcast_ref::<h2::Error>());
    error.is_some_and(|error| error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
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
