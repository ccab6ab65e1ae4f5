//! Identities as hexadecimal digits.

/// The digits, in lower case.
pub(super) fn text(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// What the digits are of, filled up with zeros on the left; none if there are too many or other characters, or if they are all zero.
pub(super) fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.is_empty() || digits.len() > 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (position, c) in digits.bytes().rev().enumerate() {
        let nibble = u8::try_from(char::from(c).to_digit(16)?).ok()?;
        bytes[N - 1 - position / 2] |= if position % 2 == 0 { nibble } else { nibble << 4 };
    }
    (bytes != [0; N]).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_bytes_are_the_same() {
        assert_eq!(bytes::<2>("0aF"), Some([0, 0xaf]));
        assert_eq!(bytes::<2>("beef"), Some([0xbe, 0xef]));
        assert_eq!(text(&[0xbe, 0x0f]), "be0f");
        for wrong in ["", "0", "0000", "xyz", "12345", "é"] {
            assert_eq!(bytes::<2>(wrong), None, "{wrong}");
        }
    }
}
