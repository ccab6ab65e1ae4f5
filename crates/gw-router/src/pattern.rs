//! Path patterns: our own syntax and Kong's, parsed once into tokens the tree understands.

use std::{fmt, str::FromStr, sync::Arc};

use smallvec::{SmallVec, smallvec};

mod parse;

use crate::regex::{PathRegex, RegexError};

/// Bound: the longest pattern, in bytes. It limits the depth of the tree, whatever a table contains.
pub(crate) const MAX_PATTERN: usize = 4096;

/// A path pattern, parsed.
///
/// | written | matches |
/// |---|---|
/// | `/a/b` | that path |
/// | `/a/{name}`, `/a/:name` | one whole segment, at least one byte |
/// | `/a*` | every path that begins with the bytes `/a` |
/// | `/a/*`, `/a/*name` | everything below `/a/`, and `/a/` itself |
/// | `/a/{*name}` | everything below `/a/`, at least one byte |
/// | `{{` `}}` `\:` `\*` `\\` | the character itself |
///
/// A wildcard over the rest of the path stands last. `*` alone matches any path. Kong's syntax, where every path
/// is a prefix or a regular expression, is read by [`Pattern::kong`].
///
/// ```
/// use gw_router::Pattern;
///
/// let pattern: Pattern = "/users/{id}/posts".parse()?;
/// assert_eq!(pattern.params().collect::<Vec<_>>(), ["id"]);
/// # Ok::<(), gw_router::PatternError>(())
/// ```
#[derive(Clone)]
pub struct Pattern(Arc<Parsed>);

struct Parsed {
    text: Box<str>,
    syntax: Syntax,
    tokens: Box<[Token]>,
    tail: Tail,
    names: Box<[Box<str>]>,
    /// The number of literal bytes before each parameter, and after the last.
    gaps: SmallVec<[u32; 4]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    Native,
    Kong,
}

#[derive(Clone, Debug)]
pub(crate) enum Token {
    Literal(Box<[u8]>),
    /// One whole segment. Its name is in the pattern, so that names never part the tree.
    Param,
}

/// What a pattern matches after its tokens.
#[derive(Clone, Debug)]
pub(crate) enum Tail {
    /// Nothing: the path ends here.
    End,
    /// The rest of the path, reported as matched.
    CatchAll { named: bool, at_least_one: bool },
    /// The rest of the path, not reported as matched.
    Prefix,
    /// Whatever the expression says of the whole path; the tokens hold its literal head.
    Regex(PathRegex),
}

/// Why a text is not a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The pattern is neither absolute nor `*`.
    #[error("path `{text}` does not start with `/`; write `/{text}`")]
    NotAbsolute {
        /// The pattern.
        text: Box<str>,
    },
    /// A Kong path is neither a prefix nor a regular expression.
    #[error("path `{text}` starts with neither `/` (prefix) nor `~/` (regular expression); add one of them")]
    NotKong {
        /// The pattern.
        text: Box<str>,
    },
    /// A brace has no partner.
    #[error("path `{text}` has a single brace at byte {at}; double it to mean the character itself")]
    Brace {
        /// The pattern.
        text: Box<str>,
        /// Where the brace is.
        at: usize,
    },
    /// A parameter's name is empty or holds a character that has a meaning of its own.
    #[error("path `{text}` has `{name}` as a parameter name; use letters, digits, `_`, `-` and `.`")]
    Name {
        /// The pattern.
        text: Box<str>,
        /// The name.
        name: Box<str>,
    },
    /// Two parameters share a name.
    #[error("path `{text}` names parameter `{name}` twice; give each parameter its own name")]
    DuplicateParam {
        /// The pattern.
        text: Box<str>,
        /// The name.
        name: Box<str>,
    },
    /// A parameter shares its segment with other text.
    #[error("path `{text}` has text beside the parameter at byte {at}; a parameter takes a whole segment")]
    PartialSegment {
        /// The pattern.
        text: Box<str>,
        /// Where the parameter begins.
        at: usize,
    },
    /// Something follows the wildcard that takes the rest of the path.
    #[error(
        "path `{text}` goes on after the wildcard at byte {at}; put it last, or write `\\*` for the character"
    )]
    NotLast {
        /// The pattern.
        text: Box<str>,
        /// Where the wildcard begins.
        at: usize,
    },
    /// A backslash escapes nothing.
    #[error(
        "path `{text}` has a backslash at byte {at} that escapes nothing; write `\\\\` for the character"
    )]
    Backslash {
        /// The pattern.
        text: Box<str>,
        /// Where the backslash is.
        at: usize,
    },
    /// The pattern is too long.
    #[error("path pattern of {length} bytes is too long; the limit is {limit}", limit = MAX_PATTERN)]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The regular expression does not compile.
    #[error("path `{text}` is not a valid regular expression; correct it or drop the `~`")]
    Regex {
        /// The pattern.
        text: Box<str>,
        /// What is wrong with it.
        source: RegexError,
    },
}

impl Pattern {
    /// Reads our own syntax, described at [`Pattern`].
    ///
    /// # Errors
    /// Says what is wrong with the text, and where.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Ok(Self::new(text, Syntax::Native, parse::native(text)?))
    }

    /// Reads one entry of Kong's `paths`: `/prefix` matches every path that begins with these bytes, `~/regex`
    /// every path that the expression matches from its start on (the end stays open); its named groups become
    /// parameters.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn kong(text: &str) -> Result<Self, PatternError> {
        Ok(Self::new(text, Syntax::Kong, parse::kong(text)?))
    }

    fn new(text: &str, syntax: Syntax, shape: parse::Shape) -> Self {
        let mut gaps: SmallVec<[u32; 4]> = smallvec![0];
        for token in &shape.tokens {
            match (token, gaps.last_mut()) {
                (Token::Literal(text), Some(gap)) => *gap += text.len() as u32,
                _ => gaps.push(0),
            }
        }
        Self(Arc::new(Parsed {
            text: text.into(),
            syntax,
            tokens: shape.tokens.into(),
            tail: shape.tail,
            names: shape.names.into(),
            gaps,
        }))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The names of the parameters, in the order in which they stand.
    pub fn params(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.names.iter().map(AsRef::as_ref)
    }

    /// Whether this is a regular expression.
    pub fn is_regex(&self) -> bool {
        matches!(self.0.tail, Tail::Regex(_))
    }

    /// Whether this matches exactly one path.
    pub fn is_literal(&self) -> bool {
        matches!(self.0.tail, Tail::End) && self.0.gaps.len() == 1
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.0.tokens
    }

    pub(crate) fn tail(&self) -> &Tail {
        &self.0.tail
    }

    pub(crate) fn regex(&self) -> Option<&PathRegex> {
        match &self.0.tail {
            Tail::Regex(regex) => Some(regex),
            _ => None,
        }
    }

    /// The number of literal bytes before each parameter, and after the last.
    pub(crate) fn gaps(&self) -> (&[u32], u32) {
        let (last, gaps) = self.0.gaps.split_last().unwrap_or((&0, &[]));
        (gaps, *last)
    }

    /// How many bytes of the pattern stand for themselves.
    pub(crate) fn literal_len(&self) -> u32 {
        self.0.gaps.iter().sum()
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.syntax {
            Syntax::Native => write!(f, "Pattern({:?})", self.0.text),
            Syntax::Kong => write!(f, "Pattern::kong({:?})", self.0.text),
        }
    }
}

impl PartialEq for Pattern {
    /// Everything else follows from the text and the syntax it is written in.
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text && self.0.syntax == other.0.syntax
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests;
