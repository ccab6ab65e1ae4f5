//! What a request makes its answer depend on, held against a response that is kept (RFC 9110, section 13).

use http::header::{
    ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE,
};

use super::control::date;
use crate::cache::Stored;

/// What a client has already and wants only if it has changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    tags: Vec<HeaderValue>,
    since: Option<HeaderValue>,
}

/// Whether only the upstream can answer it.
pub(super) fn is_for_the_upstream(headers: &HeaderMap) -> bool {
    [RANGE, IF_RANGE, IF_MATCH, IF_UNMODIFIED_SINCE]
        .iter()
        .any(|name| headers.contains_key(name))
}

/// Asks the upstream for the response only if the kept one does not hold any more.
pub(super) fn validate(headers: &mut HeaderMap, stored: &Stored) {
    headers.remove(IF_NONE_MATCH);
    headers.remove(IF_MODIFIED_SINCE);
    if let Some(tag) = stored.headers.get(ETAG) {
        headers.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = stored.headers.get(LAST_MODIFIED) {
        headers.insert(IF_MODIFIED_SINCE, modified.clone());
    }
}

impl Held {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            tags: headers.get_all(IF_NONE_MATCH).iter().cloned().collect(),
            since: headers.get(IF_MODIFIED_SINCE).cloned(),
        }
    }

    /// Whether the client has it already.
    pub(super) fn has(&self, stored: &Stored) -> bool {
        if !self.tags.is_empty() {
            let Some(tag) = stored.headers.get(ETAG) else {
                return self.tags.iter().any(|tags| tags.as_bytes().trim_ascii() == b"*");
            };
            return self
                .tags
                .iter()
                .any(|tags| names(tags.as_bytes(), tag.as_bytes()));
        }
        match (date(self.since.as_ref()), date(stored.headers.get(LAST_MODIFIED))) {
            (Some(since), Some(modified)) => modified <= since,
            _ => false,
        }
    }
}

/// Whether a list of entity tags names this one, by the weak comparison.
fn names(list: &[u8], tag: &[u8]) -> bool {
    let tag = opaque(tag);
    let mut quoted = false;
    let mut tags = list.split(|byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    tags.any(|one| one.trim_ascii() == b"*" || opaque(one.trim_ascii()) == tag)
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        for (list, tag, named) in [
            (r#""a""#, r#""a""#, true),
            (r#"W/"a""#, r#""a""#, true),
            (r#""a""#, r#"W/"a""#, true),
            (r#""x", "a,b" , "c""#, r#""a,b""#, true),
            (r#""x""#, r#""a""#, false),
            ("*", r#""a""#, true),
            (r#""*""#, r#""a""#, false),
        ] {
            assert_eq!(names(list.as_bytes(), tag.as_bytes()), named, "{list} {tag}");
        }
    }
}
