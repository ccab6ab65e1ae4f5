//! The control plane: store, sync and Admin API, which can be let go of for another process and taken back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gw_admin::declarative::UnknownPlugins;
use gw_admin::ports::Node;
use gw_admin::{AdminApi, AdminOptions, StoreIndex};
use gw_core::Kinds;
use gw_plugins::Registry;
use gw_proxy::{Gateway, ListenSocket};
use gw_store::checkpoint::Checkpoint;
use gw_store::{OpenError, Store, View};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::access::Access;
use crate::alarms::Alarms;
use crate::checkpoints::{self, Keeper};
use crate::data_dir::DataDir;
use crate::error::StartError;
use crate::file::follow::Follower;
use crate::file::{self, Environment, Signature};
use crate::heartbeat::Heartbeat;
use crate::logging::Reporting;
use crate::ports::{self, ThisNode};
use crate::sync::Sync;
use crate::sync::guard::Bounds;
use crate::sync::plane::Plane;
use crate::sync::standing::Lookout;

/// Bound: how long a store is waited for that another process is about to let go of.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a shared store is waited for at the start, if there is something to serve meanwhile, and if there is not.
const A_MOMENT: Duration = Duration::from_millis(500);
const A_WHILE: Duration = Duration::from_secs(3);

/// How often it is looked whether it has answered.
const PAUSE: Duration = Duration::from_millis(5);

/// Where the configuration is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a store, written by the Admin API.
    Store(Kept),
    /// In a file, which is followed; without one, whatever `POST /config` brings.
    File {
        path: Option<PathBuf>,
        environment: Environment,
    },
}

/// A store, and what this node keeps beside it.
#[derive(Clone)]
pub(crate) struct Kept {
    /// The store's address, which may hold a password; none = in the data directory.
    pub(crate) url: Option<String>,
    pub(crate) data_dir: PathBuf,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

impl Kept {
    /// Whether other gateways may have the store too.
    pub(crate) fn is_shared(&self) -> bool {
        self.url.as_deref().is_some_and(gw_store::is_shared)
    }

    fn url(&self) -> String {
        let in_directory = || format!("file:{}", self.data_dir.display());
        self.url.clone().unwrap_or_else(in_directory)
    }

    fn refused(&self, source: OpenError) -> StartError {
        match self.url {
            Some(_) => StartError::ElsewhereStore { source },
            None => StartError::Store {
                data_dir: self.data_dir.clone(),
                source,
            },
        }
    }
}

/// Where it is, without what is secret in it.
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.url.as_deref().and_then(|url| url.split_once("://")) else {
            return f.write_str(&self.url());
        };
        let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
        // A password may hold anything but a host.
        let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
        write!(f, "{scheme}://{rest}")
    }
}

impl Place {
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    fn is_shared(&self) -> bool {
        matches!(self, Self::Store(kept) if kept.is_shared())
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
    /// What a step may remove by itself; none = anything.
    pub(crate) bounds: Option<Bounds>,
    pub(crate) lookout: Lookout,
    pub(crate) alarms: Alarms,
    pub(crate) started: SystemTime,
    /// The Admin API's sockets, and whether TLS is spoken there.
    pub(crate) admins: Vec<(ListenSocket, bool)>,
}

/// The control plane.
#[derive(Debug)]
pub(crate) struct Control {
    parts: Parts,
    opened: Opened,
    api: AdminApi,
    /// Follows the file.
    follower: Option<JoinHandle<()>>,
    /// Dropped when the Admin API is to end.
    stop: watch::Sender<()>,
    serving: Vec<JoinHandle<()>>,
}

impl Control {
    /// Opens the store and applies it to the data plane. With `waiting`, a store that is in use is waited for.
    pub(crate) async fn open(parts: Parts, waiting: bool) -> Result<Self, StartError> {
        let opened = open(&parts, None, waiting).await?;
        let api = api(&parts, &opened);
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
            opened,
            api,
            follower,
            stop: watch::Sender::new(()),
            serving: Vec::new(),
        })
    }

    pub(crate) fn node(&self) -> &Node {
        &self.opened.heartbeat.node
    }

    pub(crate) fn store(&self) -> &Store {
        &self.opened.heartbeat.store
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
            self.opened.close().await;
        }
    }

    /// Opens the store again and serves the Admin API as before.
    pub(crate) async fn take_back(&mut self) -> Result<(), StartError> {
        if let Place::File { path, environment } = &self.parts.place {
            let api = api(&self.parts, &self.opened);
            self.api.give_back_to(api.clone());
            self.api = api;
            if let Some(path) = path {
                // It may have changed meanwhile.
                self.follower = Some(follow(path, *environment, &self.api, None)?);
            }
            return self.serve();
        }
        let opened = open(&self.parts, Some(self.node().clone()), true).await?;
        let api = api(&self.parts, &opened);
        self.api.give_back_to(api.clone());
        (self.opened, self.api) = (opened, api);
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
        if let Some(follower) = self.follower.take() {
            follower.abort();
        }
        self.opened.close().await;
    }
}

/// What is behind an Admin API: an open store, and what goes on about it.
#[derive(Debug)]
struct Opened {
    heartbeat: Heartbeat,
    /// Dropped when what goes on is to end.
    stop: Option<watch::Sender<()>>,
    sync: Option<JoinHandle<()>>,
    /// Tells the other nodes where this one stands, and keeps what it serves.
    beside: Vec<JoinHandle<()>>,
    /// The right to the data directory, where the store has none of its own.
    data_dir: Option<DataDir>,
}

impl Opened {
    /// Ends what goes on and closes the store.
    async fn close(&mut self) {
        // They say a last word to the store, so they end first.
        self.stop = None;
        for beside in self.beside.drain(..) {
            if let Err(error) = beside.await {
                warn!(%error, "a task beside the store ended badly");
            }
        }
        self.heartbeat.store.close().await;
        if let Some(sync) = self.sync.take()
            && let Err(error) = sync.await
        {
            warn!(%error, "the sync loop ended badly");
        }
        self.data_dir = None;
    }
}

async fn open(parts: &Parts, node: Option<Node>, waiting: bool) -> Result<Opened, StartError> {
    let mut beside = Beside::default();
    let plane = Plane::new(parts.kinds.clone(), Arc::clone(&parts.gateway));
    let (store, plane) = match &parts.place {
        Place::Store(kept) if kept.is_shared() => {
            open_shared(parts, kept, waiting, (&mut beside, plane)).await?
        }
        Place::Store(kept) => {
            let index = StoreIndex::new(parts.kinds.clone());
            let store = match waiting {
                true => gw_store::open_when_free(&kept.url(), index, PATIENCE).await,
                false => gw_store::open(&kept.url(), index).await,
            };
            (store.map_err(|source| kept.refused(source))?, (plane, None))
        }
        Place::File { .. } => {
            let store = gw_store::open("memory:", StoreIndex::new(parts.kinds.clone())).await;
            let store = store.map_err(|source| StartError::Memory { source })?;
            (store, (plane, None))
        }
    };
    let node = match (node, &beside.data_dir, &parts.place) {
        (Some(node), ..) => node,
        (None, Some(data_dir), _) => data_dir.node()?,
        // In the directory that the store has made, where it has made one.
        (None, None, Place::Store(kept)) => DataDir::node_in(&kept.data_dir)?,
        (None, None, Place::File { .. }) => ports::nameless_node(),
    };
    let bounds = parts.bounds.filter(|_| !parts.place.is_file());
    let lookout = parts.lookout.clone();
    let sync = Sync::start(&store, plane, bounds, lookout.clone()).await;
    let heartbeat = Heartbeat {
        node,
        started: parts.started,
        store: store.clone(),
        lookout: lookout.clone(),
        alarms: parts.alarms.clone(),
    };
    let sync = tokio::spawn(sync.run());
    if parts.place.is_shared() {
        await_store(&store, &lookout).await;
    }
    let stop = watch::Sender::new(());
    let mut tasks = vec![tokio::spawn(heartbeat.clone().run(stop.subscribe()))];
    if let Some(data_dir) = &beside.data_dir {
        let alarms = parts.alarms.clone();
        let keeper = Keeper::new(data_dir.checkpoints(), beside.newest.as_ref(), (lookout, alarms));
        tasks.push(tokio::spawn(keeper.run(stop.subscribe())));
    }
    Ok(Opened {
        heartbeat,
        stop: Some(stop),
        sync: Some(sync),
        beside: tasks,
        data_dir: beside.data_dir,
    })
}

/// What a node keeps beside a shared store.
#[derive(Default)]
struct Beside {
    data_dir: Option<DataDir>,
    newest: Option<Checkpoint>,
}

/// Starts from what was served last, whether or not the store answers: the data plane has it when this returns.
async fn open_shared(
    parts: &Parts,
    kept: &Kept,
    waiting: bool,
    (beside, mut plane): (&mut Beside, Plane),
) -> Result<(Store, (Plane, Option<View>)), StartError> {
    let patience = if waiting { PATIENCE } else { Duration::ZERO };
    let data_dir = DataDir::take(&kept.data_dir, patience).await?;
    let log = gw_store::open_log(&kept.url()).await;
    let log = log.map_err(|source| kept.refused(source))?;
    let newest = checkpoints::newest(&data_dir.checkpoints()).await;
    beside.data_dir = Some(data_dir);
    let index = StoreIndex::new(parts.kinds.clone());
    let Some(newest) = newest else {
        return Ok((Store::resume(log, index, None), (plane, None)));
    };
    let from = newest.contents.clone();
    info!(revision = %from.revision(), "starting from what was served last");
    let compiling = tokio::spawn(async move {
        plane.resume(&newest).await;
        (plane, newest)
    });
    // It begins on other threads. Meanwhile the contents are indexed here, which takes as long.
    tokio::task::yield_now().await;
    let store = Store::resume(log, index, Some(from));
    // At once: the store may be ahead of it as soon as it is waited for anything.
    let view = store.view();
    let (plane, newest) = compiling.await.map_err(|error| StartError::System {
        what: "a task that compiles what was served last",
        source: error.into(),
    })?;
    beside.newest = Some(newest);
    Ok((store, (plane, Some(view))))
}

/// Gives a shared store a moment, so that an ordinary start serves what is current from the first request on.
async fn await_store(store: &Store, lookout: &Lookout) {
    let has_something = lookout.standing().served.is_some();
    let deadline = Instant::now() + if has_something { A_MOMENT } else { A_WHILE };
    while !store.info().reached && Instant::now() < deadline {
        sleep_until(Instant::now() + PAUSE).await;
    }
    let info = store.info();
    if info.reached {
        // What it holds is served, or held back, in no time.
        let settled = lookout.settled_at(info.revision);
        if tokio::time::timeout_at(deadline, settled).await.is_err() {
            warn!(revision = %info.revision, "the store's newest configuration is not served yet");
        }
        return;
    }
    match has_something {
        true => warn!(
            place = %store.place(),
            "the store does not answer; serving what was served last, which may be out of date, until it does"
        ),
        false => error!(
            place = %store.place(),
            "the store does not answer, and nothing was kept of an earlier start: there is nothing to serve until it does"
        ),
    }
}

fn api(parts: &Parts, opened: &Opened) -> AdminApi {
    let ports = Arc::new(ThisNode {
        heartbeat: opened.heartbeat.clone(),
        gateway: Arc::clone(&parts.gateway),
        settings: parts.settings.clone(),
        reporting: parts.reporting.clone(),
        kinds: parts.kinds.clone(),
        bounds: parts.bounds.filter(|_| !parts.place.is_file()),
    });
    let mut options = AdminOptions::default();
    options.unknown_plugins = parts.unknown_plugins;
    options.without_database = parts.place.is_file();
    AdminApi::with(
        opened.heartbeat.store.clone(),
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
