//! Serving the Admin API on a listener.

mod socket;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::AdminApi;
use socket::{Socket, Unread, Watched};

/// Bound: bytes of one request's head, give or take one read of as many.
const MAX_HEAD: usize = 64 * 1024;

/// Bound: how long a request's head may take to arrive, and a connection may wait for one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Bound: connections served at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// Bound: how long open connections may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long not to accept after a failure to, which is mostly a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

impl AdminApi {
    /// Serves connections until `shutdown` resolves; then finishes the requests under way, for at most ten seconds.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut connections = JoinSet::new();
        let (stop, stopping) = watch::channel(());
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((socket, _)) => {
                        connections.spawn(serve_connection(self.clone(), socket, stopping.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "an admin connection was not accepted");
                        tokio::time::sleep_until(Instant::now() + PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => report(ended),
            }
        }
        drop(listener);
        drop(stop);
        let finishing = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(GRACE, finishing).await.is_err() {
            tracing::warn!("admin connections were closed before they ended");
        }
    }
}

async fn serve_connection(api: AdminApi, socket: TcpStream, mut stopping: watch::Receiver<()>) {
    let unread = Unread::default();
    let socket = Socket::new(socket, unread.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (api, unread) = (api.clone(), unread.clone());
        async move {
            let request = request.map(|body| Watched::new(body, unread));
            Ok::<_, Infallible>(api.handle(request).await)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // Only its end is ever signalled, by dropping the sender.
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "an admin request panicked; its connection was closed");
    }
}
