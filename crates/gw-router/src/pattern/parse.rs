//! The two syntaxes a path pattern can be written in.

use crate::{
    pattern::{MAX_PATTERN, PatternError, Tail, Token},
    regex::PathRegex,
};

pub(super) struct Shape {
    pub(super) tokens: Vec<Token>,
    pub(super) tail: Tail,
    pub(super) names: Vec<Box<str>>,
}

pub(super) fn kong(text: &str) -> Result<Shape, PatternError> {
    bounded(text)?;
    if let Some(expression) = text.strip_prefix('~')
        && expression.starts_with('/')
    {
        let regex = PathRegex::compile(expression).map_err(|source| PatternError::Regex {
            text: text.into(),
            source,
        })?;
        let names = regex.names().map(Into::into).collect();
        let tokens = literal(regex.head());
        return Ok(Shape {
            tokens,
            tail: Tail::Regex(regex),
            names,
        });
    }
    if !text.starts_with('/') {
        return Err(PatternError::NotKong { text: text.into() });
    }
    Ok(Shape {
        tokens: literal(text.as_bytes()),
        tail: Tail::Prefix,
        names: Vec::new(),
    })
}

pub(super) fn native(text: &str) -> Result<Shape, PatternError> {
    bounded(text)?;
    if !text.starts_with('/') && text != "*" && text != r"\*" {
        return Err(PatternError::NotAbsolute { text: text.into() });
    }
    Parser {
        text,
        at: 0,
        literal: Vec::new(),
        tokens: Vec::new(),
        names: Vec::new(),
    }
    .run()
}

fn bounded(text: &str) -> Result<(), PatternError> {
    if text.len() > MAX_PATTERN {
        return Err(PatternError::TooLong { length: text.len() });
    }
    Ok(())
}

fn literal(bytes: &[u8]) -> Vec<Token> {
    if bytes.is_empty() {
        Vec::new()
    } else {
        vec![Token::Literal(bytes.into())]
    }
}

// --- Parser ---

struct Parser<'t> {
    text: &'t str,
    at: usize,
    literal: Vec<u8>,
    tokens: Vec<Token>,
    names: Vec<Box<str>>,
}

impl<'t> Parser<'t> {
    fn run(mut self) -> Result<Shape, PatternError> {
        let mut tail = Tail::End;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.escape()?,
                b'{' | b'}' if self.peek(1) == Some(byte) => self.take(byte, 2),
                b'{' if self.peek(1) == Some(b'*') => tail = self.braced_catch_all()?,
                b'{' => self.braced_param()?,
                b'}' => {
                    return Err(PatternError::Brace {
                        text: self.text.into(),
                        at: self.at,
                    });
                }
                b'*' => tail = self.star()?,
                b':' if self.in_front_of_segment() => self.colon_param()?,
                _ => self.take(byte, 1),
            }
        }
        self.flush();
        Ok(Shape {
            tokens: self.tokens,
            tail,
            names: self.names,
        })
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, byte: u8, width: usize) {
        self.literal.push(byte);
        self.at += width;
    }

    fn flush(&mut self) {
        if !self.literal.is_empty() {
            self.tokens
                .push(Token::Literal(std::mem::take(&mut self.literal).into()));
        }
    }

    fn in_front_of_segment(&self) -> bool {
        self.literal.last() == Some(&b'/')
    }

    fn escape(&mut self) -> Result<(), PatternError> {
        match self.peek(1) {
            Some(byte @ (b'\\' | b':' | b'*')) => {
                self.take(byte, 2);
                Ok(())
            }
            _ => Err(PatternError::Backslash {
                text: self.text.into(),
                at: self.at,
            }),
        }
    }

    /// `{name}`
    fn braced_param(&mut self) -> Result<(), PatternError> {
        let at = self.at;
        let name = self.braced(1)?;
        self.param(name, at)
    }

    /// `:name`, up to the end of the segment.
    fn colon_param(&mut self) -> Result<(), PatternError> {
        let at = self.at;
        let segment = self.rest().split('/').next().unwrap_or_default();
        self.at += segment.len();
        self.param(segment.strip_prefix(':').unwrap_or(segment), at)
    }

    fn param(&mut self, name: &str, at: usize) -> Result<(), PatternError> {
        if !self.in_front_of_segment() || !matches!(self.peek(0), None | Some(b'/')) {
            return Err(PatternError::PartialSegment {
                text: self.text.into(),
                at,
            });
        }
        self.name(name)?;
        self.flush();
        self.tokens.push(Token::Param);
        Ok(())
    }

    /// `{*name}`
    fn braced_catch_all(&mut self) -> Result<Tail, PatternError> {
        let at = self.at;
        let name = self.braced(2)?;
        self.name(name)?;
        self.last(at)?;
        Ok(Tail::CatchAll {
            named: true,
            at_least_one: true,
        })
    }

    /// `*`, and `*name` after a slash.
    fn star(&mut self) -> Result<Tail, PatternError> {
        let at = self.at;
        self.at += 1;
        if !self.in_front_of_segment() {
            self.last(at)?;
            return Ok(Tail::Prefix);
        }
        let name = self.rest();
        if name.is_empty() {
            return Ok(Tail::CatchAll {
                named: false,
                at_least_one: false,
            });
        }
        if name.contains(['/', '*', '{', '}']) {
            return Err(PatternError::NotLast {
                text: self.text.into(),
                at,
            });
        }
        self.at = self.text.len();
        self.name(name)?;
        Ok(Tail::CatchAll {
            named: true,
            at_least_one: false,
        })
    }

    /// The text from `skip` bytes after the opening brace up to the closing one, which is consumed too.
    fn braced(&mut self, skip: usize) -> Result<&'t str, PatternError> {
        let unclosed = PatternError::Brace {
            text: self.text.into(),
            at: self.at,
        };
        let (name, _) = self
            .text
            .get(self.at + skip..)
            .and_then(|rest| rest.split_once('}'))
            .ok_or(unclosed)?;
        self.at += skip + name.len() + 1;
        Ok(name)
    }

    fn name(&mut self, name: &str) -> Result<(), PatternError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(PatternError::Name {
                text: self.text.into(),
                name: name.into(),
            });
        }
        if self.names.iter().any(|known| **known == *name) {
            return Err(PatternError::DuplicateParam {
                text: self.text.into(),
                name: name.into(),
            });
        }
        self.names.push(name.into());
        Ok(())
    }

    fn last(&self, at: usize) -> Result<(), PatternError> {
        if self.at < self.text.len() {
            return Err(PatternError::NotLast {
                text: self.text.into(),
                at,
            });
        }
        Ok(())
    }
}
