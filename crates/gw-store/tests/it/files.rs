//! The embedded file: its lock, its damage, and what a start makes of either.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gw_store::{OpenError, Revision, Store};

use crate::support::{ByValue, contents, put};

async fn open(directory: &Path) -> Result<Store, OpenError> {
    gw_store::open(directory.to_str().unwrap(), ByValue).await
}

/// The whole chain of messages.
fn story(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A store of 40 commits; returns the file's bytes while it was open, and after it was closed.
async fn sample(directory: &Path) -> [Vec<u8>; 2] {
    let store = open(directory).await.unwrap();
    for n in 0..40 {
        put(&store, &format!("key{n:02}"), &format!("{n}").repeat(300)).await;
    }
    let open = fs::read(directory.join("store.redb")).unwrap();
    store.close().await;
    [open, fs::read(directory.join("store.redb")).unwrap()]
}

#[tokio::test]
async fn directories_are_made_and_files_are_private() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("a/b");
    let store = open(&directory).await.unwrap();
    put(&store, "key", "value").await;
    let names = |directory: &Path| {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&directory), ["store.redb", "store.redb.lock"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&directory), mode(&directory.join("store.redb"))),
            (0o700, 0o600)
        );
    }
    store.close().await;
    let url = format!("redb:{}", directory.join("store.redb").display());
    let same = gw_store::open(&url, ByValue).await.unwrap();
    assert_eq!(
        contents(&same.view()),
        [("key".to_owned(), "value".to_owned())],
        "both addresses name one store"
    );
}

#[tokio::test]
async fn a_second_handle_is_told_who_has_the_first() {
    let temporary = tempfile::tempdir().unwrap();
    let store = open(temporary.path()).await.unwrap();
    let error = open(temporary.path()).await.unwrap_err();
    let text = error.to_string();
    let OpenError::Locked { path, pid } = error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (path, pid),
        (temporary.path().join("store.redb"), Some(std::process::id()))
    );
    assert!(
        text.contains("store.redb") && text.contains("another data directory"),
        "{text}"
    );
    put(&store, "key", "value").await;
}

#[tokio::test]
async fn closing_and_dropping_let_go_of_the_file() {
    let temporary = tempfile::tempdir().unwrap();
    for round in 1..=30u64 {
        let store = open(temporary.path()).await.unwrap();
        let other = store.clone();
        assert_eq!(put(&other, "key", "value").await, Revision(round));
        if round % 2 == 0 {
            other.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_waits_for_an_abandoned_commit() {
    let temporary = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let store = open(temporary.path()).await.unwrap();
        let key = format!("{round}");
        let writer = store.clone();
        let writing = tokio::spawn(async move { put(&writer, &key, "value").await });
        tokio::task::yield_now().await;
        writing.abort();
        store.close().await;
        let before = store.view();
        let again = open(temporary.path()).await.unwrap();
        assert!(again.view() == before, "the closed store knew what was durable");
    }
}

#[tokio::test]
async fn a_cut_file_opens_or_says_why() {
    let temporary = tempfile::tempdir().unwrap();
    for (name, whole) in ["crashed", "closed"]
        .iter()
        .zip(sample(&temporary.path().join("whole")).await)
    {
        let length = whole.len();
        let steps = (0..length).step_by(length / 23);
        let edges = [
            0,
            1,
            8,
            9,
            63,
            64,
            128,
            320,
            511,
            512,
            4095,
            4096,
            4097,
            8192,
            length - 1,
            length - 4096,
        ];
        let mut refused = 0;
        for cut in steps.chain(edges).collect::<BTreeSet<_>>() {
            match open_bytes(temporary.path(), &whole[..cut]).await {
                Ok(store) => assert_prefix(&store, &format!("{name}, cut at {cut}")),
                Err(error) => {
                    refused += 1;
                    let expected = matches!(error, OpenError::Damaged { .. } | OpenError::Log(_));
                    assert!(expected, "{name}, cut at {cut}: {error:?}");
                    assert!(
                        story(&error).contains("backup"),
                        "{name}, cut at {cut}: {}",
                        story(&error)
                    );
                }
            }
        }
        assert!(refused > 10, "{name}: only {refused} cuts were noticed");
    }
}

/// Opens a store whose file has these bytes.
async fn open_bytes(temporary: &Path, bytes: &[u8]) -> Result<Store, OpenError> {
    let directory = tempfile::tempdir_in(temporary).unwrap().keep();
    fs::write(directory.join("store.redb"), bytes).unwrap();
    open(&directory).await
}

/// Whatever opens must be a state the store once had.
fn assert_prefix(store: &Store, what: &str) {
    let expected = (0..store.view().revision().0).map(|n| (format!("key{n:02}"), n.to_string().repeat(300)));
    assert_eq!(contents(&store.view()), expected.collect::<Vec<_>>(), "{what}");
}

#[tokio::test]
async fn a_scribbled_file_opens_or_says_why() {
    let temporary = tempfile::tempdir().unwrap();
    for (name, whole) in ["crashed", "closed"]
        .iter()
        .zip(sample(&temporary.path().join("whole")).await)
    {
        for round in 0..40usize {
            let mut bytes = whole.clone();
            let at = round * 7919 * 31 % bytes.len();
            for byte in bytes.iter_mut().skip(at).take(1 << (round % 10)) {
                *byte = !*byte;
            }
            match open_bytes(temporary.path(), &bytes).await {
                Ok(store) => assert_prefix(&store, &format!("{name}, scribbled at {at}")),
                Err(error) => assert!(
                    story(&error).contains("backup"),
                    "{name} at {at}: {}",
                    story(&error)
                ),
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_store_is_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("store.redb");
    for garbage in [
        Vec::new(),
        b"{}".to_vec(),
        b"SQLite format 3\0".repeat(512),
        vec![0; 1 << 20],
    ] {
        fs::write(&file, &garbage).unwrap();
        let error = open(temporary.path()).await.unwrap_err();
        assert!(
            matches!(&error, OpenError::Damaged { path, .. } if *path == file),
            "{error:?}"
        );
        assert!(error.to_string().contains("store.redb"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), garbage, "it may be someone's only copy");
    }
}

#[tokio::test]
async fn a_database_of_someone_else_is_no_store() {
    let temporary = tempfile::tempdir().unwrap();
    drop(redb::Database::create(temporary.path().join("store.redb")).unwrap());
    let error = open(temporary.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_newer_format_names_the_remedy() {
    let temporary = tempfile::tempdir().unwrap();
    sample(temporary.path()).await;
    let database = redb::Database::open(temporary.path().join("store.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let about = redb::TableDefinition::<&str, u128>::new("about");
    transaction
        .open_table(about)
        .unwrap()
        .insert("format", 9)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open(temporary.path()).await.unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::NewerFormat {
                found: 9,
                supported: 2,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_start_interrupted_while_creating_starts_over() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("store.redb.new"), b"half").unwrap();
    let store = open(temporary.path()).await.unwrap();
    assert!(store.view().is_empty());
    assert!(!temporary.path().join("store.redb.new").exists());
}

#[tokio::test]
async fn the_wrong_kind_of_place_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("file");
    fs::write(&file, b"x").unwrap();
    let error = open(&file).await.unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::WrongKind {
                expected: "directory",
                ..
            }
        ),
        "{error:?}"
    );
    let url = format!("redb:{}", temporary.path().display());
    let error = gw_store::open(&url, ()).await.unwrap_err();
    assert!(
        matches!(error, OpenError::WrongKind { expected: "file", .. }),
        "{error:?}"
    );
    let error = open(&file.join("below")).await.unwrap_err();
    assert!(
        matches!(&error, OpenError::Io { path, .. } if *path == file.join("below")),
        "{error:?}"
    );
}

#[tokio::test]
async fn each_new_store_is_a_history_of_its_own() {
    let temporary = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for name in ["a", "a", "b"] {
        let store = open(&temporary.path().join(name)).await.unwrap();
        seen.push(store.info().incarnation);
        store.close().await;
    }
    assert!(seen[0] == seen[1] && seen[1] != seen[2], "{seen:?}");
}
