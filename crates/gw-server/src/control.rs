//! The control plane: store, sync and Admin API, which can be let go of for another process and taken back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gw_admin::ports::Node;
use gw_admin::{AdminApi, StoreIndex};
use gw_core::Kinds;
use gw_plugins::Registry;
use gw_proxy::{Gateway, ListenSocket};
use gw_store::Store;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::access::Access;
use crate::error::StartError;
use crate::logging::Reporting;
use crate::ports::{self, ThisNode};
use crate::sync::Sync;

/// Bound: how long a store is waited for that another process is about to let go of.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the control plane is made of, each time it is opened.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) data_dir: PathBuf,
    pub(crate) registry: Registry,
    pub(crate) kinds: Kinds,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) settings: Value,
    pub(crate) reporting: Reporting,
    pub(crate) access: Access,
    /// The Admin API's sockets, and whether TLS is spoken there.
    pub(crate) admins: Vec<(ListenSocket, bool)>,
}

/// The control plane.
#[derive(Debug)]
pub(crate) struct Control {
    parts: Parts,
    node: Node,
    store: Store,
    api: AdminApi,
    sync: Option<JoinHandle<()>>,
    /// Dropped when the Admin API is to end.
    stop: watch::Sender<()>,
    serving: Vec<JoinHandle<()>>,
}

impl Control {
    /// Opens the store and applies it to the data plane. With `waiting`, a store that is in use is waited for.
    pub(crate) async fn open(parts: Parts, waiting: bool) -> Result<Self, StartError> {
        let (store, api, sync, node) = open(&parts, None, waiting).await?;
        Ok(Self {
            parts,
            node,
            store,
            api,
            sync: Some(sync),
            stop: watch::Sender::new(()),
            serving: Vec::new(),
        })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Serves the Admin API.
    pub(crate) fn serve(&mut self) -> Result<(), StartError> {
        for (socket, tls) in &self.parts.admins {
            let listener = socket
                .try_clone()
                .and_then(|socket| self.parts.access.listener(socket, *tls))
                .map_err(|source| StartError::System {
                    what: "a listener for the Admin API",
                    source,
                })?;
            let mut stopped = self.stop.subscribe();
            let served = self.api.clone().serve(listener, async move {
                // Nothing is ever sent: it resolves when the sender is dropped.
                let _dropped = stopped.changed().await;
            });
            self.serving.push(tokio::spawn(served));
        }
        Ok(())
    }

    /// Lets go of the store for another process. The Admin API gives way; the data plane serves on as it is.
    pub(crate) async fn let_go(&mut self) {
        self.api.retire().await;
        self.close_store().await;
    }

    /// Opens the store again and serves the Admin API as before.
    pub(crate) async fn take_back(&mut self) -> Result<(), StartError> {
        let node = Some(self.node.clone());
        let (store, api, sync, _) = open(&self.parts, node, true).await?;
        self.api.give_back_to(api.clone());
        (self.store, self.api, self.sync) = (store, api, Some(sync));
        self.serve()
    }

    /// Stops accepting calls; those under way are answered.
    pub(crate) fn stop(&mut self) {
        self.parts.admins.clear();
        self.stop = watch::Sender::new(());
    }

    /// Ends it all.
    pub(crate) async fn end(mut self) {
        self.stop();
        for served in std::mem::take(&mut self.serving) {
            if let Err(error) = served.await {
                warn!(%error, "the Admin API ended badly");
            }
        }
        self.close_store().await;
    }

    async fn close_store(&mut self) {
        self.store.close().await;
        if let Some(sync) = self.sync.take()
            && let Err(error) = sync.await
        {
            warn!(%error, "the sync loop ended badly");
        }
    }
}

async fn open(
    parts: &Parts,
    node: Option<Node>,
    waiting: bool,
) -> Result<(Store, AdminApi, JoinHandle<()>, Node), StartError> {
    let url = format!("file:{}", parts.data_dir.display());
    let index = StoreIndex::new(parts.kinds.clone());
    let store = match waiting {
        true => gw_store::open_when_free(&url, index, PATIENCE).await,
        false => gw_store::open(&url, index).await,
    };
    let store = store.map_err(|source| StartError::Store {
        data_dir: parts.data_dir.clone(),
        source,
    })?;
    let node = match node {
        Some(node) => node,
        // In the directory that the store has made.
        None => ports::node(&parts.data_dir).map_err(|source| StartError::System {
            what: "a node id",
            source,
        })?,
    };
    let sync = Sync::start(&store, parts.kinds.clone(), Arc::clone(&parts.gateway));
    let ports = Arc::new(ThisNode {
        applied: sync.applied(),
        gateway: Arc::clone(&parts.gateway),
        node: node.clone(),
        settings: parts.settings.clone(),
        reporting: parts.reporting.clone(),
    });
    let sync = tokio::spawn(sync.run(store.clone()));
    let api = AdminApi::new(store.clone(), parts.registry.clone(), parts.kinds.clone(), ports);
    Ok((store, api, sync, node))
}
