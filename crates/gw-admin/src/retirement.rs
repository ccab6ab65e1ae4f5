//! How the Admin API of a process gives way to the one of the process that follows it.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::{RwLock, RwLockReadGuard, watch};

use crate::AdminApi;
use crate::serve::listener::Listener;
use crate::serve::socket::Watched;
use crate::serve::{Answers, serve};

/// Bound: how long requests under way may take to end. What a later one would write, the closed store refuses.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether requests are still answered here.
pub(crate) struct Retirement {
    retired: watch::Sender<bool>,
    /// Held shared by each request under way.
    under_way: RwLock<()>,
    /// Who answers from then on, if that is this process after all.
    next: OnceLock<AdminApi>,
}

impl Default for Retirement {
    fn default() -> Self {
        Self {
            retired: watch::Sender::new(false),
            under_way: RwLock::default(),
            next: OnceLock::new(),
        }
    }
}

impl Retirement {
    /// A request begins; none if it comes too late.
    pub(crate) async fn begin(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let under_way = self.under_way.read().await;
        (!*self.retired.borrow()).then_some(under_way)
    }

    async fn over(&self) {
        let mut retired = self.retired.subscribe();
        if retired.wait_for(|retired| *retired).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl AdminApi {
    /// Serves connections until `shutdown` resolves; then finishes the requests under way, for at most ten seconds.
    pub async fn serve(self, listener: impl Into<Listener>, shutdown: impl Future<Output = ()>) {
        serve(self, listener.into(), shutdown).await;
    }

    /// Has `next` answer what still comes in on connections of this one, which has given way to no avail.
    pub fn give_back_to(&self, next: Self) {
        // Once is enough: who comes back gives way as the next, not as this one.
        if self.retirement().next.set(next).is_err() {
            tracing::error!("an Admin API was followed twice");
        }
    }

    /// The one that answers.
    pub(crate) fn current(&self) -> &Self {
        let mut api = self;
        while let Some(next) = api.retirement().next.get() {
            api = next;
        }
        api
    }

    /// Gives way to another process: accepts no more connections, and returns when the requests under way have their
    /// answers, after five seconds at most. From then on requests on connections that are still open are answered with 503
    /// and `Retry-After`: nothing is written any more, and the store may be closed.
    pub async fn retire(&self) {
        let retirement = self.retirement();
        retirement.retired.send_replace(true);
        if tokio::time::timeout(PATIENCE, retirement.under_way.write())
            .await
            .is_err()
        {
            tracing::warn!("admin requests are still under way; what they would write is refused");
        }
    }
}

impl Answers for AdminApi {
    async fn answer(&self, request: Request<Watched<Incoming>>) -> Response<Full<Bytes>> {
        self.handle(request).await
    }

    async fn retired(&self) {
        self.retirement().over().await;
    }
}
