//! WebSocket: requests that ask for it, the answer that grants it, and the tunnel that is left when HTTP is over.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Method, Response, StatusCode, Version, request};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::debug;

use crate::body::Content;
use crate::exchange::{End, Exchange};
use crate::failure::Failure;
use crate::hop;
use crate::io::Stall;
use crate::worker::Worker;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE_VALUE: HeaderValue = HeaderValue::from_static("upgrade");
const CONTENT_LENGTH: HeaderName = http::header::CONTENT_LENGTH;

/// A request for a WebSocket.
pub(crate) struct Upgrade {
    client: OnUpgrade,
    /// Asked for by `CONNECT` in a stream of HTTP/2 (RFC 8441).
    in_stream: bool,
    /// The upstream has agreed.
    upstream: Option<OnUpgrade>,
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgrade")
            .field("in_stream", &self.in_stream)
            .finish_non_exhaustive()
    }
}

impl Upgrade {
    /// What a request asks for, if that is a WebSocket; one of HTTP/2 becomes what it would be in HTTP/1.
    pub(crate) fn asked(head: &mut request::Parts) -> Option<Self> {
        let in_stream = head.version == Version::HTTP_2;
        let asks = match (in_stream, &head.method) {
            (true, &Method::CONNECT) => {
                let protocol = head.extensions.get::<Protocol>();
                protocol.is_some_and(|protocol| protocol.as_str().eq_ignore_ascii_case("websocket"))
            }
            (false, &Method::GET) => {
                let upgrade = head.headers.get(UPGRADE);
                upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
                    && hop::lists(&head.headers, &CONNECTION, "upgrade")
                    // What would follow is a body and not a WebSocket.
                    && !hop::has_body(&head.headers)
            }
            _ => false,
        };
        if !asks {
            return None;
        }
        let client = head.extensions.remove::<OnUpgrade>()?;
        head.method = Method::GET;
        Some(Self {
            client,
            in_stream,
            upstream: None,
        })
    }

    /// In a stream of HTTP/2 any success would grant what was asked for.
    pub(crate) fn settle<B>(&self, response: &mut Response<B>) {
        if self.in_stream && self.upstream.is_none() && response.status().is_success() {
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
    }

    /// Asks the upstream for the same.
    pub(crate) fn ask(&self, head: &mut http::HeaderMap) {
        head.insert(CONNECTION, UPGRADE_VALUE);
        head.insert(UPGRADE, WEBSOCKET);
        if self.in_stream {
            head.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            head.insert(SEC_WEBSOCKET_KEY, key());
            head.remove(http::header::TRANSFER_ENCODING);
        }
    }

    /// Tells the client that the upstream has agreed.
    pub(crate) fn grant<B>(&self, response: &mut Response<B>) {
        let in_stream = self.in_stream;
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        if in_stream {
            headers.remove(SEC_WEBSOCKET_ACCEPT);
            *response.status_mut() = StatusCode::OK;
        } else {
            headers.insert(CONNECTION, UPGRADE_VALUE);
            headers.insert(UPGRADE, WEBSOCKET);
        }
    }
}

/// A key that says nothing, as one does not ask for a cached answer with it: sixteen bytes in base64.
fn key() -> HeaderValue {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = [b'='; 24];
    for digit in text.iter_mut().take(21) {
        *digit = DIGITS[fastrand::usize(..64)];
    }
    // The last digit holds two bits.
    text[21] = DIGITS[fastrand::usize(..4) << 4];
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="))
}

/// Takes the upstream's consent: what follows its head is no longer HTTP.
pub(crate) fn agreed<B>(exchange: &mut Exchange, response: &mut Response<B>) {
    let upstream = response.extensions_mut().remove::<OnUpgrade>();
    if let Some(upgrade) = &mut exchange.upgrade {
        upgrade.upstream = upstream;
    }
}

/// Begins the tunnel of an exchange whose answer is on its way, or hands the exchange back if there is none to begin.
pub(crate) fn begin(mut exchange: Box<Exchange>, content: Content) -> Result<(), (Box<Exchange>, Content)> {
    let asked = exchange.upgrade.take();
    let in_stream = asked.as_ref().is_some_and(|upgrade| upgrade.in_stream);
    let Some((client, upstream)) = asked.and_then(|upgrade| Some((upgrade.client, upgrade.upstream?))) else {
        return Err((exchange, content));
    };
    // What a tunnel has to move, and when, is not HTTP's to say; of HTTP/2 others use the connection too.
    exchange.about.conn.tunnel.store(!in_stream, Relaxed);
    if let Some(lease) = &exchange.lease {
        lease.link.end(); // neither side is waited for any more, but both together
    }
    let worker = Arc::clone(&exchange.about.conn.worker);
    let limit = exchange
        .about
        .service
        .as_deref()
        .map_or(Duration::MAX, |plan| plan.service.timeouts.read);
    let counted = Counted::new(worker);
    tokio::spawn(async move {
        let end = run(&mut exchange, client, upstream, limit).await;
        exchange.finish(end);
        drop(counted);
    });
    Ok(())
}

/// Counts as a connection, so that a shutdown waits for it.
struct Counted(Arc<Worker>);

impl Counted {
    fn new(worker: Arc<Worker>) -> Self {
        worker.load.fetch_add(1, Relaxed);
        Self(worker)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Relaxed);
        self.0.ended.notify_waiters();
    }
}

async fn run(exchange: &mut Exchange, client: OnUpgrade, upstream: OnUpgrade, limit: Duration) -> End {
    let Ok(client) = client.await else {
        return End::Aborted;
    };
    let Ok(upstream) = upstream.await else {
        return End::Failed(Failure::UpstreamBroken);
    };
    let mut tunnel = Tunnel::new(TokioIo::new(client), TokioIo::new(upstream));
    let ended = tunnel.run(limit, |_, _| {}).await;
    exchange.count(tunnel.down.passed);
    match ended {
        Ok(()) => End::Complete,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            debug!(client = %exchange.about.conn.client, "nothing has passed through a WebSocket for too long");
            End::Failed(Failure::UpstreamTimeout)
        }
        Err(error) => {
            debug!(client = %exchange.about.conn.client, %error, "a WebSocket broke");
            End::Aborted
        }
    }
}

/// Bytes on their way from one side to the other. While none are, it holds no buffer.
#[derive(Default)]
struct Way {
    held: Vec<u8>,
    written: usize,
    passed: usize,
    unflushed: bool,
    ended: bool,
    closed: bool,
}

/// Two connections whose bytes pass from one to the other, both ways.
pub(crate) struct Tunnel<C, U> {
    client: C,
    upstream: U,
    up: Way,
    down: Way,
    stall: Stall,
}

impl<C, U> Tunnel<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(client: C, upstream: U) -> Self {
        Self {
            client,
            upstream,
            up: Way::default(),
            down: Way::default(),
            stall: Stall::default(),
        }
    }

    /// Passes bytes on until both sides have said all, one has gone, or nothing has passed for `limit`; tells each time how
    /// many have passed up and down.
    pub(crate) async fn run(&mut self, limit: Duration, mut passed: impl FnMut(u64, u64)) -> io::Result<()> {
        poll_fn(|cx| {
            let polled = self.poll(cx, limit);
            passed(self.up.passed as u64, self.down.passed as u64);
            polled
        })
        .await
    }

    /// Ready when both sides have said all, or one has gone, or nothing has passed for `limit`.
    fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<io::Result<()>> {
        let before = self.up.passed + self.down.passed;
        let up = self.up.poll(&mut self.client, &mut self.upstream, cx)?;
        let down = self.down.poll(&mut self.upstream, &mut self.client, cx)?;
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if self.up.passed + self.down.passed > before {
            self.stall.end();
        }
        self.stall
            .poll(cx, limit)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Way {
    fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        const ROOM: usize = 8192;
        loop {
            while let Some(rest) = self.held.get(self.written..).filter(|rest| !rest.is_empty()) {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
                self.wrote(written)?;
            }
            self.held = Vec::new();
            self.written = 0;
            if self.ended {
                if !self.closed {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.closed = true;
                }
                return Poll::Ready(Ok(()));
            }
            let mut room = [MaybeUninit::uninit(); ROOM];
            let mut read = ReadBuf::uninit(&mut room);
            if Pin::new(&mut *from).poll_read(cx, &mut read)?.is_pending() {
                if self.unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
            self.ended = read.filled().is_empty();
            if self.ended {
                continue;
            }
            // Most of the time there is room for all of it on the other side.
            match Pin::new(&mut *to).poll_write(cx, read.filled())? {
                Poll::Ready(written) => {
                    self.wrote(written)?;
                    self.written = 0;
                    self.held = read.filled().get(written..).unwrap_or_default().to_vec();
                }
                Poll::Pending => self.held = read.filled().to_vec(),
            }
        }
    }

    fn wrote(&mut self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written += written;
        self.passed += written;
        self.unflushed = true;
        Ok(())
    }
}
