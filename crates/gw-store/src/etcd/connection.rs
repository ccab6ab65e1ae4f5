//! One HTTP/2 connection to one member, for calls and the watch alike.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};

use super::address::Member;
use super::tls::Tls;
use crate::log::BoxError;

/// How often a connection that is used is asked whether it lives. etcd hangs up on those who ask more often than each
/// five seconds.
const PING: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const PONG: Duration = Duration::from_secs(5);

/// Bound: bytes in flight on the whole connection, and on one call of it.
const WINDOW: (u32, u32) = (8 * 1024 * 1024, 4 * 1024 * 1024);

/// Clones share the connection; it closes with the last of them and the last call.
#[derive(Clone)]
pub(super) struct Connection {
    sender: http2::SendRequest<Body>,
    pub(super) origin: Uri,
}

impl Connection {
    /// Connects to `member`, at whichever of its addresses answers. The caller sets the time limit.
    pub(super) async fn open(member: &Member, tls: Option<&Tls>) -> Result<Self, BoxError> {
        let stream = connect(member).await?;
        stream.set_nodelay(true)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let origin = Uri::builder()
            .scheme(scheme)
            .authority(member.to_string())
            .path_and_query("/")
            .build()?;
        let sender = match tls {
            Some(tls) => handshake(tls.connect(&member.host, stream).await?).await?,
            None => handshake(stream).await?,
        };
        Ok(Self { sender, origin })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<Self::Response, hyper::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}

async fn connect(member: &Member) -> io::Result<TcpStream> {
    let mut last = None;
    for address in tokio::net::lookup_host((member.host.as_str(), member.port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "its name has no address")))
}

async fn handshake<S>(stream: S) -> Result<http2::SendRequest<Body>, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, driving) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .initial_connection_window_size(WINDOW.0)
        .initial_stream_window_size(WINDOW.1)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(async move {
        if let Err(error) = driving.await {
            tracing::debug!(%error, "connection to etcd ended");
        }
    });
    Ok(sender)
}
