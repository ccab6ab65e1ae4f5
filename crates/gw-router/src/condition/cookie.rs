//! The cookies of a request, from all its `cookie` headers.

use http::{HeaderMap, header::COOKIE};
use memchr::memchr;

use super::Text;

/// The values of one cookie. Read as RFC 6265 has it, but leniently: the space after `;` may be missing or be several,
/// any byte may stand in a value, and pieces without `=` are passed over. Quotes are part of the value.
pub(super) fn values<'q>(headers: &'q HeaderMap, name: &[u8]) -> impl Iterator<Item = Text<'q>> {
    let lines = headers.get_all(COOKIE).into_iter();
    let pieces = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pieces.filter_map(move |piece| {
        let end = memchr(b'=', piece)?;
        let (found, value) = (piece.get(..end)?, piece.get(end + 1..)?);
        (found.trim_ascii() == name).then(|| Text::Plain(value.trim_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header::COOKIE};

    use super::values;

    #[test]
    fn values_stand_in_order() {
        let cases: [(&[&str], &str, &[&str]); 10] = [
            (&[], "a", &[]),
            (&["a=1"], "a", &["1"]),
            (&["b=2; a=1; a=3"], "a", &["1", "3"]),
            (&["b=2;a=1;;  c=3 ;"], "c", &["3"]),
            (&["b=2", "a=1"], "a", &["1"]),
            (&["a"], "a", &[]),
            (&["a="], "a", &[""]),
            (&["a=x=y"], "a", &["x=y"]),
            (&["A=1; aa=2"], "a", &[]),
            (&["a=\"1 2\""], "a", &["\"1 2\""]),
        ];
        for (lines, name, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
            }
            let got = values(&headers, name.as_bytes())
                .map(|text| text.with(|bytes| String::from_utf8(bytes.to_vec()).unwrap()));
            assert_eq!(got.collect::<Vec<_>>(), expected, "{lines:?}: {name}");
        }
    }
}
