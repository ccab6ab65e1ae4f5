//! What is under the prefix: documented keys, parts of what is large, nothing that stays behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gw_store::{AppendError, CommitId, CommitLog, EtcdLog, Head, LogError, Op, OpenError, Revision, Store};
use gw_testkit::Etcd;

use super::{log, store};
use crate::support::{commit, put};

/// The folders and keys right under the prefix.
async fn names(etcd: &Etcd, prefix: &str) -> BTreeSet<String> {
    let keys = etcd.keys(&format!("{prefix}/")).await;
    let name = |key: &String| {
        let rest = key
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap();
        rest.split('/').next().unwrap().to_owned()
    };
    keys.iter().map(name).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn large(seed: u8) -> Bytes {
    (0..3_000_000u32).map(|n| (n % 251) as u8 ^ seed).collect()
}

#[tokio::test]
async fn keys_are_those_that_are_documented() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let store = store(&etcd, "/my/gw").await;
    assert_eq!(etcd.keys("/my/gw/").await, ["/my/gw/head"]);
    put(&store, "a", "x").await;
    store
        .announce("node-1", Bytes::from_static(b"{}"), Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(
        names(&etcd, "/my/gw").await,
        set(&["head", "ids", "log", "nodes"])
    );
    let keys = etcd.keys("/my/gw/").await;
    assert!(
        keys.contains(&"/my/gw/log/00000000000000000001".to_owned()),
        "{keys:?}"
    );
    assert!(keys.contains(&"/my/gw/nodes/node-1".to_owned()), "{keys:?}");
    assert_eq!(etcd.keys("/my/").await, keys, "nothing beside the prefix");
}

#[tokio::test]
async fn large_commits_are_whole_and_their_parts_go_with_them() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (one, two) = (store(&etcd, "/gw").await, store(&etcd, "/gw").await);
    let ops = vec![Op::put("large", large(1)), Op::put("small", "x")];
    let made = commit(&one, ops).await.unwrap().revision;
    assert_eq!(etcd.keys("/gw/parts/").await.len(), 3);
    put(&one, "small", "y").await;
    super::until("it to arrive", async || two.view().revision() == Revision(2)).await;
    assert!(two.view() == one.view());
    assert_eq!(two.view().get("large").unwrap().value, large(1));

    let log = log(&etcd, "/gw");
    let state = large(2);
    log.checkpoint(Revision(2), state.clone()).await.unwrap();
    assert_eq!(
        log.checkpoint_until(Revision(9)).await.unwrap().unwrap().bytes,
        state
    );
    log.checkpoint(Revision(2), large(3)).await.unwrap();
    assert_eq!(
        log.checkpoint_until(Revision(9)).await.unwrap().unwrap().bytes,
        large(3)
    );
    assert_eq!(
        etcd.keys("/gw/parts/").await.len(),
        6,
        "the replaced one left no parts"
    );
    log.prune(Revision(2), Vec::new()).await.unwrap();
    assert_eq!(log.pruned().await.unwrap(), Revision(2));
    let kept = etcd.keys("/gw/parts/").await;
    let at = format!("/gw/parts/{:020}/", made.0);
    assert!(
        kept.len() == 3 && kept.iter().all(|key| !key.starts_with(&at)),
        "{kept:?}"
    );
    assert_eq!(
        names(&etcd, "/gw").await,
        set(&["checkpoint", "head", "ids", "log", "parts", "pruned"])
    );
}

#[tokio::test]
async fn an_append_that_came_second_leaves_no_parts() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (one, two) = (log(&etcd, "/gw"), log(&etcd, "/gw"));
    let start = one.head().await.unwrap();
    let (left, right) = tokio::join!(
        one.append(start, large(1), CommitId::random()),
        two.append(start, large(2), CommitId::random()),
    );
    let lost = match (left, right) {
        (Ok(Revision(1)), Err(lost)) | (Err(lost), Ok(Revision(1))) => lost,
        other => panic!("exactly one comes first, not {other:?}"),
    };
    assert!(
        matches!(lost, AppendError::Conflict { head: Revision(1) }),
        "{lost:?}"
    );
    assert_eq!(
        etcd.keys("/gw/parts/").await.len(),
        3,
        "those of the one that won"
    );
    assert_eq!(one.read(start).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_second_try_harms_no_parts_of_the_first() {
    let Some(etcd) = Etcd::start(1).await else { return };
    for round in 0..5 {
        let prefix = format!("/{round}");
        let (one, two) = (log(&etcd, &prefix), log(&etcd, &prefix));
        let (start, id) = (one.head().await.unwrap(), CommitId::random());
        assert_eq!(two.head().await.unwrap(), start);
        let (left, right) = tokio::join!(one.append(start, large(1), id), two.append(start, large(2), id));
        let made = match (left, right) {
            (
                Ok(_),
                Err(AppendError::Duplicate {
                    revision: Revision(1),
                }),
            ) => large(1),
            (
                Err(AppendError::Duplicate {
                    revision: Revision(1),
                }),
                Ok(_),
            ) => large(2),
            other => panic!("one id is one commit, not {other:?}"),
        };
        let read = one.read(start).await.unwrap();
        assert_eq!(read.len(), 1);
        assert!(read[0].bytes == made, "it is the one that was acknowledged");
        assert_eq!(etcd.keys(&format!("{prefix}/parts/")).await.len(), 3);
    }
}

#[tokio::test]
async fn pruning_spares_what_is_to_be_kept() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let log = log(&etcd, "/gw");
    let mut head = log.head().await.unwrap();
    for n in 1..=250u64 {
        let id = CommitId::random();
        let revision = log.append(head, Bytes::from_static(b"x"), id).await.unwrap();
        head = Head {
            revision,
            last: Some(id),
            ..head
        };
        if n % 50 == 0 {
            log.checkpoint(revision, Bytes::from(vec![n as u8; 300_000]))
                .await
                .unwrap();
        }
    }
    log.prune(Revision(200), vec![Revision(100), Revision(900)])
        .await
        .unwrap();
    for (until, found) in [
        (99, None),
        (100, Some(100)),
        (199, Some(100)),
        (249, Some(200)),
        (250, Some(250)),
    ] {
        let kept = log.checkpoint_until(Revision(until)).await.unwrap();
        assert_eq!(kept.as_ref().map(|kept| kept.revision.0), found, "until {until}");
        assert!(
            kept.is_none_or(|kept| kept.bytes.len() == 300_000),
            "with its parts"
        );
    }
    assert_eq!(
        etcd.keys("/gw/log/").await.len(),
        51,
        "the last that was dropped is still known"
    );
    assert_eq!(etcd.keys("/gw/ids/").await.len(), 51);
    assert_eq!(etcd.keys("/gw/parts/").await.len(), 3);
    let first = Head {
        revision: Revision::ZERO,
        last: None,
        ..head
    };
    let gone = log.read(first).await;
    assert!(
        matches!(gone, Err(LogError::Compacted { upto: Revision(200) })),
        "{gone:?}"
    );
}

#[tokio::test]
async fn what_is_not_ours_is_neither_read_nor_overwritten() {
    let Some(etcd) = Etcd::start(1).await else { return };
    etcd.put("/newer/head", "gw9 something else").await;
    let newer = log(&etcd, "/newer");
    assert!(matches!(newer.head().await, Err(LogError::Damaged { .. })));
    let opened = Store::open(newer, ()).await.map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::Log(LogError::Damaged { .. }))),
        "{opened:?}"
    );

    // A head that is gone while there are commits is no empty store.
    let held = store(&etcd, "/gw").await;
    put(&held, "a", "x").await;
    held.close().await;
    etcd.call(
        "/v3/kv/deleterange",
        &serde_json::json!({ "key": "L2d3L2hlYWQ=" }),
    )
    .await; // /gw/head
    let headless: Arc<dyn CommitLog> = Arc::new(EtcdLog::open(&etcd.store("/gw")).unwrap());
    let error = headless.head().await.unwrap_err();
    assert!(matches!(error, LogError::Damaged { .. }), "{error:?}");
    assert_eq!(
        names(&etcd, "/gw").await,
        set(&["ids", "log"]),
        "nothing was touched"
    );
}
