//! How a service's path and a request's path are joined: pure functions over Kong's two ways.

use bytes::{Bytes, BytesMut};
use gw_core::PathHandling;

/// A path in up to three pieces, borrowed from what it is made of.
pub(crate) type Pieces<'a> = [&'a str; 3];

/// The path that goes upstream.
///
/// `base` is the service's path, `/` if it has none; of `path`, the first `matched` bytes are what the route matched,
/// `None` for a route without paths.
pub(crate) fn join<'a>(
    handling: PathHandling,
    strip: bool,
    base: &'a str,
    path: &'a str,
    matched: Option<usize>,
) -> Pieces<'a> {
    let without_slash = path.strip_prefix('/').unwrap_or(path);
    let rest = match matched {
        Some(matched) => path.get(matched..).unwrap_or_default(),
        None => without_slash,
    };
    match (handling, strip) {
        (PathHandling::V0, true) => stripped(base, path, rest),
        (PathHandling::V0, false) if base.ends_with('/') => [base, "", without_slash],
        (PathHandling::V0, false) if path == "/" => [base, "", ""],
        (PathHandling::V0, false) => [base, "", path],
        (PathHandling::V1, true) if base.ends_with('/') && rest.starts_with('/') => [trimmed(base), "", rest],
        (PathHandling::V1, true) => [base, "", rest],
        (PathHandling::V1, false) => [base, "", without_slash],
    }
}

fn stripped<'a>(base: &'a str, path: &'a str, rest: &'a str) -> Pieces<'a> {
    match (base.ends_with('/'), rest.is_empty()) {
        (true, true) if base == "/" || path.ends_with('/') => [base, "", ""],
        (true, true) => [trimmed(base), "", ""],
        (true, false) if rest.starts_with('/') => [trimmed(base), "", rest],
        (true, false) => [base, "", rest],
        (false, true) if path.len() > 1 && path.ends_with('/') => [base, "/", ""],
        (false, true) => [base, "", ""],
        (false, false) if rest.starts_with('/') => [base, "", rest],
        (false, false) => [base, "/", rest],
    }
}

fn trimmed(base: &str) -> &str {
    base.strip_suffix('/').unwrap_or(base)
}

/// Whether the pieces are exactly `path`, so that nothing need be written.
pub(crate) fn is_same(pieces: &Pieces<'_>, path: &str) -> bool {
    let rest = pieces
        .iter()
        .try_fold(path, |rest, piece| rest.strip_prefix(piece));
    rest == Some("")
}

/// The pieces and the query in one text.
pub(crate) fn write(pieces: &Pieces<'_>, query: Option<&str>) -> Bytes {
    let length =
        pieces.iter().map(|piece| piece.len()).sum::<usize>() + query.map_or(0, |query| query.len() + 1);
    let mut text = BytesMut::with_capacity(length);
    for piece in pieces {
        text.extend_from_slice(piece.as_bytes());
    }
    if let Some(query) = query {
        text.extend_from_slice(b"?");
        text.extend_from_slice(query.as_bytes());
    }
    text.freeze()
}

/// Whether a byte of a normalised path can stand in a request line as it is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~')
        && !matches!(
            byte,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#' | b'?'
        )
}

/// How many bytes `path` takes when it is [`encode`]d, or `None` if it is encoded already.
pub(crate) fn encoded_len(path: &str) -> Option<usize> {
    let special = path.bytes().filter(|byte| !is_plain(*byte)).count();
    (special > 0).then(|| path.len() + 2 * special)
}

/// Escapes what a normalised path may hold and a request line may not.
pub(crate) fn encode(path: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if is_plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(handling: PathHandling, strip: bool, base: &str, path: &str, matched: Option<usize>) -> String {
        let pieces = join(handling, strip, base, path, matched);
        let text = pieces.concat();
        assert_eq!(is_same(&pieces, path), text == path, "{pieces:?} {path}");
        text
    }

    #[test]
    fn v0_joins_as_the_table_says() {
        // service path, strip, then the results for `/m/x`, `/m` and `/m/` on a route `/m`
        let table = [
            ("/", true, ["/x", "/", "/"]),
            ("/s", true, ["/s/x", "/s", "/s/"]),
            ("/s/", true, ["/s/x", "/s", "/s/"]),
            ("/", false, ["/m/x", "/m", "/m/"]),
            ("/s", false, ["/s/m/x", "/s/m", "/s/m/"]),
            ("/s/", false, ["/s/m/x", "/s/m", "/s/m/"]),
        ];
        for (base, strip, expected) in table {
            for (path, expected) in ["/m/x", "/m", "/m/"].into_iter().zip(expected) {
                let text = joined(PathHandling::V0, strip, base, path, Some(2));
                assert_eq!(text, expected, "base {base}, strip {strip}, request {path}");
            }
        }
    }

    #[test]
    fn v0_of_the_root_route() {
        assert_eq!(joined(PathHandling::V0, false, "/s", "/", Some(1)), "/s");
        assert_eq!(joined(PathHandling::V0, true, "/", "/", Some(1)), "/");
        assert_eq!(
            joined(PathHandling::V0, true, "/", "/anything", Some(1)),
            "/anything"
        );
        assert_eq!(
            joined(PathHandling::V0, true, "/s", "/anything", Some(1)),
            "/s/anything"
        );
        assert_eq!(joined(PathHandling::V0, true, "/s/", "/", Some(1)), "/s/");
    }

    #[test]
    fn v0_cuts_a_prefix_in_the_middle_of_a_segment() {
        assert_eq!(joined(PathHandling::V0, true, "/", "/apix", Some(4)), "/x");
        assert_eq!(joined(PathHandling::V0, true, "/s", "/apix", Some(4)), "/s/x");
    }

    #[test]
    fn a_route_without_paths_strips_nothing() {
        assert_eq!(joined(PathHandling::V0, true, "/s", "/a/b", None), "/s/a/b");
        assert_eq!(joined(PathHandling::V0, true, "/", "/", None), "/");
    }

    #[test]
    fn v1_concatenates() {
        let table = [
            ("/", true, ["/x", "/", "/"]),
            ("/s", true, ["/s/x", "/s", "/s/"]),
            ("/s/", true, ["/s/x", "/s/", "/s/"]),
            ("/", false, ["/m/x", "/m", "/m/"]),
            ("/s", false, ["/sm/x", "/sm", "/sm/"]),
            ("/s/", false, ["/s/m/x", "/s/m", "/s/m/"]),
        ];
        for (base, strip, expected) in table {
            for (path, expected) in ["/m/x", "/m", "/m/"].into_iter().zip(expected) {
                let text = joined(PathHandling::V1, strip, base, path, Some(2));
                assert_eq!(text, expected, "base {base}, strip {strip}, request {path}");
            }
        }
    }

    #[test]
    fn the_query_is_kept_even_if_it_is_empty() {
        assert_eq!(write(&["/a", "", "/b"], Some("")), "/a/b?");
        assert_eq!(write(&["/a", "/", "b"], Some("x=1?y")), "/a/b?x=1?y");
        assert_eq!(write(&["/a", "", ""], None), "/a");
    }

    #[test]
    fn only_what_no_request_line_can_hold_is_escaped() {
        assert_eq!(encoded_len("/a/b%2F~.c"), None);
        assert_eq!(encode("/a b\u{e9}\"%2F"), "/a%20b%C3%A9%22%2F");
        assert_eq!(encoded_len("/a b"), Some(6));
    }
}
