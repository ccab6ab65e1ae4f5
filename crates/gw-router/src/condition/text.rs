//! A value as the request writes it, compared without making a decoded copy.

use memchr::memchr2;
use smallvec::SmallVec;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Text<'q> {
    Plain(&'q [u8]),
    /// Part of a query string with escapes in it.
    Encoded(&'q [u8]),
}

/// The bytes that a part of a query string stands for. A broken escape stands for itself.
#[derive(Clone, Copy)]
struct Decoded<'q>(&'q [u8]);

impl<'q> Text<'q> {
    /// A name or value of a query string.
    pub(crate) fn of_query(bytes: &'q [u8]) -> Self {
        match memchr2(b'%', b'+', bytes) {
            None => Self::Plain(bytes),
            Some(_) => Self::Encoded(bytes),
        }
    }

    pub(crate) fn equals(self, expected: &[u8]) -> bool {
        match self {
            Self::Plain(bytes) => bytes == expected,
            Self::Encoded(bytes) => Decoded(bytes).eq(expected.iter().copied()),
        }
    }

    /// Hands out the decoded bytes. Only those with escapes and over 256 bytes need memory.
    pub(crate) fn with<R>(self, visit: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Plain(bytes) => visit(bytes),
            Self::Encoded(bytes) => visit(&Decoded(bytes).collect::<SmallVec<[u8; 256]>>()),
        }
    }
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        let (byte, rest) = match (byte, rest) {
            (b'+', rest) => (b' ', rest),
            (b'%', [high, low, after @ ..]) => match hex(*high).zip(hex(*low)) {
                Some((high, low)) => (high << 4 | low, after),
                None => (b'%', rest),
            },
            (byte, rest) => (*byte, rest),
        };
        self.0 = rest;
        Some(byte)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len() / 3, Some(self.0.len()))
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn query_text_is_decoded_once() {
        let cases: [(&str, &[u8]); 13] = [
            ("", b""),
            ("a", b"a"),
            ("a+b", b"a b"),
            ("a%20b", b"a b"),
            ("a%2bb", b"a+b"),
            ("a%2Bb", b"a+b"),
            ("%2541", b"%41"),
            ("%", b"%"),
            ("%4", b"%4"),
            ("%4g+", b"%4g "),
            ("%%41", b"%A"),
            ("%FF", b"\xff"),
            ("%00", b"\0"),
        ];
        for (raw, expected) in cases {
            let text = Text::of_query(raw.as_bytes());
            assert!(text.equals(expected), "{raw}");
            assert!(text.with(|bytes| bytes == expected), "{raw}");
            assert!(!text.equals(&[expected, b"x"].concat()), "{raw}");
            assert!(
                !Text::of_query(format!("{raw}x").as_bytes()).equals(expected),
                "{raw}"
            );
        }
    }
}
