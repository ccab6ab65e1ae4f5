//! The log in etcd, against real ones: the contract, who may come in, and what happens to clusters.

mod access;
mod contract;
mod faults;
mod layout;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use gw_store::{CommitError, CommitLog, EtcdLog, Freshness, Op, Revision, Store, View, Watch, WatchItem};
use gw_testkit::Etcd;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::support::{meta, next, put};

/// Opens the log under `prefix` on all members.
fn log(etcd: &Etcd, prefix: &str) -> Arc<dyn CommitLog> {
    Arc::new(EtcdLog::open(&etcd.store(prefix)).unwrap())
}

async fn store(etcd: &Etcd, prefix: &str) -> Store {
    Store::open(log(etcd, prefix), ()).await.unwrap()
}

/// Waits for what no event tells of, and for what is broken not for ever.
async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let waiting = async {
        let mut looks = interval(Duration::from_millis(20));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !reached().await {
            looks.tick().await;
        }
    };
    assert!(
        timeout(Duration::from_secs(60), waiting).await.is_ok(),
        "waited a minute for {what}"
    );
}

async fn until_current(store: &Store) {
    until("the store to be current", async || {
        store.info().freshness == Freshness::Current
    })
    .await;
}

async fn until_stale(store: &Store) {
    until("the store to know that it is stale", async || is_stale(store)).await;
}

fn is_stale(store: &Store) -> bool {
    matches!(store.info().freshness, Freshness::Stale { .. })
}

/// Commits until it works: the cluster may be busy with itself. All tries have one id, so that it is made once.
async fn put_at_last(store: &Store, key: &str) -> Revision {
    let (meta, op) = (meta(), Op::put(key, "x"));
    let trying = async {
        let mut tries = interval(Duration::from_millis(20));
        tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tries.tick().await;
            let change = |_: &View| Ok::<_, Infallible>((vec![op.clone()], ()));
            match store.commit(meta.clone(), change).await {
                Ok(done) => return done.revision,
                Err(CommitError::Duplicate { revision, .. }) => return revision,
                Err(_) => {}
            }
        }
    };
    timeout(Duration::from_secs(60), trying)
        .await
        .expect("a commit is taken within a minute")
}

/// Follows a store and keeps what it was told, in order.
struct Follower {
    store: Store,
    watch: Watch,
}

impl Follower {
    fn new(store: &Store) -> Self {
        Self {
            watch: store.watch_from(&store.view()),
            store: store.clone(),
        }
    }

    /// Takes commits up to `last`, each once and in order.
    async fn follow_to(&mut self, last: Revision) {
        while self.watch.position() < last {
            let expected = self.watch.position().next();
            match next(&mut self.watch).await {
                WatchItem::Commit(commit) => assert_eq!(commit.revision, expected, "each once and in order"),
                item => panic!("a commit was to come, not {item:?}"),
            }
        }
        assert!(self.store.view().revision() >= last);
    }
}

/// Commits `count` small entries.
async fn put_some(store: &Store, name: &str, count: usize) -> Revision {
    let mut last = Revision::ZERO;
    for n in 0..count {
        last = put(store, &format!("{name}/{n}"), "x").await;
    }
    last
}
