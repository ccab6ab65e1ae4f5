//! Values to YAML that people can read: every text comes back as the text it was.

use gw_core::Document;
use serde_json::Value;

use super::scalar;

/// A document as YAML.
pub(super) fn yaml(document: &Document) -> String {
    let mut out = String::new();
    record(&mut out, document, 0, false);
    out
}

/// Writes the fields of a record, the first where the line stands already or not.
fn record(out: &mut String, fields: &Document, indent: usize, mut begun: bool) {
    for (name, field) in fields {
        if !std::mem::take(&mut begun) {
            pad(out, indent);
        }
        out.push_str(&text(name));
        out.push(':');
        value(out, field, indent);
    }
}

/// Writes what stands behind a name that is indented so far.
fn value(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            record(out, fields, indent + 2, false);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                pad(out, indent);
                out.push('-');
                match item {
                    Value::Object(fields) if !fields.is_empty() => {
                        out.push(' ');
                        record(out, fields, indent + 2, true);
                    }
                    item => scalar(out, item, indent),
                }
            }
        }
        value => scalar(out, value, indent),
    }
}

fn scalar(out: &mut String, value: &Value, indent: usize) {
    out.push(' ');
    match value {
        Value::String(lines) if is_block(lines) => {
            // One line end at the end is what a block has by itself.
            let (mark, lines) = lines
                .strip_suffix('\n')
                .map_or(("|-", &**lines), |lines| ("|", lines));
            out.push_str(mark);
            for line in lines.split('\n') {
                out.push('\n');
                if !line.is_empty() {
                    pad(out, indent + 2);
                    out.push_str(line);
                }
            }
        }
        Value::String(line) => out.push_str(&text(line)),
        // What JSON is, YAML is: lists in lists, and what is empty.
        other => out.push_str(&escaped(&other.to_string())),
    }
    out.push('\n');
}

/// Whether a text can stand as a block of lines: nothing in it that a block would change.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let plain = |line: &str| !line.chars().any(is_special) && line.trim_end() == line;
    body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && body.split('\n').all(plain)
}

/// A text on one line: as it is where that is read as this text, in quotes elsewhere.
fn text(text: &str) -> String {
    let is_plain = |(position, letter): (usize, char)| {
        letter.is_ascii_alphanumeric() || "_/".contains(letter) || position > 0 && ".-+@~".contains(letter)
    };
    let plain = text.char_indices().all(is_plain) && text != "<<";
    if plain && scalar::resolve(text).as_str() == Some(text) {
        return text.to_owned();
    }
    escaped(&Value::from(text).to_string())
}

/// JSON without the characters that YAML does not take, or takes for the end of a line.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_special(letter) {
            out.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            out.push(letter);
        }
    }
    out
}

fn is_special(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}'
        )
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::declarative::{Withheld, source};

    fn read(text: &str) -> Value {
        let unset = |_: &str| Err(Withheld::Unset);
        match source::load(text, &unset, None) {
            Ok(source) => Value::Object(source.document),
            Err(error) => panic!("{error} in\n{text}"),
        }
    }

    #[test]
    fn what_people_see() {
        let document = json!({
            "_format_version": "3.0",
            "services": [
                { "name": "a", "port": 80, "path": null, "tags": ["x", "1.0", "yes", "a b"], "url": "http://a:1/b" },
                { "cert": "-----BEGIN X-----\nabc\n-----END X-----\n", "list": [[1, "a"], {}, []], "empty": "" },
            ],
        });
        let text = yaml(document.as_object().unwrap());
        let expected = "_format_version: \"3.0\"\nservices:\n- name: a\n  path: null\n  port: 80\n  tags:\n  - x\n  - \
                        \"1.0\"\n  - \"yes\"\n  - \"a b\"\n  url: \"http://a:1/b\"\n- cert: |\n    -----BEGIN \
                        X-----\n    abc\n    -----END X-----\n  empty: \"\"\n  list:\n  - [1,\"a\"]\n  - {}\n  - []\n";
        let sorted = |text: &str| {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        // The order of fields depends on how the program was built.
        assert_eq!(
            sorted(&text).replace("- name", "  name"),
            sorted(expected).replace("- name", "  name")
        );
        assert_eq!(read(&text), document);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9_f64).prop_map(|float| json!(float + 0.5)),
            any::<String>().prop_map(Value::from),
            "[ -~\n]{0,20}".prop_map(Value::from),
            "(yes|no|~|null|0x1|1_0|<<|-|\\.|---|- a|a: b|# c|\\$\\{\\{ env \"A\" \\}\\})\n?"
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(".{0,6}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in prop::collection::hash_map("[a-z<]{1,3}", values(), 1..5)) {
            let document: Document = fields.into_iter().collect();
            let text = yaml(&document);
            // A text may hold what looks like a placeholder: it is read as one, here as anywhere.
            prop_assume!(!text.contains("${{"));
            prop_assert_eq!(read(&text), Value::Object(document), "{}", text);
        }
    }
}
