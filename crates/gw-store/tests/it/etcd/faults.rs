//! What happens to clusters, with real processes: no commit lost or told twice, no store that takes itself for current.

use std::time::Duration;

use gw_store::{CommitError, Op, Revision, Store, WatchItem};
use gw_testkit::{Etcd, Fault, Relay, Way};
use tokio::time::{Instant, timeout};

use super::{Follower, is_stale, log, put_at_last, put_some, store, until, until_current, until_stale};
use crate::support::{commit, contents, next, put};

/// Bound: how long a store may take itself for current when nothing reaches it any more.
const SILENT: Duration = Duration::from_secs(6);

/// Bound: how long it may when its member answers and has no leader, which the member has to notice first.
const LEADERLESS: Duration = Duration::from_secs(10);

/// A relay before each member, and a store that knows no other way.
async fn behind_relays(etcd: &Etcd, prefix: &str) -> (Vec<Relay>, Store) {
    let relays: Vec<_> = (0..etcd.len())
        .map(|member| Relay::to(etcd.addr(member)))
        .collect();
    let addrs: Vec<_> = relays.iter().map(Relay::addr).collect();
    let store = gw_store::open(&etcd.store_at(&addrs, prefix), ()).await.unwrap();
    until_current(&store).await;
    (relays, store)
}

/// The member whose relay the store goes through.
async fn connected(relays: &[Relay]) -> usize {
    let mut found = None;
    until("one connection", async || {
        let open: Vec<_> = (0..relays.len())
            .filter(|at| relays[*at].passed().open > 0)
            .collect();
        found = open.first().copied().filter(|_| open.len() == 1);
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed_under_writers() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let (one, two) = (store(&etcd, "/gw").await, store(&etcd, "/gw").await);
    let mut follower = Follower::new(&two);
    put_some(&one, "before", 5).await;
    let leader = etcd.leader().await;
    let writing = {
        let one = one.clone();
        tokio::spawn(async move {
            let mut made = Vec::new();
            for n in 0..60 {
                made.push(put_at_last(&one, &format!("during/{n}")).await);
            }
            made
        })
    };
    until("some of it to be written", async || one.view().len() > 15).await;
    etcd.kill(leader).await;
    let made = writing.await.unwrap();
    assert!(
        made.is_sorted_by(|a, b| a < b),
        "each commit has its own revision: {made:?}"
    );
    let last = *made.last().unwrap();
    assert_eq!(last, Revision(65), "none was made twice");
    follower.follow_to(last).await;
    assert_eq!(contents(&two.view()), contents(&one.view()));
    assert_eq!(two.view().len(), 65);
    etcd.run(leader);
    etcd.ready().await;
    until_current(&one).await;
    put_at_last(&one, "after").await;
    follower.follow_to(last.next()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_killed_one_by_one_and_come_back() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let (one, two) = (store(&etcd, "/gw").await, store(&etcd, "/gw").await);
    let mut follower = Follower::new(&two);
    let mut last = Revision::ZERO;
    for member in 0..3 {
        etcd.kill(member).await;
        for n in 0..5 {
            last = put_at_last(&one, &format!("{member}/{n}")).await;
        }
        follower.follow_to(last).await;
        etcd.run(member);
        etcd.ready().await;
    }
    assert_eq!(last, Revision(15));
    assert_eq!(contents(&two.view()), contents(&one.view()));
    until_current(&one).await;
    until_current(&two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_one_member_of_a_quorum_is_enough_to_start() {
    let Some(etcd) = Etcd::start(3).await else { return };
    for member in 0..3 {
        etcd.kill(member).await;
        let store = store(&etcd, "/gw").await;
        put_at_last(&store, &format!("without {member}")).await;
        store.close().await;
        etcd.run(member);
        etcd.ready().await;
    }
    assert_eq!(store(&etcd, "/gw").await.view().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_go_and_come_back() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let (one, two) = (store(&etcd, "/gw").await, store(&etcd, "/gw").await);
    let mut follower = Follower::new(&two);
    let last = put_some(&one, "before", 5).await;
    follower.follow_to(last).await;
    for member in 0..3 {
        etcd.kill(member).await;
    }
    until_stale(&one).await;
    until_stale(&two).await;
    assert_eq!(two.view().len(), 5, "what was read stays");
    let refused = timeout(
        Duration::from_secs(20),
        commit(&one, vec![Op::put("during", "x")]),
    )
    .await
    .unwrap();
    assert!(
        matches!(refused, Err(CommitError::Unavailable { .. })),
        "{refused:?}"
    );

    // A store that begins now waits, and says so.
    let late = Store::resume(log(&etcd, "/gw"), (), None);
    assert!(!late.info().reached && is_stale(&late));

    etcd.run_all().await;
    for store in [&one, &two, &late] {
        until_current(store).await;
    }
    let last = put_at_last(&one, "after").await;
    assert_eq!(last, Revision(6), "the refused one was not made");
    follower.follow_to(last).await;
    until("the late one to have caught up", async || {
        late.view() == one.view()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connected_member_stops_without_a_word() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let (relays, held) = behind_relays(&etcd, "/gw").await;
    let other = store(&etcd, "/gw").await;
    let mut follower = Follower::new(&held);
    let last = put_some(&other, "before", 3).await;
    follower.follow_to(last).await;

    let member = connected(&relays).await;
    etcd.pause(member);
    let mut last = last;
    for n in 0..3 {
        last = put_at_last(&other, &format!("during/{n}")).await;
    }
    etcd.compact().await;
    // It may have to notice first; it must not miss any.
    follower.follow_to(last).await;
    until_current(&held).await;
    assert_ne!(
        connected_now(&relays, member),
        0,
        "it goes through another member"
    );
    last = put_at_last(&held, "by itself").await;
    etcd.resume(member);
    etcd.ready().await;
    follower.follow_to(last).await;
    assert_eq!(held.view().len(), 7);
}

/// Connections through other members than this one.
fn connected_now(relays: &[Relay], but: usize) -> usize {
    let others = relays.iter().enumerate().filter(|(at, _)| *at != but);
    others.map(|(_, relay)| relay.passed().open).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_swallows_is_noticed_and_nothing_is_lost() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (relays, held) = behind_relays(&etcd, "/gw").await;
    let [relay] = relays.as_slice() else {
        panic!("one member, one relay")
    };
    let other = store(&etcd, "/gw").await;
    let mut follower = Follower::new(&held);
    let last = put_some(&other, "before", 3).await;
    follower.follow_to(last).await;

    for way in [Way::Up, Way::Down] {
        relay.set(way, Fault::Hold);
    }
    let began = Instant::now();
    until_stale(&held).await;
    assert!(began.elapsed() < SILENT, "noticed after {:?}", began.elapsed());
    let last = put_some(&other, "during", 20).await;
    etcd.compact().await;
    assert_eq!(held.view().len(), 3);
    assert!(is_stale(&held), "it does not take itself for current");

    for way in [Way::Up, Way::Down] {
        relay.set(way, Fault::Pass);
    }
    relay.cut();
    follower.follow_to(last).await;
    until_current(&held).await;
    assert_eq!(contents(&held.view()), contents(&other.view()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_comes_down_is_swallowed() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let (relays, held) = behind_relays(&etcd, "/gw").await;
    let other = store(&etcd, "/gw").await;
    let mut follower = Follower::new(&held);
    let member = connected(&relays).await;
    relays[member].set(Way::Down, Fault::Hold);
    let last = put_some(&other, "during", 10).await;
    follower.follow_to(last).await;
    until_current(&held).await;
    assert_ne!(connected_now(&relays, member), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_makes_no_second_commit() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let (relays, held) = behind_relays(&etcd, "/gw").await;
    let other = store(&etcd, "/gw").await;
    put(&held, "first", "x").await;
    for round in 0..3 {
        let member = connected(&relays).await;
        relays[member].set(Way::Down, Fault::Hold);
        let before = held.view().revision();
        // Its first try is carried out and not answered.
        let made = put(&held, &format!("k{round}"), "x").await;
        assert_eq!(made, before.next());
        relays[member].set(Way::Down, Fault::Pass);
        relays[member].cut();
        until_current(&held).await;
    }
    until("the other to see them", async || {
        other.view().revision() == Revision(4)
    })
    .await;
    assert_eq!(contents(&other.view()), contents(&held.view()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_reset_again_and_again_loses_nothing() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (relays, held) = behind_relays(&etcd, "/gw").await;
    let other = store(&etcd, "/gw").await;
    let mut follower = Follower::new(&held);
    for round in 0..10 {
        relays[0].cut();
        put(&other, &format!("other/{round}"), "x").await;
        put_at_last(&held, &format!("held/{round}")).await;
    }
    follower.follow_to(Revision(20)).await;
    assert_eq!(held.view().len(), 20, "each was made once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_and_compaction_disturb_no_idle_watch() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (relays, held) = behind_relays(&etcd, "/gw").await;
    let mut follower = Follower::new(&held);
    let last = put_some(&held, "before", 2).await;
    follower.follow_to(last).await;
    for round in 0..5 {
        for n in 0..20 {
            etcd.put(&format!("/elsewhere/{n}"), "x").await;
        }
        etcd.compact().await;
        if round == 3 {
            // A new watch begins long after what was compacted.
            relays[0].cut();
        }
    }
    let other = store(&etcd, "/gw").await;
    let last = put(&other, "after", "x").await;
    follower.follow_to(last).await;
    until_current(&held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_lost_its_data_is_another_history() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let held = store(&etcd, "/gw").await;
    put_some(&held, "old", 5).await;
    let old = held.view();
    let mut watch = held.watch_from(&old);
    etcd.wipe().await;
    until_stale(&held).await;
    assert!(held.view() == old, "what does not answer is not empty");
    etcd.run_all().await;
    match next(&mut watch).await {
        WatchItem::Reset {
            incarnation,
            revision,
        } => {
            assert_ne!(incarnation, old.incarnation());
            assert_eq!(revision, Revision::ZERO);
        }
        item => panic!("the loss is told, not {item:?}"),
    }
    assert_eq!(put_at_last(&held, "new").await, Revision(1));
    assert_eq!(held.view().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_put_back_to_an_earlier_day_is_told() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let held = store(&etcd, "/gw").await;
    put_some(&held, "kept", 4).await;
    etcd.save("monday").await;
    etcd.run_all().await;
    until_current(&held).await;
    let gone = put_at_last(&held, "gone").await;
    assert_eq!(gone, Revision(5));
    let mut watch = held.watch_from(&held.view());
    etcd.put_back("monday").await;
    etcd.run_all().await;
    match next(&mut watch).await {
        WatchItem::Reset { revision, .. } => assert_eq!(revision, Revision(4)),
        item => panic!("the loss is told, not {item:?}"),
    }
    assert!(held.view().get("gone").is_none());
    assert_eq!(put_at_last(&held, "new").await, Revision(5));
    until_current(&held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_history_that_went_on_otherwise_is_told_apart() {
    let Some(etcd) = Etcd::start(1).await else { return };
    // Just as long as the lost one, or longer; and what etcd counts itself is no help either.
    for (name, more) in [("equal", 3), ("longer", 6)] {
        let prefix = format!("/{name}");
        let (relays, held) = behind_relays(&etcd, &prefix).await;
        put_some(&held, "kept", 4).await;
        etcd.save(name).await;
        etcd.run_all().await;
        until_current(&held).await;
        for n in 0..3 {
            put_at_last(&held, &format!("gone/{n}")).await;
        }
        let mut watch = held.watch_from(&held.view());
        // The gateway hears of nothing while the cluster is restored and goes on.
        for way in [Way::Up, Way::Down] {
            relays[0].set(way, Fault::Hold);
        }
        etcd.put_back(name).await;
        etcd.run_all().await;
        let other = store(&etcd, &prefix).await;
        put_some(&other, "other", more).await;
        etcd.put("/elsewhere/key", "x").await;
        for way in [Way::Up, Way::Down] {
            relays[0].set(way, Fault::Pass);
        }
        relays[0].cut();
        match next(&mut watch).await {
            WatchItem::Reset { .. } => {}
            item => panic!("{name}: it is told, not {item:?}"),
        }
        until("it to show what is there", async || held.view() == other.view()).await;
        other.close().await;
        held.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_put_back_with_all_it_had_is_no_news() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let held = store(&etcd, "/gw").await;
    let last = put_some(&held, "kept", 4).await;
    let mut follower = Follower::new(&held);
    etcd.save("now").await;
    etcd.put_back("now").await;
    etcd.run_all().await;
    until_current(&held).await;
    let made = put_at_last(&held, "more").await;
    assert_eq!(made, last.next());
    follower.follow_to(made).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_a_quorum_is_not_current() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let (relays, held) = behind_relays(&etcd, "/gw").await;
    put(&held, "a", "x").await;
    let member = connected(&relays).await;
    let others: Vec<_> = (0..3).filter(|other| *other != member).collect();
    others.iter().for_each(|other| etcd.pause(*other));
    let began = Instant::now();
    until_stale(&held).await;
    assert!(
        began.elapsed() < LEADERLESS,
        "noticed after {:?}",
        began.elapsed()
    );
    let refused = timeout(Duration::from_secs(30), commit(&held, vec![Op::put("b", "x")]))
        .await
        .unwrap();
    assert!(
        matches!(
            refused,
            Err(CommitError::Unavailable { .. } | CommitError::Unknown { .. })
        ),
        "{refused:?}"
    );
    others.iter().for_each(|other| etcd.resume(*other));
    etcd.ready().await;
    until_current(&held).await;
    let made = put_at_last(&held, "c").await;
    assert_eq!(held.view().len() as u64, made.0, "one entry for each commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_cluster_refuses_and_heals() {
    let quota = "quota-backend-bytes: 20000000";
    let Some(etcd) = Etcd::builder(1).setting(quota).start().await else {
        return;
    };
    let held = store(&etcd, "/gw").await;
    for n in 0..10 {
        etcd.put(&format!("/elsewhere/{n}"), &"x".repeat(1_000_000)).await;
    }
    let mut made = 0;
    let refused = loop {
        match commit(&held, vec![Op::put("large", vec![b'x'; 1_000_000])]).await {
            Ok(_) => made += 1,
            Err(refused) => break refused,
        }
        assert!(made < 30, "there is room for less");
    };
    assert!(
        matches!(refused, CommitError::Unavailable { .. }),
        "nothing was written: {refused:?}"
    );
    assert_eq!(held.view().revision(), Revision(made));
    until_current(&held).await;

    etcd.delete_all("/elsewhere/").await;
    etcd.compact().await;
    etcd.call("/v3/maintenance/defragment", &serde_json::json!({}))
        .await;
    let raised = etcd
        .call("/v3/maintenance/alarm", &serde_json::json!({ "action": "GET" }))
        .await;
    let member = &raised["alarms"][0]["memberID"];
    let alarm = serde_json::json!({ "action": "DEACTIVATE", "memberID": member, "alarm": "NOSPACE" });
    etcd.call("/v3/maintenance/alarm", &alarm).await;
    assert_eq!(put_at_last(&held, "small").await, Revision(made + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_say_nothing_delay_nobody() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (silent, dead) = (gw_testkit::silent_port(), gw_testkit::dead_port());
    let url = etcd.store_at(&[silent.addr(), dead.addr(), etcd.addr(0)], "/gw");
    // Each begins with another member.
    for n in 0..8 {
        let began = Instant::now();
        let store = gw_store::open(&url, ()).await.unwrap();
        put(&store, &format!("k{n}"), "x").await;
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "opened after {:?}",
            began.elapsed()
        );
        store.close().await;
    }
}
