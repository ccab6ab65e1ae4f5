//! Finds and removes a named value in a request body: a form, multipart or a JSON object.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::{form_without, values_in};

/// How a body is written.
enum Format {
    Form,
    Json,
    Multipart { boundary: String },
}

fn format(headers: &HeaderMap) -> Option<Format> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = content_type.split(';').map(str::trim);
    match parts.next()?.to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => Some(Format::Form),
        "application/json" => Some(Format::Json),
        "multipart/form-data" => {
            let (_, boundary) = parts
                .filter_map(|parameter| parameter.split_once('='))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?;
            let boundary = boundary.trim().trim_matches('"');
            (!boundary.is_empty()).then(|| Format::Multipart {
                boundary: format!("--{boundary}"),
            })
        }
        _ => None,
    }
}

/// The values called `name`.
pub(super) fn values(headers: &HeaderMap, body: &Bytes, name: &str) -> Vec<String> {
    match format(headers) {
        Some(Format::Form) => values_in(body, name).collect(),
        Some(Format::Json) => match serde_json::from_slice::<Value>(body) {
            Ok(Value::Object(mut object)) => match object.remove(name) {
                Some(Value::String(text)) => vec![text],
                Some(value @ (Value::Number(_) | Value::Bool(_))) => vec![value.to_string()],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        },
        Some(Format::Multipart { boundary }) => parts(body, &boundary)
            .into_iter()
            .filter(|part| part.name.as_deref() == Some(name))
            .map(|part| String::from_utf8_lossy(part.content).into_owned())
            .collect(),
        None => Vec::new(),
    }
}

/// The body without the values called `name`; nothing if it cannot be read.
pub(super) fn without(headers: &HeaderMap, body: &Bytes, name: &str) -> Option<Bytes> {
    match format(headers)? {
        Format::Form => form_without(body, name),
        Format::Json => {
            let mut value: Value = serde_json::from_slice(body).ok()?;
            value.as_object_mut()?.remove(name)?;
            serde_json::to_vec(&value).ok().map(Bytes::from)
        }
        Format::Multipart { boundary } => {
            let mut rest = Vec::with_capacity(body.len());
            for part in parts(body, &boundary) {
                if part.name.as_deref() != Some(name) {
                    rest.extend_from_slice(boundary.as_bytes());
                    rest.extend_from_slice(b"\r\n");
                    rest.extend_from_slice(part.whole);
                    rest.extend_from_slice(b"\r\n");
                }
            }
            rest.extend_from_slice(boundary.as_bytes());
            rest.extend_from_slice(b"--\r\n");
            Some(Bytes::from(rest))
        }
    }
}

/// One part of a multipart body, without the line breaks that part it from the boundaries.
struct Part<'a> {
    name: Option<String>,
    content: &'a [u8],
    whole: &'a [u8],
}

fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<Part<'a>> {
    let delimiter = [b"\r\n", boundary.as_bytes()].concat();
    let Some(mut rest) = body.strip_prefix(boundary.as_bytes()) else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    // After a boundary comes a line break and a part, or `--` and the end.
    while let Some(start) = rest.strip_prefix(b"\r\n") {
        let Some(end) = find(start, &delimiter) else { break };
        let (whole, after) = start.split_at(end);
        rest = after.get(delimiter.len()..).unwrap_or_default();
        let Some(blank) = find(whole, b"\r\n\r\n") else {
            continue;
        };
        let (head, content) = whole.split_at(blank);
        parts.push(Part {
            name: part_name(head),
            content: content.get(4..).unwrap_or_default(),
            whole,
        });
    }
    parts
}

/// The `name` of a part's `Content-Disposition`.
fn part_name(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let (_, disposition) = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-disposition"))?;
    let (_, name) = disposition
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("name"))?;
    Some(name.trim().trim_matches('"').to_owned())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
