//! The formats, byte by byte, and what damage does to them.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::index::Indexer;
use crate::view::View;

fn commits() -> impl Strategy<Value = Commit> {
    let value = proptest::collection::vec(any::<u8>(), 0..20);
    let op = prop_oneof![
        (".{0,9}", value).prop_map(|(key, value)| Op::put(key, value)),
        ".{0,9}".prop_map(Op::delete),
    ];
    let ops = proptest::collection::vec(op, 0..5);
    let texts = (".{0,9}", ".{0,9}", ".{0,9}");
    let chain = (any::<Option<u128>>(), any::<Option<[u8; 32]>>());
    (1u64.., any::<u128>(), any::<u64>(), texts, chain, ops).prop_map(
        |(revision, id, at, (author, message, request), (parent, hash), ops)| Commit {
            revision: Revision(revision),
            meta: Meta {
                author,
                message,
                id: CommitId::from_u128(id),
                at,
                request,
            },
            parent: parent.map(CommitId::from_u128),
            hash: hash.map(ContentHash::from_bytes),
            ops,
        },
    )
}

fn sample() -> Commit {
    let mut meta = Meta::new("ann", "why");
    (meta.id, meta.at, meta.request) = (CommitId::from_u128(7), 9, "req".to_owned());
    let mut hash = [0; 32];
    hash[0] = 0xab;
    Commit {
        revision: Revision(3),
        meta,
        parent: Some(CommitId::from_u128(6)),
        hash: Some(ContentHash::from_bytes(hash)),
        ops: vec![Op::put("key", "value"), Op::delete("gone")],
    }
}

#[test]
fn the_format_does_not_change_unnoticed() {
    let expected: &[u8] =
        b"\x02n\xd3\x88\x7f\x03\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x06\0\0\0\0\0\
            \0\0\0\0\0\0\0\0\0\0\x01\xab\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
            \0\0\x09\0\0\0\0\0\0\0\x03\0\0\0ann\x03\0\0\0why\x03\0\0\0req\x02\0\0\0\x01\x03\0\0\0key\
            \x05\0\0\0value\x02\x04\0\0\0gone";
    let record = encode_commit(&sample());
    assert_eq!(
        record.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    assert_eq!(decode_commit(Revision(3), expected), Ok(sample()));
}

/// As release 0.1 wrote them.
#[test]
fn what_version_1_wrote_is_read() {
    let commit: &[u8] =
        b"\x01\xc3\xa8\xc40\x03\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\
            \x03\0\0\0ann\x03\0\0\0why\x02\0\0\0\x01\x03\0\0\0key\x05\0\0\0value\x02\x04\0\0\0gone";
    let mut expected = sample();
    expected.meta.request.clear();
    (expected.parent, expected.hash) = (None, None);
    assert_eq!(decode_commit(Revision(3), commit), Ok(expected));

    let checkpoint: &[u8] =
        b"\x01\x02u\xb5C\x03\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x03\
            \0\0\0key\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x05\0\0\0value";
    let contents = decode_checkpoint(checkpoint).unwrap();
    let entry = Entry {
        value: "value".into(),
        created: Revision(1),
        modified: Revision(3),
    };
    assert_eq!(
        (contents.revision(), contents.incarnation(), contents.head.last),
        (Revision(3), Incarnation::from_u128(5), None)
    );
    assert_eq!(contents.iter().collect::<Vec<_>>(), [(&Key::from("key"), &entry)]);
    let mut hash = ContentHash::EMPTY;
    hash.add(&Key::from("key"), b"value");
    assert_eq!(contents.hash(), hash, "what it did not say is found out");
}

#[test]
fn what_is_wrong_is_told_apart() {
    let record = encode_commit(&sample());
    let with = |at: usize, byte: u8| {
        let mut bytes = record.to_vec();
        bytes[at] = byte;
        decode_commit(Revision(3), &bytes)
    };
    assert_eq!(with(0, 3), Err(DecodeError::NewerFormat { found: 3 }));
    assert_eq!(with(0, 0), Err(DecodeError::Checksum));
    assert_eq!(with(20, 1), Err(DecodeError::Checksum));
    assert_eq!(
        decode_commit(Revision(4), &record),
        Err(DecodeError::Misplaced { found: Revision(3) })
    );
    assert_eq!(decode_commit(Revision(3), b""), Err(DecodeError::Empty));
    let fields = seal(
        [&begin(0)[..], &record[HEADER..], b"more"]
            .concat()
            .as_slice()
            .into(),
    );
    assert_eq!(
        decode_commit(Revision(3), &fields),
        Err(DecodeError::Malformed),
        "nothing may follow"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commits_come_back_as_they_were(commit in commits()) {
        prop_assert_eq!(decode_commit(commit.revision, &encode_commit(&commit)), Ok(commit));
    }

    #[test]
    fn checkpoints_come_back_as_they_were(mut commit in commits()) {
        commit.revision = Revision(1);
        let none: Arc<dyn Indexer> = Arc::new(());
        let view = View::of(Contents::empty(Incarnation::random()), Arc::clone(&none)).with(&commit, &none);
        let record = view.contents().encode();
        let contents = Contents::decode(&record).unwrap();
        prop_assert_eq!(&contents, &view.contents());
        prop_assert!(View::of(contents, none) == view);
        prop_assert!(decode_checkpoint_of(view.incarnation(), Revision(1), &record).is_ok());
        let elsewhere = decode_checkpoint_of(Incarnation::random(), Revision(1), &record);
        let misplaced = DecodeError::Misplaced { found: Revision(1) };
        prop_assert_eq!(elsewhere.unwrap_err(), misplaced);
        prop_assert_eq!(decode_checkpoint_of(view.incarnation(), Revision(2), &record).unwrap_err(), misplaced);
    }

    #[test]
    fn a_changed_or_cut_record_is_noticed(commit in commits(), at: usize, flip in 1u8.., cut: usize) {
        let record = encode_commit(&commit);
        let mut changed = record.to_vec();
        let at = at % changed.len();
        changed[at] ^= flip;
        prop_assert!(decode_commit(commit.revision, &changed).is_err());
        prop_assert!(decode_commit(commit.revision, &record[..cut % record.len()]).is_err());
    }

    #[test]
    fn fields_that_do_not_fit_are_an_error_and_no_panic(body in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut out = begin(0);
        out.put_slice(&body);
        let record = seal(out);
        prop_assert!(decode_commit(Revision(1), &record).is_err());
        prop_assert!(decode_checkpoint(&record).is_err());
    }
}
