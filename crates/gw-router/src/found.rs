//! What a lookup finds: the value, the parameters, and which part of the rule matched.

use smallvec::SmallVec;

use crate::{
    bytes,
    entry::Entry,
    host::HostPattern,
    pattern::{Pattern, Tail},
    regex::{ABSENT, Span},
    router::RuleId,
};

/// The winning rule's value and how the request matched it.
#[derive(Debug)]
pub struct Found<'r, 'q, T> {
    /// The value inserted with the rule.
    pub value: &'r T,
    id: RuleId,
    pattern: Option<&'r Pattern>,
    host: Option<&'r HostPattern>,
    path: &'q str,
    /// How much of the path counts as matched.
    matched: usize,
    /// One per name of the pattern.
    spans: SmallVec<[Span; 8]>,
}

impl<'r, 'q, T> Found<'r, 'q, T> {
    pub(crate) fn new(entry: &'r Entry<T>, path: &'q str) -> Self {
        let pattern = entry.pattern();
        let mut spans = SmallVec::new();
        let matched = pattern.map_or(0, |pattern| measure(pattern, path, &mut spans));
        let stored = &*entry.stored;
        Self {
            value: &stored.value,
            id: stored.id,
            pattern,
            host: entry.host(),
            path,
            matched,
            spans,
        }
    }

    /// The rule that won.
    pub fn id(&self) -> RuleId {
        self.id
    }

    /// Which of the rule's paths matched; `None` if it has none.
    pub fn pattern(&self) -> Option<&'r Pattern> {
        self.pattern
    }

    /// Which of the rule's hosts matched; `None` if it has none.
    pub fn host(&self) -> Option<&'r HostPattern> {
        self.host
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

    /// The parameters by name, in the order of the pattern. A group that took no part in a match is left out.
    pub fn params(&self) -> impl Iterator<Item = (&'r str, &'q str)> {
        let (path, names) = (self.path, self.pattern.into_iter().flat_map(Pattern::params));
        let values = self
            .spans
            .iter()
            .map(move |(start, end)| path.get(*start as usize..*end as usize));
        names
            .zip(values)
            .filter_map(|(name, value)| value.map(|value| (name, value)))
    }
}

/// Lays the pattern over the path again, now that it is known to match, and returns how much of it that takes.
#[inline]
fn measure(pattern: &Pattern, path: &str, spans: &mut SmallVec<[Span; 8]>) -> usize {
    if let Tail::Regex(regex) = pattern.tail() {
        return regex.capture(path, spans);
    }
    let (gaps, last) = pattern.gaps();
    let mut at = 0;
    for gap in gaps {
        at += *gap as usize;
        let end = at + bytes::segment(path.as_bytes().get(at..).unwrap_or_default());
        spans.push((at as u32, end as u32));
        at = end;
    }
    at += last as usize;
    if let Tail::CatchAll { named, .. } = pattern.tail() {
        if *named {
            spans.push((at as u32, path.len() as u32));
        }
        at = path.len();
    }
    at
}

const _: () = assert!(
    ABSENT.0 > ABSENT.1,
    "an absent span must not be a range of the path"
);
