//! `If-Match` and `If-None-Match`: a request that counts only while something is as its client has seen it.

use std::fmt;

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName};

use crate::problem::Problem;

/// What a request asks of the state of what it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    matches: Option<Tags>,
    matches_none: Option<Tags>,
}

/// What a request is about, as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State<'a> {
    /// It is not there.
    Absent,
    /// It is there, with this tag.
    Tagged(&'a str),
    /// It is a list, which has no tag, and to which something is added.
    Untagged,
}

/// What a condition names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`
    Any,
    These(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    is_weak: bool,
    /// With its quotes.
    text: Box<str>,
}

impl Conditions {
    /// Those of a request's headers.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let joined = |name: HeaderName| {
            let values = headers.get_all(name).iter();
            let texts: Vec<_> = values
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            (!texts.is_empty()).then(|| texts.join(","))
        };
        Self::of(joined(IF_MATCH).as_deref(), joined(IF_NONE_MATCH).as_deref())
    }

    /// Those of the texts that the two headers hold.
    pub(crate) fn of(matches: Option<&str>, matches_none: Option<&str>) -> Result<Self, Problem> {
        let read = |text: Option<&str>| match text.map(Tags::read) {
            Some(None) => Err(Problem::Argument {
                why: "If-Match and If-None-Match hold '*', or ETags as they were answered, in quotes, separated by commas",
            }),
            Some(tags) => Ok(tags),
            None => Ok(None),
        };
        Ok(Self {
            matches: read(matches)?,
            matches_none: read(matches_none)?,
        })
    }

    /// Refuses unless what the request is about is as it says.
    pub(crate) fn check(&self, state: State<'_>) -> Result<(), Problem> {
        let unmet = |condition, wanted: &Tags| Problem::Unmet {
            condition,
            wanted: wanted.to_string(),
            state: match state {
                State::Tagged(tag) => Some(tag.to_owned()),
                State::Absent | State::Untagged => None,
            },
            is_list: state == State::Untagged,
        };
        if let Some(wanted) = &self.matches {
            let holds = match (wanted, state) {
                (Tags::Any, state) => state != State::Absent,
                (Tags::These(tags), State::Tagged(now)) => {
                    tags.iter().any(|tag| !tag.is_weak && &*tag.text == now)
                }
                (Tags::These(_), State::Absent | State::Untagged) => false,
            };
            if !holds {
                return Err(unmet("If-Match", wanted));
            }
        }
        if let (Some(unwanted), State::Tagged(now)) = (&self.matches_none, state)
            && unwanted.names(now)
        {
            return Err(unmet("If-None-Match", unwanted));
        }
        Ok(())
    }

    /// Whether a client that reads has what it would be answered.
    pub(crate) fn has(&self, now: &str) -> bool {
        self.matches_none.as_ref().is_some_and(|tags| tags.names(now))
    }
}

impl Tags {
    /// None if the text is no list of tags.
    fn read(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text.trim_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            let (is_weak, quoted) = match rest.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, rest),
            };
            let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
            tags.push(Tag {
                is_weak,
                text: format!("\"{tag}\"").into(),
            });
            let next = after.trim_start_matches([' ', '\t']);
            if !next.is_empty() && !next.starts_with(',') {
                return None;
            }
            rest = next.trim_start_matches([' ', '\t', ',']);
        }
        (!tags.is_empty()).then_some(Self::These(tags))
    }

    /// Whether a tag is one of these, be it only in what it means.
    fn names(&self, now: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|tag| &*tag.text == now),
        }
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::These(tags) = self else {
            return f.write_str("*");
        };
        for (position, tag) in tags.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            let weak = if tag.is_weak { "W/" } else { "" };
            write!(f, "{comma}{weak}{}", tag.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(matches: Option<&str>, matches_none: Option<&str>, state: State<'_>, holds: bool) {
        let conditions = Conditions::of(matches, matches_none).unwrap();
        assert_eq!(
            conditions.check(state).is_ok(),
            holds,
            "{matches:?} {matches_none:?} {state:?}"
        );
    }

    #[test]
    fn a_condition_holds_or_not() {
        let here = State::Tagged("\"a-1-2\"");
        for (matches, state, holds) in [
            ("*", here, true),
            ("*", State::Absent, false),
            ("*", State::Untagged, true),
            ("\"a-1-2\"", here, true),
            ("\"a-1-1\", \"a-1-2\"", here, true),
            (" , \"a-1-2\" ,", here, true),
            ("\"a-1-1\"", here, false),
            ("W/\"a-1-2\"", here, false),
            ("\"a-1-2\"", State::Absent, false),
            ("\"a-1-2\"", State::Untagged, false),
            ("\"\"", here, false),
        ] {
            check(Some(matches), None, state, holds);
        }
        for (matches_none, state, holds) in [
            ("*", here, false),
            ("*", State::Absent, true),
            ("*", State::Untagged, true),
            ("\"a-1-2\"", here, false),
            ("W/\"a-1-2\"", here, false),
            ("\"a-1-1\"", here, true),
        ] {
            check(None, Some(matches_none), state, holds);
        }
        check(Some("\"a-1-2\""), Some("*"), here, false);
        check(None, None, State::Absent, true);
    }

    #[test]
    fn what_is_no_condition_is_refused_and_not_ignored() {
        for text in [
            "",
            "a-1-2",
            "12",
            "\"a",
            "\"a\" \"b\"",
            "w/\"a\"",
            "*, \"a\"",
            ",",
        ] {
            assert!(Conditions::of(Some(text), None).is_err(), "{text}");
            assert!(Conditions::of(None, Some(text)).is_err(), "{text}");
        }
    }
}
