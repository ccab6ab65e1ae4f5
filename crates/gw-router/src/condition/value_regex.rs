//! A regular expression over values, with or without regard to case.

use std::fmt;

use super::Text;
use crate::regex::{RegexError, ValueRegex};

/// Equal to another one of the same text.
#[derive(Clone, Debug)]
pub(crate) struct TextRegex {
    text: Box<str>,
    ignore_case: bool,
    regex: ValueRegex,
}

/// Note: expressions over values ignore case; this in front of one turns that off.
const WITH_CASE: &str = "(?-i)";

impl TextRegex {
    pub(crate) fn compile(text: &str, ignore_case: bool) -> Result<Self, RegexError> {
        let regex = if ignore_case {
            ValueRegex::compile(text)?
        } else {
            ValueRegex::compile(&format!("{WITH_CASE}{text}")).map_err(|error| match error {
                RegexError::Syntax { at, reason } => RegexError::Syntax {
                    at: at.saturating_sub(WITH_CASE.len()),
                    reason,
                },
                RegexError::TooLarge => RegexError::TooLarge,
            })?
        };
        Ok(Self {
            text: text.into(),
            ignore_case,
            regex,
        })
    }

    pub(crate) fn admits(&self, text: Text<'_>) -> bool {
        text.with(|value| self.regex.is_match(value))
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn ignores_case(&self) -> bool {
        self.ignore_case
    }
}

impl PartialEq for TextRegex {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.ignore_case) == (&other.text, other.ignore_case)
    }
}

impl Eq for TextRegex {}

impl fmt::Display for TextRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = if self.ignore_case { " in any case" } else { "" };
        write!(f, "`{}`{case}", self.text)
    }
}
