//! Conditions on headers, query arguments and cookies.

use std::fmt;

use http::HeaderName;

mod cookie;
mod facts;
mod query;
mod relation;
mod source;
mod text;
mod value_regex;
mod values;

pub(crate) use text::Text;
pub(crate) use value_regex::TextRegex;
pub(crate) use values::OneOf;

pub use facts::{Facts, VariableValue, Variables};
pub use source::{Equality, Occurrence, Source};

use crate::regex::RegexError;

/// What a header, a query argument or a cookie of the request must be.
///
/// Values are compared with their case, unless [`Subject::ignore_case`] is called. Of several values of a header any
/// may match; of an argument or cookie that is given several times, the first counts, unless
/// [`Subject::any_occurrence`] is called. Query arguments are decoded once (`%20` and `+`), names and values.
///
/// Checking takes time linear in the length of the query string, or of the cookies, or in the number of headers of
/// that name, and allocates nothing, save for a regular expression on an argument with escapes of more than 256 bytes.
///
/// ```
/// use gw_router::{Condition, Facts};
///
/// let condition = Condition::query("name").one_of(["jack", "jill o'hara"]);
/// assert!(condition.admits(&Facts::new().query("a=b&name=jill+o%27hara")));
/// assert!(!condition.admits(&Facts::new().query("name=Jack")));
/// assert!(!condition.admits(&Facts::new()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    source: Source,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Present,
    Absent,
    OneOf(OneOf),
    Regex(TextRegex),
}

/// What a [`Condition`] is about: the first half of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Subject {
    source: Source,
    ignore_case: bool,
}

impl Condition {
    /// A condition on a header.
    pub fn header(name: HeaderName) -> Subject {
        Subject::new(Source::Header(name))
    }

    /// A condition on a query argument. Its name is given decoded.
    pub fn query(name: impl Into<Box<str>>) -> Subject {
        Subject::new(Source::Query {
            name: name.into(),
            occurrence: Occurrence::First,
        })
    }

    /// A condition on a cookie.
    pub fn cookie(name: impl Into<Box<str>>) -> Subject {
        Subject::new(Source::Cookie {
            name: name.into(),
            occurrence: Occurrence::First,
        })
    }

    /// Reads one entry of Kong's `headers`: any of the values, ignoring case; without values the header must be
    /// there; a single value that begins with `~*` is a regular expression.
    ///
    /// # Errors
    /// When the expression does not compile.
    pub fn kong(name: HeaderName, values: &[&str]) -> Result<Self, RegexError> {
        let subject = Self::header(name).ignore_case();
        match values {
            [value] if let Some(expression) = value.strip_prefix("~*") => subject.matches(expression),
            _ => Ok(subject.one_of(values.iter().copied())),
        }
    }

    /// What the condition is about.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The values of which one is asked for, if that is what this condition does: an index over many rules can
    /// then take the request's value and tell which of them it admits.
    pub fn equality(&self) -> Option<Equality<'_>> {
        match &self.test {
            Test::OneOf(values) => Some(Equality::new(&self.source, values)),
            Test::Present | Test::Absent | Test::Regex(_) => None,
        }
    }

    /// Whether a request meets the condition. What is not given is absent.
    pub fn admits(&self, facts: &Facts<'_>) -> bool {
        match &self.test {
            Test::Present => self.source.any(facts, |_| true),
            Test::Absent => !self.source.any(facts, |_| true),
            Test::OneOf(values) => self.source.any(facts, |text| values.admits(text)),
            Test::Regex(regex) => self.source.any(facts, |text| regex.admits(text)),
        }
    }

    /// How costly a check is beside that of other conditions: the cheap ones are to be checked first.
    pub fn cost(&self) -> u32 {
        let test = match &self.test {
            Test::Present | Test::Absent => 0,
            Test::OneOf(_) => 1,
            Test::Regex(_) => 8,
        };
        self.source.cost() + test
    }
}

impl Subject {
    fn new(source: Source) -> Self {
        Self {
            source,
            ignore_case: false,
        }
    }

    /// Of an argument or a cookie that is given several times, any may match.
    pub fn any_occurrence(mut self) -> Self {
        match &mut self.source {
            Source::Header(_) => {}
            Source::Query { occurrence, .. } | Source::Cookie { occurrence, .. } => {
                *occurrence = Occurrence::Any;
            }
        }
        self
    }

    /// Values are compared ignoring the case of ASCII letters; regular expressions ignore any case.
    pub fn ignore_case(mut self) -> Self {
        self.ignore_case = true;
        self
    }

    /// It must have this value.
    pub fn equals(self, value: &str) -> Condition {
        self.one_of([value])
    }

    /// It must have one of these values. Without any it must only be there.
    pub fn one_of(self, values: impl IntoIterator<Item: Into<Box<str>>>) -> Condition {
        let values = OneOf::new(values.into_iter().map(Into::into), self.ignore_case);
        let test = if values.is_empty() {
            Test::Present
        } else {
            Test::OneOf(values)
        };
        Condition {
            source: self.source,
            test,
        }
    }

    /// Its value must match this regular expression somewhere.
    ///
    /// # Errors
    /// When the expression does not compile.
    pub fn matches(self, expression: &str) -> Result<Condition, RegexError> {
        Ok(Condition {
            source: self.source,
            test: Test::Regex(TextRegex::compile(expression, self.ignore_case)?),
        })
    }

    /// It must be there, with whatever value.
    pub fn present(self) -> Condition {
        Condition {
            source: self.source,
            test: Test::Present,
        }
    }

    /// It must not be there.
    pub fn absent(self) -> Condition {
        Condition {
            source: self.source,
            test: Test::Absent,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.source)?;
        match &self.test {
            Test::Present => f.write_str("is present"),
            Test::Absent => f.write_str("is absent"),
            Test::OneOf(values) => write!(f, "is {values}"),
            Test::Regex(regex) => write!(f, "matches {regex}"),
        }
    }
}

#[cfg(test)]
mod tests;
