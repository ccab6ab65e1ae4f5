//! Which origins may call.

use fancy_regex::{Regex, RegexBuilder};
use http::HeaderValue;

use crate::plugin::BuildError;

/// Bound: steps back that a regular expression with look-around may take.
const MOST_BACKTRACKING: usize = 100_000;

pub(super) enum Origins {
    /// All.
    Any,
    /// One, whoever asks.
    One(HeaderValue),
    /// Those that match.
    Several(Several),
}

pub(super) struct Several {
    /// Whether `*` is among them.
    pub(super) any: bool,
    plain: Vec<Box<str>>,
    patterns: Vec<Pattern>,
}

struct Pattern {
    regex: Regex,
    /// Whether it is held against the host alone.
    by_host: bool,
}

impl Origins {
    pub(super) fn read(texts: &[Box<str>]) -> Result<Self, BuildError> {
        match texts {
            [] => return Ok(Self::Any),
            [one] if **one == *"*" => return Ok(Self::Any),
            [one] if is_plain(one) => {
                let value = HeaderValue::from_str(one).map_err(|_| invalid(0, one, "it is not one"))?;
                return Ok(Self::One(value));
            }
            _ => {}
        }
        let mut several = Several {
            any: false,
            plain: Vec::new(),
            patterns: Vec::new(),
        };
        for (position, text) in texts.iter().enumerate() {
            if **text == *"*" {
                several.any = true;
            } else if is_plain(text) {
                several.plain.push(without_port(text).into());
            } else {
                // Note: Kong holds only the start of the first alternative and the end of the last one. Here the whole
                // origin must match: `https://a\.com|https://b\.com` lets no `https://a.com.evil.net` in.
                let text = text.strip_prefix('^').unwrap_or(text);
                let mut builder = RegexBuilder::new(&format!("^(?:{text})$"));
                let regex = builder.backtrack_limit(MOST_BACKTRACKING).build();
                several.patterns.push(Pattern {
                    regex: regex.map_err(|error| invalid(position, text, &error.to_string()))?,
                    by_host: !text.contains(':'),
                });
            }
        }
        Ok(Self::Several(several))
    }
}

fn invalid(position: usize, text: &str, why: &str) -> BuildError {
    BuildError::Setting {
        pointer: format!("/origins/{position}").into(),
        message: format!("'{text}' is not a valid regex: {why}").into(),
    }
}

impl Several {
    /// The origin as it may be told, if it is one of them.
    pub(super) fn admitted(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let text = origin.to_str().ok()?;
        let bare = without_port(text);
        let is_listed = self.plain.iter().any(|plain| **plain == *bare);
        if !is_listed && !self.patterns.iter().any(|pattern| pattern.matches(bare)) {
            return None;
        }
        match bare.len() == text.len() {
            true => Some(origin.clone()),
            false => HeaderValue::from_str(bare).ok(),
        }
    }
}

impl Pattern {
    fn matches(&self, origin: &str) -> bool {
        let subject = if self.by_host { host(origin) } else { origin };
        self.regex.is_match(subject).unwrap_or_default()
    }
}

/// Whether it is a text, and not a regular expression.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".:/-".contains(&byte))
}

/// An origin without a port that its scheme implies, and without a path.
fn without_port(origin: &str) -> &str {
    let Some((scheme, rest)) = origin.split_once("://") else {
        return origin;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let implied = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return origin.get(..scheme.len() + 3 + authority.len()).unwrap_or(origin),
    };
    let authority = authority.strip_suffix(implied).unwrap_or(authority);
    origin.get(..scheme.len() + 3 + authority.len()).unwrap_or(origin)
}

/// The host of an origin; the whole if it has none (`null`).
fn host(origin: &str) -> &str {
    let Some((_, authority)) = origin.split_once("://") else {
        return origin;
    };
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}
