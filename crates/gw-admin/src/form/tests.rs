//! Names of forms and the documents they stand for.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn names_say_what_shape_the_document_has() {
    for (form, expected) in [
        ("name=x", json!({"name": "x"})),
        ("name=", json!({"name": null})),
        ("name", json!({"name": null})),
        ("name=a%20b+c%2B", json!({"name": "a b c+"})),
        ("name=a=b", json!({"name": "a=b"})),
        ("paths[]=/a&paths[]=/b", json!({"paths": ["/a", "/b"]})),
        ("paths[]=/a", json!({"paths": ["/a"]})),
        ("paths=/a&paths=/b", json!({"paths": ["/a", "/b"]})),
        ("paths[2]=/b&paths[1]=/a", json!({"paths": ["/a", "/b"]})),
        ("paths[4000000000]=/b&paths[7]=/a", json!({"paths": ["/a", "/b"]})),
        (
            "paths=/a&paths[]=/b&paths=/c",
            json!({"paths": ["/a", "/b", "/c"]}),
        ),
        ("paths%5B%5D=%2Fa", json!({"paths": ["/a"]})),
        ("service.id=U", json!({"service": {"id": "U"}})),
        ("service[id]=U", json!({"service": {"id": "U"}})),
        (
            "headers.x-env=a&headers.x-env=b",
            json!({"headers": {"x-env": ["a", "b"]}}),
        ),
        (
            "config.add.headers[1]=x:y",
            json!({"config": {"add": {"headers": ["x:y"]}}}),
        ),
        (
            "config[add][headers][]=x:y",
            json!({"config": {"add": {"headers": ["x:y"]}}}),
        ),
        (
            "sources[1].ip=A&sources[1].port=1&sources[2].ip=B",
            json!({"sources": [{"ip": "A", "port": "1"}, {"ip": "B"}]}),
        ),
        (".a=x&b.=y", json!({".a": "x", "b.": "y"})),
        (
            "a[b=x&a]b=y&[1]=z&a..b=w&a[b]c=v",
            json!({"a[b": "x", "a]b": "y", "[1]": "z", "a..b": "w", "a[b]c": "v"}),
        ),
        ("a,b=c,d", json!({"a,b": "c,d"})),
        ("&&", json!({})),
        ("", json!({})),
    ] {
        assert_eq!(decode(form.as_bytes()).map(Value::Object), Ok(expected), "{form}");
    }
}

#[test]
fn contradictions_and_excess_are_refused() {
    let deep = format!("a{}=x", ".b".repeat(MAX_DEPTH));
    let many = "a=1&".repeat(MAX_ARGUMENTS + 1);
    let name = |name: &str| name.into();
    for (form, error) in [
        ("a=1&a.b=2", FormError::Conflict { name: name("a.b") }),
        ("a.b=2&a=1", FormError::Conflict { name: name("a") }),
        ("a[1]=x&a[b]=y", FormError::Conflict { name: name("a[b]") }),
        ("a[1]=x&a[1]=y", FormError::Conflict { name: name("a[1]") }),
        ("a[4294967295]=x&a[]=y", FormError::Conflict { name: name("a[]") }),
        ("a=%ff", FormError::Encoding),
        ("{\"name\":\"x\"}", FormError::Json),
        (
            deep.as_str(),
            FormError::TooDeep {
                name: name(deep.trim_end_matches("=x")),
            },
        ),
        (many.as_str(), FormError::TooManyArguments),
    ] {
        assert_eq!(decode(form.as_bytes()), Err(error));
    }
}

/// How the steps of a name are spelt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fields {
    Dots,
    Brackets,
    /// Dots and brackets by turns.
    Mixed,
}

/// How the items of a list of texts are spelt; lists of anything else have positions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Items {
    Repeated,
    Appended,
    Numbered,
    /// Numbered, the last first.
    Backwards,
}

fn spell(value: &Value, name: String, depth: usize, how: (Fields, Items), out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let dots = how.0 == Fields::Dots || (how.0 == Fields::Mixed && depth.is_multiple_of(2));
                let below = match () {
                    () if depth == 0 => field.clone(),
                    () if dots => format!("{name}.{field}"),
                    () => format!("{name}[{field}]"),
                };
                spell(value, below, depth + 1, how, out);
            }
        }
        Value::Array(items) => {
            let is_position = name
                .strip_suffix(']')
                .is_some_and(|rest| rest.ends_with(|last: char| last.is_ascii_digit()));
            let flat = items.iter().all(|item| item.is_string() || item.is_null());
            let numbered = items
                .iter()
                .enumerate()
                .map(|(i, item)| (format!("{name}[{}]", i + 1), item));
            let spelt: Vec<(String, &Value)> = match how.1 {
                // One of a list alone looks like a text; a position given twice is a mistake.
                Items::Repeated if flat && items.len() > 1 && !is_position => {
                    items.iter().map(|item| (name.clone(), item)).collect()
                }
                Items::Appended if flat => items.iter().map(|item| (format!("{name}[]"), item)).collect(),
                Items::Backwards => numbered.rev().collect(),
                _ => numbered.collect(),
            };
            for (name, item) in spelt {
                spell(item, name, depth + 1, how, out);
            }
        }
        text => out.push((name, text.as_str().unwrap_or_default().to_owned())),
    }
}

fn encoded(text: &str, all: bool) -> String {
    let hex = |byte: u8| match byte {
        b' ' if !all => "+".to_owned(),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte).to_string(),
        b'[' | b']' | b'.' | b'/' if !all => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(hex).collect()
}

/// Records with lists, texts and nothing in them, at any depth; what is empty has no form.
fn documents() -> impl Strategy<Value = Value> {
    let name = || "[a-z_][a-z0-9_-]{0,4}[a-z]";
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        4 => "[ -~é☃]{1,8}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 24, 4, move |below| {
        prop_oneof![
            prop::collection::vec(below.clone(), 1..4).prop_map(Value::from),
            prop::collection::btree_map(name(), below, 1..4).prop_map(|fields| json!(fields)),
        ]
    });
    prop::collection::btree_map(name(), value, 0..4).prop_map(|fields| json!(fields))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_spelling_of_a_document_is_that_document(
        document in documents(),
        fields in prop::sample::select(vec![Fields::Dots, Fields::Brackets, Fields::Mixed]),
        items in prop::sample::select(vec![Items::Repeated, Items::Appended, Items::Numbered, Items::Backwards]),
        all in any::<bool>(),
    ) {
        let mut named = Vec::new();
        spell(&document, String::new(), 0, (fields, items), &mut named);
        let form: Vec<String> = named
            .iter()
            .map(|(name, text)| format!("{}={}", encoded(name, all), encoded(text, all)))
            .collect();
        let form = form.join("&");
        prop_assert_eq!(decode(form.as_bytes()).map(Value::Object), Ok(document.clone()), "{}", form);
        // Parts of a multipart body are the same names and texts.
        prop_assert_eq!(super::document(named).map(Value::Object), Ok(document));
    }
}
