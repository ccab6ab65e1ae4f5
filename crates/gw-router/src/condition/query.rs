//! The arguments in a query string.

use memchr::memchr2;

use super::Text;
use crate::bytes;

/// The values of one argument, in the order of the query string. An argument without `=` has the empty value.
#[inline]
pub(super) fn values<'q, 'n>(query: &'q [u8], name: &'n [u8]) -> Values<'q, 'n> {
    Values {
        rest: Some(query),
        name,
        coded: None,
    }
}

pub(super) struct Values<'q, 'n> {
    rest: Option<&'q [u8]>,
    name: &'n [u8],
    /// Whether there are escapes in what was left when another argument was met first.
    coded: Option<bool>,
}

impl<'q> Iterator for Values<'q, '_> {
    type Item = Text<'q>;

    #[inline]
    fn next(&mut self) -> Option<Text<'q>> {
        loop {
            let rest = self.rest?;
            if let Some([b'=', behind @ ..]) = rest.strip_prefix(self.name)
                && self.is_literal()
            {
                return Some(Text::of_query(self.piece(behind)));
            }
            let piece = self.piece(rest);
            if piece == self.name && !piece.is_empty() && self.is_literal() {
                return Some(Text::Plain(b""));
            }
            let coded = *self
                .coded
                .get_or_insert_with(|| memchr2(b'%', b'+', rest).is_some());
            if coded && let Some(value) = self.coded(piece) {
                return Some(value);
            }
        }
    }
}

impl<'q> Values<'q, '_> {
    /// What lies before the next `&`, behind which the rest begins.
    #[inline]
    fn piece(&mut self, from: &'q [u8]) -> &'q [u8] {
        match bytes::find(b'&', from) {
            Some(end) => {
                self.rest = from.get(end + 1..);
                from.get(..end).unwrap_or_default()
            }
            None => {
                self.rest = None;
                from
            }
        }
    }

    /// Whether the name can stand in a query string as it is: with one of these in it, it only ever stands there escaped.
    fn is_literal(&self) -> bool {
        !self
            .name
            .iter()
            .any(|byte| matches!(byte, b'=' | b'&' | b'%' | b'+'))
    }

    /// The value, if the piece is one of this argument, with escapes in its name or where the name has to have some.
    fn coded(&self, piece: &'q [u8]) -> Option<Text<'q>> {
        let end = bytes::find(b'=', piece).unwrap_or(piece.len());
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
