//! Checking and filling in one entity, good and bad, as the control plane does on every write and on load.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gw_schema::Schema;
use serde_json::{Map, Value, json};

/// A document schema the size of a service's: 20 fields, of which one is required, and a record.
fn document() -> Value {
    let mut properties: Map<String, Value> = (0..18)
        .map(|i| {
            let field = json!({"type": "integer", "minimum": 0, "maximum": 65535, "default": i});
            (format!("field_{i:02}"), field)
        })
        .collect();
    properties.insert(
        "name".to_owned(),
        json!({"type": "string", "pattern": "^[a-z-]+$", "minLength": 1}),
    );
    properties.insert(
        "tags".to_owned(),
        json!({"$ref": "#/$defs/tags", "default": null}),
    );
    json!({
        "type": "object",
        "properties": properties,
        "required": ["name"],
        "additionalProperties": false,
        "x-entity-checks": [{"distinct": ["field_00", "field_01"]}],
        "$defs": {"tags": {"type": ["array", "null"], "uniqueItems": true, "items": {"type": "string"}}},
    })
}

fn schema(c: &mut Criterion) {
    let schema = Schema::compile(document()).expect("the schema above compiles");
    let sparse = json!({"name": "users", "tags": ["a", "b"]});
    let mut full = sparse.clone();
    schema.fill_defaults(&mut full);
    assert_eq!(full["field_17"], json!(17));
    assert_eq!(schema.check(&full), Ok(()));
    let mut bad = full.clone();
    bad["field_03"] = json!("3");
    bad["feild_04"] = json!(4);
    assert_eq!(schema.check(&bad).expect_err("two fields are wrong").len(), 2);

    c.bench_function("schema/check/good", |b| b.iter(|| schema.check(black_box(&full))));
    c.bench_function("schema/check/bad", |b| b.iter(|| schema.check(black_box(&bad))));
    c.bench_function("schema/fill_defaults/20", |b| {
        b.iter_batched_ref(
            || sparse.clone(),
            |value| schema.fill_defaults(value),
            BatchSize::SmallInput,
        );
    });
    c.bench_function("schema/compile/20", |b| {
        b.iter_batched(document, Schema::compile, BatchSize::SmallInput);
    });
}

criterion_group!(benches, schema);
criterion_main!(benches);
