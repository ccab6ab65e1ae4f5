//! Schema and type agree: what one lets through the other can hold, and what is refused is refused at the right place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gw_core::{Kind, KindSpec, Kinds, ReadError};
use serde_json::{Map, Value, json};

const ID: &str = "4e3ad2e4-0bc4-4638-8e34-c84a417ba39b";

fn fixtures(kind: Kind) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{kind}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    with_files(serde_json::from_str(&text).unwrap())
}

/// `@pem/x+@pem/y` stands for the contents of these files.
fn with_files(value: Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("@pem/") => {
            let contents = text.split('+').map(|name| {
                let path = format!("tests/fixtures/{}", name.trim_start_matches('@'));
                std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
            });
            contents.collect::<String>().into()
        }
        Value::Array(items) => items.into_iter().map(with_files).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, field)| (name, with_files(field)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

/// The document as the Admin API would hand it on: expanded, with the automatic fields.
fn prepared(spec: &KindSpec, document: &Value) -> Map<String, Value> {
    let kind = spec.kind;
    let mut document = document.as_object().unwrap().clone();
    Kinds::expand(kind, &mut document);
    for (field, value) in [
        ("id", json!(ID)),
        ("created_at", json!(1)),
        ("updated_at", json!(2)),
    ] {
        if spec.schema.document()["properties"].get(field).is_some() {
            document.entry(field).or_insert(value);
        }
    }
    document
}

#[test]
fn every_kind_takes_its_good_and_refuses_its_bad_documents() {
    let kinds = Kinds::new([]).unwrap();
    for spec in kinds.iter() {
        let fixtures = fixtures(spec.kind);
        for document in fixtures["good"].as_array().unwrap() {
            let mut filled = prepared(spec, document);
            let entity = kinds.complete(spec.kind, &mut filled);
            let entity = entity.unwrap_or_else(|error| panic!("{} refuses {document}: {error}", spec.kind));
            assert_eq!(
                (entity.kind(), entity.id().to_string().as_str()),
                (spec.kind, filled["id"].as_str().unwrap())
            );
            // What was filled in once is complete: a second round changes nothing.
            let mut again = filled.clone();
            kinds.complete(spec.kind, &mut again).unwrap();
            assert_eq!(filled, again, "{}", spec.kind);
            let properties = spec.schema.document()["properties"].as_object().unwrap();
            let missing: Vec<_> = properties
                .keys()
                .filter(|field| !filled.contains_key(*field))
                .collect();
            assert!(
                missing.is_empty(),
                "{}: {missing:?} have no default and were not given",
                spec.kind
            );
        }
        for case in fixtures["bad"].as_array().unwrap() {
            let mut document = prepared(spec, &case["document"]);
            let Err(violations) = kinds.complete(spec.kind, &mut document) else {
                panic!("{} takes {}", spec.kind, case["document"]);
            };
            let found: BTreeMap<_, _> = violations
                .iter()
                .map(|violation| (violation.pointer.as_str(), violation.message.as_str()))
                .collect();
            let expected: BTreeMap<_, _> = case["violations"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(pointer, message)| (pointer.as_str(), message.as_str().unwrap()))
                .collect();
            assert_eq!(found, expected, "{} {}", spec.kind, case["document"]);
        }
    }
}

/// The document itself, and without each of its fields, and with each of them in other forms.
fn variants(document: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let odd = [
        json!(null),
        json!(true),
        json!(5),
        json!(5.0),
        json!(1.25),
        json!(""),
        json!("a \"quoted\" text"),
        json!([]),
        json!(["http"]),
        json!(["http", "http", "https"]),
        json!(["/a", "/b", "/a"]),
        json!(["~/a\\.b", "/é", "a b"]),
        json!([1, "http"]),
        json!({}),
        json!({ "id": ID }),
        json!({ "id": ID, "name": "x" }),
        json!({ "x-a": ["1"] }),
    ];
    let mut variants = vec![document.clone()];
    for field in document.keys().map(String::as_str).chain(["field_of_the_future"]) {
        let mut without = document.clone();
        without.remove(field);
        variants.push(without);
        for odd in &odd {
            let mut with = document.clone();
            with.insert(field.to_owned(), odd.clone());
            variants.push(with);
        }
    }
    variants
}

#[test]
fn stored_bytes_are_read_as_their_document_is() {
    let kinds = Kinds::new([]).unwrap();
    for spec in kinds.iter() {
        let fixtures = fixtures(spec.kind);
        let good = fixtures["good"].as_array().unwrap().iter();
        let bad = fixtures["bad"]
            .as_array()
            .unwrap()
            .iter()
            .map(|case| &case["document"]);
        for document in good.chain(bad) {
            let given = prepared(spec, document);
            let mut filled = given.clone();
            kinds.complete(spec.kind, &mut filled).ok();
            // Reading keys takes long, and of most kinds there is but one way to read them.
            let forms = match spec.kind {
                Kind::Route => [given, filled].iter().flat_map(variants).collect(),
                _ => vec![given, filled],
            };
            for stored in forms {
                let text = Value::from(stored.clone()).to_string();
                match (
                    kinds.read(spec.kind, text.as_bytes()),
                    kinds.load(spec.kind, stored),
                ) {
                    (Ok(read), Ok(loaded)) => {
                        assert_eq!(format!("{read:?}"), format!("{loaded:?}"), "{text}")
                    }
                    (Err(ReadError::Entity(read)), Err(loaded)) => assert_eq!(read, loaded, "{text}"),
                    (read, loaded) => panic!("{text}: {read:?}, but {loaded:?}"),
                }
            }
        }
        for text in ["", "7", "[]", "{\"id\"", "{} {}"] {
            let read = kinds.read(spec.kind, text.as_bytes());
            assert!(matches!(read, Err(ReadError::Document(_))), "{text}: {read:?}");
        }
    }
}

#[test]
fn an_older_document_meets_a_newer_schema() {
    let kinds = Kinds::new([]).unwrap();
    let stored = json!({ "id": ID, "host": "app", "field_of_the_future": 1 });
    let entity = kinds
        .load(Kind::Service, stored.as_object().unwrap().clone())
        .unwrap();
    let gw_core::Entity::Service(service) = entity else {
        panic!("a service")
    };
    assert_eq!((&*service.target.host, service.retry.most), ("app", 5));
}

#[test]
fn what_is_stored_in_another_form_is_refused_and_not_left_out() {
    let kinds = Kinds::new([]).unwrap();
    let mut taken = BTreeSet::new();
    for spec in kinds.iter() {
        for document in fixtures(spec.kind)["good"].as_array().unwrap() {
            let mut filled = prepared(spec, document);
            kinds.complete(spec.kind, &mut filled).unwrap();
            // What plugins and vaults are set to is for them to judge; a time that makes no sense harms nobody.
            let free = ["config", "created_at", "updated_at"];
            for field in filled.keys().filter(|field| !free.contains(&field.as_str())) {
                let mut odd = filled.clone();
                odd.insert(field.clone(), json!([{ "odd": [1] }]));
                let Err(refused) = kinds.load(spec.kind, odd) else {
                    taken.insert(format!("{}.{field}", spec.kind));
                    continue;
                };
                let at = |pointer: &str| pointer.is_empty() || pointer.contains(field.as_str());
                assert!(
                    refused.iter().any(|violation| at(&violation.pointer)),
                    "{}: {field}: {refused}",
                    spec.kind
                );
            }
        }
    }
    // What is read only if another field asks for it, and what steers nothing.
    let unread = |name: &String| {
        let (kind, field) = name.split_once('.').unwrap();
        field.starts_with("hash_")
            || matches!(
                (kind, field),
                ("routes", "sources" | "destinations") // of streams
                    | ("certificates", "snis")
                    | ("filter_chains", "service")
                    | ("keys", "pem")
                    | ("upstreams", "slots")
                    | ("acls", _)
                    | (_, "tags" | "instance_name" | "description")
            )
    };
    taken.retain(|name| !unread(name));
    assert_eq!(taken, BTreeSet::new(), "whatever stands there");
}
