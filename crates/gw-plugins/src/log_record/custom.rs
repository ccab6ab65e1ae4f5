//! `custom_fields_by_lua`, as far as it can be had without Lua: constants and request headers.

use http::HeaderName;
use serde_json::{Map, Value};

use crate::cx::LogParts;
use crate::plugin::BuildError;

/// Fields that are put into a record, or taken out of it.
#[derive(Debug)]
pub(crate) struct CustomFields(Vec<(Vec<Box<str>>, Source)>);

/// What a field is.
#[derive(Debug, PartialEq)]
enum Source {
    Constant(Value),
    Header(HeaderName),
}

impl CustomFields {
    /// Reads what Kong calls `custom_fields_by_lua`: expressions by the place of their value, its names parted by dots.
    pub(crate) fn new(expressions: Option<&Map<String, Value>>) -> Result<Self, BuildError> {
        let read = |(place, expression): (&String, &Value)| {
            let source = expression.as_str().and_then(read).ok_or_else(|| BuildError::Setting {
                pointer: format!("/custom_fields_by_lua/{}", place.replace('~', "~0").replace('/', "~1")).into(),
                message: "cannot be run, there is no Lua here; write `return kong.request.get_header('name')`, \
                          `return 'a constant'` or `return nil`"
                    .into(),
            })?;
            Ok((place.split('.').map(Into::into).collect(), source))
        };
        let fields = expressions
            .into_iter()
            .flatten()
            .map(read)
            .collect::<Result<_, _>>()?;
        Ok(Self(fields))
    }

    /// Puts the fields into a record. One whose value is nil is taken out.
    pub(super) fn apply(&self, parts: &LogParts<'_>, record: &mut Value) {
        for (place, source) in &self.0 {
            let value = match source {
                Source::Constant(value) => value.clone(),
                Source::Header(name) => parts
                    .kept
                    .and_then(|kept| kept.request_headers.get(name))
                    .map_or(Value::Null, |value| {
                        String::from_utf8_lossy(value.as_bytes()).into()
                    }),
            };
            put(record, place, value);
        }
    }
}

fn put(mut record: &mut Value, place: &[Box<str>], value: Value) {
    let Some((last, way)) = place.split_last() else {
        return;
    };
    for name in way {
        let Value::Object(fields) = record else { return };
        if value.is_null() && !fields.contains_key(&**name) {
            return;
        }
        record = fields.entry(&**name).or_insert_with(|| Value::Object(Map::new()));
    }
    if let Value::Object(fields) = record {
        match value {
            Value::Null => drop(fields.remove(&**last)),
            value => drop(fields.insert(last.to_string(), value)),
        }
    }
}

/// The one statement that can be had without Lua, if it is that.
fn read(code: &str) -> Option<Source> {
    let code = code.trim().trim_end_matches(';').trim_end();
    let returned = code.strip_prefix("return")?;
    let expression = returned.trim_start();
    if expression.len() == returned.len() && !expression.starts_with(['"', '\'']) {
        return None; // Another word that begins so.
    }
    if let Some(argument) = expression.strip_prefix("kong.request.get_header") {
        let argument = argument.trim();
        let quoted = match argument.strip_prefix('(') {
            Some(rest) => rest.strip_suffix(')')?.trim(),
            None => argument,
        };
        return HeaderName::try_from(text(quoted)?).ok().map(Source::Header);
    }
    let constant = match expression {
        "nil" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        expression => match text(expression) {
            Some(text) => text.into(),
            None => serde_json::from_str(expression).ok().filter(Value::is_number)?,
        },
    };
    Some(Source::Constant(constant))
}

/// What a quoted text says.
fn text(quoted: &str) -> Option<String> {
    let quote = quoted
        .chars()
        .next()
        .filter(|quote| matches!(quote, '"' | '\''))?;
    let inside = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut text = String::new();
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                c @ ('\\' | '"' | '\'') => c,
                _ => return None,
            }),
            c if c == quote => return None,
            c => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn constants_and_headers_are_read_and_nothing_else() {
        let header = |name: &str| Some(Source::Header(HeaderName::try_from(name).unwrap()));
        let constant = |value: Value| Some(Source::Constant(value));
        for (code, expected) in [
            ("return kong.request.get_header('X-Tenant')", header("x-tenant")),
            (
                " return kong.request.get_header( \"x-tenant\" ) ;",
                header("x-tenant"),
            ),
            ("return nil", constant(Value::Null)),
            ("return 'it\\'s'", constant(json!("it's"))),
            ("return \"a 'b'\"", constant(json!("a 'b'"))),
            ("return'x'", constant(json!("x"))),
            ("return 7.5", constant(json!(7.5))),
            ("return true;", constant(json!(true))),
            ("returntrue", None),
            ("return 'a' .. 'b'", None),
            ("return kong.request.get_header('a') or 'b'", None),
            ("return kong.request.get_header('not a name')", None),
            ("return os.getenv('HOME')", None),
            ("local x = 1 return x", None),
            ("return {}", None),
            ("return '", None),
            ("return", None),
            ("", None),
        ] {
            assert_eq!(read(code), expected, "{code}");
        }
    }

    #[test]
    fn a_place_is_made_where_it_is_not_and_left_where_it_cannot_be() {
        let mut record = json!({ "request": { "headers": { "a": "1" } }, "status": 200 });
        for (place, value) in [
            ("request.headers.a", Value::Null),
            ("tenant.name", json!("t")),
            ("status.code", json!(1)),
            ("nowhere.at.all", Value::Null),
            ("top", json!(2)),
        ] {
            let place: Vec<Box<str>> = place.split('.').map(Into::into).collect();
            put(&mut record, &place, value);
        }
        let expected =
            json!({ "request": { "headers": {} }, "status": 200, "tenant": { "name": "t" }, "top": 2 });
        assert_eq!(record, expected);
    }
}
