//! Where a document has secrets, as its schema says by `x-secret`.

use serde_json::{Map, Value};

/// Bound: references followed, and levels gone down, in a schema.
const MAX_DEPTH: usize = 16;

/// Where below a value there are secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    /// Every text from here on.
    Here,
    /// In these fields.
    Fields(Box<[(Box<str>, Self)]>),
    /// In every item of a list, or every value of a map.
    Each(Box<Self>),
}

impl Places {
    /// Reads them out of a schema; none if it has no secrets.
    pub(crate) fn of(schema: &Value) -> Option<Self> {
        read(schema, schema, MAX_DEPTH)
    }

    /// Calls `each` with every secret text of a record and with the pointer to it, as far as `at` is the record's.
    pub(crate) fn visit(
        &self,
        record: &mut Map<String, Value>,
        at: &str,
        each: &mut dyn FnMut(&str, &mut String),
    ) {
        match self {
            Self::Fields(fields) => {
                for (name, places) in fields {
                    if let Some(value) = record.get_mut(&**name) {
                        places.visit_value(value, &below(at, name), each);
                    }
                }
            }
            Self::Here | Self::Each(_) => {
                let inner = match self {
                    Self::Each(inner) => inner,
                    _ => self,
                };
                for (name, value) in record {
                    inner.visit_value(value, &below(at, name), each);
                }
            }
        }
    }

    fn visit_value(&self, value: &mut Value, at: &str, each: &mut dyn FnMut(&str, &mut String)) {
        match (self, value) {
            (Self::Here, Value::String(text)) => each(at, text),
            (_, Value::Object(record)) => self.visit(record, at, each),
            (Self::Here, Value::Array(items)) => {
                for (position, item) in items.iter_mut().enumerate() {
                    self.visit_value(item, &format!("{at}/{position}"), each);
                }
            }
            (Self::Each(inner), Value::Array(items)) => {
                for (position, item) in items.iter_mut().enumerate() {
                    inner.visit_value(item, &format!("{at}/{position}"), each);
                }
            }
            _ => {}
        }
    }
}

fn read(root: &Value, node: &Value, room: usize) -> Option<Places> {
    let room = room.checked_sub(1)?;
    if node.get("x-secret").is_some_and(|mark| mark == "sealed") {
        return Some(Places::Here);
    }
    let target = node.get("$ref").and_then(Value::as_str);
    let target = target.and_then(|target| root.pointer(target.strip_prefix('#')?));
    if let Some(target) = target {
        return read(root, target, room);
    }
    let fields = node.get("properties").and_then(Value::as_object);
    let fields = fields
        .into_iter()
        .flatten()
        .filter_map(|(name, field)| Some((name.as_str().into(), read(root, field, room)?)));
    let fields: Box<[_]> = fields.collect();
    if !fields.is_empty() {
        return Some(Places::Fields(fields));
    }
    let each = ["items", "additionalProperties"]
        .into_iter()
        .find_map(|keyword| read(root, node.get(keyword)?, room));
    if let Some(each) = each {
        return Some(Places::Each(each.into()));
    }
    let branches = ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .filter_map(|keyword| node.get(keyword)?.as_array());
    branches.flatten().find_map(|node| read(root, node, room))
}

/// The pointer to a field.
fn below(at: &str, name: &str) -> String {
    if name.contains(['~', '/']) {
        return format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    }
    format!("{at}/{name}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_at_a_secret_place_is_visited() {
        let schema = json!({
            "properties": {
                "name": { "type": "string" },
                "key": { "x-secret": "sealed" },
                "headers": { "x-secret": "sealed", "additionalProperties": { "type": "string" } },
                "servers": { "items": { "$ref": "#/$defs/server" } },
                "maybe": { "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/server" }] },
                "map": { "additionalProperties": { "x-secret": "sealed" } },
                "open": { "properties": { "a": {} } },
            },
            "$defs": { "server": { "properties": { "host": {}, "password": { "x-secret": "sealed" } } } },
        });
        let places = Places::of(&schema).unwrap();
        let mut document = json!({
            "name": "n", "key": "k", "headers": { "X-A": "a", "X-B": ["b", 7] },
            "servers": [{ "host": "h", "password": "p0" }, { "password": null }, { "password": "p2" }],
            "maybe": { "password": "q" }, "map": { "a/b~c": "m" }, "open": { "a": "a" },
        });
        let mut seen = Vec::new();
        places.visit(document.as_object_mut().unwrap(), "", &mut |at, text| {
            seen.push((at.to_owned(), text.clone()));
            text.insert(0, '!');
        });
        seen.sort();
        let expected = [
            ("/headers/X-A", "a"),
            ("/headers/X-B/0", "b"),
            ("/key", "k"),
            ("/map/a~1b~0c", "m"),
            ("/maybe/password", "q"),
            ("/servers/0/password", "p0"),
            ("/servers/2/password", "p2"),
        ];
        let expected = expected.map(|(at, text)| (at.to_owned(), text.to_owned()));
        assert_eq!(seen, expected);
        for (at, text) in seen {
            assert_eq!(
                document.pointer(&at),
                Some(&json!(format!("!{text}"))),
                "{at} leads there"
            );
        }
    }

    #[test]
    fn most_documents_have_none() {
        assert_eq!(
            Places::of(&json!({ "properties": { "name": {}, "tags": { "items": {} } } })),
            None
        );
        let circle = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "properties": { "a": { "$ref": "#/$defs/a" } } } } });
        assert_eq!(Places::of(&circle), None);
    }
}
