//! What is served follows what is stored.

use std::convert::Infallible;

use gw_plugins::Registry;
use gw_proxy::{DnsResolver, Gateway, Settings};
use gw_store::{Meta, Op};
use serde_json::json;
use tokio::runtime::Handle;

use super::documents::MANY;
use super::*;

const BOUNDS: Option<Bounds> = Some(Bounds { share: 50, few: 10 });

/// A node on a store in memory, whose sync loop takes a step when it is told to.
struct Node {
    store: Store,
    gateway: Arc<Gateway>,
    lookout: Lookout,
    sync: Sync,
}

impl Node {
    async fn start() -> Self {
        let registry = Registry::builtin();
        let kinds = registry.kinds().unwrap();
        let resolver = DnsResolver::new(gw_proxy::DnsOptions::default()).unwrap();
        let settings = Settings::default();
        let gateway = Gateway::new(registry, settings, Handle::current(), Arc::new(resolver)).unwrap();
        let store = gw_store::open("memory:", ()).await.unwrap();
        let lookout = Lookout::new();
        let plane = Plane::new(kinds, Arc::clone(&gateway));
        let sync = Sync::start(&store, (plane, None), BOUNDS, lookout.clone()).await;
        Self {
            store,
            gateway,
            lookout,
            sync,
        }
    }

    async fn commit(&self, ops: Vec<Op>) {
        let change = |_: &View| Ok::<_, Infallible>((ops.clone(), ()));
        self.store.commit(Meta::new("", ""), change).await.unwrap();
    }

    /// Takes one step; tells of how many commits it was.
    async fn step(&mut self) -> Option<usize> {
        let offer = self.sync.offered().await.unwrap();
        let commits = match &offer.way {
            Arrival::Commits(commits) => Some(commits.len()),
            Arrival::Gap | Arrival::Reset => None,
        };
        self.sync.consider(offer).await;
        self.sync.tell();
        commits
    }

    fn routes(&self) -> usize {
        self.gateway.snapshot().config().routes().count()
    }
}

fn key(n: u128) -> String {
    format!("routes/{}", uuid::Uuid::from_u128(n))
}

fn route(n: u128) -> Op {
    let id = uuid::Uuid::from_u128(n);
    Op::put(
        key(n),
        json!({ "id": id, "paths": [format!("/{n}")] }).to_string(),
    )
}

#[tokio::test]
async fn commits_that_are_ready_at_once_are_one_step() {
    let mut node = Node::start().await;
    for n in 0..300 {
        node.commit(vec![route(n)]).await;
    }
    assert_eq!(node.step().await, Some(300));
    assert_eq!((node.routes(), node.gateway.snapshot().revision()), (300, 300));
    let served = node.lookout.standing().served.unwrap();
    assert_eq!(served.view, node.store.view());
    node.lookout.serves(Revision(300)).await;
}

#[tokio::test]
async fn a_node_that_missed_more_than_is_at_hand_looks_at_each_commit_all_the_same() {
    let mut node = Node::start().await;
    node.commit((0..20).map(route).collect()).await;
    assert_eq!(node.step().await, Some(1));
    // All routes go one by one, and so many other commits come that the watch has a gap.
    for n in 0..20 {
        node.commit(vec![Op::delete(key(n))]).await;
    }
    for n in 0..4200 {
        node.commit(vec![Op::put("_tags/t", n.to_string())]).await;
    }
    assert_eq!(node.step().await, Some(4220));
    assert_eq!((node.routes(), node.gateway.snapshot().revision()), (0, 4221));
    assert!(node.lookout.standing().held.is_none());
}

#[tokio::test]
async fn what_comes_before_a_mass_deletion_is_served_without_it() {
    let mut node = Node::start().await;
    node.commit((0..20).map(route).collect()).await;
    node.step().await;
    node.commit(vec![route(20)]).await;
    node.commit((0..20).map(|n| Op::delete(key(n))).collect()).await;
    node.commit(vec![route(21)]).await;
    assert_eq!(node.step().await, Some(3));
    assert_eq!((node.routes(), node.gateway.snapshot().revision()), (21, 2));
    assert!(node.lookout.standing().held.is_some());
    node.commit((0..20).map(route).collect()).await;
    node.step().await;
    assert_eq!((node.routes(), node.gateway.snapshot().revision()), (22, 5));
    assert!(node.lookout.standing().held.is_none());
}

#[tokio::test]
async fn what_cannot_be_read_is_told_once_and_changes_nothing() {
    let mut node = Node::start().await;
    node.commit(vec![route(1), route(2)]).await;
    node.step().await;
    let before = node.gateway.snapshot();
    node.commit(vec![
        Op::put(key(1), "[]"),
        Op::put(key(3), r#"{"paths":7}"#),
        Op::put("routes/no-id", "{}"),
        Op::delete(key(2)),
    ])
    .await;
    node.step().await;
    let standing = node.lookout.standing();
    let told: Vec<_> = standing
        .problems
        .iter()
        .map(|problem| (&*problem.id, problem.kept, problem.revision))
        .collect();
    let (one, three) = (
        uuid::Uuid::from_u128(1).to_string(),
        uuid::Uuid::from_u128(3).to_string(),
    );
    assert_eq!(told, [(&*one, true, 2), (&*three, false, 2), ("no-id", false, 2)]);
    let former: Vec<_> = standing.former.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(former, [key(1)]);
    let first = gw_core::Id::from(uuid::Uuid::from_u128(1));
    let (then, now) = (before.config().route(first), node.gateway.snapshot());
    assert!(Arc::ptr_eq(then.unwrap(), now.config().route(first).unwrap()));

    // Worse does not become the last good version; good ends it.
    node.commit(vec![Op::put(key(1), "{")]).await;
    node.step().await;
    let standing = node.lookout.standing();
    let worse = standing
        .problems
        .iter()
        .find(|problem| *problem.id == *one)
        .unwrap();
    assert!(worse.kept && worse.revision == 3, "{worse:?}");
    assert_eq!(standing.former.len(), 1);
    node.commit(vec![route(1), Op::delete(key(3)), Op::delete("routes/no-id")])
        .await;
    node.step().await;
    assert!(node.lookout.standing().problems.is_empty());
    assert!(node.lookout.standing().former.is_empty());
}

#[tokio::test]
async fn many_documents_are_read_in_order() {
    let mut node = Node::start().await;
    let many = u128::try_from(MANY).unwrap() * 5;
    let mut ops: Vec<Op> = (0..many).map(route).collect();
    ops.push(Op::put(key(many), "[]"));
    node.commit(ops).await;
    node.step().await;
    assert_eq!(node.routes(), MANY * 5);
    let told = node.lookout.standing().problems;
    assert_eq!(told.len(), 1);
    assert_eq!(told.first().map(|one| one.kept), Some(false));
}
