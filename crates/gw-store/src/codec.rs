//! The bytes of commits and checkpoints: a format version, a checksum, then length-prefixed fields.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use imbl::OrdMap;

use crate::commit::{Commit, CommitId, Incarnation, Key, Meta, Op, Revision};
use crate::view::{Entry, View};

/// The version this release writes, and the newest it reads.
const VERSION: u8 = 1;

/// Version byte and checksum.
const HEADER: usize = 1 + 4;

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// Why bytes are not a commit or a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Written by a newer release.
    #[error("format {found} is newer than {VERSION}; install the release that wrote it")]
    NewerFormat {
        /// The version found.
        found: u8,
    },
    /// There are no bytes where a version should be.
    #[error("there is nothing in it")]
    Empty,
    /// The checksum does not match: the bytes changed since they were written.
    #[error("its checksum does not match")]
    Checksum,
    /// The checksum matches and the fields do not fit.
    #[error("its fields do not fit together")]
    Malformed,
    /// It belongs to another revision or another history than the place it was found in.
    #[error("it belongs elsewhere: it says revision {found}")]
    Misplaced {
        /// The revision it names.
        found: Revision,
    },
}

pub(crate) fn encode_commit(commit: &Commit) -> Bytes {
    let mut out = begin(commit.weight());
    out.put_u64_le(commit.revision.0);
    out.put_u128_le(commit.meta.id.as_u128());
    out.put_u64_le(commit.meta.at);
    put_bytes(&mut out, commit.meta.author.as_bytes());
    put_bytes(&mut out, commit.meta.message.as_bytes());
    put_len(&mut out, commit.ops.len());
    for op in &commit.ops {
        match op {
            Op::Put { key, value } => {
                out.put_u8(PUT);
                put_bytes(&mut out, key.as_str().as_bytes());
                put_bytes(&mut out, value);
            }
            Op::Delete { key } => {
                out.put_u8(DELETE);
                put_bytes(&mut out, key.as_str().as_bytes());
            }
        }
    }
    seal(out)
}

pub(crate) fn decode_commit(revision: Revision, record: &[u8]) -> Result<Commit, DecodeError> {
    let mut body = open(record)?;
    let found = Revision(u64_le(&mut body)?);
    if found != revision {
        return Err(DecodeError::Misplaced { found });
    }
    let id = CommitId::from_u128(u128_le(&mut body)?);
    let at = u64_le(&mut body)?;
    let author = text(&mut body)?.to_owned();
    let message = text(&mut body)?.to_owned();
    let count = length(&mut body)?;
    let mut ops = Vec::with_capacity(count.min(body.len()));
    for _ in 0..count {
        let tag = body.try_get_u8().map_err(|_| DecodeError::Malformed)?;
        let key = Key::from(text(&mut body)?);
        ops.push(match tag {
            // Copied, so that an entry does not keep the whole record it came in alive.
            PUT => Op::Put {
                key,
                value: Bytes::copy_from_slice(slice(&mut body)?),
            },
            DELETE => Op::Delete { key },
            _ => return Err(DecodeError::Malformed),
        });
    }
    end(body)?;
    Ok(Commit {
        revision,
        meta: Meta {
            author,
            message,
            id,
            at,
        },
        ops,
    })
}

pub(crate) fn encode_checkpoint(view: &View) -> Bytes {
    let size: usize = view
        .list("", None)
        .map(|(key, entry)| key.as_str().len() + entry.value.len() + 24)
        .sum();
    let mut out = begin(size + 64);
    out.put_u64_le(view.revision().0);
    out.put_u128_le(view.incarnation().as_u128());
    out.put_u64_le(view.len() as u64);
    for (key, entry) in view.list("", None) {
        put_bytes(&mut out, key.as_str().as_bytes());
        out.put_u64_le(entry.created.0);
        out.put_u64_le(entry.modified.0);
        put_bytes(&mut out, &entry.value);
    }
    seal(out)
}

pub(crate) fn decode_checkpoint(
    incarnation: Incarnation,
    revision: Revision,
    record: &[u8],
) -> Result<OrdMap<Key, Entry>, DecodeError> {
    let mut body = open(record)?;
    let found = Revision(u64_le(&mut body)?);
    if found != revision || u128_le(&mut body)? != incarnation.as_u128() {
        return Err(DecodeError::Misplaced { found });
    }
    let mut entries = OrdMap::new();
    for _ in 0..u64_le(&mut body)? {
        let key = Key::from(text(&mut body)?);
        let created = Revision(u64_le(&mut body)?);
        let modified = Revision(u64_le(&mut body)?);
        let value = Bytes::copy_from_slice(slice(&mut body)?);
        entries.insert(
            key,
            Entry {
                value,
                created,
                modified,
            },
        );
    }
    end(body)?;
    Ok(entries)
}

// --- writing ---

fn begin(capacity: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(HEADER + capacity);
    out.put_u8(VERSION);
    out.put_u32_le(0);
    out
}

fn seal(mut out: BytesMut) -> Bytes {
    let (header, body) = out.split_at_mut(HEADER);
    let sum = crc32fast::hash(body);
    for (place, byte) in header.iter_mut().skip(1).zip(sum.to_le_bytes()) {
        *place = byte;
    }
    out.freeze()
}

/// Bound: a record over 4 GiB is refused long before (`CommitLog::limit`), so that no length is cut.
fn put_len(out: &mut BytesMut, length: usize) {
    out.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.put_slice(bytes);
}

// --- reading ---

/// Checks version and checksum, and returns the fields.
fn open(record: &[u8]) -> Result<&[u8], DecodeError> {
    let (&found, rest) = record.split_first().ok_or(DecodeError::Empty)?;
    if found > VERSION {
        return Err(DecodeError::NewerFormat { found });
    }
    let (sum, body) = rest.split_first_chunk::<4>().ok_or(DecodeError::Malformed)?;
    if found == 0 || u32::from_le_bytes(*sum) != crc32fast::hash(body) {
        return Err(DecodeError::Checksum);
    }
    Ok(body)
}

fn end(body: &[u8]) -> Result<(), DecodeError> {
    if body.is_empty() {
        Ok(())
    } else {
        Err(DecodeError::Malformed)
    }
}

fn u64_le(body: &mut &[u8]) -> Result<u64, DecodeError> {
    body.try_get_u64_le().map_err(|_| DecodeError::Malformed)
}

fn u128_le(body: &mut &[u8]) -> Result<u128, DecodeError> {
    body.try_get_u128_le().map_err(|_| DecodeError::Malformed)
}

fn length(body: &mut &[u8]) -> Result<usize, DecodeError> {
    body.try_get_u32_le()
        .map(|length| length as usize)
        .map_err(|_| DecodeError::Malformed)
}

fn slice<'a>(body: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = length(body)?;
    let (taken, rest) = body.split_at_checked(length).ok_or(DecodeError::Malformed)?;
    *body = rest;
    Ok(taken)
}

fn text<'a>(body: &mut &'a [u8]) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(slice(body)?).map_err(|_| DecodeError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commits() -> impl Strategy<Value = Commit> {
        let value = proptest::collection::vec(any::<u8>(), 0..20);
        let op = prop_oneof![
            (".{0,9}", value).prop_map(|(key, value)| Op::put(key, value)),
            ".{0,9}".prop_map(Op::delete),
        ];
        let ops = proptest::collection::vec(op, 0..5);
        (1u64.., any::<u128>(), any::<u64>(), ".{0,9}", ".{0,9}", ops).prop_map(
            |(revision, id, at, author, message, ops)| {
                let meta = Meta {
                    author,
                    message,
                    id: CommitId::from_u128(id),
                    at,
                };
                Commit {
                    revision: Revision(revision),
                    meta,
                    ops,
                }
            },
        )
    }

    fn sample() -> Commit {
        let mut meta = Meta::new("ann", "why");
        (meta.id, meta.at) = (CommitId::from_u128(7), 9);
        Commit {
            revision: Revision(3),
            meta,
            ops: vec![Op::put("key", "value"), Op::delete("gone")],
        }
    }

    #[test]
    fn the_format_does_not_change_unnoticed() {
        let expected: &[u8] =
            b"\x01\xc3\xa8\xc4\x30\x03\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\
            \x03\0\0\0ann\x03\0\0\0why\x02\0\0\0\x01\x03\0\0\0key\x05\0\0\0value\x02\x04\0\0\0gone";
        let record = encode_commit(&sample());
        assert_eq!(
            record.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
        assert_eq!(decode_commit(Revision(3), expected), Ok(sample()));
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let record = encode_commit(&sample());
        let with = |at: usize, byte: u8| {
            let mut bytes = record.to_vec();
            bytes[at] = byte;
            decode_commit(Revision(3), &bytes)
        };
        assert_eq!(with(0, 2), Err(DecodeError::NewerFormat { found: 2 }));
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
            let view = View::empty(Incarnation::random()).with(&commit, &());
            let entries = decode_checkpoint(view.incarnation(), view.revision(), &encode_checkpoint(&view)).unwrap();
            prop_assert!(View::restore(view.incarnation(), view.revision(), entries, &()) == view);
            let elsewhere = decode_checkpoint(Incarnation::random(), view.revision(), &encode_checkpoint(&view));
            let misplaced = DecodeError::Misplaced { found: Revision(1) };
            prop_assert_eq!(elsewhere.unwrap_err(), misplaced);
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
            prop_assert!(decode_checkpoint(Incarnation::from_u128(0), Revision(1), &record).is_err());
        }
    }
}
