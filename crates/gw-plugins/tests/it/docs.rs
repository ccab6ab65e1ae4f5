//! `docs/plugins.md` is generated from the plugins' schemas: `UPDATE_DOCS=1 cargo test -p gw-plugins` writes it anew.

use std::fmt::Write;
use std::path::Path;

use gw_plugins::Registry;
use serde_json::Value;

#[test]
fn every_plugin_accepts_its_own_examples() {
    let registry = Registry::builtin();
    for plugin in registry.iter() {
        let examples = plugin.schema.document()["examples"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert!(
            !examples.is_empty(),
            "{} has no example in its schema",
            plugin.name
        );
        for example in examples {
            let mut document = serde_json::json!({ "name": plugin.name, "config": example });
            let checked = registry.complete(document.as_object_mut().unwrap());
            checked.unwrap_or_else(|violations| panic!("{}: {violations}", plugin.name));
        }
    }
}

#[test]
fn the_document_is_what_the_schemas_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/plugins.md");
    let written = document(&Registry::builtin());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == written,
        "docs/plugins.md is not what the schemas say; run UPDATE_DOCS=1 cargo test -p gw-plugins"
    );
}

fn document(registry: &Registry) -> String {
    let mut text = String::from(
        "# Plugins\n\nGenerated from the plugins' schemas (`UPDATE_DOCS=1 cargo test -p gw-plugins`). A higher priority \
         runs first. Of several instances of one plugin that cover a request the most specific one runs, in Kong's \
         order: route and service and consumer, route and consumer, service and consumer, route and service, consumer, \
         route, service, every request.\n",
    );
    for plugin in registry.iter() {
        let schema = plugin.schema.document();
        let phases: Vec<_> = plugin
            .phases
            .iter()
            .map(|phase| format!("`{}`", phase.name()))
            .collect();
        write!(
            text,
            "\n## {}\n\n{}\n\nPriority {}; phases {}{}.\n\n| setting | type | default | |\n|---|---|---|---|\n",
            plugin.name,
            schema["description"].as_str().unwrap_or_default(),
            plugin.priority,
            phases.join(", "),
            if plugin.consumer_scope { "" } else { "; cannot be bound to a consumer" },
        )
        .expect("a text takes all");
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let default = match property.get("default") {
                None => "required".to_owned(),
                Some(default) => format!("`{default}`"),
            };
            let about = property["description"].as_str().unwrap_or_default();
            writeln!(text, "| `{name}` | {} | {default} | {about} |", type_of(property))
                .expect("a text takes all");
        }
    }
    text
}

fn type_of(property: &Value) -> String {
    let one = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match &property["type"] {
        Value::Array(types) => types.iter().map(one).collect::<Vec<_>>().join(" or "),
        Value::String(kind) if kind == "array" => format!("list of {}", one(&property["items"]["type"])),
        kind => one(kind),
    }
}
