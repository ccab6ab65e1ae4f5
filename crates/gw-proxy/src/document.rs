//! The gateway's own documents: a message and the request's id, in the format the client prefers.

use std::fmt;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

/// The gateway's own document around a message, in the format the client prefers.
pub(crate) fn document(
    status: StatusCode,
    message: &str,
    accept: Option<&HeaderValue>,
    request_id: &str,
) -> Response<Bytes> {
    let format = accept.map_or(Format::Json, Format::accepted);
    let mut response = Response::new(format.write(message, request_id));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response
}

/// The formats an error document comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Plain,
    Html,
    Xml,
}

impl Format {
    /// The format with the highest weight in an `Accept` header; JSON if it names none of ours.
    fn accepted(accept: &HeaderValue) -> Self {
        let text = accept.to_str().unwrap_or_default();
        let mut best = (Self::Json, 0.0_f32);
        for range in text.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/json" | "application/*" | "*/*" => Self::Json,
                "text/plain" | "text/*" => Self::Plain,
                "text/html" => Self::Html,
                "application/xml" | "text/xml" => Self::Xml,
                _ => continue,
            };
            let weight = parts
                .find_map(|part| part.strip_prefix("q="))
                .and_then(|q| q.parse().ok())
                .unwrap_or(1.0);
            if weight > best.1 {
                best = (format, weight);
            }
        }
        best.0
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::Plain => "text/plain; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Xml => "application/xml; charset=utf-8",
        }
    }

    fn write(self, message: &str, request_id: &str) -> Bytes {
        let text = match self {
            Self::Json => {
                let message = Escaped(message, json);
                format!("{{\n  \"message\":\"{message}\",\n  \"request_id\":\"{request_id}\"\n}}")
            }
            Self::Plain => format!("{message}\nrequest_id: {request_id}\n"),
            Self::Html => {
                let message = Escaped(message, markup);
                format!(
                    "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  \
                     </head>\n  <body>\n    <h1>Error</h1>\n    <p>{message}.</p>\n    \
                     <p>request_id: {request_id}</p>\n  </body>\n</html>\n"
                )
            }
            Self::Xml => {
                let message = Escaped(message, markup);
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>{message}</message>\n  \
                     <requestid>{request_id}</requestid>\n</error>\n"
                )
            }
        };
        Bytes::from(text)
    }
}

/// The same as plain text, where nothing is known of what the client accepts.
pub(crate) fn plain(message: &str, request_id: &str) -> Bytes {
    Format::Plain.write(message, request_id)
}

struct Escaped<'a>(&'a str, fn(char) -> Option<&'static str>);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match (self.1)(c) {
            Some(escape) => f.write_str(escape),
            None if c < ' ' => write!(f, "\\u{:04x}", u32::from(c)),
            None => fmt::Write::write_char(f, c),
        })
    }
}

fn json(c: char) -> Option<&'static str> {
    match c {
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        '\t' => Some("\\t"),
        _ => None,
    }
}

fn markup(c: char) -> Option<&'static str> {
    match c {
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '&' => Some("&amp;"),
        '"' => Some("&quot;"),
        c if c < ' ' => Some(" "),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_message_is_escaped() {
        let write = |format: Format| String::from_utf8(format.write("a\"<\u{1}>\n", "").to_vec()).unwrap();
        assert!(write(Format::Json).contains(r#""message":"a\"<\u0001>\n""#));
        assert!(write(Format::Html).contains("<p>a&quot;&lt; &gt; .</p>"));
    }
}
