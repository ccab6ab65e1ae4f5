//! Both backends pass the conformance suite, on either kind of runtime.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use gw_store::{CommitLog, MemoryLog, RedbLog, contract};

async fn check_memory() {
    let logs: Mutex<HashMap<String, MemoryLog>> = Mutex::default();
    let open = async |name: &str| {
        let log = logs.lock().unwrap().entry(name.to_owned()).or_default().clone();
        Arc::new(log) as Arc<dyn CommitLog>
    };
    contract::check(open).await;
}

async fn check_redb() {
    let directory = tempfile::tempdir().unwrap();
    let open = async |name: &str| {
        let log = RedbLog::open(directory.path().join(name)).await.unwrap();
        Arc::new(log) as Arc<dyn CommitLog>
    };
    contract::check(open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn memory_keeps_the_contract() {
    check_memory().await;
}

#[tokio::test]
async fn memory_keeps_the_contract_on_one_thread() {
    check_memory().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn redb_keeps_the_contract() {
    check_redb().await;
}

#[tokio::test]
async fn redb_keeps_the_contract_on_one_thread() {
    check_redb().await;
}
