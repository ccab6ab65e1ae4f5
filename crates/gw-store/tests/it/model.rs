//! Everything that can happen to a log and its nodes, in any order, against a list of what the contents should be.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gw_store::{
    Announced, AppendError, BoxFuture, CommitError, CommitId, CommitLog, Contents, Freshness, Head,
    HistoryError, LogError, MemoryLog, Op, Record, Revision, Store, View, Watch, WatchItem,
};
use proptest::prelude::*;
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use crate::support::{ByValue, meta};

const NODES: usize = 3;

type State = BTreeMap<String, String>;

/// What a place that holds a log can do to it.
struct Place {
    log: Mutex<MemoryLog>,
    away: AtomicBool,
    /// The next append is made, and nobody is told.
    silent: AtomicBool,
    /// Rings when the log was replaced, went away or came back, or a handle was closed.
    bell: watch::Sender<()>,
}

/// One node's handle on the place.
struct Handle {
    place: Arc<Place>,
    closed: AtomicBool,
}

impl Handle {
    fn log(&self) -> Result<MemoryLog, LogError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(LogError::Closed);
        }
        if self.place.away.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable {
                place: "model".into(),
                source: "away".into(),
            });
        }
        Ok(self.place.log.lock().unwrap().clone())
    }
}

impl CommitLog for Handle {
    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        Box::pin(async { self.log()?.head().await })
    }

    fn append(
        &self,
        expect: Head,
        record: Bytes,
        id: CommitId,
    ) -> BoxFuture<'_, Result<Revision, AppendError>> {
        Box::pin(async move {
            let log = self.log().map_err(AppendError::Rejected)?;
            let made = log.append(expect, record, id).await?;
            match self.place.silent.swap(false, Ordering::SeqCst) {
                true => Err(AppendError::Unknown(LogError::Unavailable {
                    place: "model".into(),
                    source: "silent".into(),
                })),
                false => Ok(made),
            }
        })
    }

    fn find(&self, id: CommitId) -> BoxFuture<'_, Result<Option<Revision>, LogError>> {
        Box::pin(async move { self.log()?.find(id).await })
    }

    fn read(&self, after: Head) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(async move { self.log()?.read(after).await })
    }

    fn wait_past(&self, after: Head) -> BoxFuture<'_, Result<Revision, LogError>> {
        Box::pin(async move {
            let mut bell = self.place.bell.subscribe();
            loop {
                bell.mark_unchanged();
                let log = self.log()?;
                tokio::select! {
                    waited = log.wait_past(after) => return waited,
                    _ = bell.changed() => {}
                }
            }
        })
    }

    fn checkpoint(&self, at: Revision, state: Bytes) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move { self.log()?.checkpoint(at, state).await })
    }

    fn checkpoint_until(&self, until: Revision) -> BoxFuture<'_, Result<Option<Record>, LogError>> {
        Box::pin(async move { self.log()?.checkpoint_until(until).await })
    }

    fn prune(&self, upto: Revision, keep: Vec<Revision>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move { self.log()?.prune(upto, keep).await })
    }

    fn pruned(&self) -> BoxFuture<'_, Result<Revision, LogError>> {
        Box::pin(async move { self.log()?.pruned().await })
    }

    fn announce(&self, node: &str, about: Bytes, lasting: Duration) -> BoxFuture<'_, Result<(), LogError>> {
        let node = node.to_owned();
        Box::pin(async move { self.log()?.announce(&node, about, lasting).await })
    }

    fn announced(&self) -> BoxFuture<'_, Result<Vec<Announced>, LogError>> {
        Box::pin(async move { self.log()?.announced().await })
    }

    fn place(&self) -> Box<str> {
        "model".into()
    }

    fn limit(&self) -> usize {
        4096
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.place.bell.send_replace(());
    }
}

/// A store, and one who follows it as a gateway does.
struct Node {
    store: Store,
    watch: Watch,
    held: State,
    /// What it kept on its disk, from time to time.
    kept: Option<Contents>,
}

impl Node {
    fn start(place: &Arc<Place>, from: Option<Contents>) -> Self {
        let handle = Handle {
            place: Arc::clone(place),
            closed: AtomicBool::new(false),
        };
        let store = Store::resume(Arc::new(handle), ByValue, from.clone());
        let view = store.view();
        Self {
            watch: store.watch_from(&view),
            held: state(&view),
            kept: from,
            store,
        }
    }

    /// Applies what there is to apply.
    fn drain(&mut self) {
        let mut position = self.watch.position();
        while let Some(item) = self.watch.try_next() {
            match item {
                WatchItem::Commit(commit) => {
                    position = position.next();
                    assert_eq!(commit.revision, position, "in order, each once");
                    for op in &commit.ops {
                        apply(&mut self.held, op);
                    }
                }
                WatchItem::Gap { .. } | WatchItem::Reset { .. } => {
                    let view = self.store.view();
                    self.held = state(&view);
                    self.watch = self.store.watch_from(&view);
                    position = view.revision();
                }
                other => panic!("{other:?} while it is open"),
            }
        }
    }
}

fn state(view: &View) -> State {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    view.list("", None)
        .map(|(key, entry)| (key.to_string(), text(&entry.value)))
        .collect()
}

fn apply(state: &mut State, op: &Op) {
    match op {
        Op::Put { key, value } => {
            state.insert(key.to_string(), String::from_utf8_lossy(value).into_owned());
        }
        Op::Delete { key } => {
            state.remove(key.as_str());
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A node commits a pair of keys.
    Commit(usize, u8, Option<u8>),
    /// As above, and the answer is lost.
    Silent(usize, u8, Option<u8>),
    /// A node keeps its contents on its disk.
    Keep(usize),
    /// A node stops and starts from what it kept, or with nothing.
    Restart(usize, bool),
    /// Time passes and nodes catch up.
    Settle,
    /// The log goes away, and comes back.
    Away,
    Back,
    /// Commits before so many are dropped.
    Prune(u64),
    /// The log is emptied.
    Wipe,
    /// The log is put back by so many commits, as from a backup.
    Restore(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (node, key, value) = (0..NODES, 0..5u8, proptest::option::weighted(0.8, any::<u8>()));
    let step = prop_oneof![
        12 => (node.clone(), key.clone(), value.clone()).prop_map(|(n, k, v)| Step::Commit(n, k, v)),
        2 => (node.clone(), key, value).prop_map(|(n, k, v)| Step::Silent(n, k, v)),
        3 => node.clone().prop_map(Step::Keep),
        2 => (node, any::<bool>()).prop_map(|(n, kept)| Step::Restart(n, kept)),
        4 => Just(Step::Settle),
        1 => Just(Step::Away),
        3 => Just(Step::Back),
        2 => (0..6u64).prop_map(Step::Prune),
        1 => Just(Step::Wipe),
        2 => (0..5u64).prop_map(Step::Restore),
    ];
    proptest::collection::vec(step, 1..60)
}

struct World {
    place: Arc<Place>,
    nodes: Vec<Node>,
    /// What the contents are at each revision of the history the log has now.
    history: Vec<State>,
    pruned: u64,
}

impl World {
    fn new() -> Self {
        let place = Arc::new(Place {
            log: Mutex::new(MemoryLog::new()),
            away: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            bell: watch::Sender::new(()),
        });
        Self {
            nodes: (0..NODES).map(|_| Node::start(&place, None)).collect(),
            place,
            history: vec![State::new()],
            pruned: 0,
        }
    }

    fn away(&self) -> bool {
        self.place.away.load(Ordering::SeqCst)
    }

    fn head(&self) -> u64 {
        self.history.len() as u64 - 1
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Commit(node, key, value) => self.commit(node, key, value, false).await,
            Step::Silent(node, key, value) => self.commit(node, key, value, true).await,
            Step::Keep(node) => self.nodes[node].kept = Some(self.nodes[node].store.view().contents()),
            Step::Restart(node, kept) => {
                self.nodes[node].store.close().await;
                let from = self.nodes[node].kept.clone().filter(|_| kept);
                self.nodes[node] = Node::start(&self.place, from);
            }
            Step::Settle => self.settle().await,
            Step::Away => self.place.away.store(true, Ordering::SeqCst),
            Step::Back => self.place.away.store(false, Ordering::SeqCst),
            Step::Prune(left) => self.prune(left).await,
            Step::Wipe => {
                *self.place.log.lock().unwrap() = MemoryLog::new();
                self.history = vec![State::new()];
                self.pruned = 0;
            }
            Step::Restore(back) => {
                let to = (self.head().saturating_sub(back)).max(self.pruned);
                let mut log = self.place.log.lock().unwrap();
                *log = log.copy_at(Revision(to));
                drop(log);
                self.history.truncate(usize::try_from(to).unwrap() + 1);
            }
        }
        self.place.bell.send_replace(());
        self.nodes.iter_mut().for_each(Node::drain);
    }

    async fn commit(&mut self, node: usize, key: u8, value: Option<u8>, silent: bool) {
        let store = &self.nodes[node].store;
        let ops: Vec<Op> = ["left", "right"]
            .map(|side| match value {
                Some(value) => Op::put(format!("{side}/{key}"), value.to_string()),
                None => Op::delete(format!("{side}/{key}")),
            })
            .to_vec();
        self.place.silent.store(silent, Ordering::SeqCst);
        let meta = meta();
        let done = store.commit(meta.clone(), |_| Ok::<_, Infallible>((ops.clone(), ())));
        let done = done.await;
        self.place.silent.store(false, Ordering::SeqCst);
        let made = match done {
            Ok(done) => Some(done.revision),
            Err(CommitError::Unavailable { .. }) => None,
            Err(CommitError::Unknown { .. }) => self.find(meta.id).await,
            Err(other) => panic!("{other:?}"),
        };
        let Some(made) = made else {
            assert_eq!(self.find(meta.id).await, None, "nothing was written");
            return;
        };
        assert_eq!(made, Revision(self.head() + 1));
        let mut next = self.history.last().unwrap().clone();
        ops.iter().for_each(|op| apply(&mut next, op));
        self.history.push(next);
    }

    async fn find(&self, id: CommitId) -> Option<Revision> {
        let log = self.place.log.lock().unwrap().clone();
        log.find(id).await.unwrap()
    }

    /// Drops the commits before a checkpoint, if a node can write it.
    async fn prune(&mut self, left: u64) {
        let upto = self.head().saturating_sub(left);
        if upto <= self.pruned || self.away() {
            return;
        }
        self.settle().await;
        let then = self.nodes[0].store.at(Revision(upto)).await.unwrap();
        let log = self.place.log.lock().unwrap().clone();
        log.checkpoint(Revision(upto), then.contents().encode())
            .await
            .unwrap();
        log.prune(Revision(upto), Vec::new()).await.unwrap();
        self.pruned = upto;
    }

    /// Lets all nodes reach the head, and looks at them.
    async fn settle(&mut self) {
        if self.away() {
            return;
        }
        let log = self.place.log.lock().unwrap().clone();
        let head = log.head().await.unwrap();
        assert_eq!(head.revision, Revision(self.head()));
        for node in &mut self.nodes {
            let there = |store: &Store| {
                let info = store.info();
                info.reached
                    && info.freshness == Freshness::Current
                    && (info.incarnation, info.revision) == (head.incarnation, head.revision)
                    && state(&store.view()) == *self.history.last().unwrap()
            };
            let mut looks = interval(Duration::from_millis(20));
            let reached = async {
                while !there(&node.store) {
                    looks.tick().await;
                }
            };
            timeout(Duration::from_secs(60), reached)
                .await
                .expect("it catches up by itself");
            node.drain();
            assert_eq!(
                node.held,
                *self.history.last().unwrap(),
                "who follows holds the same"
            );
        }
        let hashes = self.nodes.iter().map(|node| node.store.info().hash);
        assert!(hashes.collect::<std::collections::HashSet<_>>().len() == 1);
    }

    async fn look_back(&self) {
        let store = &self.nodes[1].store;
        for (revision, expected) in (0..).zip(&self.history) {
            let past = store.at(Revision(revision)).await;
            match past {
                Ok(past) => assert_eq!(state(&past), *expected, "at {revision}"),
                Err(HistoryError::Pruned { oldest }) => {
                    assert_eq!(oldest, Revision(self.pruned));
                    assert!(revision < self.pruned);
                }
                Err(other) => panic!("at {revision}: {other:?}"),
            }
        }
        let told = store.history(None, 1000).await.unwrap();
        assert!(
            told.iter()
                .map(|commit| commit.revision.0)
                .eq((1..=self.head()).rev().take(told.len()))
        );
        assert!(told.len() as u64 >= self.head() - self.pruned);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nodes_hold_what_the_log_holds_whatever_happens(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.take(step).await;
            }
            world.take(Step::Back).await;
            world.settle().await;
            world.look_back().await;
        });
    }
}
