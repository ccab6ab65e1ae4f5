//! Texts with `$variables` and `$1` in them.

use super::super::edit::escape;

/// A text with variables and groups in it.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(Box<str>),
    Variable(Box<str>),
    Group(usize),
}

/// What a text is made for: that decides what must be encoded in a variable's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

impl Template {
    /// Reads a text: `$name`, `${name}`, `$1`; a backslash before the dollar, or a second dollar after it, makes it one.
    pub(super) fn read(source: &str) -> Self {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some((before, after)) = rest.split_once('$') {
            if let Some(before) = before.strip_suffix('\\') {
                text.push_str(before);
                text.push('$');
                rest = after;
                continue;
            }
            text.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                text.push('$');
                rest = after;
                continue;
            }
            let Some((name, following)) = name(after) else {
                text.push('$');
                rest = after;
                continue;
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text).into()));
            }
            parts.push(match name.parse() {
                Ok(group) => Part::Group(group),
                Err(_) => Part::Variable(name.into()),
            });
            rest = following;
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        Self(parts)
    }

    /// The text, if there is nothing in it that depends on a request.
    pub(super) fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it asks for what the route's path took.
    pub(super) fn uses_captures(&self) -> bool {
        let is_capture = |part: &Part| matches!(part, Part::Variable(name) if name.starts_with("uri_param_"));
        self.0.iter().any(is_capture)
    }

    /// The text for a request.
    pub(super) fn fill(
        &self,
        groups: &[String],
        variable: impl Fn(&str) -> Option<String>,
        place: Place,
    ) -> String {
        let mut text = String::new();
        for part in &self.0 {
            text.push_str(&part.fill(groups, &variable, place));
        }
        text
    }

    /// The path and the arguments for a request: a question mark parts them if it is in the text, but not if it is in a value.
    pub(super) fn fill_uri(
        &self,
        groups: &[String],
        variable: impl Fn(&str) -> Option<String>,
    ) -> (String, Option<String>) {
        let (mut path, mut arguments) = (String::new(), None::<String>);
        for part in &self.0 {
            let place = if arguments.is_some() {
                Place::Query
            } else {
                Place::Path
            };
            let text = part.fill(groups, &variable, place);
            match (&mut arguments, part) {
                (Some(arguments), _) => arguments.push_str(&text),
                (None, Part::Text(_)) => match text.split_once('?') {
                    Some((before, after)) => {
                        path.push_str(before);
                        arguments = Some(after.to_owned());
                    }
                    None => path.push_str(&text),
                },
                (None, _) => path.push_str(&text),
            }
        }
        (path, arguments)
    }
}

impl Part {
    fn fill(&self, groups: &[String], variable: &impl Fn(&str) -> Option<String>, place: Place) -> String {
        match self {
            Self::Text(text) => text.to_string(),
            Self::Group(number) => groups.get(*number).cloned().unwrap_or_default(),
            Self::Variable(name) => {
                let value = variable(name).unwrap_or_default();
                match (place, is_encoded(name)) {
                    (Place::Header, _) => value,
                    (Place::Path, true) => escape::path(&value).into_owned(),
                    (Place::Path, false) => escape::within_path(&value).into_owned(),
                    (Place::Query, true) => escape::query(&value).into_owned(),
                    (Place::Query, false) => escape::piece(&value).into_owned(),
                }
            }
        }
    }
}

/// Whether a variable's value is percent-encoded already.
fn is_encoded(name: &str) -> bool {
    ["uri", "request_uri", "args", "query_string"].contains(&name) || name.starts_with("uri_param_")
}

/// The name at the beginning of a text, with or without braces, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some(braced) = text.strip_prefix('{') {
        let (name, following) = braced.split_once('}')?;
        return (!name.is_empty() && name.chars().all(is_part)).then_some((name, following));
    }
    // `$1x` is the first group and an x.
    let is_group = text.starts_with(|first: char| first.is_ascii_digit());
    let ends = |c: char| {
        if is_group {
            !c.is_ascii_digit()
        } else {
            !is_part(c)
        }
    };
    let end = text.find(ends).unwrap_or(text.len());
    (end > 0).then(|| text.split_at_checked(end))?
}
