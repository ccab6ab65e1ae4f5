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
    let (words, rest) = text.as_chunks::<8>();
    let (start_words, start_rest) = start.as_chunks::<8>();
    // Compared as slices they would be handed to a function.
    let same = |(one, other): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*one) == u64::from_ne_bytes(*other);
    (words.iter().zip(start_words).all(same) && rest.iter().zip(start_rest).all(|(one, other)| one == other))
        .then_some(behind)
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
