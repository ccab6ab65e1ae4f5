//! What a gateway answers to a whole configuration, as people read it.

use std::path::Path;

use gw_admin::declarative::Rendered;
use serde_json::Value;

/// What would change, or has changed: a line for each entity, and for each field of it.
pub(super) fn changes(told: &Value) -> String {
    let mut text = entities(told);
    let summary = |what: &str| told["summary"][what].as_u64().unwrap_or_default();
    text.push_str(&format!(
        "{} to create, {} to update, {} to delete, {} unchanged\n",
        summary("create"),
        summary("update"),
        summary("delete"),
        summary("unchanged")
    ));
    text + &traffic(&told["traffic"])
}

/// A line for each entity that changes, and for each field of it.
fn entities(told: &Value) -> String {
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
        // What is new or gone is so with all its fields.
        let fields = change["fields"].as_object().filter(|_| mark == '~');
        for (field, values) in fields.into_iter().flatten() {
            text.push_str(&format!("    {field}: {} -> {}\n", values["from"], values["to"]));
        }
    }
    text
}

/// What has changed, or would, between two revisions.
pub(super) fn changed(told: &Value) -> String {
    let mut text = entities(told);
    let summary = |what: &str| told["summary"][what].as_u64().unwrap_or_default();
    text.push_str(&format!(
        "{} created, {} updated, {} deleted\n",
        summary("create"),
        summary("update"),
        summary("delete")
    ));
    text + &traffic(&told["traffic"])
}

/// What is worth a second look.
pub(super) fn warnings(told: &Value) -> String {
    let warnings = list(&told["warnings"]).iter();
    let lines = warnings.map(|one| format!("warning: {}\n", one["message"].as_str().unwrap_or_default()));
    lines.collect()
}

/// A line for each commit, and one for each entity of it.
pub(super) fn history(commits: &Value) -> String {
    let mut text = String::new();
    for commit in list(commits) {
        let part = |field: &str| commit[field].as_str().unwrap_or_default();
        let tags: Vec<&str> = list(&commit["tags"]).iter().filter_map(Value::as_str).collect();
        let tags = if tags.is_empty() {
            String::new()
        } else {
            format!(" [{}]", tags.join(", "))
        };
        let at = date(&commit["at"]);
        text.push_str(&format!(
            "{}{tags}  {at}  {}: {}\n",
            commit["revision"],
            part("author"),
            part("message")
        ));
        for entity in list(&commit["entities"]) {
            let mark = if entity["action"] == "delete" { '-' } else { '*' };
            let name = entity["name"]
                .as_str()
                .or(entity["entity_id"].as_str())
                .unwrap_or_default();
            let kind = entity["entity_name"].as_str().unwrap_or_default();
            text.push_str(&format!("    {mark} {kind} {name}\n"));
        }
        let count = |what: &str| commit["summary"][what].as_u64().unwrap_or_default();
        let more = (count("write") + count("delete")).saturating_sub(list(&commit["entities"]).len() as u64);
        if more > 0 {
            text.push_str(&format!("    and {more} more\n"));
        }
    }
    text
}

/// A line for each name of a revision.
pub(super) fn tags(told: &Value) -> String {
    let lines = list(&told["data"]).iter().map(|tag| {
        let part = |field: &str| tag[field].as_str().unwrap_or_default();
        format!(
            "{}  revision {}  {}  {}\n",
            part("name"),
            tag["revision"],
            date(&tag["at"]),
            part("by")
        )
    });
    lines.collect()
}

/// A time as people read it.
fn date(seconds: &Value) -> String {
    let since = std::time::Duration::try_from_secs_f64(seconds.as_f64().unwrap_or_default());
    let at = std::time::UNIX_EPOCH.checked_add(since.unwrap_or_default());
    httpdate::fmt_http_date(at.unwrap_or(std::time::UNIX_EPOCH))
}

/// What would become of requests of late; nothing if all of them go where they go.
pub(super) fn traffic(told: &Value) -> String {
    let count = |what: &str| told[what].as_u64().unwrap_or_default();
    let moved = list(&told["moved"]);
    if moved.is_empty() {
        return String::new();
    }
    let all: u64 = moved.iter().filter_map(|moved| moved["count"].as_u64()).sum();
    let elsewhere = all.saturating_sub(count("lost") + count("gained"));
    let mut text = format!(
        "of {} requests of late ({} s): {elsewhere} would go to another route, {} would become 404, {} would find a route\n",
        count("seen"),
        count("seconds"),
        count("lost"),
        count("gained")
    );
    for moved in moved {
        let name = |route: &Value| match route["name"].as_str().or(route["id"].as_str()) {
            Some(name) => name.to_owned(),
            None => "404".to_owned(),
        };
        text.push_str(&format!(
            "    {}: {} -> {}, such as {}\n",
            moved["count"],
            name(&moved["from"]),
            name(&moved["to"]),
            moved["example"].as_str().unwrap_or_default()
        ));
    }
    if count("unsure") > 0 {
        text.push_str(&format!(
            "    of {} too little is kept to say: routes depend on more than --traffic-headers names\n",
            count("unsure")
        ));
    }
    text
}

/// What stands in the place of a value that is not told.
const MASK: &str = "***";

/// Takes out of what would change the fields of which one value is secret, the one before or the one after.
pub(super) fn conceal(told: &mut Value, is_secret: impl Fn(&Value) -> bool) {
    let changes = told["changes"].as_array_mut().into_iter().flatten();
    let fields = changes.filter_map(|change| change["fields"].as_object_mut());
    for values in fields.flat_map(|fields| fields.values_mut()) {
        let values: Vec<&mut Value> = match values.as_object_mut() {
            Some(values) => values.values_mut().collect(),
            None => continue,
        };
        if values.iter().any(|value| is_secret(value)) {
            for value in values.into_iter().filter(|value| !value.is_null()) {
                *value = Value::from(MASK);
            }
        }
    }
}

/// Whether anything changes at all.
pub(super) fn is_changed(told: &Value) -> bool {
    !list(&told["changes"]).is_empty()
}

/// How secrets are stored, and which of them cannot be opened.
pub(super) fn sealing(told: &Value) -> String {
    let count = |what: &str| told[what].as_u64().unwrap_or_default();
    let mut text = match told["key"].as_str() {
        Some(key) => format!("{} secrets are sealed with the key '{key}'", count("sealed")),
        None => "there is no keyring".to_owned(),
    };
    text.push_str(&format!(
        ", {} with older keys, {} in clear text; {} were sealed by this\n",
        count("sealed_with_older_keys"),
        count("in_clear_text"),
        count("resealed")
    ));
    for entity in list(&told["unopened"]) {
        for field in list(&entity["fields"]) {
            let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            text.push_str(&format!(
                "{} {}: {} {}\n",
                part(&entity["entity_name"]),
                part(&entity["entity_id"]),
                part(&field["field"]),
                part(&field["message"])
            ));
        }
    }
    text
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_told_neither_before_nor_after_it_changed() {
        let mut told = json!({ "changes": [
            { "action": "delete", "entity_name": "services", "name": "gone" },
            { "action": "update", "entity_name": "plugins", "name": "p", "fields": {
                "config.minute": { "from": 5, "to": 6 },
                "config.token": { "from": "older", "to": "secret" },
                "config.url": { "from": null, "to": "secret" },
                "config.old": { "from": "secret", "to": "other" },
            } },
        ] });
        conceal(&mut told, |value| value == "secret");
        assert_eq!(
            changes(&told),
            "- services gone\n~ plugins p\n    config.minute: 5 -> 6\n    config.old: \"***\" -> \"***\"\n    \
             config.token: \"***\" -> \"***\"\n    config.url: null -> \"***\"\n0 to create, 0 to update, 0 to delete, \
             0 unchanged\n"
        );
        conceal(&mut json!({ "message": "no changes here" }), |_| true);
    }
}
