//! Serving on a listener: connections, their bounds, and how they end.

pub(crate) mod listener;
pub(crate) mod socket;
pub(crate) mod tls;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::guard::Guard;
use listener::{Accepted, Listener};
use socket::{Socket, Unread, Watched};
use tls::Tls;

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

/// What answers the requests. Cloning shares it.
pub(crate) trait Answers: Clone + Send + Sync + 'static {
    fn answer(
        &self,
        request: Request<Watched<Incoming>>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;

    /// Resolves when no more connections are to be accepted, though those that are open still get answers.
    fn retired(&self) -> impl Future<Output = ()> + Send;
}

/// Serves connections until `shutdown` resolves; then finishes the requests under way, for at most ten seconds.
pub(crate) async fn serve(answers: impl Answers, listener: Listener, shutdown: impl Future<Output = ()>) {
    let Listener { socket, tls, guard } = listener;
    let guard = Arc::new(guard);
    let mut shutdown = pin!(shutdown);
    let mut retired = pin!(answers.retired());
    let mut socket = Some(socket);
    let mut connections = JoinSet::new();
    let (stop, stopping) = watch::channel(());
    loop {
        let accepting = async {
            match &socket {
                Some(socket) => socket.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut shutdown => break,
            () = &mut retired, if socket.is_some() => socket = None,
            accepted = accepting, if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok(accepted) => {
                    let guard = Arc::clone(&guard);
                    let served = serve_connection(answers.clone(), guard, (accepted, tls.clone()), stopping.clone());
                    connections.spawn(served);
                }
                Err(error) => {
                    tracing::warn!(%error, "an admin connection was not accepted");
                    tokio::time::sleep_until(Instant::now() + PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => report(ended),
        }
    }
    drop(socket);
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

async fn serve_connection(
    answers: impl Answers,
    guard: Arc<Guard>,
    (accepted, tls): (Accepted, Option<Tls>),
    mut stopping: watch::Receiver<()>,
) {
    let stream = tokio::select! {
        opened = accepted.open(tls) => match opened {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "no TLS with an admin client"),
        },
        _ = stopping.changed() => return,
    };
    let unread = Unread::default();
    let socket = Socket::new(stream, unread.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (answers, guard, unread) = (answers.clone(), Arc::clone(&guard), unread.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = Watched::new(body, unread);
            Ok::<_, Infallible>(match guard.check(&head) {
                Ok(passed) => {
                    let mut response = answers.answer(Request::from_parts(head, body)).await;
                    passed.mark(&mut response);
                    response
                }
                Err(refusal) => {
                    tracing::warn!(method = %head.method, %refusal, "an admin request was refused");
                    refusal.response()
                }
            })
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
