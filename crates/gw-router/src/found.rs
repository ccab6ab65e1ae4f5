//! What a lookup finds: the value, the parameters, and which part of the rule matched.

use std::fmt;

use crate::{
    entry::Entry,
    host::HostPattern,
    pattern::Pattern,
    router::RuleId,
    spans::{Span, Spans},
};

/// The winning rule's value and how the request matched it.
pub struct Found<'r, 'q, T> {
    /// The value inserted with the rule.
    pub value: &'r T,
    entry: &'r Entry<T>,
    path: &'q str,
    /// How much of the path counts as matched.
    matched: usize,
    /// One per wildcard of the pattern.
    spans: Spans,
}

impl<'r, 'q, T> Found<'r, 'q, T> {
    /// An entry that matched up to `at` of the path, where its tail begins.
    #[inline(always)]
    pub(crate) fn new(entry: &'r Entry<T>, path: &'q str, at: usize, spans: Spans) -> Self {
        Self {
            value: &entry.stored.value,
            entry,
            path,
            matched: at,
            spans,
        }
    }

    /// As [`Self::new`], for an entry whose tail may match more.
    #[inline(never)]
    pub(crate) fn to_the_end(entry: &'r Entry<T>, path: &'q str, at: usize, spans: Spans) -> Self {
        let mut found = Self::new(entry, path, at, spans);
        found.go_on();
        found
    }

    /// Takes in what the tail of the pattern matches.
    fn go_on(&mut self) {
        if self.entry.takes_whole() {
            self.spans.push(Span::new(self.matched, self.path.len()));
            self.matched = self.path.len();
        } else if self.entry.is_regex() {
            self.capture();
        }
    }

    #[inline(never)]
    fn capture(&mut self) {
        let regex = self.entry.pattern().and_then(Pattern::regex);
        self.matched = regex.map_or(0, |regex| regex.capture(self.path, &mut self.spans));
    }

    /// The rule that won.
    pub fn id(&self) -> RuleId {
        self.entry.stored.id
    }

    /// Which of the rule's paths matched; `None` if it has none.
    pub fn pattern(&self) -> Option<&'r Pattern> {
        self.entry.pattern()
    }

    /// Which of the rule's hosts matched; `None` if it has none.
    pub fn host(&self) -> Option<&'r HostPattern> {
        self.entry.host()
    }

    /// The part of the path that the pattern stands for: of a raw prefix the prefix, of a regular expression what it
    /// matched, of a rule without paths nothing, else the whole path. Kong's `strip_path` removes exactly this.
    pub fn matched_path(&self) -> &'q str {
        self.path.get(..self.matched).unwrap_or(self.path)
    }

    /// The value of a parameter, as it stands in the path.
    pub fn param(&self, name: &str) -> Option<&'q str> {
        self.params()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// What the wildcards of the pattern, or all groups of its regular expression, took, in their order, each with its name, which is
    /// empty if it has none. What took no part in a match has no value.
    ///
    /// It allocates, and matches a regular expression once more: O(length of pattern and path).
    pub fn captures(&self) -> Vec<(&'r str, Option<&'q str>)> {
        let path = self.path;
        match self.pattern().and_then(Pattern::regex) {
            Some(regex) => regex.groups(path),
            None => self.wildcards().collect(),
        }
    }

    /// The parameters by name, in the order of the pattern. A group that took no part in a match is left out.
    ///
    /// Names are read from the pattern's text: O(its length).
    pub fn params(&self) -> impl Iterator<Item = (&'r str, &'q str)> {
        self.wildcards()
            .filter(|(name, _)| !name.is_empty())
            .filter_map(|(name, value)| value.map(|value| (name, value)))
    }

    fn wildcards(&self) -> impl Iterator<Item = (&'r str, Option<&'q str>)> {
        let path = self.path;
        let names = self.pattern().into_iter().flat_map(Pattern::wildcards);
        names.zip(self.spans.iter().map(move |span| span.of(path)))
    }
}

impl<T: fmt::Debug> fmt::Debug for Found<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("value", self.value)
            .field("id", &self.id())
            .field("pattern", &self.pattern())
            .field("host", &self.host())
            .field("params", &self.params().collect::<Vec<_>>())
            .finish()
    }
}
