//! Comparing and scanning the short byte strings that paths are made of, without a call.
//!
//! What is found byte by byte is found by branches, which a processor predicts: it goes on with the next node before
//! this one has been compared. Arithmetic on eight bytes takes fewer instructions and longer, for each result waits for
//! the one before.

/// Below this length a loop is quicker than getting to the vectorised search.
const SHORT: usize = 16;

/// What follows `start` in `text`, if it begins with it.
#[inline(always)]
pub(crate) fn strip<'t>(text: &'t [u8], start: &[u8]) -> Option<&'t [u8]> {
    let (text, behind) = text.split_at_checked(start.len())?;
    same(text, start).then_some(behind)
}

/// Whether two texts of one length are the same. Words at the end overlap those before. Compared as slices they would be
/// handed to a function.
#[inline(always)]
fn same(one: &[u8], other: &[u8]) -> bool {
    if let (Some(one_last), Some(other_last)) = (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        let (words, other_words) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
        let mut pairs = words.iter().zip(other_words);
        let pair =
            |(one, other): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*one) == u64::from_ne_bytes(*other);
        return pairs.all(pair) && pair((one_last, other_last));
    }
    if let (Some(one_first), Some(other_first), Some(one_last), Some(other_last)) = (
        one.first_chunk::<4>(),
        other.first_chunk::<4>(),
        one.last_chunk::<4>(),
        other.last_chunk::<4>(),
    ) {
        let pair = |one: &[u8; 4], other: &[u8; 4]| u32::from_ne_bytes(*one) == u32::from_ne_bytes(*other);
        return pair(one_first, other_first) && pair(one_last, other_last);
    }
    one.iter().zip(other).all(|(one, other)| one == other)
}

/// The length of the segment that `text` begins with.
#[inline]
pub(crate) fn segment(text: &[u8]) -> usize {
    find(b'/', text).unwrap_or(text.len())
}

/// Where a byte first stands.
#[inline]
pub(crate) fn find(wanted: u8, text: &[u8]) -> Option<usize> {
    let short = text.get(..SHORT).unwrap_or(text);
    match short.iter().position(|byte| *byte == wanted) {
        Some(at) => Some(at),
        None if short.len() == text.len() => None,
        None => memchr::memchr(wanted, text),
    }
}

/// A hash of the bytes before the first slash.
///
/// Who has a say in the routes can make segments with one hash: what stands by it must not depend on that there are few.
#[inline]
pub(crate) fn hash(mut text: &[u8]) -> u32 {
    let mut hash = 0;
    loop {
        let Some((word, behind)) = text.split_first_chunk::<8>() else {
            return mix(hash, before_slash(short(text)).0);
        };
        let (word, ended) = before_slash(u64::from_le_bytes(*word));
        hash = mix(hash, word).into();
        if ended {
            return hash as u32;
        }
        text = behind;
    }
}

/// A hash of all the bytes. The last word overlaps the one before.
#[inline]
pub(crate) fn hash_all(text: &[u8]) -> u32 {
    let Some(last) = text.last_chunk::<8>() else {
        return mix(0, short(text));
    };
    let words = text.as_chunks::<8>().0.iter();
    let hash = words.fold(text.len() as u64, |hash, word| {
        mix(hash, u64::from_le_bytes(*word)).into()
    });
    mix(hash, u64::from_le_bytes(*last))
}

#[inline]
fn mix(hash: u64, word: u64) -> u32 {
    // Half of the digits of the golden ratio and of pi.
    let product = u128::from(hash ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0x2d35_8dcc_aa6c_78a5;
    (product as u64 ^ (product >> 64) as u64) as u32
}

/// The bytes of a word before a slash, and whether there is one.
#[inline]
fn before_slash(word: u64) -> (u64, bool) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let other = word ^ (ONES * b'/' as u64);
    // The lowest bit set is that of the first slash; those above may be set without one.
    let slashes = other.wrapping_sub(ONES) & !other & (ONES << 7);
    if slashes == 0 {
        return (word, false);
    }
    let first = slashes & slashes.wrapping_neg();
    (word & ((first >> 7) - 1), true)
}

/// Fewer than eight bytes as a word.
#[inline]
fn short(text: &[u8]) -> u64 {
    let length = text.len();
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (length - 4));
    }
    let byte = |at: usize| text.get(at).map_or(0, |byte| u64::from(*byte) << (8 * at));
    byte(0) | byte(1) | byte(2)
}

/// The number of bytes that both begin with.
#[inline]
pub(crate) fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter()
        .zip(other)
        .take_while(|(one, other)| one == other)
        .count()
}

#[cfg(test)]
mod tests {
    use super::{common, find, segment, strip};

    #[test]
    fn they_agree_with_the_plain_ones() {
        for length in 0..40 {
            let text: Vec<u8> = (0..length).map(|at| b'a' + at).collect();
            for end in 0..=text.len() {
                assert_eq!(strip(&text, &text[..end]), Some(&text[end..]));
                assert_eq!(strip(&text[..end], &text).is_some(), end == text.len());
                let mut other = text.clone();
                if let Some(byte) = other.get_mut(end) {
                    *byte = b'/';
                    assert_eq!((segment(&other), find(b'/', &other)), (end, Some(end)));
                    assert_eq!(common(&text, &other), end);
                    assert!(strip(&text, &other).is_none() && strip(&text, &other[..end]).is_some());
                }
            }
            assert_eq!((segment(&text), find(b'/', &text)), (text.len(), None));
        }
    }
}
