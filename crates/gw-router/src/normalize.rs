//! The one form of a request's path that patterns are compared with.

use std::borrow::Cow;

/// Bound: the longest path that is looked up: shorter than 64 KiB.
pub(crate) const MAX_PATH: usize = (64 << 10) - 1;

/// Why a path has no normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NormalizeError {
    /// It does not start with `/`, and is not the `*` of `OPTIONS`.
    #[error("path does not start with `/`; send an absolute path")]
    NotAbsolute,
    /// A `%` is not followed by two hexadecimal digits.
    #[error("path has a malformed `%` escape at byte {at}; write `%25` for the character")]
    Escape {
        /// Where the `%` is.
        at: usize,
    },
    /// It holds a NUL byte, encoded or not.
    #[error("path has a NUL byte at byte {at}; leave it out")]
    Nul {
        /// Where it is.
        at: usize,
    },
    /// It is too long.
    #[error("path of {length} bytes is too long; the limit is {limit}", limit = MAX_PATH)]
    TooLong {
        /// Its length in bytes, without query.
        length: usize,
    },
}

/// Brings a path into the form that is routed: cut at `?` or `#`; escapes decoded, except those of reserved
/// characters, which stay in upper case (`%2f` becomes `%2F` and parts no segments), and of bytes that are not UTF-8;
/// slashes merged; dot segments resolved. The result is borrowed if nothing changed.
///
/// ```
/// use gw_router::normalize;
///
/// assert_eq!(normalize("/a/./%62//..%2fc?q=1")?, "/a/b/..%2Fc");
/// # Ok::<(), gw_router::NormalizeError>(())
/// ```
///
/// # Errors
/// When the path is not absolute, has a broken escape or a NUL byte, or is longer than 64 KiB.
pub fn normalize(raw: &str) -> Result<Cow<'_, str>, NormalizeError> {
    let path = raw.split(['?', '#']).next().unwrap_or_default();
    if path.len() > MAX_PATH {
        return Err(NormalizeError::TooLong { length: path.len() });
    }
    if path == "*" {
        return Ok(Cow::Borrowed(path));
    }
    if !path.starts_with('/') {
        return Err(NormalizeError::NotAbsolute);
    }
    if is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    let mut text = String::with_capacity(decoded.len());
    for chunk in decoded.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            push_escape(*byte, |byte| text.push(char::from(byte)));
        }
    }
    let resolved = resolve(&text);
    Ok(if resolved == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(resolved)
    })
}

/// Whether there is nothing to decode, resolve or refuse: the common case, told in one pass.
fn is_plain(path: &str) -> bool {
    let mut after_slash = false;
    for byte in path.bytes() {
        match byte {
            b'%' | 0 => return false,
            b'/' | b'.' if after_slash => return false,
            _ => after_slash = byte == b'/',
        }
    }
    true
}

fn decode(path: &str) -> Result<Vec<u8>, NormalizeError> {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let (value, width) = match byte {
            b'%' => {
                let digit = |offset: usize| {
                    bytes
                        .get(at + offset)
                        .and_then(|digit| char::from(*digit).to_digit(16))
                };
                let (high, low) = digit(1).zip(digit(2)).ok_or(NormalizeError::Escape { at })?;
                ((high << 4 | low) as u8, 3)
            }
            _ => (*byte, 1),
        };
        match value {
            0 => return Err(NormalizeError::Nul { at }),
            _ if width == 3 && is_reserved(value) => push_escape(value, |byte| decoded.push(byte)),
            _ => decoded.push(value),
        }
        at += width;
    }
    Ok(decoded)
}

/// The characters that mean something else when they are not escaped.
fn is_reserved(byte: u8) -> bool {
    b":/?#[]@!$&'()*+,;=%".contains(&byte)
}

fn push_escape(byte: u8, mut push: impl FnMut(u8)) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    push(b'%');
    push(DIGITS[usize::from(byte >> 4)]);
    push(DIGITS[usize::from(byte & 15)]);
}

/// Merges slashes and resolves `.` and `..`; none climbs above the root.
fn resolve(path: &str) -> String {
    let mut resolved = String::with_capacity(path.len());
    let mut open = true;
    for segment in path.split('/') {
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => resolved.truncate(resolved.rfind('/').unwrap_or(0)),
            _ => {
                resolved.push('/');
                resolved.push_str(segment);
            }
        }
    }
    if open {
        resolved.push('/');
    }
    resolved
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{MAX_PATH, NormalizeError, normalize};

    #[test]
    fn paths_take_one_form() {
        let cases = [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b?c=/../d", "/a/b"),
            ("/a#b", "/a"),
            ("*", "*"),
            ("*?x", "*"),
            ("/%61%62", "/ab"),
            ("/%7Euser", "/~user"),
            ("/a%20b", "/a b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a/..%2fb", "/a/..%2Fb"),
            ("/%25%3f%23", "/%25%3F%23"),
            ("/%2561", "/%2561"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/a//../b", "/b"),
            ("/.a/..b/...", "/.a/..b/..."),
            ("/a.", "/a."),
            ("/%C3%A9", "/é"),
            ("/é", "/é"),
            ("/%e9", "/%E9"),
            ("/%C3x%A9", "/%C3x%A9"),
        ];
        for (raw, expected) in cases {
            let got = normalize(raw).unwrap_or_else(|error| panic!("{raw}: {error}"));
            assert_eq!(got, expected, "{raw}");
            assert_eq!(normalize(&got).unwrap(), got, "{raw}: a second time");
        }
    }

    #[test]
    fn what_does_not_change_is_borrowed() {
        for raw in ["/", "/a/b.c/", "/a?b", "/a%2Fb", "/.a", "/é", "/%E9"] {
            assert!(matches!(normalize(raw), Ok(Cow::Borrowed(_))), "{raw}");
        }
    }

    #[test]
    fn broken_paths_are_refused() {
        let cases = [
            ("", NormalizeError::NotAbsolute),
            ("a", NormalizeError::NotAbsolute),
            ("?a", NormalizeError::NotAbsolute),
            ("**", NormalizeError::NotAbsolute),
            ("http://a/b", NormalizeError::NotAbsolute),
            ("/a%", NormalizeError::Escape { at: 2 }),
            ("/%4", NormalizeError::Escape { at: 1 }),
            ("/%4g", NormalizeError::Escape { at: 1 }),
            ("/%+1", NormalizeError::Escape { at: 1 }),
            ("/%é", NormalizeError::Escape { at: 1 }),
            ("/a%00b", NormalizeError::Nul { at: 2 }),
            ("/a\0", NormalizeError::Nul { at: 2 }),
        ];
        for (raw, error) in cases {
            assert_eq!(normalize(raw), Err(error), "{raw:?}");
        }
        let long = format!("/{}", "a".repeat(MAX_PATH));
        assert_eq!(
            normalize(&long),
            Err(NormalizeError::TooLong { length: MAX_PATH + 1 })
        );
        let longest = format!("/{}?{long}", "a".repeat(MAX_PATH - 1));
        assert_eq!(normalize(&longest).unwrap().len(), MAX_PATH);
    }
}
