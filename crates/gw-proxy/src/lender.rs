//! What the data plane lends to plugins: its clock, calls over HTTP, sockets, and work beside requests.

mod hosts;
mod http;
mod sockets;

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use gw_plugins::env::{Clock, HttpClient, Lender, Lent, Sockets, SystemClock, Tasks};
use tokio::runtime::{self, Handle};
use tokio::time::MissedTickBehavior;

use crate::dns::Resolver;
use crate::tls_client::{self, TlsClient, Trust};

/// What a gateway lends to its plugins, for [`Registry::lent`](gw_plugins::Registry::lent).
///
/// Names are looked up and tasks run on the runtime `control`. Calls and sockets belong to the runtime that they are made in, and
/// so do the connections that are kept for later ones.
pub fn lender(control: Handle, resolver: Arc<dyn Resolver>) -> Arc<dyn Lender> {
    let hosts = Arc::new(hosts::Hosts::new(control.clone(), resolver));
    let lends = Arc::new(Lends {
        http: http::Http::new(Arc::clone(&hosts), control.clone()),
        sockets: sockets::Streams::new(hosts, control.clone()),
        tasks: Control(control.clone()),
    });
    control.spawn(sweep(Arc::downgrade(&lends)));
    lends
}

/// What the data plane lends.
struct Lends {
    http: http::Http,
    sockets: sockets::Streams,
    tasks: Control,
}

impl Lender for Lends {
    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn http(&self) -> &dyn HttpClient {
        &self.http
    }

    fn sockets(&self) -> &dyn Sockets {
        &self.sockets
    }

    fn tasks(&self) -> &dyn Tasks {
        &self.tasks
    }
}

/// Work on the control runtime.
struct Control(Handle);

impl Tasks for Control {
    fn spawn(&self, future: Lent<'static, ()>) {
        self.0.spawn(future);
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(work);
    }

    fn sleep(&self, duration: Duration) -> Lent<'static, ()> {
        Box::pin(async move {
            match tokio::time::Instant::now().checked_add(duration) {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        })
    }
}

/// Closes what has been kept for long enough.
async fn sweep(lends: Weak<Lends>) {
    const PAUSE: Duration = Duration::from_secs(5);
    let mut tick = tokio::time::interval(PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(lends) = lends.upgrade() else { return };
        lends.http.sweep();
        lends.sockets.sweep();
    }
}

/// Runs `future` in the runtime it is polled in, or in `control` if that is none.
async fn in_runtime<T: Send + 'static>(
    control: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    match Handle::try_current() {
        Ok(_) => Some(future.await),
        Err(_) => control.spawn(future).await.ok(),
    }
}

/// The runtime that what is being done belongs to.
fn here() -> runtime::Id {
    Handle::current().id()
}

/// A way to speak TLS to what plugins call. Reading the system's authorities blocks, once.
async fn tls(verify: bool, protocols: &'static [&'static [u8]]) -> TlsClient {
    if !verify {
        return TlsClient::new(Trust::Anyone, protocols);
    }
    let made = tokio::task::spawn_blocking(move || {
        TlsClient::new(Trust::Roots(tls_client::system_roots()), protocols)
    });
    match made.await {
        Ok(client) => client,
        // The runtime ends.
        Err(_) => std::future::pending().await,
    }
}
