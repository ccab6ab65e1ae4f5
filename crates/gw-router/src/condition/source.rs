//! Where the values that conditions compare come from.

use std::fmt;

use http::{HeaderName, HeaderValue};

use super::{Facts, OneOf, Text, cookie, query};

/// Bound: where there are more headers, their hashes are asked: a hash of a name takes as long as this many looks, for each
/// of its bytes waits for the one before.
const SCAN: usize = 8;

/// A named part of a request that can have several values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A header: every line of it.
    Header(HeaderName),
    /// An argument in the query string.
    Query {
        /// Its name, decoded.
        name: Box<str>,
        /// Which of several counts.
        occurrence: Occurrence,
    },
    /// A cookie.
    Cookie {
        /// Its name.
        name: Box<str>,
        /// Which of several counts.
        occurrence: Occurrence,
    },
}

/// Which value counts where there are several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Occurrence {
    /// The first.
    #[default]
    First,
    /// Any that meets the condition.
    Any,
}

/// A condition that asks for one of a few values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Equality<'c> {
    /// Where the request's values come from.
    pub source: &'c Source,
    /// The values, sorted, none twice; in lower case if case is ignored.
    pub values: &'c [Box<str>],
    /// Whether the case of ASCII letters is ignored.
    pub ignore_case: bool,
}

impl Source {
    /// Hands out the request's values, decoded, until `visit` returns true; returns whether it did.
    pub fn any_value(&self, facts: &Facts<'_>, mut visit: impl FnMut(&[u8]) -> bool) -> bool {
        self.any(facts, |text| text.with(&mut visit))
    }

    #[inline]
    pub(crate) fn any(&self, facts: &Facts<'_>, mut test: impl FnMut(Text<'_>) -> bool) -> bool {
        match self {
            Self::Header(name) => {
                let Some(headers) = facts.headers else {
                    return false;
                };
                let mut test = |line: &HeaderValue| test(Text::Plain(line.as_bytes()));
                if headers.len() <= SCAN {
                    let mut lines = headers.iter().filter(|(known, _)| *known == name);
                    return lines.any(|(_, line)| test(line));
                }
                // Most headers have one line, which is found for less than an iterator over all.
                match headers.get(name) {
                    None => false,
                    Some(first) => test(first) || headers.get_all(name).iter().skip(1).any(test),
                }
            }
            Self::Query { name, occurrence } => facts
                .query
                .is_some_and(|query| occurrence.any(query::values(query, name.as_bytes()), test)),
            Self::Cookie { name, occurrence } => facts
                .headers
                .is_some_and(|headers| occurrence.any(cookie::values(headers, name.as_bytes()), test)),
        }
    }

    /// Whether all its values count.
    pub(crate) fn is_list(&self) -> bool {
        match self {
            Self::Header(_) => true,
            Self::Query { occurrence, .. } | Self::Cookie { occurrence, .. } => {
                *occurrence == Occurrence::Any
            }
        }
    }

    pub(crate) fn cost(&self) -> u32 {
        match self {
            Self::Header(_) => 2,
            Self::Query { .. } => 3,
            Self::Cookie { .. } => 4,
        }
    }
}

impl Occurrence {
    fn any<'q>(
        self,
        mut values: impl Iterator<Item = Text<'q>>,
        mut test: impl FnMut(Text<'q>) -> bool,
    ) -> bool {
        match self {
            Self::First => values.next().is_some_and(test),
            Self::Any => values.any(&mut test),
        }
    }
}

impl<'c> Equality<'c> {
    pub(crate) fn new(source: &'c Source, values: &'c OneOf) -> Self {
        Self {
            source,
            values: values.as_slice(),
            ignore_case: values.ignores_case(),
        }
    }

    /// A key by which conditions of several rules are put in one order.
    pub(crate) fn order(&self) -> impl Ord + use<'c> {
        let (kind, name): (u8, &'c str) = match self.source {
            Source::Header(name) => (0, name.as_str()),
            Source::Query { name, .. } => (1, name),
            Source::Cookie { name, .. } => (2, name),
        };
        (kind, name, self.ignore_case, self.values)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::Query { name, .. } => write!(f, "query argument `{name}`"),
            Self::Cookie { name, .. } => write!(f, "cookie `{name}`"),
        }
    }
}
