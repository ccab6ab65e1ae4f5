//! What a request must look like for a rule's value to be found.

use http::{HeaderMap, HeaderName, Method};

use crate::{
    host::HostPattern,
    pattern::{Pattern, PatternError},
    regex::{RegexError, ValueRegex},
};

/// Paths, hosts, methods, headers and server names, of which each that is given must match, and the rule's rank.
///
/// Of several paths (hosts, methods, server names) one must match; every header rule must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Rule {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) methods: Vec<Method>,
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) headers: Vec<HeaderRule>,
    pub(crate) snis: Vec<HostPattern>,
    pub(crate) priority: i64,
    pub(crate) regex_priority: i64,
    pub(crate) age: u64,
}

/// A header and the values of which it must have one.
#[derive(Clone, Debug)]
pub struct HeaderRule {
    name: HeaderName,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    OneOf(Box<[Box<str>]>),
    Regex { text: Box<str>, regex: ValueRegex },
}

impl Rule {
    /// A rule that every request matches.
    pub fn any() -> Self {
        Self::default()
    }

    /// A rule for one path, written as [`Pattern::parse`] reads it.
    ///
    /// # Errors
    /// When the text is not a pattern.
    pub fn path(pattern: &str) -> Result<Self, PatternError> {
        Ok(Self::any().pattern(Pattern::parse(pattern)?))
    }

    /// Adds a path. A rule without paths matches any.
    pub fn pattern(mut self, pattern: Pattern) -> Self {
        self.patterns.push(pattern);
        self
    }

    /// Adds a method. A rule without methods matches any.
    pub fn method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }

    /// Adds a host. A rule without hosts matches any, and requests that name none.
    pub fn host(mut self, host: HostPattern) -> Self {
        self.hosts.push(host);
        self
    }

    /// Adds a condition on a header.
    pub fn header(mut self, header: HeaderRule) -> Self {
        self.headers.push(header);
        self
    }

    /// Adds a server name of the TLS handshake; a port in it has no meaning.
    pub fn sni(mut self, sni: HostPattern) -> Self {
        self.snis.push(sni);
        self
    }

    /// Sets the explicit priority; larger wins. It is 0 unless set.
    pub fn priority(mut self, priority: i64) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the rank among regular expressions, for [`Profile::Kong`](crate::Profile::Kong); larger wins.
    pub fn regex_priority(mut self, priority: i64) -> Self {
        self.regex_priority = priority;
        self
    }

    /// Sets when the rule came to be, for [`Profile::Kong`](crate::Profile::Kong); smaller wins.
    pub fn age(mut self, created: u64) -> Self {
        self.age = created;
        self
    }
}

impl HeaderRule {
    /// The header must have one of these values, compared ignoring case. Without values it must only be there.
    pub fn new(name: HeaderName, values: &[&str]) -> Self {
        Self {
            name,
            values: Values::OneOf(values.iter().map(|value| (*value).into()).collect()),
        }
    }

    /// The header must have a value in which this expression matches somewhere, ignoring case.
    ///
    /// # Errors
    /// When the expression does not compile.
    pub fn regex(name: HeaderName, expression: &str) -> Result<Self, RegexError> {
        let regex = ValueRegex::compile(expression)?;
        Ok(Self {
            name,
            values: Values::Regex {
                text: expression.into(),
                regex,
            },
        })
    }

    /// Reads one entry of Kong's `headers`: a single value that begins with `~*` is an expression.
    ///
    /// # Errors
    /// When the expression does not compile.
    pub fn kong(name: HeaderName, values: &[&str]) -> Result<Self, RegexError> {
        if let [value] = values
            && let Some(expression) = value.strip_prefix("~*")
        {
            return Self::regex(name, expression);
        }
        Ok(Self::new(name, values))
    }

    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let mut found = headers.get_all(&self.name).iter();
        match &self.values {
            Values::OneOf(values) if values.is_empty() => found.next().is_some(),
            Values::OneOf(values) => found.any(|found| {
                values
                    .iter()
                    .any(|value| found.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
            }),
            Values::Regex { regex, .. } => found.any(|found| regex.is_match(found.as_bytes())),
        }
    }
}

impl PartialEq for HeaderRule {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.values, &other.values) {
            (Values::OneOf(one), Values::OneOf(two)) => one == two,
            (Values::Regex { text: one, .. }, Values::Regex { text: two, .. }) => one == two,
            _ => false,
        };
        same && self.name == other.name
    }
}

impl Eq for HeaderRule {}
