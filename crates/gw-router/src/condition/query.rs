//! The arguments in a query string.

use memchr::{memchr, memchr2};

use super::Text;

/// The values of one argument, in the order of the query string. An argument without `=` has the empty value.
pub(super) fn values<'q, 'n>(query: &'q [u8], name: &'n [u8]) -> Values<'q, 'n> {
    Values {
        rest: Some(query),
        name,
        plain: memchr2(b'%', b'+', query).is_none(),
    }
}

pub(super) struct Values<'q, 'n> {
    rest: Option<&'q [u8]>,
    name: &'n [u8],
    /// Whether the query string has no escapes at all.
    plain: bool,
}

impl<'q> Iterator for Values<'q, '_> {
    type Item = Text<'q>;

    fn next(&mut self) -> Option<Text<'q>> {
        loop {
            let rest = self.rest?;
            let piece = match memchr(b'&', rest) {
                Some(end) => {
                    self.rest = rest.get(end + 1..);
                    rest.get(..end)?
                }
                None => self.rest.take()?,
            };
            if let Some(value) = self.value(piece) {
                return Some(value);
            }
        }
    }
}

impl Values<'_, '_> {
    /// The value, if the piece is one of this argument.
    fn value<'q>(&self, piece: &'q [u8]) -> Option<Text<'q>> {
        if self.plain {
            // A name with `=`, `%` or `+` in it only ever stands there escaped.
            let value = match piece.strip_prefix(self.name)? {
                [] if !piece.is_empty() => b"",
                [b'=', value @ ..] => value,
                _ => return None,
            };
            return (!self.name.contains(&b'=')).then_some(Text::Plain(value));
        }
        let end = memchr(b'=', piece).unwrap_or(piece.len());
        // An escaped name is never shorter than what it stands for.
        let found = piece.get(..end).filter(|found| found.len() >= self.name.len())?;
        let value = piece.get(end + 1..).unwrap_or_default();
        let given = !piece.is_empty() && Text::of_query(found).equals(self.name);
        given.then(|| Text::of_query(value))
    }
}

#[cfg(test)]
mod tests {
    use super::values;

    #[test]
    fn values_stand_in_order() {
        let cases: [(&str, &str, &[&str]); 20] = [
            ("a=b=1", "a=b", &[]),
            ("a=b", "a=b", &[]),
            ("a%3Db=1", "a=b", &["1"]),
            ("a+b=1", "a+b", &[]),
            ("a%2bb=1&a=%", "a+b", &["1"]),
            ("a=1&b=%&a", "a", &["1", ""]),
            ("", "a", &[]),
            ("a", "a", &[""]),
            ("a=", "a", &[""]),
            ("a=1", "a", &["1"]),
            ("b=2&a=1&a=2", "a", &["1", "2"]),
            ("a=1=2", "a", &["1=2"]),
            ("&&a=1&", "a", &["1"]),
            ("A=1", "a", &[]),
            ("aa=1&xa=2", "a", &[]),
            ("%61=1&%61b=2", "a", &["1"]),
            ("a+b=c+d", "a b", &["c d"]),
            ("=1", "", &["1"]),
            ("&", "", &[]),
            ("a;b=1", "b", &[]),
        ];
        for (query, name, expected) in cases {
            let got = values(query.as_bytes(), name.as_bytes())
                .map(|text| text.with(|bytes| String::from_utf8(bytes.to_vec()).unwrap()));
            assert_eq!(got.collect::<Vec<_>>(), expected, "{query}: {name}");
        }
    }
}
