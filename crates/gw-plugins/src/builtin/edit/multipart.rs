//! The parts of a multipart form as fields that are edited.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::Fields;

/// The parts of a form.
#[derive(Debug)]
pub(crate) struct Multipart<'a> {
    boundary: String,
    parts: Vec<Part<'a>>,
}

#[derive(Debug)]
struct Part<'a> {
    name: Option<String>,
    /// Head and content, without the line breaks that part them from the boundaries.
    whole: Cow<'a, [u8]>,
}

/// The boundary in a form's `Content-Type`, without the dashes before it.
pub(crate) fn boundary(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let parameters = content_type
        .split(';')
        .filter_map(|parameter| parameter.split_once('='));
    let mut named = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let boundary = named.next()?.1.trim().trim_matches('"');
    (!boundary.is_empty()).then(|| boundary.to_owned())
}

impl<'a> Multipart<'a> {
    /// Reads a body; none if it is no form of this boundary. An empty body is a form without parts.
    pub(crate) fn read(body: &'a [u8], boundary: String) -> Option<Self> {
        if body.is_empty() {
            return Some(Self {
                boundary,
                parts: Vec::new(),
            });
        }
        let dashes = format!("--{boundary}");
        let delimiter = [b"\r\n", dashes.as_bytes()].concat();
        let mut rest = match body.strip_prefix(dashes.as_bytes()) {
            Some(rest) => rest,
            // What comes before the first boundary is no part.
            None => body.get(find(body, &delimiter)? + delimiter.len()..)?,
        };
        let mut parts = Vec::new();
        // After a boundary comes a line break and a part, or `--` and the end.
        while let Some(start) = rest.strip_prefix(b"\r\n") {
            let end = find(start, &delimiter)?;
            let (whole, after) = start.split_at(end);
            rest = after.get(delimiter.len()..).unwrap_or_default();
            let head = find(whole, b"\r\n\r\n").and_then(|blank| whole.get(..blank));
            parts.push(Part {
                name: head.and_then(part_name),
                whole: Cow::Borrowed(whole),
            });
        }
        rest.starts_with(b"--").then_some(Self { boundary, parts })
    }

    /// Writes the form.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for part in &self.parts {
            body.extend_from_slice(b"--");
            body.extend_from_slice(self.boundary.as_bytes());
            body.extend_from_slice(b"\r\n");
            body.extend_from_slice(&part.whole);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--");
        body.extend_from_slice(self.boundary.as_bytes());
        body.extend_from_slice(b"--\r\n");
        body
    }
}

impl<'a> Part<'a> {
    fn is(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    fn new(name: &str, value: &str) -> Self {
        let whole = format!(
            "Content-Disposition: form-data; name=\"{}\"\r\n\r\n{value}",
            quoted(name)
        );
        Self {
            name: Some(name.to_owned()),
            whole: Cow::Owned(whole.into_bytes()),
        }
    }

    /// The same part by another name: its file name and type stay.
    fn renamed(&mut self, new: &str) {
        let Some(old) = self.name.replace(new.to_owned()) else {
            return;
        };
        for written in [format!("name=\"{old}\""), format!("name={old}")] {
            let mut from = 0;
            while let Some(found) = self
                .whole
                .get(from..)
                .and_then(|rest| find(rest, written.as_bytes()))
            {
                let (start, end) = (from + found, from + found + written.len());
                let before = start.checked_sub(1).and_then(|before| self.whole.get(before));
                // Not the end of `filename`.
                if before.is_some_and(|byte| matches!(byte, b' ' | b';' | b'\t')) {
                    let name = format!("name=\"{}\"", quoted(new));
                    self.whole.to_mut().splice(start..end, name.into_bytes());
                    return;
                }
                from = end;
            }
        }
    }
}

impl Fields for Multipart<'_> {
    type Name = Box<str>;
    type Value = String;

    fn has(&self, name: &Box<str>) -> bool {
        self.parts.iter().any(|part| part.is(name))
    }

    fn remove(&mut self, name: &Box<str>) {
        self.parts.retain(|part| !part.is(name));
    }

    fn rename(&mut self, old: &Box<str>, new: &Box<str>) {
        if old == new {
            return;
        }
        self.remove(new);
        for part in self.parts.iter_mut().filter(|part| part.is(old)) {
            part.renamed(new);
        }
    }

    fn set(&mut self, name: &Box<str>, value: String) {
        let place = self.parts.iter().position(|part| part.is(name));
        let place = place.unwrap_or(self.parts.len());
        self.remove(name);
        self.parts
            .insert(place.min(self.parts.len()), Part::new(name, &value));
    }

    fn append(&mut self, name: &Box<str>, value: String) {
        self.parts.push(Part::new(name, &value));
    }
}

/// The `name` of a part's `Content-Disposition`.
fn part_name(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let (_, disposition) = lines
        .into_iter()
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))?;
    let mut parameters = disposition
        .split(';')
        .filter_map(|parameter| parameter.split_once('='));
    let (_, name) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("name"))?;
    Some(name.trim().trim_matches('"').to_owned())
}

/// A name between quotes, as browsers write it.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
