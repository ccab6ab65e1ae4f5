//! What two writers at the same time may rely on.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{meta, put, store};
use crate::commit::Op;
use crate::log::CommitLog;
use crate::view::View;

/// Of several creates of one unique name at the same time exactly one wins.
///
/// # Panics
/// When it does not hold.
pub async fn one_of_two_creates_wins(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let store = &store(open, "unique").await;
    for round in 0..20 {
        let mut racers = JoinSet::new();
        for racer in 0..4 {
            let store = store.clone();
            racers.spawn(async move {
                let value = format!("name=n{round}");
                let create = |view: &View| match view.indexed(&format!("name/n{round}")) {
                    Some(taken) => Err(taken.clone()),
                    None => Ok((vec![Op::put(format!("{round}/{racer}"), value.clone())], ())),
                };
                store.commit(meta("create"), create).await.is_ok()
            });
        }
        let won = racers.join_all().await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1, "of several creates of one name exactly one wins");
        assert_eq!(store.view().list(&format!("{round}/"), None).count(), 1);
    }
    store.close().await;
}

/// Of deleting a parent and creating its child at the same time exactly one wins.
///
/// # Panics
/// When it does not hold.
pub async fn a_parent_and_its_child_exclude_each_other(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let store = &store(open, "parent").await;
    for round in 0..20 {
        let parent = format!("p{round}");
        put(store, &parent, "").await;
        let delete = {
            let (store, parent) = (store.clone(), parent.clone());
            tokio::spawn(async move {
                let delete = |view: &View| match view.index_range(&format!("child/{parent}/"), None).next() {
                    Some((_, child)) => Err(child.clone()),
                    None => Ok((vec![Op::delete(parent.as_str())], ())),
                };
                store.commit(meta("delete parent"), delete).await.is_ok()
            })
        };
        let create = {
            let (store, parent) = (store.clone(), parent.clone());
            tokio::spawn(async move {
                let create = |view: &View| match view.get(&parent) {
                    None => Err("no parent"),
                    Some(_) => Ok((vec![Op::put(format!("c{round}"), format!("parent={parent}"))], ())),
                };
                store.commit(meta("create child"), create).await.is_ok()
            })
        };
        let (deleted, created) = (delete.await.expect("no panic"), create.await.expect("no panic"));
        assert!(
            deleted != created,
            "exactly one wins: deleted {deleted}, created {created}"
        );
        let view = store.view();
        assert_eq!(
            (
                view.get(&parent).is_some(),
                view.get(&format!("c{round}")).is_some()
            ),
            (created, created)
        );
    }
    store.close().await;
}
