//! The value of a commit or a checkpoint: its bytes, or what they are made of when they are too many for one request.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::commit::CommitId;

/// Bound: the largest bytes kept in the value itself; a page of such values is one answer.
pub(super) const INLINE: usize = 256 * 1024;

/// Bytes in a part. etcd takes requests of 1.5 MiB if it is not told otherwise.
pub(super) const PART: usize = 1024 * 1024;

const FORMAT: u8 = 1;
const HERE: u8 = 0;
const IN_PARTS: u8 = 1;

/// What the value under `log/` or `checkpoint/` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Blob {
    Here(Bytes),
    Parts(Parts),
}

/// Bytes that are kept as parts, and how to know them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Under which name they are: a number drawn whenever parts are written, so that no two writers share any.
    pub(super) owner: u128,
    pub(super) count: u32,
    pub(super) length: u64,
    pub(super) checksum: u32,
}

impl Parts {
    pub(super) fn of(bytes: &[u8], owner: u128) -> Self {
        Self {
            owner,
            count: u32::try_from(bytes.len().div_ceil(PART)).unwrap_or(u32::MAX),
            length: bytes.len() as u64,
            checksum: crc32fast::hash(bytes),
        }
    }

    pub(super) fn fit(&self, bytes: &[u8]) -> bool {
        Self::of(bytes, self.owner) == *self
    }
}

/// A value with the id of the commit it belongs to.
pub(super) fn encode(id: CommitId, blob: &Blob) -> Bytes {
    let mut out = BytesMut::with_capacity(18 + INLINE.min(64));
    out.put_u8(FORMAT);
    match blob {
        Blob::Here(bytes) => {
            out.put_u8(HERE);
            out.put_u128_le(id.as_u128());
            out.put_slice(bytes);
        }
        Blob::Parts(parts) => {
            out.put_u8(IN_PARTS);
            out.put_u128_le(id.as_u128());
            out.put_u128_le(parts.owner);
            out.put_u32_le(parts.count);
            out.put_u64_le(parts.length);
            out.put_u32_le(parts.checksum);
        }
    }
    out.freeze()
}

/// `None` for what no release so far has written.
pub(super) fn decode(value: &Bytes) -> Option<(CommitId, Blob)> {
    let mut rest = value.clone();
    if rest.try_get_u8().ok()? != FORMAT {
        return None;
    }
    let kind = rest.try_get_u8().ok()?;
    let id = CommitId::from_u128(rest.try_get_u128_le().ok()?);
    let blob = match kind {
        HERE => Blob::Here(rest),
        IN_PARTS => {
            let parts = Parts {
                owner: rest.try_get_u128_le().ok()?,
                count: rest.try_get_u32_le().ok()?,
                length: rest.try_get_u64_le().ok()?,
                checksum: rest.try_get_u32_le().ok()?,
            };
            if rest.has_remaining() {
                return None;
            }
            Blob::Parts(parts)
        }
        _ => return None,
    };
    Some((id, blob))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        let id = CommitId::from_u128(9);
        let here = Blob::Here(Bytes::from_static(b"bytes"));
        let parts = Blob::Parts(Parts::of(&vec![7; PART + 1], 5));
        assert!(matches!(&parts, Blob::Parts(parts) if parts.count == 2 && parts.fit(&vec![7; PART + 1])));
        for blob in [here, parts] {
            let value = encode(id, &blob);
            assert_eq!(decode(&value), Some((id, blob)));
            assert_eq!(decode(&value.slice(..17)), None, "cut");
        }
        let mut longer = encode(id, &Blob::Parts(Parts::of(b"", 1))).to_vec();
        longer.push(0);
        for wrong in [longer, vec![2; 20], vec![1; 2], vec![]] {
            assert_eq!(decode(&wrong.into()), None);
        }
    }
}
