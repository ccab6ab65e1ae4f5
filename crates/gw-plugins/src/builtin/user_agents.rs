//! Lists of expressions over `User-Agent`, which `bot-detection` and `ua-restriction` share.

use http::header::USER_AGENT;
use regex::bytes::{RegexSet, RegexSetBuilder};

use crate::cx::RequestCx;
use crate::plugin::BuildError;

/// Bound: the compiled size of one list, in bytes.
const SIZE_LIMIT: usize = 10 << 20;

/// Expressions that are asked all at once. What they match is searched for anywhere in a value.
#[derive(Debug)]
pub(super) struct Patterns(RegexSet);

impl Patterns {
    /// Compiles the list of this field; the first that is no expression is named.
    pub(super) fn compile(field: &str, list: &[Box<str>]) -> Result<Self, BuildError> {
        for (position, text) in list.iter().enumerate() {
            set(&[text]).map_err(|error| BuildError::Setting {
                pointer: format!("/{field}/{position}").into(),
                message: format!("not a valid regex: {text} ({})", last_line(&error)).into(),
            })?;
        }
        let compiled = set(list).map_err(|error| BuildError::Setting {
            pointer: format!("/{field}").into(),
            message: format!("the list is too large: {}", last_line(&error)).into(),
        })?;
        Ok(Self(compiled))
    }

    /// Expressions of the program's own.
    pub(super) fn own(list: &[&str]) -> Self {
        Self(set(list).expect("the program's own expressions compile"))
    }

    pub(super) fn match_any(&self, value: &[u8]) -> bool {
        self.0.is_match(value)
    }
}

fn set<S: AsRef<str>>(list: &[S]) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(list)
        .unicode(false)
        .size_limit(SIZE_LIMIT)
        .build()
}

/// What a regex error ends with says what is wrong; the lines before draw where.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned()
}

/// The values of `User-Agent`, without the white space around them.
pub(super) fn user_agents<'c, S>(cx: &'c RequestCx<'_, S>) -> impl Iterator<Item = &'c [u8]> {
    cx.headers()
        .get_all(USER_AGENT)
        .iter()
        .map(|value| value.as_bytes().trim_ascii())
}
