//! From the store to the data plane: the only file that knows both.

use std::collections::HashSet;
use std::sync::Arc;

use gw_core::{Change, Config, Document, Kind, Kinds, index};
use gw_proxy::{Gateway, Problem};
use gw_store::{Commit, Op, Revision, Store, View, Watch, WatchItem};
use tokio::sync::watch;
use tracing::{error, info, warn};

/// Applies the store's commits to the gateway, in order, one snapshot for all that are ready.
#[derive(Debug)]
pub(crate) struct Sync {
    kinds: Kinds,
    gateway: Arc<Gateway>,
    config: Config,
    watch: Watch,
    applied: watch::Sender<Revision>,
    /// What could not run at the last revision, so that each is reported once.
    problems: Vec<Problem>,
}

impl Sync {
    /// Applies everything the store holds now.
    pub(crate) fn start(store: &Store, kinds: Kinds, gateway: Arc<Gateway>) -> Self {
        let view = store.view();
        let (applied, _) = watch::channel(view.revision());
        let mut sync = Self {
            kinds,
            gateway,
            config: Config::default(),
            watch: store.watch(view.revision()),
            applied,
            problems: Vec::new(),
        };
        sync.reload(&view);
        sync
    }

    /// Tells which revision this node serves.
    pub(crate) fn applied(&self) -> watch::Receiver<Revision> {
        self.applied.subscribe()
    }

    /// Follows the store until it closes.
    pub(crate) async fn run(mut self, store: Store) {
        loop {
            match self.watch.next().await {
                WatchItem::Commit(commit) => self.apply(commit),
                WatchItem::Gap { .. } => {
                    let view = store.view();
                    info!(
                        revision = view.revision().0,
                        "too far behind the store, reading it whole"
                    );
                    self.watch = store.watch(view.revision());
                    self.reload(&view);
                }
                WatchItem::Closed => return,
                other => {
                    error!(item = ?other, "the store's history was replaced; serving what was applied last, restart to serve the new contents");
                    return;
                }
            }
        }
    }

    fn apply(&mut self, first: Arc<Commit>) {
        let mut changes = Vec::new();
        let mut revision = first.revision;
        self.read(&first, &mut changes);
        // Bound: what is ready now; a writer that never rests cannot hold the answer to its first write back for ever.
        for _ in 0..1000 {
            let Some(WatchItem::Commit(commit)) = self.watch.try_next() else {
                break;
            };
            revision = commit.revision;
            self.read(&commit, &mut changes);
        }
        self.publish(&changes, revision);
    }

    fn read(&self, commit: &Commit, changes: &mut Vec<Change>) {
        for op in &commit.ops {
            let Some((kind, id)) = self.identity(op.key().as_str()) else {
                continue;
            };
            match op {
                Op::Put { value, .. } => changes.extend(self.load(kind, id, value)),
                Op::Delete { .. } => changes.push(Change::Delete(kind, id)),
            }
        }
    }

    /// Makes the configuration equal to the view.
    fn reload(&mut self, view: &View) {
        let mut changes = Vec::new();
        let mut present = HashSet::new();
        for (key, entry) in view.list("", None) {
            let Some((kind, id)) = self.identity(key.as_str()) else {
                continue;
            };
            present.insert((kind, id));
            changes.extend(self.load(kind, id, &entry.value));
        }
        let gone = self
            .config
            .identities()
            .filter(|identity| !present.contains(identity));
        changes.extend(gone.map(|(kind, id)| Change::Delete(kind, id)));
        drop(present); // of much memory, while the most is needed
        self.publish(&changes, view.revision());
    }

    fn publish(&mut self, changes: &[Change], revision: Revision) {
        for change in changes {
            self.config.apply(change.clone());
        }
        let problems = self.gateway.apply(self.config.clone(), changes, revision.0);
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            let Problem {
                kind,
                id,
                message,
                kept,
                ..
            } = problem;
            let state = if *kept { "as it was before" } else { "left out" };
            warn!(%kind, %id, state, "an object cannot run: {message}");
        }
        self.problems = problems;
        self.applied.send_replace(revision);
    }

    fn identity(&self, key: &str) -> Option<(Kind, uuid::Uuid)> {
        let identity = index::split_entity_key(key).and_then(|(kind, id)| {
            let kind = self.kinds.by_name(kind)?.kind;
            Some((kind, id.parse().ok()?))
        });
        if identity.is_none() {
            warn!(
                key,
                "the store holds an object of a kind that this release does not know; it is left alone"
            );
        }
        identity
    }

    /// Parses one stored document. One that cannot be read changes nothing: its last good version stays.
    fn load(&self, kind: Kind, id: uuid::Uuid, value: &[u8]) -> Option<Change> {
        let document: Document = match serde_json::from_slice(value) {
            Ok(document) => document,
            Err(error) => {
                warn!(%kind, %id, %error, "a stored object is not a JSON object; it is left alone");
                return None;
            }
        };
        match self.kinds.load(kind, document) {
            Ok(entity) => Some(Change::Put(entity)),
            Err(violations) => {
                warn!(%kind, %id, %violations, "a stored object cannot be read; it is left alone");
                None
            }
        }
    }
}
