//! etcd keeps the contract: promise by promise on one member, as a whole on three.

use std::sync::Arc;

use gw_store::{CommitLog, contract};
use gw_testkit::Etcd;

use super::log;

/// Logs by name, each under a prefix of its own.
struct Logs(Etcd);

impl Logs {
    async fn start(members: usize) -> Option<Self> {
        Etcd::start(members).await.map(Self)
    }

    fn open(&self, name: &str) -> Arc<dyn CommitLog> {
        log(&self.0, &format!("/contract/{name}"))
    }
}

#[tokio::test]
async fn the_contract_holds_on_one_thread() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::check(async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_contract_holds_on_three_members() {
    let Some(logs) = Logs::start(3).await else { return };
    contract::check(async |name: &str| logs.open(name)).await;
    contract::check_shared(async |name: &str| logs.open(&format!("shared/{name}"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn several_stores_share_a_log() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::check_shared(async |name: &str| logs.open(name)).await;
}

#[tokio::test]
async fn a_wiped_log_is_told() {
    for members in [1, 3] {
        let Some(logs) = Logs::start(members).await else {
            return;
        };
        let wipe = async |name: &str| logs.0.delete_all(&format!("/contract/{name}/")).await;
        contract::check_wiped(async |name: &str| logs.open(name), wipe).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn revisions_are_dense_and_compared() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::revisions_are_dense_and_compared(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn ids_are_taken_once() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::ids_are_taken_once(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn waiting_ends_with_an_append_or_the_end() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::waiting_ends_with_an_append_or_the_end(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_resume_point_moves_only_by_what_was_read() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::the_resume_point_moves_only_by_what_was_read(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn checkpoints_stay_until_they_are_pruned() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::checkpoints_stay_until_they_are_pruned(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn closed_empty_and_elsewhere_are_told_apart() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::closed_empty_and_elsewhere_are_told_apart(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nodes_are_known_while_they_say_so() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::nodes_are_known_while_they_say_so(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn commits_are_seen_at_once() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::commits_are_seen_at_once(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_refusal_changes_nothing() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::a_refusal_changes_nothing(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_of_two_creates_wins() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::one_of_two_creates_wins(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_parent_and_its_child_exclude_each_other() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::a_parent_and_its_child_exclude_each_other(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_view_and_a_watch_are_the_whole_story() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::a_view_and_a_watch_are_the_whole_story(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn watches_tell_each_commit_once_or_why_not() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::watches_tell_each_commit_once_or_why_not(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn other_logs_disturb_no_idle_watch() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::other_logs_disturb_no_idle_watch(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_second_try_is_recognised() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::a_second_try_is_recognised(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn bounds_are_sharp() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::bounds_are_sharp(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_burst_is_drained_at_once() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::a_burst_is_drained_at_once(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn abandoned_commits_are_whole_or_absent() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::abandoned_commits_are_whole_or_absent(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn reopening_restores_everything() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::reopening_restores_everything(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn opening_starts_from_a_checkpoint() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::opening_starts_from_a_checkpoint(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_revision_can_be_looked_at() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::every_revision_can_be_looked_at(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn history_is_kept_as_long_as_said() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::history_is_kept_as_long_as_said(&async |name: &str| logs.open(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn another_history_is_a_reset() {
    let Some(logs) = Logs::start(1).await else { return };
    contract::another_history_is_a_reset(&async |name: &str| logs.open(name)).await;
}
