//! The names of a pattern's wildcards: the quick reader of a text that has been checked.

use crate::pattern::ParamSyntax;

/// The names of the wildcards of a text that `Pieces` has accepted, empty where one has none.
///
/// It is asked for every request whose parameters are read, so it looks at each byte once and makes nothing else.
#[derive(Clone)]
pub(crate) struct Names<'t> {
    text: &'t str,
    at: usize,
    syntax: ParamSyntax,
}

impl<'t> Names<'t> {
    pub(crate) fn new(text: &'t str, syntax: ParamSyntax) -> Self {
        Self { text, at: 0, syntax }
    }

    /// The text between two positions; goes on at a third.
    fn name(&mut self, from: usize, to: usize, next: usize) -> Option<&'t str> {
        self.at = next;
        self.text.get(from..to)
    }
}

impl<'t> Iterator for Names<'t> {
    type Item = &'t str;

    #[inline]
    fn next(&mut self) -> Option<&'t str> {
        let bytes = self.text.as_bytes();
        let end_of = |from: usize, end: u8| {
            let rest = bytes.get(from..).unwrap_or_default();
            from + rest.iter().position(|byte| *byte == end).unwrap_or(rest.len())
        };
        let mut at = self.at;
        while let Some(byte) = bytes.get(at) {
            let after_slash = || at.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'/');
            match byte {
                b'\\' => at += 1,
                b'{' | b'}' if self.syntax.braces() => {
                    let next = bytes.get(at + 1);
                    if next != Some(byte) {
                        let end = end_of(at, b'}');
                        return self.name(at + 1 + usize::from(next == Some(&b'*')), end, end + 1);
                    }
                    at += 1;
                }
                b':' if self.syntax.colon() && after_slash() => {
                    let end = end_of(at, b'/');
                    return self.name(at + 1, end, end);
                }
                b'*' if after_slash() => {
                    let end = end_of(at, b'/');
                    return self.name(at + 1, end, end);
                }
                _ => {}
            }
            at += 1;
        }
        self.at = at;
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Names;
    use crate::pattern::{
        ParamSyntax, Pattern,
        pieces::{Piece, Pieces},
    };

    proptest! {
        #[test]
        fn it_reads_what_the_careful_reader_does(text in r"/([ab/:*.]|\{[ab]\}|\{\*[ab]\}|\{\{|\}\}|\\[:*{}\\]){0,12}") {
            for syntax in [ParamSyntax::Both, ParamSyntax::Brace, ParamSyntax::Colon, ParamSyntax::None] {
                if Pattern::parse_with(&text, syntax).is_err() {
                    continue;
                }
                let careful = Pieces::new(&text, syntax).flatten().filter_map(|(_, piece)| match piece {
                    Piece::Param(name) | Piece::Rest { name, .. } => Some(name),
                    Piece::Literal(_) | Piece::Prefix => None,
                });
                let careful: Vec<_> = careful.collect();
                prop_assert_eq!(Names::new(&text, syntax).collect::<Vec<_>>(), careful, "{} {:?}", text, syntax);
            }
        }
    }
}
