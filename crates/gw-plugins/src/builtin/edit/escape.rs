//! Percent-encoding of what goes into paths, queries and headers.

use std::borrow::Cow;
use std::fmt::Write;

/// A text as a path: what no path can hold is encoded; what is encoded stays as it is.
pub(crate) fn path(text: &str) -> Cow<'_, str> {
    escaped(text, |byte| is_path(byte) || byte == b'%')
}

/// A text as one piece of a path or query: whatever has a meaning there is encoded, `%` too.
pub(crate) fn piece(text: &str) -> Cow<'_, str> {
    escaped(text, |byte| {
        byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
    })
}

/// A text within a path: as [`path`], but a `%` is one too.
pub(crate) fn within_path(text: &str) -> Cow<'_, str> {
    escaped(text, is_path)
}

/// A text as a query: what no query can hold is encoded; what is encoded stays as it is.
pub(crate) fn query(text: &str) -> Cow<'_, str> {
    escaped(text, |byte| is_path(byte) || b"%?[]".contains(&byte))
}

/// Bytes as a header's value: control characters, which no header can hold, are encoded.
pub(crate) fn header(value: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |byte: u8| (byte >= b' ' && byte != 0x7f) || byte == b'\t';
    if value.iter().all(|byte| is_plain(*byte)) {
        return Cow::Borrowed(value);
    }
    let mut made = Vec::with_capacity(value.len() + 8);
    for byte in value {
        match is_plain(*byte) {
            true => made.push(*byte),
            false => made.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    Cow::Owned(made)
}

fn is_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

fn escaped(text: &str, stays: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if text.bytes().all(&stays) {
        return Cow::Borrowed(text);
    }
    let mut made = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match stays(byte) {
            true => made.push(char::from(byte)),
            false => write!(made, "%{byte:02X}").expect("a text takes all"),
        }
    }
    Cow::Owned(made)
}
