//! Path patterns: our own syntax and Kong's, parsed once.

use std::{fmt, str::FromStr, sync::Arc};

use smallvec::SmallVec;

mod names;
mod parse;
mod pieces;

use names::Names;
pub(crate) use parse::{Shape, Tail};
use pieces::{Piece, Pieces};

use crate::{
    key::{Hop, Key},
    regex::{PathRegex, RegexError},
    tree::{MARK, Place},
};

/// Bound: the longest pattern, in bytes. It limits the depth of the tree, whatever a table contains.
pub(crate) const MAX_PATTERN: usize = 4096;

/// A path pattern, parsed.
///
/// | written | matches |
/// |---|---|
/// | `/a/b` | that path |
/// | `/a/{name}`, `/a/:name` | one whole segment, at least one byte |
/// | `/a/v{name}.json`, `/{from}-{to}` | parts of a segment, each at least one byte; the first takes what it can |
/// | `/a*` | every path that begins with the bytes `/a` |
/// | `/a/*`, `/a/*name` | everything below `/a/`, and `/a/` itself |
/// | `/a/{*name}` | everything below `/a/`, at least one byte |
/// | `/a/*name/b`, `/{*name}.js` | any bytes, slashes too, before what follows; they take what they can |
/// | `{{` `}}` `\{` `\}` `\:` `\*` `\\` | the character itself |
///
/// A segment has parameters or a wildcard over several segments, not both. `*` alone matches any path. Which of `{name}` and `:name` are parameters can be restricted: [`ParamSyntax`].
/// [`Pattern::prefix`] makes a prefix that ends with a segment. Kong's syntax, where every path is a prefix of bytes
/// or a regular expression, is read by [`Pattern::kong`].
///
/// ```
/// use gw_router::Pattern;
///
/// let pattern: Pattern = "/users/{id}/posts".parse()?;
/// assert_eq!(pattern.params().collect::<Vec<_>>(), ["id"]);
/// # Ok::<(), gw_router::PatternError>(())
/// ```
#[derive(Clone)]
pub struct Pattern {
    text: Text,
    syntax: Syntax,
    shape: Shape,
}

/// The pattern as it was written, with what it was compiled to where it is a regular expression.
#[derive(Clone)]
enum Text {
    Plain(Arc<str>),
    // Two words in all, for most patterns of a large table are none of these.
    Regex(Arc<(Box<str>, PathRegex)>),
}

/// Which spellings of a parameter a pattern may use. The others stand for themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParamSyntax {
    /// `:name` at the start of a segment.
    Colon,
    /// `{name}` and `{*name}`.
    Brace,
    /// All of them.
    #[default]
    Both,
    /// None: only `*`.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    Native(ParamSyntax),
    Prefix(ParamSyntax),
    Kong,
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
    /// A wildcard follows another without anything between.
    #[error("path `{text}` has a wildcard right behind another at byte {at}; put text between them")]
    Adjacent {
        /// The pattern.
        text: Box<str>,
        /// Where the second begins.
        at: usize,
    },
    /// A wildcard over several segments begins or ends in a segment that has a parameter.
    #[error(
        "path `{text}` has a parameter and a wildcard over several segments in one segment, the second at byte {at}; put a slash between them"
    )]
    SharedSegment {
        /// The pattern.
        text: Box<str>,
        /// Where the second of them begins.
        at: usize,
    },
    /// Something follows the `*` of a prefix, or a prefix of segments ends with a wildcard.
    #[error(
        "path `{text}` has a `*` at byte {at} that cannot stand there; put it last, name it as in `{{*rest}}`, or write `\\*` for the character"
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
        Self::parse_with(text, ParamSyntax::Both)
    }

    /// Reads our own syntax with some of its spellings of parameters.
    ///
    /// # Errors
    /// Says what is wrong with the text, and where.
    pub fn parse_with(text: &str, params: ParamSyntax) -> Result<Self, PatternError> {
        let shape = parse::native(text, params)?;
        Ok(Self::new(text, Syntax::Native(params), shape, None))
    }

    /// Reads a prefix of whole segments: `/a` matches `/a`, `/a/` and `/a/x`, and not `/ab`. A slash at the end has no
    /// meaning; it may have parameters, and wildcards over several segments before its end.
    ///
    /// # Errors
    /// Says what is wrong with the text, and where.
    pub fn prefix(text: &str) -> Result<Self, PatternError> {
        let params = ParamSyntax::Both;
        Ok(Self::new(
            text,
            Syntax::Prefix(params),
            parse::prefix(text, params)?,
            None,
        ))
    }

    /// Reads one entry of Kong's `paths`: `/prefix` matches every path that begins with these bytes, `~/regex`
    /// every path that the expression matches from its start on (the end stays open); its named groups become
    /// parameters.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn kong(text: &str) -> Result<Self, PatternError> {
        let (shape, regex) = parse::kong(text)?;
        Ok(Self::new(text, Syntax::Kong, shape, regex))
    }

    fn new(text: &str, syntax: Syntax, shape: Shape, regex: Option<PathRegex>) -> Self {
        Self {
            text: match regex {
                None => Text::Plain(text.into()),
                Some(regex) => Text::Regex(Arc::new((text.into(), regex))),
            },
            syntax,
            shape,
        }
    }

    /// The pattern as it was written.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.text {
            Text::Plain(text) => text,
            Text::Regex(regex) => &regex.0,
        }
    }

    /// The names of the parameters, in the order in which they stand.
    ///
    /// They are read from the text: O(its length).
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.wildcards().filter(|name| !name.is_empty())
    }

    /// The names of the wildcards, empty where one has none.
    #[inline]
    pub(crate) fn wildcards(&self) -> impl Iterator<Item = &str> {
        let groups = self.regex().into_iter().flat_map(|regex| regex.names());
        let names = self
            .params_syntax()
            .map(|syntax| Names::new(self.as_str(), syntax));
        groups.chain(names.into_iter().flatten())
    }

    /// Whether this is a regular expression.
    pub fn is_regex(&self) -> bool {
        self.regex().is_some()
    }

    /// Whether this matches exactly one path.
    pub fn is_literal(&self) -> bool {
        !self.shape.wild
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(crate) fn regex(&self) -> Option<&PathRegex> {
        match &self.text {
            Text::Plain(_) => None,
            Text::Regex(regex) => Some(&regex.1),
        }
    }

    /// The same pattern without regard to the case of ASCII letters.
    pub(crate) fn ignoring_case(mut self) -> Self {
        if let Text::Regex(regex) = &mut self.text {
            let folded = regex.1.ignoring_case();
            self.shape.head = folded.head().len() as u16;
            self.shape.literal = self.shape.head;
            *regex = Arc::new((regex.0.clone(), folded));
        }
        self
    }

    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let pieces = self
            .params_syntax()
            .map(|syntax| Pieces::new(self.as_str(), syntax));
        // An error would have been the constructor's.
        pieces.into_iter().flatten().flatten().map(|(_, piece)| piece)
    }

    /// How parameters are written in it, if they can be.
    fn params_syntax(&self) -> Option<ParamSyntax> {
        match self.syntax {
            Syntax::Native(params) | Syntax::Prefix(params) => Some(params),
            Syntax::Kong => None,
        }
    }

    /// Where in the tree the pattern belongs.
    pub(crate) fn key(&self) -> (Key, Place) {
        let place = if self.shape.tail == Tail::End {
            Place::Exact
        } else {
            Place::Tail
        };
        if let Some(regex) = self.regex() {
            return (Key::of_bytes(regex.head().iter().copied()), place);
        }
        if self.syntax == Syntax::Kong {
            return (Key::of_bytes(self.as_str().bytes()), place);
        }
        let pieces: SmallVec<[Piece<'_>; 8]> = self.pieces().collect();
        let mut key = keyed(&pieces);
        if self.shape.tail == Tail::Segments {
            key.trim_last_slash();
        }
        (key, place)
    }
}

/// A parameter that takes its segment to the end goes into the run; one with text or another one behind it begins a
/// template, which ends with the segment.
fn keyed(pieces: &[Piece<'_>]) -> Key {
    let mut key = Key::default();
    let mut template: Option<Vec<u8>> = None;
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(text) => {
                let mut text = text.as_bytes();
                if let Some(open) = &mut template {
                    let end = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
                    let (inside, behind) = text.split_at(end);
                    open.extend_from_slice(inside);
                    text = behind;
                }
                if !text.is_empty() {
                    close(&mut key, &mut template);
                }
                key.push(text);
            }
            Piece::Param(_) => match &mut template {
                Some(open) => open.push(MARK),
                None if ends_segment(pieces.get(index + 1)) => key.push_param(),
                None => template = Some(vec![MARK]),
            },
            Piece::Rest { at_least_one, .. } if index + 1 < pieces.len() => {
                key.push_hop(Hop::Wild { least: *at_least_one })
            }
            Piece::Rest { .. } | Piece::Prefix => {}
        }
    }
    close(&mut key, &mut template);
    key
}

fn close(key: &mut Key, template: &mut Option<Vec<u8>>) {
    if let Some(text) = template.take() {
        key.push_hop(Hop::Template(text.into()));
    }
}

fn ends_segment(next: Option<&Piece<'_>>) -> bool {
    match next {
        None => true,
        Some(Piece::Literal(text)) => text.starts_with('/'),
        Some(_) => false,
    }
}

impl ParamSyntax {
    pub(crate) fn braces(self) -> bool {
        matches!(self, Self::Brace | Self::Both)
    }

    pub(crate) fn colon(self) -> bool {
        matches!(self, Self::Colon | Self::Both)
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
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.syntax {
            Syntax::Native(ParamSyntax::Both) => write!(f, "Pattern({:?})", self.as_str()),
            Syntax::Native(params) => write!(f, "Pattern({:?}, {params:?})", self.as_str()),
            Syntax::Prefix(_) => write!(f, "Pattern::prefix({:?})", self.as_str()),
            Syntax::Kong => write!(f, "Pattern::kong({:?})", self.as_str()),
        }
    }
}

impl PartialEq for Pattern {
    /// Everything else follows from the text and the syntax it is written in.
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str() && self.syntax == other.syntax
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests;
