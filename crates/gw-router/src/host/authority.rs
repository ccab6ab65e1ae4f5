//! The host and port a request names, in the form the host index compares with.

use std::{fmt::Write, net::Ipv6Addr};

use smallvec::SmallVec;

/// The host of a request: lower case, without port and trailing dot.
pub(crate) struct Authority<'q> {
    name: Name<'q>,
    /// The port the request itself names.
    pub(crate) explicit_port: Option<u16>,
}

enum Name<'q> {
    Borrowed(&'q [u8]),
    /// Lower-cased here, or an address in its shortest form.
    Own(SmallVec<[u8; 64]>),
}

impl<'q> Authority<'q> {
    /// `None` where there is no host or no sound one: no host pattern matches then.
    #[inline]
    pub(crate) fn parse(raw: &'q str) -> Option<Self> {
        // Nearly all hosts are plain names in lower case, which one look tells.
        let bytes = raw.as_bytes();
        if is_plain(bytes) && !matches!(bytes.last(), None | Some(b'.')) {
            return Some(Self {
                name: Name::Borrowed(bytes),
                explicit_port: None,
            });
        }
        Self::parse_any(raw)
    }

    fn parse_any(raw: &'q str) -> Option<Self> {
        if raw.contains('@') {
            return None;
        }
        if raw.starts_with('[') {
            let end = raw.find(']')?;
            let address = raw.get(1..end)?.parse().ok()?;
            let explicit_port = port(raw.get(end + 1..)?)?;
            return Some(Self {
                name: address_name(address),
                explicit_port,
            });
        }
        let at = raw.find(':').unwrap_or(raw.len());
        let (name, rest) = (raw.get(..at)?, raw.get(at..)?);
        let Some(explicit_port) = port(rest) else {
            // Several colons: an address without brackets, which some clients send.
            return raw.parse().ok().map(|address| Self {
                name: address_name(address),
                explicit_port: None,
            });
        };
        let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
        if name.is_empty() {
            return raw.parse().ok().map(|address| Self {
                name: address_name(address),
                explicit_port: None,
            });
        }
        let name = if name.iter().any(u8::is_ascii_uppercase) {
            Name::Own(name.iter().map(u8::to_ascii_lowercase).collect())
        } else {
            Name::Borrowed(name)
        };
        Some(Self { name, explicit_port })
    }

    pub(crate) fn name(&self) -> &[u8] {
        match &self.name {
            Name::Borrowed(name) => name,
            Name::Own(name) => name,
        }
    }
}

/// Whether nothing has a meaning of its own and nothing is in upper case. All of that lies between `:` and `[`.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let plain = |word: u64| {
        let from_colon = word.wrapping_add(ONES * u64::from(0x80 - b':'));
        let behind_bracket = word.wrapping_add(ONES * u64::from(0x7f - b'['));
        (word | from_colon & !behind_bracket) & (ONES << 7) == 0
    };
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().all(|word| plain(u64::from_ne_bytes(*word))) && plain(u64::from_ne_bytes(last))
}

/// The port in `:80`, none in `` and `:`; the outer `None` means that there is something else.
fn port(rest: &str) -> Option<Option<u16>> {
    match rest.strip_prefix(':') {
        None => rest.is_empty().then_some(None),
        Some("") => Some(None),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        Some(_) => None,
    }
}

fn address_name(address: Ipv6Addr) -> Name<'static> {
    struct Buffer(SmallVec<[u8; 64]>);
    impl Write for Buffer {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    let mut buffer = Buffer(SmallVec::new());
    write!(buffer, "[{address}]").expect("writing to memory cannot fail");
    Name::Own(buffer.0)
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn what_has_a_meaning_is_found_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for length in 1..20 {
                for at in 0..length {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    let expected = byte.is_ascii() && !(b':'..=b'[').contains(&byte);
                    assert_eq!(is_plain(&text), expected, "{byte} at {at} of {length}");
                }
            }
        }
        assert!(is_plain(b""));
    }
}
