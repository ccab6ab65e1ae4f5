//! Whether this node wants to be sent requests, for the Status API.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gw_admin::ports::Counters;
use gw_admin::{Pulse, StatusApi};
use gw_proxy::{Gateway, ListenSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::access;
use crate::error::StartError;
use crate::metrics;
use crate::ports;
use crate::sync::standing::Lookout;

/// Whether this node wants to be sent requests.
#[derive(Debug)]
pub(crate) struct Readiness {
    gateway: Arc<Gateway>,
    of: Source,
    leaving: AtomicBool,
    node: OnceLock<Uuid>,
}

/// Where the configuration comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The command line.
    Flags,
    /// A file; until there is one, there is nothing to serve.
    File,
    /// A store, which may be out of reach.
    Store {
        lookout: Lookout,
        ready_when_stale: bool,
    },
}

/// The Status API, being served.
#[derive(Debug)]
pub(crate) struct Status {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Readiness {
    pub(crate) fn new(gateway: Arc<Gateway>, of: Source) -> Arc<Self> {
        Arc::new(Self {
            gateway,
            of,
            leaving: AtomicBool::new(false),
            node: OnceLock::new(),
        })
    }

    /// The node has this id; until it is told, or if it never is, another.
    pub(crate) fn name(&self, node: Uuid) {
        self.node.set(node).ok();
    }

    /// Waits until what plugins have logged is where it is to go, but not for long: a log server may be down.
    pub(crate) async fn flush_logs(&self) {
        const PATIENCE: Duration = Duration::from_secs(3);
        let flushed = self.gateway.registry().flushed();
        if tokio::time::timeout(PATIENCE, flushed).await.is_err() {
            tracing::warn!("some log entries were not taken, and are lost");
        }
    }

    /// From now on load balancers are told to go elsewhere.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Relaxed);
    }
}

impl Pulse for Readiness {
    fn counters(&self) -> Counters {
        ports::counters(&self.gateway)
    }

    fn revision(&self) -> u64 {
        self.gateway.snapshot().revision()
    }

    fn metrics(&self) -> String {
        let lookout = match &self.of {
            Source::Store { lookout, .. } => Some(lookout),
            Source::Flags | Source::File => None,
        };
        metrics::text(&self.gateway, *self.node.get_or_init(Uuid::new_v4), lookout)
    }

    fn ready(&self) -> Result<(), &'static str> {
        if self.leaving.load(Relaxed) {
            return Err("the gateway is about to stop");
        }
        match &self.of {
            Source::File if self.gateway.snapshot().revision() == 0 => {
                return Err("no configuration available (empty configuration present)");
            }
            Source::Store { lookout, .. } if lookout.standing().served.is_none() => {
                return Err("no configuration available (the store has not answered since the start)");
            }
            Source::Store {
                lookout,
                ready_when_stale: false,
            } if lookout.stale().is_some() => {
                return Err("the configuration may be out of date (the store does not answer)");
            }
            _ => {}
        }
        Ok(())
    }
}

impl Status {
    pub(crate) fn serve(readiness: &Arc<Readiness>, socket: ListenSocket) -> Result<Self, StartError> {
        let listener = access::listen(socket).map_err(|source| StartError::System {
            what: "a listener for the Status API",
            source,
        })?;
        // It tells no secrets and changes nothing, so any name will do.
        let listener = listener.guard(gw_admin::Guard::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let api = StatusApi::new(Arc::clone(readiness) as Arc<dyn Pulse>);
        let task = tokio::spawn(api.serve(listener, async move {
            // Note: a dropped sender stops it as well.
            let _ended = stopped.await;
        }));
        Ok(Self { stop, task })
    }

    /// Accepts no more connections; those that are open may end.
    pub(crate) async fn end(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the Status API ended badly");
        }
    }
}
