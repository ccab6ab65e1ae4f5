//! The syntaxes a path pattern can be written in, checked.

use smallvec::SmallVec;

use super::{
    MAX_PATTERN, ParamSyntax, PatternError,
    pieces::{Piece, Pieces},
};
use crate::regex::PathRegex;

/// What a pattern is, besides its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) tail: Tail,
    /// How many bytes stand for themselves.
    pub(crate) literal: u16,
    /// How many of them stand before the first wildcard.
    pub(crate) head: u16,
    /// Whether anything is not literal.
    pub(crate) wild: bool,
}

/// What a pattern matches after everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing: the path ends here.
    End,
    /// The rest of the path, reported as matched.
    CatchAll { at_least_one: bool },
    /// The rest of the path, not reported as matched.
    Prefix,
    /// Nothing, or a slash and any rest, not reported as matched.
    Segments,
    /// Whatever the expression says of the whole path.
    Regex,
}

impl Shape {
    fn literal(length: usize, tail: Tail) -> Self {
        Self {
            tail,
            literal: length as u16,
            head: length as u16,
            wild: tail != Tail::End,
        }
    }
}

pub(super) fn kong(text: &str) -> Result<(Shape, Option<PathRegex>), PatternError> {
    bounded(text)?;
    if let Some(expression) = text.strip_prefix('~')
        && expression.starts_with('/')
    {
        let regex = PathRegex::compile(expression).map_err(|source| PatternError::Regex {
            text: text.into(),
            source,
        })?;
        return Ok((Shape::literal(regex.head().len(), Tail::Regex), Some(regex)));
    }
    if !text.starts_with('/') {
        return Err(PatternError::NotKong { text: text.into() });
    }
    Ok((Shape::literal(text.len(), Tail::Prefix), None))
}

/// A segment prefix.
pub(super) fn prefix(text: &str, syntax: ParamSyntax) -> Result<Shape, PatternError> {
    let mut shape = native(text, syntax)?;
    // The slash at the end counts for nothing, so that a wildcard before it would be the last.
    let bare = match text.strip_suffix('/') {
        Some("") => Shape::literal(0, Tail::Segments),
        Some(bare) => native(bare, syntax)?,
        None => shape,
    };
    shape.literal = bare.literal;
    shape.head = bare.head;
    if shape.tail != Tail::End || matches!(bare.tail, Tail::CatchAll { .. }) {
        let at = text.rfind('*').unwrap_or_default();
        return Err(PatternError::NotLast {
            text: text.into(),
            at,
        });
    }
    shape.tail = Tail::Segments;
    shape.wild = true;
    Ok(shape)
}

pub(super) fn native(text: &str, syntax: ParamSyntax) -> Result<Shape, PatternError> {
    bounded(text)?;
    if !text.starts_with('/') && text != "*" && text != r"\*" {
        return Err(PatternError::NotAbsolute { text: text.into() });
    }
    let mut shape = Shape::literal(0, Tail::End);
    let mut names: SmallVec<[&str; 8]> = SmallVec::new();
    // Whether the piece before was no literal, and whether the segment has a parameter or a wildcard over several
    // segments already. Not both: a search could try such a parameter at every byte of a long segment.
    let (mut touching, mut parted, mut spread) = (false, false, false);
    let refused = |at: usize, error: fn(Box<str>, usize) -> PatternError| Err(error(text.into(), at));
    for piece in Pieces::new(text, syntax) {
        let (at, piece) = piece?;
        match shape.tail {
            Tail::End => {}
            Tail::CatchAll { .. } if matches!(piece, Piece::Literal(_)) => shape.tail = Tail::End,
            Tail::CatchAll { .. } => return refused(at, |text, at| PatternError::Adjacent { text, at }),
            _ => return refused(at - 1, |text, at| PatternError::NotLast { text, at }),
        }
        match piece {
            Piece::Literal(text) => {
                shape.literal += text.len() as u16;
                if !shape.wild {
                    shape.head += text.len() as u16;
                }
                parted &= !text.contains('/');
                spread &= !text.contains('/');
                touching = false;
                continue;
            }
            _ if touching => return refused(at, |text, at| PatternError::Adjacent { text, at }),
            Piece::Param(_) if spread => {
                return refused(at, |text, at| PatternError::SharedSegment { text, at });
            }
            Piece::Param(name) => {
                distinct(text, name, &mut names)?;
                parted = true;
            }
            _ if parted => return refused(at, |text, at| PatternError::SharedSegment { text, at }),
            Piece::Rest { name, at_least_one } => {
                if at_least_one || !name.is_empty() {
                    distinct(text, name, &mut names)?;
                }
                shape.tail = Tail::CatchAll { at_least_one };
                spread = true;
            }
            Piece::Prefix => shape.tail = Tail::Prefix,
        }
        shape.wild = true;
        touching = true;
    }
    Ok(shape)
}

fn bounded(text: &str) -> Result<(), PatternError> {
    if text.len() > MAX_PATTERN {
        return Err(PatternError::TooLong { length: text.len() });
    }
    Ok(())
}

fn distinct<'t>(text: &str, name: &'t str, names: &mut SmallVec<[&'t str; 8]>) -> Result<(), PatternError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(PatternError::Name {
            text: text.into(),
            name: name.into(),
        });
    }
    if names.contains(&name) {
        return Err(PatternError::DuplicateParam {
            text: text.into(),
            name: name.into(),
        });
    }
    names.push(name);
    Ok(())
}
