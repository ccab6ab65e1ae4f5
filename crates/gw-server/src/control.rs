//! The control plane: store, sync and Admin API, which can be let go of for another process and taken back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gw_admin::declarative::UnknownPlugins;
use gw_admin::ports::Node;
use gw_admin::{AdminApi, AdminOptions, StoreIndex};
use gw_core::Kinds;
use gw_plugins::Registry;
use gw_proxy::{Gateway, ListenSocket};
use gw_store::{Revision, Store};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::access::Access;
use crate::error::StartError;
use crate::file::follow::Follower;
use crate::file::{self, Environment, Signature};
use crate::logging::Reporting;
use crate::ports::{self, ThisNode};
use crate::sync::Sync;

/// Bound: how long a store is waited for that another process is about to let go of.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the configuration is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a store in this directory, written by the Admin API.
    Store(PathBuf),
    /// In a file, which is followed; without one, whatever `POST /config` brings.
    File {
        path: Option<PathBuf>,
        environment: Environment,
    },
}

impl Place {
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}

/// What the control plane is made of, each time it is opened.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) place: Place,
    /// What becomes of plugins in whole configurations that are not here.
    pub(crate) unknown_plugins: UnknownPlugins,
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
    applied: watch::Receiver<Revision>,
    /// Follows the file.
    follower: Option<JoinHandle<()>>,
    /// Dropped when the Admin API is to end.
    stop: watch::Sender<()>,
    serving: Vec<JoinHandle<()>>,
}

impl Control {
    /// Opens the store and applies it to the data plane. With `waiting`, a store that is in use is waited for.
    pub(crate) async fn open(parts: Parts, waiting: bool) -> Result<Self, StartError> {
        let Opened {
            store,
            node,
            sync,
            applied,
        } = open(&parts, None, waiting).await?;
        let api = api(&parts, &store, &node, applied.clone());
        let mut follower = None;
        if let Place::File {
            path: Some(path),
            environment,
        } = &parts.place
        {
            let (text, read) = file::read_at_rest(path)?;
            file::load(&api, path, text, *environment, false).await?;
            follower = Some(follow(path, *environment, &api, Some(read))?);
        }
        Ok(Self {
            parts,
            node,
            store,
            api,
            sync: Some(sync),
            applied,
            follower,
            stop: watch::Sender::new(()),
            serving: Vec::new(),
        })
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
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
        if let Some(follower) = self.follower.take() {
            follower.abort();
        }
        // A store in memory is nobody else's.
        if !self.parts.place.is_file() {
            self.close_store().await;
        }
    }

    /// Opens the store again and serves the Admin API as before.
    pub(crate) async fn take_back(&mut self) -> Result<(), StartError> {
        if let Place::File { path, environment } = &self.parts.place {
            let api = api(&self.parts, &self.store, &self.node, self.applied.clone());
            self.api.give_back_to(api.clone());
            self.api = api;
            if let Some(path) = path {
                // It may have changed meanwhile.
                self.follower = Some(follow(path, *environment, &self.api, None)?);
            }
            return self.serve();
        }
        let opened = open(&self.parts, Some(self.node.clone()), true).await?;
        let api = api(&self.parts, &opened.store, &self.node, opened.applied.clone());
        self.api.give_back_to(api.clone());
        (self.store, self.api, self.sync) = (opened.store, api, Some(opened.sync));
        self.applied = opened.applied;
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
        if let Some(follower) = self.follower.take() {
            follower.abort();
        }
        self.store.close().await;
        if let Some(sync) = self.sync.take()
            && let Err(error) = sync.await
        {
            warn!(%error, "the sync loop ended badly");
        }
    }
}

/// What is behind an Admin API.
struct Opened {
    store: Store,
    node: Node,
    sync: JoinHandle<()>,
    applied: watch::Receiver<Revision>,
}

async fn open(parts: &Parts, node: Option<Node>, waiting: bool) -> Result<Opened, StartError> {
    let index = StoreIndex::new(parts.kinds.clone());
    let store = match &parts.place {
        Place::Store(data_dir) => {
            let url = format!("file:{}", data_dir.display());
            let store = match waiting {
                true => gw_store::open_when_free(&url, index, PATIENCE).await,
                false => gw_store::open(&url, index).await,
            };
            store.map_err(|source| StartError::Store {
                data_dir: data_dir.clone(),
                source,
            })?
        }
        Place::File { .. } => {
            let store = gw_store::open("memory:", index).await;
            store.map_err(|source| StartError::Memory { source })?
        }
    };
    let node = match (node, &parts.place) {
        (Some(node), _) => node,
        // In the directory that the store has made.
        (None, Place::Store(data_dir)) => ports::node(data_dir).map_err(|source| StartError::System {
            what: "a node id",
            source,
        })?,
        (None, Place::File { .. }) => ports::nameless_node(),
    };
    let sync = Sync::start(&store, parts.kinds.clone(), Arc::clone(&parts.gateway));
    let applied = sync.applied();
    let sync = tokio::spawn(sync.run(store.clone()));
    Ok(Opened {
        store,
        node,
        sync,
        applied,
    })
}

fn api(parts: &Parts, store: &Store, node: &Node, applied: watch::Receiver<Revision>) -> AdminApi {
    let ports = Arc::new(ThisNode {
        applied,
        gateway: Arc::clone(&parts.gateway),
        node: node.clone(),
        settings: parts.settings.clone(),
        reporting: parts.reporting.clone(),
    });
    let mut options = AdminOptions::default();
    options.unknown_plugins = parts.unknown_plugins;
    options.without_database = parts.place.is_file();
    AdminApi::with(
        store.clone(),
        parts.registry.clone(),
        parts.kinds.clone(),
        ports,
        options,
    )
}

/// Follows a file from now on; what was read of it is known.
fn follow(
    path: &Path,
    environment: Environment,
    api: &AdminApi,
    read: Option<Signature>,
) -> Result<JoinHandle<()>, StartError> {
    let follower = Follower::new(path, environment, api.clone(), read);
    let follower = follower.map_err(|source| StartError::System {
        what: "a signal handler",
        source,
    })?;
    Ok(tokio::spawn(follower.run()))
}
