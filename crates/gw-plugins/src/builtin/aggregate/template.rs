//! Texts with `$(…)` in them, for what a client's request has there.

use std::borrow::Cow;

use form_urlencoded::parse;
use http::HeaderMap;
use serde_json::Value as Json;

use crate::lua::{Expression, Table, Tables, Value};

/// A text with expressions in it.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(Box<str>),
    Expression(Expression),
}

/// A JSON document whose texts are templates.
#[derive(Clone, Debug)]
pub(super) enum Document {
    Plain(Json),
    Text(Template),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// Where templates find what a client has sent.
pub(super) struct Sent<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) query: &'a str,
    pub(super) captures: &'a [(Box<str>, Box<str>)],
}

impl Template {
    /// Reads a template; why it is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("$(") {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            let end =
                closing(after).ok_or_else(|| format!("'{text}' has a '$(' that nothing closes; add ')'"))?;
            let source = after.get(..end).unwrap_or_default();
            let expression = Expression::read(source).map_err(|error| format!("'$({source})' is {error}"))?;
            pieces.push(Piece::Expression(expression));
            rest = after.get(end + 1..).unwrap_or_default();
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces))
    }

    /// Whether it asks for something of `table`.
    pub(super) fn uses(&self, table: Table) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Text(_) => false,
            Piece::Expression(expression) => expression.uses(table),
        })
    }

    /// The text, in which every value is as `escape` makes it; none if an expression fails.
    pub(super) fn fill(&self, sent: &Sent<'_>, escape: impl Fn(&[u8]) -> String) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Expression(expression) => match expression.run(sent).ok()? {
                    Value::Nil => {}
                    value => text.push_str(&escape(&value.into_text())),
                },
            }
        }
        Some(text)
    }
}

impl Document {
    pub(super) fn parse(document: Json) -> Result<Self, String> {
        Ok(match document {
            Json::String(text) => Self::Text(Template::parse(&text)?),
            Json::Array(items) => Self::List(items.into_iter().map(Self::parse).collect::<Result<_, _>>()?),
            Json::Object(fields) => {
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| Ok((name, Self::parse(value)?)));
                Self::Object(fields.collect::<Result<_, String>>()?)
            }
            plain => Self::Plain(plain),
        })
    }

    pub(super) fn uses(&self, table: Table) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Text(template) => template.uses(table),
            Self::List(items) => items.iter().any(|item| item.uses(table)),
            Self::Object(fields) => fields.iter().any(|(_, value)| value.uses(table)),
        }
    }

    pub(super) fn fill(&self, sent: &Sent<'_>) -> Option<Json> {
        Some(match self {
            Self::Plain(plain) => plain.clone(),
            Self::Text(template) => Json::String(template.fill(sent, plain)?),
            Self::List(items) => {
                Json::Array(items.iter().map(|item| item.fill(sent)).collect::<Option<_>>()?)
            }
            Self::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| Some((name.clone(), value.fill(sent)?)));
                Json::Object(fields.collect::<Option<_>>()?)
            }
        })
    }
}

/// A value as it is.
pub(super) fn plain(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// A value as one piece of a path or query.
pub(super) fn encoded(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            true => text.push(char::from(*byte)),
            false => text.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 15)]),
        }
    }
    text
}

fn hex_digit(half: u8) -> char {
    char::from_digit(half.into(), 16)
        .unwrap_or('0')
        .to_ascii_uppercase()
}

/// Where the bracket is closed that was opened before; not within brackets or quotes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') if depth == 0 => return Some(at),
            (None, b')') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

impl Tables for Sent<'_> {
    fn named(&self, table: Table, name: &str) -> Value<'_> {
        match table {
            Table::Headers => {
                let name = name.replace('_', "-");
                let values = self.headers.get_all(name.as_str()).iter();
                one_or_all(values.map(|value| Cow::Borrowed(value.as_bytes())).collect())
            }
            Table::QueryParams => {
                let named = parse(self.query.as_bytes()).filter(|(key, _)| key == name);
                one_or_all(
                    named
                        .map(|(_, value)| Cow::Owned(value.into_owned().into_bytes()))
                        .collect(),
                )
            }
            Table::UriCaptures => {
                let named = self.captures.iter().find(|(key, _)| **key == *name);
                named.map_or(Value::Nil, |(_, value)| captured(value))
            }
            Table::Shared => Value::Nil,
        }
    }

    fn numbered(&self, table: Table, number: usize) -> Value<'_> {
        let capture = number.checked_sub(1).and_then(|place| self.captures.get(place));
        match (table, capture) {
            (Table::UriCaptures, Some((_, value))) => captured(value),
            _ => Value::Nil,
        }
    }
}

fn one_or_all(mut values: Vec<Cow<'_, [u8]>>) -> Value<'_> {
    match values.len() {
        0 => Value::Nil,
        1 => Value::Text(values.swap_remove(0)),
        _ => Value::List(values),
    }
}

/// What a path's parameter took, decoded.
fn captured(value: &str) -> Value<'_> {
    let hex = |digit: Option<&u8>| char::from(*digit?).to_digit(16);
    let bytes = value.as_bytes();
    if !bytes.contains(&b'%') {
        return Value::Text(Cow::Borrowed(bytes));
    }
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (Some(high), Some(low)) if *byte == b'%' => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    Value::Text(Cow::Owned(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_filled_in_where_they_stand() {
        let mut headers = HeaderMap::new();
        headers.insert("x-tenant", "blue sky".parse().unwrap());
        let captures = [("id".into(), "a%2Fb é".into())];
        let sent = Sent {
            headers: &headers,
            query: "page=2&tag=x&tag=y&empty=",
            captures: &captures,
        };
        for (template, plainly, encoded_as) in [
            ("/plain", "/plain", "/plain"),
            (
                "/users/$(uri_captures.id)/x",
                "/users/a/b é/x",
                "/users/a%2Fb%20%C3%A9/x",
            ),
            ("$(uri_captures[1])", "a/b é", "a%2Fb%20%C3%A9"),
            ("?p=$(query_params.page or '1')", "?p=2", "?p=2"),
            ("?p=$(query_params.size or '(10)')", "?p=(10)", "?p=%2810%29"),
            ("$(query_params.tag)", "x,y", "x%2Cy"),
            ("$(query_params.none)$(headers.none)|", "|", "|"),
            ("$(headers.x_tenant)", "blue sky", "blue%20sky"),
            ("$(headers['X-Tenant'])", "blue sky", "blue%20sky"),
            ("cost: 5$", "cost: 5$", "cost: 5$"),
        ] {
            let template = Template::parse(template).unwrap();
            assert_eq!(template.fill(&sent, plain).unwrap(), plainly);
            assert_eq!(template.fill(&sent, encoded).unwrap(), encoded_as);
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (template, why) in [
            ("/$(headers.a", "that nothing closes"),
            ("/$(", "that nothing closes"),
            ("$(1 +)", "is not an expression"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(why), "{template}: {error}");
        }
    }
}
