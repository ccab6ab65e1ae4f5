//! A pattern's text in pieces, without allocation: the one reader of our own syntax.

use crate::pattern::{ParamSyntax, PatternError};

/// One step of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// Bytes that stand for themselves; never empty.
    Literal(&'t str),
    /// `{name}` and `:name`.
    Param(&'t str),
    /// `{*name}`, which takes at least one byte, `*name` and `*`; without name it is empty.
    Rest { name: &'t str, at_least_one: bool },
    /// A `*` right behind a byte that is no slash.
    Prefix,
}

/// The pieces of a text, each with where it begins. It ends after an error.
#[derive(Clone)]
pub(crate) struct Pieces<'t> {
    text: &'t str,
    at: usize,
    syntax: ParamSyntax,
    after_slash: bool,
}

impl<'t> Pieces<'t> {
    pub(crate) fn new(text: &'t str, syntax: ParamSyntax) -> Self {
        Self {
            text,
            at: 0,
            syntax,
            after_slash: false,
        }
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The text from the one position to the other, which becomes the position.
    fn take(&mut self, from: usize, to: usize, end: usize) -> &'t str {
        self.at = end;
        self.text.get(from..to).unwrap_or_default()
    }

    fn piece(&mut self) -> Result<Piece<'t>, PatternError> {
        let (braces, colon) = (self.syntax.braces(), self.syntax.colon());
        let start = self.at;
        match self.byte(0) {
            Some(b'\\') => match self.byte(1) {
                Some(b'\\' | b':' | b'*' | b'{' | b'}') => {
                    Ok(Piece::Literal(self.take(start + 1, start + 2, start + 2)))
                }
                _ => Err(PatternError::Backslash {
                    text: self.text.into(),
                    at: start,
                }),
            },
            Some(byte @ (b'{' | b'}')) if braces => {
                if self.byte(1) == Some(byte) {
                    return Ok(Piece::Literal(self.take(start, start + 1, start + 2)));
                }
                self.braced(byte)
            }
            Some(b'*') => {
                let name_end = self.rest().find('/').map_or(self.text.len(), |end| start + end);
                if self.after_slash {
                    let name = self.take(start + 1, name_end, name_end);
                    Ok(Piece::Rest {
                        name,
                        at_least_one: false,
                    })
                } else {
                    self.at += 1;
                    Ok(Piece::Prefix)
                }
            }
            Some(b':') if colon && self.after_slash => {
                let end = self.rest().find('/').map_or(self.text.len(), |end| start + end);
                Ok(Piece::Param(self.take(start + 1, end, end)))
            }
            _ => Ok(self.literal(braces, colon)),
        }
    }

    /// Everything up to the next character with a meaning.
    fn literal(&mut self, braces: bool, colon: bool) -> Piece<'t> {
        let start = self.at;
        let mut slash = self.byte(0) == Some(b'/');
        let special = |byte: &u8| {
            let special = match byte {
                b'\\' | b'*' => true,
                b'{' | b'}' => braces,
                b':' => colon && slash,
                _ => false,
            };
            slash = *byte == b'/';
            special
        };
        let bytes = self.text.as_bytes().get(start + 1..).unwrap_or_default();
        let length = bytes.iter().position(special).unwrap_or(bytes.len());
        Piece::Literal(self.take(start, start + 1 + length, start + 1 + length))
    }

    fn braced(&mut self, byte: u8) -> Result<Piece<'t>, PatternError> {
        let start = self.at;
        let close = self.rest().find('}').filter(|_| byte == b'{');
        let Some(close) = close else {
            return Err(PatternError::Brace {
                text: self.text.into(),
                at: start,
            });
        };
        let end = start + close;
        if self.byte(1) == Some(b'*') {
            let name = self.take(start + 2, end, end + 1);
            return Ok(Piece::Rest {
                name,
                at_least_one: true,
            });
        }
        Ok(Piece::Param(self.take(start + 1, end, end + 1)))
    }
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Result<(usize, Piece<'t>), PatternError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.text.len() {
            return None;
        }
        let at = self.at;
        let piece = self.piece();
        match &piece {
            Ok(Piece::Literal(text)) => self.after_slash = text.ends_with('/'),
            Ok(_) => self.after_slash = false,
            Err(_) => self.at = self.text.len(),
        }
        Some(piece.map(|piece| (at, piece)))
    }
}
