//! The bytes of commits and checkpoints: a format version, a checksum, then length-prefixed fields.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use imbl::OrdMap;

use crate::commit::{Commit, CommitId, Incarnation, Key, Meta, Op, Revision};
use crate::contents::Contents;
use crate::hash::ContentHash;
use crate::log::Head;
use crate::view::Entry;

/// The version this release writes, and the newest it reads. Version 1 has neither `Meta::request` nor what chains
/// commits and contents: parents, last commits and hashes.
const VERSION: u8 = 2;

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
    put_id(&mut out, commit.parent);
    put_hash(&mut out, commit.hash);
    out.put_u64_le(commit.meta.at);
    put_bytes(&mut out, commit.meta.author.as_bytes());
    put_bytes(&mut out, commit.meta.message.as_bytes());
    put_bytes(&mut out, commit.meta.request.as_bytes());
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
    let (version, mut body) = open(record)?;
    let found = Revision(u64_le(&mut body)?);
    if found != revision {
        return Err(DecodeError::Misplaced { found });
    }
    let id = CommitId::from_u128(u128_le(&mut body)?);
    let chained = version > 1;
    let parent = if chained { id_maybe(&mut body)? } else { None };
    let hash = if chained { hash_maybe(&mut body)? } else { None };
    let at = u64_le(&mut body)?;
    let author = text(&mut body)?.to_owned();
    let message = text(&mut body)?.to_owned();
    let request = if chained {
        text(&mut body)?.to_owned()
    } else {
        String::new()
    };
    let count = length(&mut body)?;
    let mut ops = Vec::with_capacity(count.min(body.len()));
    for _ in 0..count {
        let tag = byte(&mut body)?;
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
            request,
        },
        parent,
        hash,
        ops,
    })
}

pub(crate) fn encode_checkpoint(contents: &Contents) -> Bytes {
    let size: usize = contents
        .iter()
        .map(|(key, entry)| key.as_str().len() + entry.value.len() + 24)
        .sum();
    let mut out = begin(size + 128);
    out.put_u64_le(contents.revision().0);
    out.put_u128_le(contents.incarnation().as_u128());
    put_id(&mut out, contents.head.last);
    out.put_slice(&contents.hash.to_bytes());
    out.put_u64_le(contents.len() as u64);
    for (key, entry) in contents.iter() {
        put_bytes(&mut out, key.as_str().as_bytes());
        out.put_u64_le(entry.created.0);
        out.put_u64_le(entry.modified.0);
        put_bytes(&mut out, &entry.value);
    }
    seal(out)
}

/// Reads a checkpoint from the place it is kept in.
pub(crate) fn decode_checkpoint_of(
    incarnation: Incarnation,
    revision: Revision,
    record: &[u8],
) -> Result<Contents, DecodeError> {
    let contents = decode_checkpoint(record)?;
    if (contents.incarnation(), contents.revision()) == (incarnation, revision) {
        return Ok(contents);
    }
    Err(DecodeError::Misplaced {
        found: contents.revision(),
    })
}

pub(crate) fn decode_checkpoint(record: &[u8]) -> Result<Contents, DecodeError> {
    let (version, mut body) = open(record)?;
    let chained = version > 1;
    let head = Head {
        revision: Revision(u64_le(&mut body)?),
        incarnation: Incarnation::from_u128(u128_le(&mut body)?),
        last: if chained { id_maybe(&mut body)? } else { None },
    };
    let hash = if chained { Some(hash(&mut body)?) } else { None };
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
    let hash = hash.unwrap_or_else(|| {
        let mut hash = ContentHash::EMPTY;
        entries
            .iter()
            .for_each(|(key, entry)| hash.add(key, &entry.value));
        hash
    });
    Ok(Contents { head, hash, entries })
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

fn put_id(out: &mut BytesMut, id: Option<CommitId>) {
    out.put_u8(u8::from(id.is_some()));
    if let Some(id) = id {
        out.put_u128_le(id.as_u128());
    }
}

fn put_hash(out: &mut BytesMut, hash: Option<ContentHash>) {
    out.put_u8(u8::from(hash.is_some()));
    if let Some(hash) = hash {
        out.put_slice(&hash.to_bytes());
    }
}

// --- reading ---

/// Checks version and checksum, and returns the version and the fields.
fn open(record: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let (&found, rest) = record.split_first().ok_or(DecodeError::Empty)?;
    if found > VERSION {
        return Err(DecodeError::NewerFormat { found });
    }
    let (sum, body) = rest.split_first_chunk::<4>().ok_or(DecodeError::Malformed)?;
    if found == 0 || u32::from_le_bytes(*sum) != crc32fast::hash(body) {
        return Err(DecodeError::Checksum);
    }
    Ok((found, body))
}

fn end(body: &[u8]) -> Result<(), DecodeError> {
    if body.is_empty() {
        Ok(())
    } else {
        Err(DecodeError::Malformed)
    }
}

fn byte(body: &mut &[u8]) -> Result<u8, DecodeError> {
    body.try_get_u8().map_err(|_| DecodeError::Malformed)
}

/// Reads whether something follows.
fn follows(body: &mut &[u8]) -> Result<bool, DecodeError> {
    match byte(body)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Malformed),
    }
}

fn id_maybe(body: &mut &[u8]) -> Result<Option<CommitId>, DecodeError> {
    Ok(match follows(body)? {
        true => Some(CommitId::from_u128(u128_le(body)?)),
        false => None,
    })
}

fn hash_maybe(body: &mut &[u8]) -> Result<Option<ContentHash>, DecodeError> {
    Ok(match follows(body)? {
        true => Some(hash(body)?),
        false => None,
    })
}

fn hash(body: &mut &[u8]) -> Result<ContentHash, DecodeError> {
    let (bytes, rest) = body.split_first_chunk::<32>().ok_or(DecodeError::Malformed)?;
    let hash = ContentHash::from_bytes(*bytes);
    *body = rest;
    Ok(hash)
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
mod tests;
