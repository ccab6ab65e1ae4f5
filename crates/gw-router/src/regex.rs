//! Regular expressions over paths and header values, searched without allocating.

use std::sync::Arc;

use regex_automata::{
    Anchored, Input,
    meta::{self, Regex},
    util::primitives::NonMaxUsize,
};
use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind, literal::Extractor},
};
use smallvec::SmallVec;

use crate::spans::{Span, Spans};

/// Bound: the compiled size of one expression, the same that the `regex` crate sets.
const SIZE_LIMIT: usize = 10 << 20;

/// Why a regular expression does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegexError {
    /// The text is not a regular expression, or uses look-around or back-references, which take unbounded time.
    #[error("at byte {at}: {reason}")]
    Syntax {
        /// Where, counted from the start of the expression.
        at: usize,
        /// What the parser found there.
        reason: Box<str>,
    },
    /// The expression is too large.
    #[error("it compiles to more than {limit} bytes; use smaller repetitions", limit = SIZE_LIMIT)]
    TooLarge,
}

/// An expression over a whole path: anchored at the start, open at the end.
#[derive(Clone, Debug)]
pub(crate) struct PathRegex {
    text: Box<str>,
    regex: Arc<Regex>,
    head: Box<[u8]>,
    /// The named groups and their numbers.
    groups: Arc<[(Box<str>, usize)]>,
}

/// An expression searched anywhere in a header's value, ignoring case.
#[derive(Clone, Debug)]
pub(crate) struct ValueRegex(Arc<Regex>);

impl PathRegex {
    pub(crate) fn compile(text: &str) -> Result<Self, RegexError> {
        Self::compile_with(text, false)
    }

    /// The same expression without regard to case; as it is if it gets too large by that.
    pub(crate) fn ignoring_case(&self) -> Self {
        Self::compile_with(&self.text, true).unwrap_or_else(|_| self.clone())
    }

    fn compile_with(text: &str, ignore_case: bool) -> Result<Self, RegexError> {
        let (regex, syntax) = compile(text, ignore_case)?;
        // A common prefix is all the tree can use: it places an expression at one node.
        let head = Extractor::new()
            .extract(&syntax)
            .longest_common_prefix()
            .unwrap_or_default()
            .into();
        let names = regex.group_info().pattern_names(regex_automata::PatternID::ZERO);
        let groups = names
            .enumerate()
            .filter_map(|(number, name)| name.map(|name| (name.into(), number)))
            .collect();
        Ok(Self {
            text: text.into(),
            regex: Arc::new(regex),
            head,
            groups,
        })
    }

    /// Bytes with which every matching path begins.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether every path that begins with the head matches.
    pub(crate) fn is_plain(&self) -> bool {
        let special = |byte: &u8| br"\.+*?()|[]{}^$".contains(byte);
        *self.head == *self.text.as_bytes() && !self.head.iter().any(special)
    }

    /// A path that might match: one that takes the first way and repeats as little as it can.
    pub(crate) fn example(&self) -> Option<String> {
        let syntax = ParserBuilder::new().build().parse(&self.text).ok()?;
        let mut path = String::new();
        spell(&syntax, &mut path).then_some(path)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|(name, _)| name.as_ref())
    }

    pub(crate) fn is_match(&self, path: &str) -> bool {
        self.regex
            .search_half(&Input::new(path).anchored(Anchored::Yes).earliest(true))
            .is_some()
    }

    /// The length of the match, and the spans of the named groups in the order of [`Self::names`].
    pub(crate) fn capture(&self, path: &str, spans: &mut Spans) -> usize {
        let input = Input::new(path).anchored(Anchored::Yes);
        if self.groups.is_empty() {
            return self.regex.search_half(&input).map_or(0, |end| end.offset());
        }
        let mut slots: SmallVec<[Option<NonMaxUsize>; 32]> = SmallVec::new();
        slots.resize(self.regex.group_info().slot_len(), None);
        self.regex.search_slots(&input, &mut slots);
        let at = |slot: usize| slots.get(slot).copied().flatten().map(NonMaxUsize::get);
        for (_, number) in self.groups.iter() {
            let span = at(number * 2).zip(at(number * 2 + 1));
            spans.push(span.map_or(Span::ABSENT, |(start, end)| Span::new(start, end)));
        }
        at(1).unwrap_or(0)
    }

    /// What each group took, in their order, with its name or an empty text.
    pub(crate) fn groups<'r, 'q>(&'r self, path: &'q str) -> Vec<(&'r str, Option<&'q str>)> {
        let input = Input::new(path).anchored(Anchored::Yes);
        let info = self.regex.group_info();
        let mut slots = vec![None; info.slot_len()];
        self.regex.search_slots(&input, &mut slots);
        let at = |slot: usize| slots.get(slot).copied().flatten().map(NonMaxUsize::get);
        let names = info
            .pattern_names(regex_automata::PatternID::ZERO)
            .enumerate()
            .skip(1);
        let groups = names.map(|(number, name)| {
            let taken = at(number * 2).zip(at(number * 2 + 1));
            let taken = taken.and_then(|(start, end)| path.get(start..end));
            (name.unwrap_or_default(), taken)
        });
        groups.collect()
    }
}

impl ValueRegex {
    pub(crate) fn compile(text: &str) -> Result<Self, RegexError> {
        Ok(Self(Arc::new(compile(text, true)?.0)))
    }

    pub(crate) fn is_match(&self, value: &[u8]) -> bool {
        self.0.is_match(value)
    }
}

fn compile(text: &str, ignore_case: bool) -> Result<(Regex, Hir), RegexError> {
    let syntax = ParserBuilder::new()
        .case_insensitive(ignore_case)
        .build()
        .parse(text)
        .map_err(refused)?;
    let config = meta::Config::new().nfa_size_limit(Some(SIZE_LIMIT));
    let regex = Regex::builder().configure(config).build_from_hir(&syntax);
    Ok((regex.map_err(|_| RegexError::TooLarge)?, syntax))
}

/// Bound: the longest example.
const MAX_EXAMPLE: usize = 4096;

/// Appends an example; false where that gets too long or is no text. Bound: the parser limits how deep syntax nests.
fn spell(syntax: &Hir, path: &mut String) -> bool {
    match syntax.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => match str::from_utf8(&literal.0) {
            Ok(text) => path.push_str(text),
            Err(_) => return false,
        },
        HirKind::Class(Class::Unicode(class)) => {
            let has = |wanted: char| {
                let mut ranges = class.iter();
                ranges.any(|range| (range.start()..=range.end()).contains(&wanted))
            };
            let first = class.iter().next().map(|range| range.start());
            match ['a', '1'].into_iter().find(|wanted| has(*wanted)).or(first) {
                Some(character) => path.push(character),
                None => return false,
            }
        }
        HirKind::Class(Class::Bytes(class)) => match class.iter().next() {
            Some(range) if range.start().is_ascii() => path.push(char::from(range.start())),
            _ => return false,
        },
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                if !spell(&repetition.sub, path) {
                    return false;
                }
            }
        }
        HirKind::Capture(capture) => return spell(&capture.sub, path),
        HirKind::Concat(parts) => return parts.iter().all(|part| spell(part, path)),
        HirKind::Alternation(ways) => return ways.first().is_some_and(|way| spell(way, path)),
    }
    path.len() <= MAX_EXAMPLE
}

fn refused(error: regex_syntax::Error) -> RegexError {
    let (at, reason) = match &error {
        regex_syntax::Error::Parse(error) => (error.span().start.offset, error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (error.span().start.offset, error.kind().to_string()),
        other => (0, other.to_string()),
    };
    RegexError::Syntax {
        at,
        reason: reason.into(),
    }
}
