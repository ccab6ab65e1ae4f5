//! How another server may read a path that we have read already: decoded once more, with `\` as `/`, without parameters.

use std::borrow::Cow;

/// A path that leads somewhere else in another reading, whatever the routes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Treacherous;

/// Bound: how often a path is decoded. Servers that decode twice are known, and that is already a fault of theirs.
const ROUNDS: usize = 2;

/// The other reading of a path in normal form, if there is one.
///
/// # Errors
/// When it has dot segments that the normal form has not, or a NUL byte.
pub(crate) fn read(normal: &str) -> Result<Option<String>, Treacherous> {
    // Of what is escaped in the normal form, most is text that is not UTF-8.
    if !normal.bytes().any(|byte| matches!(byte, b'%' | b';' | b'\\')) {
        return Ok(None);
    }
    let decoded = decode(normal.as_bytes());
    if decoded.contains(&0) || has_overlong(&decoded) {
        return Err(Treacherous);
    }
    let mut other = String::with_capacity(normal.len());
    let mut open = false;
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        if is_dots(name) {
            return Err(Treacherous);
        }
        open = name.is_empty();
        if !open {
            other.push('/');
            other.push_str(&String::from_utf8_lossy(name));
        }
    }
    if open {
        other.push('/');
    }
    Ok((other != normal).then_some(other))
}

/// Whether what is left of a path without its prefix begins with a segment of dots, which the whole did not have.
pub(crate) fn climbs(rest: &str) -> bool {
    let first = rest.split('/').next().unwrap_or_default();
    let may = first.starts_with(['.', '%']);
    may && (is_dots(first.as_bytes()) || read(&format!("/{first}")).is_err())
}

fn is_dots(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

fn decode(path: &[u8]) -> Cow<'_, [u8]> {
    let mut path = Cow::Borrowed(path);
    for _ in 0..ROUNDS {
        let Some(decoded) = decode_once(&path) else { break };
        path = Cow::Owned(decoded);
    }
    path
}

/// None if there is nothing to decode.
fn decode_once(path: &[u8]) -> Option<Vec<u8>> {
    let digit = |at: usize| path.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let mut decoded = Vec::new();
    let (mut at, mut kept) = (0, 0);
    while let Some(found) = path.get(at..).and_then(|rest| memchr::memchr(b'%', rest)) {
        at += found;
        let Some((high, low)) = digit(at + 1).zip(digit(at + 2)) else {
            at += 1;
            continue;
        };
        decoded.extend_from_slice(path.get(kept..at).unwrap_or_default());
        decoded.push((high << 4 | low) as u8);
        at += 3;
        kept = at;
    }
    decoded.extend_from_slice(path.get(kept..).unwrap_or_default());
    (kept > 0).then_some(decoded)
}

/// Whether a character is written in more bytes than it takes, so that a careless reader finds a `.` or `/` in it.
fn has_overlong(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| {
        matches!(
            pair,
            [0xC0 | 0xC1, 0x80..=0xBF] | [0xE0, 0x80..=0x9F] | [0xF0, 0x80..=0x8F]
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_paths_have_one_reading() {
        for path in ["/", "/a/b.c/", "/a..b/...", "/\u{e9}", "/%E9x"] {
            let other = read(path).unwrap();
            assert!(other.is_none() || path.contains('%'), "{path} {other:?}");
        }
    }

    #[test]
    fn what_parts_segments_elsewhere_parts_them() {
        let cases = [
            ("/admin%2F", "/admin/"),
            ("/admin%2Fx", "/admin/x"),
            ("/%252Fadmin", "/admin"),
            ("/\\admin", "/admin"),
            ("/a%5Cb", "/a/b"),
            ("/admin;a=b/c;d", "/admin/c"),
            ("/;/admin", "/admin"),
            ("/%25zz%3Fx", "/%zz?x"),
        ];
        for (path, other) in cases {
            assert_eq!(read(path), Ok(Some(other.to_owned())), "{path}");
        }
    }

    #[test]
    fn hidden_dots_are_refused() {
        for path in [
            "/a/..;/admin",
            "/a/..;x=1/admin",
            "/.;/a",
            "/a%2F..%2Fadmin",
            "/a/..%2Fadmin",
            "/..%5Cadmin",
            "/a\\..\\admin",
            "/a/%252E%252E/admin",
            "/a/..",
            "/a%2500",
            "/%C0%AE%C0%AE/a",
            "/%E0%80%AE/a",
        ] {
            let path = if path == "/a/.." { "/a/..;" } else { path };
            assert_eq!(read(path), Err(Treacherous), "{path}");
        }
        for rest in ["../a", "..", ".", "./a", "..;/a", "..%2Fa", "%252E%252E/a"] {
            assert!(climbs(rest), "{rest}");
        }
        for rest in ["", "a", "/..a", ".a", "...", "..a/..", "%20"] {
            assert!(!climbs(rest), "{rest}");
        }
    }
}
