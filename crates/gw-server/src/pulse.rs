//! Whether this node wants to be sent requests, for the Status API.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gw_admin::ports::Counters;
use gw_admin::{Pulse, StatusApi};
use gw_proxy::{Gateway, ListenSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::access;
use crate::error::StartError;
use crate::ports;

/// Whether this node wants to be sent requests.
#[derive(Debug)]
pub(crate) struct Readiness {
    gateway: Arc<Gateway>,
    leaving: AtomicBool,
}

/// The Status API, being served.
#[derive(Debug)]
pub(crate) struct Status {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Readiness {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Arc<Self> {
        Arc::new(Self {
            gateway,
            leaving: AtomicBool::new(false),
        })
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

    fn ready(&self) -> Result<(), &'static str> {
        if self.leaving.load(Relaxed) {
            return Err("the gateway is about to stop");
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
