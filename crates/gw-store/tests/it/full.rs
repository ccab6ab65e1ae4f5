//! A disk that is full: commits are refused, nothing is lost, and once there is room they are made again.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

use gw_store::{CommitError, Op, Revision};

use crate::support::{commit, contents};

/// Names the directory in which the child writes; unset in ordinary runs.
const DIRECTORY: &str = "GW_STORE_FULL_DIRECTORY";

/// Under a limit on the size of files, as `sh` sets it for itself and what it starts.
const LIMITED: &str = "trap '' XFSZ; ulimit -S -f 4096; exec \"$@\"";

#[tokio::test]
async fn a_full_disk_refuses_and_heals() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return fill_and_heal(Path::new(&directory)).await;
    }
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", LIMITED, "sh"])
        .arg(std::env::current_exe().unwrap());
    command
        .args(["--exact", "full::a_full_disk_refuses_and_heals", "--nocapture"])
        .env(DIRECTORY, temporary.path());
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let store = gw_store::open(temporary.path().to_str().unwrap(), ())
        .await
        .unwrap();
    let last = store.view().revision();
    assert!(
        last > Revision(2),
        "the child wrote until the disk was full, and once more: {last}"
    );
    assert_eq!(contents(&store.view()).len() as u64, last.0);
}

async fn fill_and_heal(directory: &Path) {
    let store = gw_store::open(directory.to_str().unwrap(), ()).await.unwrap();
    let value = "x".repeat(100_000);
    let put = async |n: u64| commit(&store, vec![Op::put(n.to_string(), value.clone())]).await;
    let mut made = 0;
    let refused = loop {
        match put(made + 1).await {
            Ok(done) => made = done.revision.0,
            Err(error) => break error,
        }
        assert!(made < 100, "the limit does not hold");
    };
    assert!(matches!(refused, CommitError::Unavailable { .. }), "{refused:?}");
    assert!(put(made + 1).await.is_err(), "the disk is still full");
    assert_eq!(
        store.view().revision(),
        Revision(made),
        "what was refused is not seen"
    );
    let id = std::process::id().to_string();
    assert!(
        Command::new("prlimit")
            .args(["--pid", &id, "--fsize=unlimited"])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        put(made + 1).await.unwrap().revision,
        Revision(made + 1),
        "there is room again"
    );
    store.close().await;
}
