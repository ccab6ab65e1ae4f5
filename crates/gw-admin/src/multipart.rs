//! `multipart/form-data`: the named texts of a body, in order.

use memchr::memmem;

use crate::form::MAX_ARGUMENTS;

/// Bound: bytes of the headers of one part.
const MAX_HEAD: usize = 8 * 1024;

/// Why a body is not `multipart/form-data`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MultipartError {
    #[error("Cannot parse multipart body: 'Content-Type' names no boundary")]
    NoBoundary,
    #[error("Cannot parse multipart body: it does not begin with its boundary")]
    NoStart,
    #[error("Cannot parse multipart body: it ends before its closing boundary")]
    Unclosed,
    #[error(
        "Cannot parse multipart body: part {position} has no 'Content-Disposition: form-data' with a name"
    )]
    Nameless { position: usize },
    #[error("Cannot parse multipart body: '{name}' is not UTF-8 text")]
    NotText { name: Box<str> },
    #[error("Too many arguments")]
    TooManyParts,
}

/// The boundary that a content type names.
pub(crate) fn boundary(content_type: &str) -> Result<String, MultipartError> {
    let boundary = parameter(content_type, "boundary").filter(|boundary| (1..=70).contains(&boundary.len()));
    boundary.ok_or(MultipartError::NoBoundary)
}

/// The names and texts of a body's parts. File names and types of parts mean nothing to a document.
pub(crate) fn pairs(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, MultipartError> {
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = match body.strip_prefix(delimiter.trim_start().as_bytes()) {
        Some(rest) => rest,
        // What stands before the first boundary is not part of the form.
        None => {
            after(body, delimiter.as_bytes())
                .ok_or(MultipartError::NoStart)?
                .1
        }
    };
    let mut pairs = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(pairs);
        }
        let position = pairs.len() + 1;
        if position > MAX_ARGUMENTS {
            return Err(MultipartError::TooManyParts);
        }
        // Blanks may follow a boundary, then the line ends.
        let (blanks, part) = after(rest, b"\r\n").ok_or(MultipartError::Unclosed)?;
        if !blanks.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(MultipartError::Unclosed);
        }
        let (part, next) = after(part, delimiter.as_bytes()).ok_or(MultipartError::Unclosed)?;
        let (head, content) = match part.strip_prefix(b"\r\n") {
            Some(content) => (&b""[..], content),
            None => after(part, b"\r\n\r\n").ok_or(MultipartError::Nameless { position })?,
        };
        let name = name(head).ok_or(MultipartError::Nameless { position })?;
        let text = std::str::from_utf8(content).map_err(|_| MultipartError::NotText {
            name: name.as_str().into(),
        })?;
        pairs.push((name, text.to_owned()));
        rest = next;
    }
}

/// What stands before and behind the first `needle`.
fn after<'b>(text: &'b [u8], needle: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = memmem::find(text, needle)?;
    Some((text.get(..at)?, text.get(at + needle.len()..)?))
}

/// The name that the headers of a part give it.
fn name(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head)
        .ok()
        .filter(|head| head.len() <= MAX_HEAD)?;
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then(|| value.trim())
    })?;
    let kind = disposition.split(';').next()?.trim();
    if !kind.eq_ignore_ascii_case("form-data") {
        return None;
    }
    parameter(disposition, "name")
}

/// A parameter of a header value: `; name=token` or `; name="quoted \" text"`.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, behind) = rest.split_once('=')?;
        let (text, behind) = match behind.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (token, behind) = behind.split_once(';').unwrap_or((behind, ""));
                (token.trim().to_owned(), behind)
            }
        };
        if name
            .trim()
            .trim_start_matches(';')
            .trim()
            .eq_ignore_ascii_case(wanted)
        {
            return Some(text);
        }
        rest = behind;
    }
}

/// The text up to the closing quote, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut read = String::new();
    let mut letters = text.chars();
    loop {
        match letters.next()? {
            '"' => return Some((read, letters.as_str())),
            '\\' => read.push(letters.next()?),
            letter => read.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<&[(&str, &str)], MultipartError>) {
        let found = pairs(body.as_bytes(), "XX");
        let expected = expected.map(|pairs| {
            let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
            pairs.iter().map(owned).collect::<Vec<_>>()
        });
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn parts_become_pairs() {
        check("--XX--\r\n", Ok(&[]));
        check(
            "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--XX--",
            Ok(&[("a", "1")]),
        );
        check(
            "preamble\r\n--XX \r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION: Form-Data; filename=\"x;name=y\"; name=paths[]\r\n\r\n/a\r\n\r\n--X\r\n--XX\r\nContent-Disposition: form-data; name=\"q\\\"\"\r\n\r\n\r\n--XX--\r\nepilogue",
            Ok(&[("paths[]", "/a\r\n\r\n--X"), ("q\"", "")]),
        );
    }

    #[test]
    fn what_is_no_form_is_refused() {
        check("", Err(MultipartError::NoStart));
        check("a=b", Err(MultipartError::NoStart));
        check("--XX\r\n", Err(MultipartError::Unclosed));
        check("--XXY\r\n\r\n\r\n--XX--", Err(MultipartError::Unclosed));
        check(
            "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n",
            Err(MultipartError::Unclosed),
        );
        let nameless = Err(MultipartError::Nameless { position: 1 });
        check("--XX\r\n\r\n1\r\n--XX--", nameless.clone());
        check(
            "--XX\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--XX--",
            nameless.clone(),
        );
        check(
            "--XX\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--XX--",
            nameless,
        );
        let many = "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".repeat(MAX_ARGUMENTS + 1);
        check(&format!("{many}--XX--"), Err(MultipartError::TooManyParts));
        let mut bytes = b"--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n".to_vec();
        bytes.extend(b"\xff\r\n--XX--");
        assert_eq!(
            pairs(&bytes, "XX"),
            Err(MultipartError::NotText { name: "a".into() })
        );
    }

    #[test]
    fn boundaries() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=XX", Ok("XX")),
            ("multipart/form-data; charset=utf-8; Boundary=\"a b\"", Ok("a b")),
            ("multipart/form-data", Err(MultipartError::NoBoundary)),
            ("multipart/form-data; boundary=", Err(MultipartError::NoBoundary)),
            (
                "multipart/form-data; xboundary=a",
                Err(MultipartError::NoBoundary),
            ),
        ] {
            assert_eq!(
                boundary(content_type),
                expected.map(str::to_owned),
                "{content_type}"
            );
        }
    }
}
