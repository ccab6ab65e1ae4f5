//! Checkpoints on disk: what is written is read, what was changed in any way is not.

use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::commit::{Commit, CommitId, Meta, Op};
use crate::index::Indexer;
use crate::view::View;

fn sample(revision: u64) -> Checkpoint {
    let none: Arc<dyn Indexer> = Arc::new(());
    let mut view = View::of(Contents::empty(Incarnation::from_u128(7)), Arc::clone(&none));
    for revision in 1..=revision {
        let commit = Commit {
            revision: Revision(revision),
            meta: Meta {
                id: CommitId::from_u128(revision.into()),
                ..Meta::new("ann", "")
            },
            parent: None,
            hash: None,
            ops: vec![
                Op::put(format!("routes/{revision}"), r#"{"paths":["/"]}"#),
                Op::put("services/a", format!("{{\"port\":{revision}}}")),
            ],
        };
        view = view.with(&commit, &none);
    }
    Checkpoint {
        contents: view.contents(),
        former: vec![(Key::from("plugins/p"), Bytes::from_static(b"{}"))],
        at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        build: "1.2.3".into(),
    }
}

fn names(checkpoints: &Checkpoints) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(checkpoints.directory())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read() {
    let directory = TempDir::new().unwrap();
    let checkpoints = Checkpoints::in_directory(directory.path().join("a/b"), 3);
    assert!(
        checkpoints.newest().unwrap().checkpoint.is_none(),
        "a new node has none"
    );
    for revision in [0, 1, 5] {
        let written = sample(revision);
        checkpoints.write(&written).unwrap();
        let newest = checkpoints.newest().unwrap();
        assert_eq!(newest.checkpoint, Some(written));
        assert!(newest.unreadable.is_empty());
    }
}

#[test]
fn the_last_few_are_kept_and_nobody_else_reads_them() {
    let directory = TempDir::new().unwrap();
    let checkpoints = Checkpoints::in_directory(directory.path().join("checkpoints"), 3);
    for revision in 1..=5 {
        checkpoints.write(&sample(revision)).unwrap();
    }
    // A lower revision, of a store that was restored, is newer all the same.
    let path = checkpoints.write(&sample(2)).unwrap();
    assert_eq!(
        names(&checkpoints),
        [
            "000000000004.checkpoint",
            "000000000005.checkpoint",
            "000000000006.checkpoint"
        ]
    );
    let newest = checkpoints.newest().unwrap().checkpoint.unwrap();
    assert_eq!(newest.contents.revision(), Revision(2));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(checkpoints.directory())), (0o600, 0o700));
    }
}

#[test]
fn any_changed_byte_is_noticed() {
    let whole = encode(&sample(2));
    assert_eq!(decode(&whole), Ok(sample(2)));
    for at in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let read = decode(&bytes);
            assert!(read.is_err(), "byte {at} ^ {flip:#x}: {read:?}");
        }
    }
}

#[test]
fn any_cut_and_any_addition_is_noticed() {
    let whole = encode(&sample(2));
    for length in 0..whole.len() {
        let read = decode(&whole[..length]);
        assert!(read.is_err(), "{length} bytes: {read:?}");
    }
    let mut longer = whole.clone();
    longer.put_u8(0);
    assert_eq!(decode(&longer), Err(DecodeError::Checksum));
    // Zeroes, as a file has them whose length survived a loss of power and whose bytes did not.
    assert!(decode(&vec![0; whole.len()]).is_err());
}

#[test]
fn a_valid_checksum_over_nonsense_is_no_checkpoint() {
    let whole = encode(&sample(1));
    for at in HEADER..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let sum = crc32fast::hash(&bytes[HEADER..]);
        bytes[MAGIC.len() + 1..HEADER].copy_from_slice(&sum.to_le_bytes());
        // What is only told about the contents may be anything; the contents may not.
        if let Ok(read) = decode(&bytes) {
            assert_eq!(read.contents, sample(1).contents, "byte {at}");
        }
    }
}

#[test]
fn where_the_newest_is_bad_the_one_before_serves() {
    let directory = TempDir::new().unwrap();
    let checkpoints = Checkpoints::in_directory(directory.path(), 3);
    checkpoints.write(&sample(1)).unwrap();
    let cut = checkpoints.write(&sample(2)).unwrap();
    let newer = checkpoints.write(&sample(3)).unwrap();
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let mut bytes = fs::read(&newer).unwrap();
    bytes[MAGIC.len()] = VERSION + 1;
    fs::write(&newer, bytes).unwrap();
    fs::write(
        directory.path().join("000000000009.unfinished"),
        "power was lost here",
    )
    .unwrap();
    fs::write(directory.path().join("notes.checkpoint"), "not ours").unwrap();

    let newest = checkpoints.newest().unwrap();
    assert_eq!(newest.checkpoint, Some(sample(1)));
    assert!(
        matches!(
            newest.unreadable.as_slice(),
            [CheckpointError::NewerFormat { found: 2, .. }, CheckpointError::Damaged { path, .. }] if *path == cut
        ),
        "{:?}",
        newest.unreadable
    );
    // The bad ones give way to good ones, and numbers go on.
    for revision in 4..=6 {
        checkpoints.write(&sample(revision)).unwrap();
    }
    assert!(checkpoints.newest().unwrap().unreadable.is_empty());
}

#[test]
fn a_disk_that_refuses_is_an_error_and_not_emptiness() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let checkpoints = Checkpoints::in_directory(&file, 3);
    assert!(matches!(checkpoints.newest(), Err(CheckpointError::Io { .. })));
    assert!(matches!(
        checkpoints.write(&sample(1)),
        Err(CheckpointError::Io { .. })
    ));
}
