//! Steps that are taken and steps that are held back.

use std::convert::Infallible;
use std::time::Duration;

use gw_admin::ports::mark;
use gw_plugins::Registry;
use gw_store::{Meta, Store, WatchItem};
use uuid::Uuid;

use super::*;

/// A store, and a node that serves it up to here.
struct Node {
    store: Store,
    served: View,
    since: SystemTime,
    guard: Guard,
}

fn id(n: usize) -> Uuid {
    Uuid::from_u128(n as u128)
}

fn put(kind: &str, n: usize) -> Op {
    Op::put(format!("{kind}/{}", id(n)), format!("{{\"id\":\"{}\"}}", id(n)))
}

fn put_below(kind: &str, n: usize, owner: &str, of: usize) -> Op {
    let value = format!("{{\"id\":\"{}\",\"{owner}\":{{\"id\":\"{}\"}}}}", id(n), id(of));
    Op::put(format!("{kind}/{}", id(n)), value)
}

fn delete(kind: &str, n: usize) -> Op {
    Op::delete(format!("{kind}/{}", id(n)))
}

fn deletes(kind: &str, which: std::ops::Range<usize>) -> Vec<Op> {
    which.map(|n| delete(kind, n)).collect()
}

async fn commit(store: &Store, ops: Vec<Op>) {
    let meta = Meta::new("", "");
    store
        .commit(meta, |_| Ok::<_, Infallible>((ops.clone(), ())))
        .await
        .unwrap();
}

async fn commit_meant(store: &Store, mut ops: Vec<Op>) {
    let meta = Meta::new("ann", "");
    ops.push(mark(&meta));
    store
        .commit(meta, |_| Ok::<_, Infallible>((ops.clone(), ())))
        .await
        .unwrap();
}

impl Node {
    /// One that serves these.
    async fn serving(ops: Vec<Op>) -> Self {
        let store = gw_store::open("memory:", ()).await.unwrap();
        commit(&store, ops).await;
        Self {
            served: store.view(),
            since: SystemTime::now() - Duration::from_secs(60),
            store,
            guard: Guard::new(
                Some(Bounds { share: 50, few: 10 }),
                Registry::builtin().kinds().unwrap(),
            ),
        }
    }

    /// One that serves so many routes of one service.
    async fn with_routes(count: usize) -> Self {
        let mut ops = vec![put("services", 0)];
        ops.extend((0..count).map(|n| put_below("routes", n, "service", 0)));
        Self::serving(ops).await
    }

    fn commits(&self) -> Vec<Arc<Commit>> {
        let mut watch = self.store.watch(self.served.revision());
        let commits = std::iter::from_fn(|| match watch.try_next() {
            Some(WatchItem::Commit(commit)) => Some(commit),
            _ => None,
        });
        commits.collect()
    }

    fn judge_as(&mut self, offered: &View, way: Way<'_>) -> Verdict {
        let served = Served {
            view: &self.served,
            since: self.since,
        };
        let verdict = self.guard.judge(served, offered, way, SystemTime::now());
        if verdict == Verdict::Apply {
            assert_eq!(self.guard.held(), None);
            self.served = offered.clone();
            self.since = SystemTime::now();
        }
        verdict
    }

    /// Comes to what the store has by its commits.
    fn catch_up(&mut self) -> Verdict {
        let (commits, offered) = (self.commits(), self.store.view());
        self.judge_as(&offered, Way::Commits(&commits))
    }

    /// Finds that its store is another one.
    fn find(&mut self, store: &Store) -> Verdict {
        self.store = store.clone();
        self.judge_as(&store.view(), Way::Reset)
    }

    fn lost(&self) -> String {
        Told(&self.guard.held().unwrap().losses).to_string()
    }
}

#[tokio::test]
async fn what_is_deleted_one_by_one_is_never_held_back() {
    // However many are ready at once, and down to nothing.
    for at_once in [1, 3, 40] {
        let mut node = Node::with_routes(40).await;
        for n in 0..40 {
            commit(&node.store, vec![delete("routes", n)]).await;
            if n % at_once == 0 {
                assert_eq!(node.catch_up(), Verdict::Apply, "{n}, {at_once} at once");
            }
        }
        commit(&node.store, vec![delete("services", 0)]).await;
        assert_eq!(node.catch_up(), Verdict::Apply);
        assert!(node.served.is_empty());
    }
}

#[tokio::test]
async fn one_commit_may_remove_up_to_a_share() {
    for (gone, verdict) in [
        (9, Verdict::Apply),
        (20, Verdict::Apply),
        (21, Verdict::Hold(Revision(1))),
        (40, Verdict::Hold(Revision(1))),
    ] {
        let mut node = Node::with_routes(40).await;
        commit(&node.store, deletes("routes", 0..gone)).await;
        assert_eq!(node.catch_up(), verdict, "{gone} of 40");
    }
    // Few are few, whatever their share.
    let mut node = Node::with_routes(9).await;
    commit(&node.store, deletes("routes", 0..9)).await;
    assert_eq!(node.catch_up(), Verdict::Apply);
}

#[tokio::test]
async fn what_was_meant_is_taken_with_all_that_came_before() {
    let mut node = Node::with_routes(40).await;
    commit_meant(&node.store, deletes("routes", 0..40)).await;
    assert_eq!(node.catch_up(), Verdict::Apply);

    // Said later, to a node that has held it back and to one that was not there.
    let mut node = Node::with_routes(40).await;
    commit(&node.store, deletes("routes", 0..30)).await;
    assert_eq!(node.catch_up(), Verdict::Hold(Revision(1)));
    assert_eq!(node.lost(), "30 of 40 routes");
    let mut absent = Node {
        store: node.store.clone(),
        served: node.served.clone(),
        since: node.since,
        guard: Guard::new(node.guard.bounds, node.guard.kinds.clone()),
    };
    commit_meant(&node.store, Vec::new()).await;
    assert_eq!(node.catch_up(), Verdict::Apply);
    assert_eq!(absent.catch_up(), Verdict::Apply);

    // What comes after was not seen by who said so.
    commit(&node.store, (100..140).map(|n| put("routes", n)).collect()).await;
    assert_eq!(node.catch_up(), Verdict::Apply);
    commit_meant(&node.store, Vec::new()).await;
    commit(&node.store, deletes("routes", 100..140)).await;
    assert_eq!(node.catch_up(), Verdict::Hold(Revision(5)));
}

#[tokio::test]
async fn what_came_before_is_safe_and_what_brings_it_back_ends_it() {
    let mut node = Node::with_routes(40).await;
    commit(&node.store, vec![put("consumers", 1)]).await;
    commit(&node.store, deletes("routes", 0..40)).await;
    commit(&node.store, vec![put("consumers", 2)]).await;
    assert_eq!(node.catch_up(), Verdict::Hold(Revision(2)));
    let since = node.guard.held().unwrap().since;
    // Further commits change nothing about it, nor about since when.
    commit(&node.store, vec![delete("consumers", 2)]).await;
    assert_eq!(node.catch_up(), Verdict::Hold(Revision(1)));
    assert_eq!(node.guard.held().unwrap().since, since);
    assert_eq!(node.guard.held().unwrap().revision, Revision(5));
    commit(&node.store, (0..40).map(|n| put("routes", n)).collect()).await;
    assert_eq!(node.catch_up(), Verdict::Apply);

    // A node that was away meanwhile never hears of it.
    let mut node = Node::with_routes(40).await;
    commit(&node.store, deletes("routes", 0..40)).await;
    commit(&node.store, (0..30).map(|n| put("routes", n)).collect()).await;
    assert_eq!(node.catch_up(), Verdict::Apply);
}

#[tokio::test]
async fn all_of_a_kind_are_too_many_unless_their_owner_went() {
    let plugins = |of: &str| -> Vec<Op> { (0..12).map(|n| put_below("plugins", n, of, 1)).collect() };
    let mut node = Node::serving(
        [
            vec![put("consumers", 1), put("consumers", 2)],
            plugins("consumer"),
        ]
        .concat(),
    )
    .await;
    commit(&node.store, deletes("plugins", 0..12)).await;
    assert_eq!(node.catch_up(), Verdict::Hold(Revision(1)));
    assert_eq!(node.lost(), "all 12 plugins");
    // With the consumer they are of: it was the consumer that was deleted.
    let mut node = Node::serving(
        [
            vec![put("consumers", 1), put("consumers", 2)],
            plugins("consumer"),
        ]
        .concat(),
    )
    .await;
    let mut with_owner = deletes("plugins", 0..12);
    with_owner.push(delete("consumers", 1));
    commit(&node.store, with_owner).await;
    assert_eq!(node.catch_up(), Verdict::Apply);
    // One that stays leaves something of the kind.
    let mut node = Node::serving([vec![put("consumers", 1)], plugins("consumer")].concat()).await;
    commit(&node.store, deletes("plugins", 1..12)).await;
    assert_eq!(node.catch_up(), Verdict::Apply);
}

#[tokio::test]
async fn a_wiped_store_is_not_served_until_it_is_filled_or_meant() {
    for routes in [1, 40] {
        let mut node = Node::with_routes(routes).await;
        let wiped = gw_store::open("memory:", ()).await.unwrap();
        assert_eq!(node.find(&wiped), Verdict::Hold(Revision(1)), "{routes} routes");
        assert!(node.guard.held().unwrap().of_reset);
        // Commits to the empty store are held back with it, be they made one by one.
        commit(&wiped, vec![put("consumers", 1)]).await;
        assert_eq!(node.catch_up(), Verdict::Hold(Revision(1)));
        commit(&wiped, vec![put("services", 0)]).await;
        assert_eq!(node.catch_up(), Verdict::Hold(Revision(1)));
        // It is filled again.
        commit(&wiped, (0..routes).map(|n| put("routes", n)).collect()).await;
        assert_eq!(node.catch_up(), Verdict::Apply);
    }
    let mut node = Node::with_routes(40).await;
    let wiped = gw_store::open("memory:", ()).await.unwrap();
    assert_eq!(node.find(&wiped), Verdict::Hold(Revision(1)));
    commit_meant(&wiped, Vec::new()).await;
    assert_eq!(node.catch_up(), Verdict::Apply);
    assert_eq!(node.served.incarnation(), wiped.view().incarnation());
}

#[tokio::test]
async fn a_restored_store_that_lacks_little_is_served() {
    let mut node = Node::with_routes(40).await;
    let restored = gw_store::open("memory:", ()).await.unwrap();
    let mut ops = vec![put("services", 0)];
    ops.extend((0..25).map(|n| put_below("routes", n, "service", 0)));
    commit(&restored, ops).await;
    assert_eq!(node.find(&restored), Verdict::Apply);
}

#[tokio::test]
async fn a_mark_that_was_restored_is_none() {
    // The mark is in what is served.
    let mut node = Node::with_routes(40).await;
    commit_meant(&node.store, Vec::new()).await;
    assert_eq!(node.catch_up(), Verdict::Apply);
    let known = node.served.get(MEANT).unwrap().value.clone();
    let restored = gw_store::open("memory:", ()).await.unwrap();
    commit(&restored, vec![Op::put(MEANT, known)]).await;
    node.since = SystemTime::UNIX_EPOCH;
    assert_eq!(node.find(&restored), Verdict::Hold(Revision(2)));

    // It is older than what is served.
    let mut node = Node::with_routes(40).await;
    let restored = gw_store::open("memory:", ()).await.unwrap();
    commit_meant(&restored, Vec::new()).await;
    node.since = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(node.find(&restored), Verdict::Hold(Revision(1)));
    // One made on what is held back counts, whatever the clocks say.
    commit_meant(&restored, Vec::new()).await;
    assert_eq!(node.catch_up(), Verdict::Apply);

    // It is newer: an operator has said so while this node was away.
    let mut node = Node::with_routes(40).await;
    assert_eq!(node.find(&restored), Verdict::Apply);
}

#[tokio::test]
async fn a_gap_is_judged_as_a_whole() {
    let mut node = Node::with_routes(40).await;
    commit(&node.store, deletes("routes", 0..30)).await;
    let offered = node.store.view();
    assert_eq!(node.judge_as(&offered, Way::Gap), Verdict::Hold(Revision(1)));
    let mut node = Node::with_routes(40).await;
    commit_meant(&node.store, deletes("routes", 0..30)).await;
    let offered = node.store.view();
    assert_eq!(node.judge_as(&offered, Way::Gap), Verdict::Apply);
}

#[tokio::test]
async fn without_bounds_everything_is_taken() {
    let mut node = Node::with_routes(40).await;
    node.guard = Guard::new(None, node.guard.kinds.clone());
    let wiped = gw_store::open("memory:", ()).await.unwrap();
    assert_eq!(node.find(&wiped), Verdict::Apply);
}
