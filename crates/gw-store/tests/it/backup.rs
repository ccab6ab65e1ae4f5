//! Backups taken while others write, and files of earlier releases.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gw_store::{
    BackupError, CommitLog, HistoryError, MemoryLog, Op, OpenError, RedbLog, Retention, Revision, Store,
};
use redb::{ReadableDatabase as _, ReadableTableMetadata as _};
use tokio::task::JoinSet;

use crate::support::{ByValue, commit, contents, put};

async fn open(file: &Path) -> Store {
    gw_store::open(&format!("redb:{}", file.display()), ByValue)
        .await
        .unwrap()
}

/// Writers go on while backups are taken; each backup is a state that was.
async fn whole_while_written(store: Store, directory: &Path) {
    let bound = Arc::new(AtomicU64::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..2 {
        let (store, bound) = (store.clone(), Arc::clone(&bound));
        writers.spawn(async move {
            let mut n = 0;
            loop {
                n += 1;
                while store.view().revision().0 >= bound.load(Ordering::Relaxed) {
                    tokio::task::yield_now().await;
                }
                let pair = ["left", "right"].map(|side| Op::put(format!("{side}/{writer}"), n.to_string()));
                commit(&store, pair.to_vec()).await.unwrap();
            }
        });
    }
    let mut before = Revision::ZERO;
    for n in 0..5 {
        let file = directory.join(format!("{n}.redb"));
        bound.store(before.0 + 150, Ordering::Relaxed);
        while store.view().revision() < Revision(before.0 + 30) {
            tokio::task::yield_now().await;
        }
        let backup = store.backup(&file).await.unwrap();
        assert!(
            backup.revision > before && backup.commits == backup.revision.0,
            "{backup:?}"
        );
        before = backup.revision;
        let copy = open(&file).await;
        let then = store.at(backup.revision).await.unwrap();
        assert!(
            copy.view() == then,
            "the contents are those of revision {}",
            backup.revision
        );
        let half = Revision(backup.revision.0 / 2);
        assert!(
            copy.at(half).await.unwrap() == store.at(half).await.unwrap(),
            "with their history"
        );
        let newest = copy.history(None, 1).await.unwrap();
        assert_eq!(copy.find(newest[0].meta.id).await.unwrap(), Some(backup.revision));
        assert_eq!(
            put(&copy, "more", "x").await,
            backup.revision.next(),
            "and it goes on"
        );
        copy.close().await;
        let there = store.backup(&file).await;
        assert!(matches!(there, Err(BackupError::Exists { .. })), "not {there:?}");
        assert!(!directory.join(format!("{n}.redb.new")).exists());
    }
    writers.shutdown().await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_one_moment_of_a_store_that_is_written() {
    let temporary = tempfile::tempdir().unwrap();
    let store = open(&temporary.path().join("store.redb")).await;
    whole_while_written(store, temporary.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_backend_is_backed_up_to_a_file() {
    let temporary = tempfile::tempdir().unwrap();
    let store = Store::open(Arc::new(MemoryLog::new()), ByValue).await.unwrap();
    whole_while_written(store, temporary.path()).await;
}

/// The file of a store that is open, as a command sees the one of a gateway that runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_has_open_is_copied_between_two_commits() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("store.redb");
    let store = open(&file).await;
    let mut last = Revision::ZERO;
    for round in 0..6 {
        let writer = store.clone();
        let writing = tokio::spawn(async move {
            for n in 0..60 {
                let pair = ["left", "right"].map(|side| Op::put(format!("{side}/{n}"), format!("{round}")));
                commit(&writer, pair.to_vec()).await.unwrap();
            }
        });
        let to = temporary.path().join(format!("{round}.redb"));
        let backup = gw_store::backup_file(&file, &to).await.unwrap();
        assert!(backup.revision >= last, "what was acknowledged before is in it");
        let copy = open(&to).await;
        assert_eq!(copy.view().revision(), backup.revision);
        assert!(copy.view() == store.at(backup.revision).await.unwrap());
        copy.close().await;
        writing.await.unwrap();
        last = store.view().revision();
    }
    let there = gw_store::backup_file(&file, &file).await;
    assert!(matches!(there, Err(BackupError::Exists { .. })), "not {there:?}");
    let to = temporary.path().join("none.redb");
    let none = gw_store::backup_file(&temporary.path().join("nowhere.redb"), &to).await;
    assert!(matches!(none, Err(BackupError::Write { .. })), "not {none:?}");
    std::fs::write(temporary.path().join("other.redb"), vec![7; 8192]).unwrap();
    let other = gw_store::backup_file(&temporary.path().join("other.redb"), &to).await;
    assert!(matches!(other, Err(BackupError::Write { .. })), "not {other:?}");
    assert!(!to.exists() && !temporary.path().join("none.redb.new").exists());
}

/// Keeps revision 3 by name.
struct Keeping;

impl gw_store::Indexer for Keeping {
    fn index(&self, _key: &str, value: &[u8], emit: &mut dyn FnMut(String)) {
        if value == b"kept" {
            emit(Retention::kept(Revision(3)));
        }
    }
}

#[tokio::test]
async fn a_backup_of_a_pruned_history_is_as_far_back_as_it_was() {
    let temporary = tempfile::tempdir().unwrap();
    let log = MemoryLog::new();
    let store = Store::open(Arc::new(log.clone()), Keeping).await.unwrap();
    for n in 0..20 {
        put(&store, "key", &n.to_string()).await;
    }
    put(&store, "tag", "kept").await;
    for at in [3, 12] {
        let then = store.at(Revision(at)).await.unwrap();
        log.checkpoint(Revision(at), then.contents().encode())
            .await
            .unwrap();
    }
    let third = store.at(Revision(3)).await.unwrap();
    log.prune(Revision(12), vec![Revision(3)]).await.unwrap();
    let file = temporary.path().join("copy.redb");
    let backup = store.backup(&file).await.unwrap();
    assert_eq!((backup.revision, backup.commits), (Revision(21), 9));
    let copy = open(&file).await;
    assert_eq!(contents(&copy.view()), contents(&store.view()));
    assert_eq!(copy.info().hash, store.info().hash);
    assert_eq!(copy.history(None, 100).await.unwrap().len(), 9);
    assert_eq!(
        contents(&copy.at(Revision(3)).await.unwrap()),
        contents(&third),
        "it was kept by name"
    );
    let gone = copy.at(Revision(5)).await;
    assert!(
        matches!(gone, Err(HistoryError::Pruned { oldest: Revision(12) })),
        "not {gone:?}"
    );
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let store = Store::open(Arc::new(MemoryLog::new()), ()).await.unwrap();
    put(&store, "key", "value").await;
    let error = store
        .backup(&temporary.path().join("no/copy.redb"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, BackupError::Write { .. }) && error.to_string().contains("no/copy.redb"),
        "{error:?}"
    );
}

/// A commit, byte by byte as release 0.1 wrote it.
const ONE: &[u8] = b"\x01\x5c\xdb\x5c\xf1\x01\x00\x00\x00\x00\x00\x00\x00e\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\
    \x03\x00\x00\x00ann\x03\x00\x00\x00why\x01\x00\x00\x00\x01\x01\x00\x00\x00a\x01\x00\x00\x001";
const TWO: &[u8] = b"\x01\x1d[0\xf7\x02\x00\x00\x00\x00\x00\x00\x00f\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x03\x00\
    \x00\x00ann\x03\x00\x00\x00why\x02\x00\x00\x00\x01\x01\x00\x00\x00a\x01\x00\x00\x002\x01\x01\x00\x00\x00b\x01\x00\x00\x00x";
const CHECKPOINT: &[u8] = b"\x01\x8dH\xeb\xcd\x01\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\
    \x01\x00\x00\x00a\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x001";

/// A file of two commits and a checkpoint.
fn write_version_1(file: &Path) {
    let database = redb::Database::create(file).unwrap();
    let transaction = database.begin_write().unwrap();
    let about = redb::TableDefinition::<&str, u128>::new("about");
    let log = redb::TableDefinition::<u64, &[u8]>::new("log");
    let ids = redb::TableDefinition::<u128, u64>::new("ids");
    let checkpoints = redb::TableDefinition::<u64, &[u8]>::new("checkpoints");
    {
        let mut about = transaction.open_table(about).unwrap();
        about.insert("format", 1).unwrap();
        about.insert("incarnation", 5).unwrap();
        let mut log = transaction.open_table(log).unwrap();
        log.insert(1, ONE).unwrap();
        log.insert(2, TWO).unwrap();
        let mut ids = transaction.open_table(ids).unwrap();
        ids.insert(101, 1).unwrap();
        ids.insert(102, 2).unwrap();
        let mut checkpoints = transaction.open_table(checkpoints).unwrap();
        checkpoints.insert(1, CHECKPOINT).unwrap();
    }
    transaction.commit().unwrap();
}

fn format_and_commits(file: &Path) -> (u128, u64) {
    let database = redb::Database::open(file).unwrap();
    let transaction = database.begin_read().unwrap();
    let about = redb::TableDefinition::<&str, u128>::new("about");
    let about = transaction.open_table(about).unwrap();
    let log = redb::TableDefinition::<u64, &[u8]>::new("log");
    let commits = transaction.open_table(log).unwrap().len().unwrap();
    (about.get("format").unwrap().unwrap().value(), commits)
}

#[tokio::test]
async fn a_file_of_version_1_is_brought_forward_and_kept_aside() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("store.redb");
    let aside = temporary.path().join("store.redb.format1");
    write_version_1(&file);
    let store = open(&file).await;
    assert_eq!(
        contents(&store.view()),
        [("a".to_owned(), "2".to_owned()), ("b".to_owned(), "x".to_owned())]
    );
    assert_eq!(store.info().incarnation.as_u128(), 5);
    let first = store.at(Revision(1)).await.unwrap();
    assert_eq!(contents(&first), [("a".to_owned(), "1".to_owned())]);
    let history = store.history(None, 10).await.unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!((history[0].meta.author.as_str(), history[0].hash), ("ann", None));
    assert_eq!(put(&store, "c", "y").await, Revision(3));
    let now = store.view();
    store.close().await;
    assert_eq!(
        format_and_commits(&aside),
        (1, 2),
        "the release that wrote it can go on with the copy"
    );
    assert_eq!(format_and_commits(&file), (2, 3));
    let store = open(&file).await;
    assert!(store.view() == now, "brought forward once");
    assert_eq!(store.history(None, 10).await.unwrap().len(), 3);
    store.close().await;
    assert_eq!(format_and_commits(&aside), (1, 2));
}

#[tokio::test]
async fn an_upgrade_that_was_interrupted_starts_over() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("store.redb");
    write_version_1(&file);
    std::fs::write(temporary.path().join("store.redb.new"), b"half a copy").unwrap();
    let store = open(&file).await;
    assert_eq!(store.view().revision(), Revision(2));
    store.close().await;
    // The copy was there, and the file not yet upgraded.
    let aside = temporary.path().join("store.redb.format1");
    std::fs::copy(&aside, &file).unwrap();
    let store = open(&file).await;
    assert_eq!(store.view().revision(), Revision(2));
}

#[tokio::test]
async fn an_unwritable_copy_stops_the_upgrade() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("store.redb");
    write_version_1(&file);
    // A directory where the half copy would go: what cannot be kept aside is not changed.
    std::fs::create_dir(temporary.path().join("store.redb.new")).unwrap();
    let error = RedbLog::open(&file).await.unwrap_err();
    assert!(
        matches!(&error, OpenError::Io { path, .. } if path.ends_with("store.redb.format1")),
        "{error:?}"
    );
    assert_eq!(format_and_commits(&file), (1, 2));
}
