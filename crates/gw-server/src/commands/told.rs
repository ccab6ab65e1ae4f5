//! What a gateway answers to a whole configuration, as people read it.

use std::path::Path;

use gw_admin::declarative::Rendered;
use serde_json::Value;

/// What would change, or has changed: a line for each entity, and for each field of it.
pub(super) fn changes(told: &Value) -> String {
    let mut text = String::new();
    for change in list(&told["changes"]) {
        let mark = match change["action"].as_str() {
            Some("create") => '+',
            Some("delete") => '-',
            _ => '~',
        };
        let name = change["name"].as_str().or(change["entity_id"].as_str());
        let kind = change["entity_name"].as_str().unwrap_or_default();
        text.push_str(&format!("{mark} {kind} {}\n", name.unwrap_or_default()));
        for (field, values) in change["fields"].as_object().into_iter().flatten() {
            text.push_str(&format!("    {field}: {} -> {}\n", values["from"], values["to"]));
        }
    }
    let summary = |what: &str| told["summary"][what].as_u64().unwrap_or_default();
    text.push_str(&format!(
        "{} to create, {} to update, {} to delete, {} unchanged\n",
        summary("create"),
        summary("update"),
        summary("delete"),
        summary("unchanged")
    ));
    text
}

/// Whether anything changes at all.
pub(super) fn is_changed(told: &Value) -> bool {
    !list(&told["changes"]).is_empty()
}

/// What the gateway notices about a file.
pub(super) fn notices(path: &Path, file: &Rendered, told: &Value) -> String {
    let mut text = String::new();
    for notice in file.notices() {
        let line = notice.position.map_or(0, |at| at.line);
        text.push_str(&format!(
            "{}:{line}: {} (notice)\n",
            path.display(),
            notice.message
        ));
    }
    for notice in list(&told["notices"]).iter().chain(list(&told["ignored"])) {
        let message = notice["message"].as_str().unwrap_or_default();
        text.push_str(&format!("{}: {message} (notice)\n", place(path, file, notice)));
    }
    text
}

/// What the gateway refuses a file for, a line each.
pub(super) fn violations(path: &Path, file: &Rendered, answer: &Value) -> Vec<String> {
    let violations = list(&answer["violations"]);
    let mut lines: Vec<String> = violations
        .iter()
        .map(|violation| {
            let text = |field: &str| violation[field].as_str().filter(|text| !text.is_empty());
            let subject = text("path").map(|path| format!("{path}: ")).unwrap_or_default();
            let hint = text("hint").map(|hint| format!(" ({hint})")).unwrap_or_default();
            let message = text("message").unwrap_or_default();
            format!("{}: {subject}{message}{hint}", place(path, file, violation))
        })
        .collect();
    if lines.is_empty() {
        let message = answer["message"].as_str();
        lines.push(message.map_or_else(|| answer.to_string(), str::to_owned));
    }
    lines
}

/// Where in the file something is that the gateway names by a pointer into what it was sent.
fn place(path: &Path, file: &Rendered, named: &Value) -> String {
    let pointer = named["pointer"].as_str().unwrap_or_default();
    match file.position(pointer) {
        Some(at) => format!("{}:{}:{}", path.display(), at.line, at.column),
        None => path.display().to_string(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
