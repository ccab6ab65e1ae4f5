//! Comparing and scanning the short byte strings that paths are made of, without a call.

/// Below this length a loop is quicker than getting to the vectorised search.
const SHORT: usize = 16;

/// Whether `text` begins with `start`.
#[inline]
pub(crate) fn starts_with(text: &[u8], start: &[u8]) -> bool {
    let Some(text) = text.get(..start.len()) else {
        return false;
    };
    let (words, rest) = text.as_chunks::<8>();
    let (start_words, start_rest) = start.as_chunks::<8>();
    // Compared as slices they would be handed to a function.
    let same = |(one, other): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*one) == u64::from_ne_bytes(*other);
    words.iter().zip(start_words).all(same) && rest.iter().zip(start_rest).all(|(one, other)| one == other)
}

/// The length of the segment that `text` begins with.
#[inline]
pub(crate) fn segment(text: &[u8]) -> usize {
    let short = text.get(..SHORT).unwrap_or(text);
    match short.iter().position(|byte| *byte == b'/') {
        Some(end) => end,
        None if short.len() == text.len() => text.len(),
        None => memchr::memchr(b'/', text).unwrap_or(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::{segment, starts_with};

    #[test]
    fn they_agree_with_the_plain_ones() {
        for length in 0..40 {
            let text: Vec<u8> = (0..length).map(|at| b'a' + at).collect();
            for end in 0..=text.len() {
                assert!(starts_with(&text, &text[..end]));
                assert_eq!(starts_with(&text[..end], &text), end == text.len());
                let mut other = text.clone();
                if let Some(byte) = other.get_mut(end) {
                    *byte = b'/';
                    assert_eq!(segment(&other), end);
                    assert!(!starts_with(&text, &other) && starts_with(&text, &other[..end]));
                }
            }
            assert_eq!(segment(&text), text.len());
        }
    }
}
