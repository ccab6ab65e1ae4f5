//! What is wrong with a document: where, in Kong's words, and what to write instead.

use std::cmp::Ordering;
use std::fmt;

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer to the offending value, `""` for the document itself: `/config/minute`.
    pub pointer: String,
    /// What is wrong, in Kong's wording where Kong has one.
    pub message: String,
    /// What to write instead, where that can be guessed.
    pub hint: Option<String>,
    /// What kind of rule was broken.
    pub kind: ViolationKind,
}

/// The kind of rule a [`Violation`] broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ViolationKind {
    /// A required field is missing, or null.
    Required,
    /// The field is not in the schema.
    Unknown,
    /// The value has another JSON type.
    Type,
    /// The value is not one of those listed.
    Enum,
    /// A number lies outside its range.
    Range,
    /// A string, array or object is too short or too long.
    Length,
    /// A string does not match its pattern.
    Pattern,
    /// A string does not have its format.
    Format,
    /// Fields contradict each other; each of them may be fine.
    Entity,
    /// The value names something that does not exist, or cannot be named here.
    Reference,
    /// Any other rule.
    Other,
}

impl Violation {
    /// A violation of kind [`ViolationKind::Other`] and without a hint.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
            hint: None,
            kind: ViolationKind::Other,
        }
    }

    /// Sets the kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ViolationKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Moves the violation below `prefix`, a JSON pointer: what was `/minute` becomes `/config/minute`.
    #[must_use]
    pub fn nested(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }

    /// Kong's spelling of the place: `config.minute`, array positions counted from 1, `""` for the document.
    pub fn field(&self) -> String {
        let segments = self
            .pointer
            .split('/')
            .skip(1)
            .map(|segment| match segment.parse::<usize>() {
                Ok(index) => index.saturating_add(1).to_string(),
                Err(_) => segment.replace("~1", "/").replace("~0", "~"),
            });
        segments.collect::<Vec<_>>().join(".")
    }

    fn order(&self, other: &Self) -> Ordering {
        let mut mine = self.pointer.split('/');
        let mut theirs = other.pointer.split('/');
        loop {
            let step = match (mine.next(), theirs.next()) {
                (None, None) => return self.entity_first().cmp(&other.entity_first()),
                (None, Some(_)) => Ordering::Less,
                (Some(_), None) => Ordering::Greater,
                (Some(a), Some(b)) => match (a.parse::<usize>(), b.parse::<usize>()) {
                    (Ok(a), Ok(b)) => a.cmp(&b),
                    _ => a.cmp(b),
                },
            };
            if step.is_ne() {
                return step;
            }
        }
    }

    fn entity_first(&self) -> u8 {
        u8::from(self.kind != ViolationKind::Entity)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.field(), self.message)
    }
}

/// Everything wrong with a document: at least one [`Violation`], in the order of their pointers, those about the
/// document as a whole first.
///
/// Displayed by Kong's rule: `schema violation (host: required field missing)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

#[expect(
    clippy::len_without_is_empty,
    reason = "never empty by construction; the question would mislead"
)]
impl Violations {
    /// Sorts what was found; `None` when nothing was.
    pub fn new(mut found: Vec<Violation>) -> Option<Self> {
        found.sort_by(Violation::order);
        found.dedup();
        (!found.is_empty()).then_some(Self(found))
    }

    /// `Ok` when nothing was found, for callers that collect violations of their own.
    ///
    /// # Errors
    ///
    /// What was found, sorted.
    pub fn none_in(found: Vec<Violation>) -> Result<(), Self> {
        Self::new(found).map_or(Ok(()), Err)
    }

    /// How many there are: at least 1.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The violations in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.0.iter()
    }

    /// The violations in order, to add to and hand back to [`Violations::new`].
    pub fn into_vec(self) -> Vec<Violation> {
        self.0
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        Self(vec![violation])
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Violations {
    type Item = &'a Violation;
    type IntoIter = std::slice::Iter<'a, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "schema violation ({only})"),
            all => {
                write!(f, "{} schema violations (", all.len())?;
                for (i, violation) in all.iter().enumerate() {
                    let separator = if i == 0 { "" } else { "; " };
                    write!(f, "{separator}{violation}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl std::error::Error for Violations {}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(found: &[&str]) -> Vec<String> {
        let found = found
            .iter()
            .map(|pointer| Violation::new(*pointer, "wrong"))
            .collect();
        Violations::new(found)
            .into_iter()
            .flatten()
            .map(|violation| violation.pointer)
            .collect()
    }

    #[test]
    fn order_is_by_segment_and_positions_count_as_numbers() {
        let sorted = ["", "/a", "/a/b", "/a-b", "/list/2", "/list/10", "/z"];
        let mut shuffled = sorted;
        shuffled.reverse();
        assert_eq!(pointers(&shuffled), sorted);
    }

    #[test]
    fn entity_level_comes_before_a_field_of_the_same_place() {
        let found = vec![
            Violation::new("/config", "b").with_kind(ViolationKind::Type),
            Violation::new("/config", "a").with_kind(ViolationKind::Entity),
        ];
        let messages: Vec<_> = Violations::new(found)
            .unwrap()
            .into_iter()
            .map(|v| v.message)
            .collect();
        assert_eq!(messages, ["a", "b"]);
    }

    #[test]
    fn nothing_found_is_no_violations() {
        assert_eq!(Violations::new(Vec::new()), None);
        assert_eq!(Violations::none_in(Vec::new()), Ok(()));
    }

    #[test]
    fn displayed_as_kong_does() {
        let host = Violation::new("/host", "required field missing");
        assert_eq!(
            Violations::from(host.clone()).to_string(),
            "schema violation (host: required field missing)"
        );
        let minute = Violation::new("/minute/0", "expected a number").nested("/config");
        let entity = Violation::new("", "no matcher");
        let all = Violations::new(vec![host, minute, entity]).unwrap();
        assert_eq!(
            all.to_string(),
            "3 schema violations (no matcher; config.minute.1: expected a number; host: required field missing)"
        );
    }

    #[test]
    fn the_same_violation_is_listed_once() {
        assert_eq!(pointers(&["/a", "/a"]), ["/a"]);
    }
}
