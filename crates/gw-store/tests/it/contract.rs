//! Both backends at hand keep the contract, promise by promise, and as a whole on one thread. What a store owes is
//! where its test is: a crash in `crash`, damage in `files`, a full disk in `full`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use gw_store::{CommitLog, MemoryLog, RedbLog, contract};
use tempfile::TempDir;

/// Logs by name.
enum Backend {
    Memory(Mutex<HashMap<String, MemoryLog>>),
    Redb(TempDir),
}

impl Backend {
    fn all() -> [Self; 2] {
        [
            Self::Memory(Mutex::default()),
            Self::Redb(tempfile::tempdir().unwrap()),
        ]
    }

    async fn open(&self, name: &str) -> Arc<dyn CommitLog> {
        match self {
            Self::Memory(logs) => {
                let log = logs.lock().unwrap().entry(name.to_owned()).or_default().clone();
                Arc::new(log)
            }
            Self::Redb(directory) => Arc::new(RedbLog::open(directory.path().join(name)).await.unwrap()),
        }
    }
}

#[tokio::test]
async fn the_contract_holds_on_one_thread() {
    for backend in Backend::all() {
        contract::check(async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn several_stores_share_a_log() {
    let [memory, _] = Backend::all();
    contract::check_shared(async |name: &str| memory.open(name).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn revisions_are_dense_and_compared() {
    for backend in Backend::all() {
        contract::revisions_are_dense_and_compared(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn ids_are_taken_once() {
    for backend in Backend::all() {
        contract::ids_are_taken_once(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn waiting_ends_with_an_append_or_the_end() {
    for backend in Backend::all() {
        contract::waiting_ends_with_an_append_or_the_end(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_resume_point_moves_only_by_what_was_read() {
    for backend in Backend::all() {
        contract::the_resume_point_moves_only_by_what_was_read(&async |name: &str| backend.open(name).await)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn checkpoints_stay_until_they_are_pruned() {
    for backend in Backend::all() {
        contract::checkpoints_stay_until_they_are_pruned(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn closed_empty_and_elsewhere_are_told_apart() {
    for backend in Backend::all() {
        contract::closed_empty_and_elsewhere_are_told_apart(&async |name: &str| backend.open(name).await)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nodes_are_known_while_they_say_so() {
    for backend in Backend::all() {
        contract::nodes_are_known_while_they_say_so(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn commits_are_seen_at_once() {
    for backend in Backend::all() {
        contract::commits_are_seen_at_once(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_refusal_changes_nothing() {
    for backend in Backend::all() {
        contract::a_refusal_changes_nothing(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_of_two_creates_wins() {
    for backend in Backend::all() {
        contract::one_of_two_creates_wins(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_parent_and_its_child_exclude_each_other() {
    for backend in Backend::all() {
        contract::a_parent_and_its_child_exclude_each_other(&async |name: &str| backend.open(name).await)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_view_and_a_watch_are_the_whole_story() {
    for backend in Backend::all() {
        contract::a_view_and_a_watch_are_the_whole_story(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn watches_tell_each_commit_once_or_why_not() {
    for backend in Backend::all() {
        contract::watches_tell_each_commit_once_or_why_not(&async |name: &str| backend.open(name).await)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn other_logs_disturb_no_idle_watch() {
    for backend in Backend::all() {
        contract::other_logs_disturb_no_idle_watch(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_second_try_is_recognised() {
    for backend in Backend::all() {
        contract::a_second_try_is_recognised(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn bounds_are_sharp() {
    for backend in Backend::all() {
        contract::bounds_are_sharp(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_burst_is_drained_at_once() {
    for backend in Backend::all() {
        contract::a_burst_is_drained_at_once(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn abandoned_commits_are_whole_or_absent() {
    for backend in Backend::all() {
        contract::abandoned_commits_are_whole_or_absent(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn reopening_restores_everything() {
    for backend in Backend::all() {
        contract::reopening_restores_everything(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn opening_starts_from_a_checkpoint() {
    for backend in Backend::all() {
        contract::opening_starts_from_a_checkpoint(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_revision_can_be_looked_at() {
    for backend in Backend::all() {
        contract::every_revision_can_be_looked_at(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn history_is_kept_as_long_as_said() {
    for backend in Backend::all() {
        contract::history_is_kept_as_long_as_said(&async |name: &str| backend.open(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn another_history_is_a_reset() {
    for backend in Backend::all() {
        contract::another_history_is_a_reset(&async |name: &str| backend.open(name).await).await;
    }
}
