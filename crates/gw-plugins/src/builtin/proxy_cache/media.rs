//! Media types, as Kong compares them: type, subtype and parameters alike, `*` for any.

/// A media type, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    kind: Box<str>,
    subtype: Box<str>,
    /// Sorted.
    parameters: Vec<(Box<str>, Box<str>)>,
}

impl Media {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let (kind, subtype) = parts.next()?.trim().split_once('/')?;
        if kind.is_empty() || subtype.is_empty() {
            return None;
        }
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = name.trim().to_ascii_lowercase();
            let value = value.trim().trim_matches('"').to_ascii_lowercase();
            (!name.is_empty()).then(|| (name.into(), value.into()))
        };
        let mut parameters: Vec<_> = parts.filter_map(parameter).collect();
        parameters.sort();
        Some(Self {
            kind: kind.trim().to_ascii_lowercase().into(),
            subtype: subtype.trim().to_ascii_lowercase().into(),
            parameters,
        })
    }

    /// Whether `other` is of this range.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let kind = self.is_any(&self.kind) && self.is_any(&self.subtype) || self.kind == other.kind;
        let subtype = self.is_any(&self.subtype) || self.subtype == other.subtype;
        kind && subtype && self.parameters == other.parameters
    }

    fn is_any(&self, part: &str) -> bool {
        part == "*"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_compared_with_their_parameters() {
        for (range, kind, covers) in [
            ("application/json", "application/json", true),
            ("application/json", "Application/JSON ", true),
            ("application/json", "application/json; charset=utf-8", false),
            (
                "application/json;charset=UTF-8",
                "application/json; Charset=\"utf-8\"",
                true,
            ),
            ("text/*", "text/css", true),
            ("text/*", "application/css", false),
            ("*/*", "image/png", true),
            ("*/*", "image/png; x=1", false),
            ("*/*; x=1", "image/png; x=1", true),
            ("a/b; x=1; y=2", "a/b;y=2;x=1", true),
        ] {
            let (range, kind) = (Media::parse(range).unwrap(), Media::parse(kind).unwrap());
            assert_eq!(range.covers(&kind), covers, "{range:?} {kind:?}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_none() {
        for text in ["", "json", "/json", "text/", ";"] {
            assert_eq!(Media::parse(text), None, "{text}");
        }
    }
}
