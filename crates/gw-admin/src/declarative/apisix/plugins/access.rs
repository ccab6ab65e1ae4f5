//! Who may come: cors, ip-restriction, client-control.

use serde_json::{Value, json};

use super::Made;
use crate::declarative::apisix::conf::Conf;

pub(super) fn ip_restriction(conf: &mut Conf<'_, '_>) -> Made {
    conf.rename("whitelist", "allow");
    conf.rename("blacklist", "deny");
    conf.copy(&["message"]);
    conf.rename("response_code", "status");
    Made::As("ip-restriction")
}

pub(super) fn client_control(conf: &mut Conf<'_, '_>) -> Made {
    match conf.take("max_body_size") {
        // None, and as much as one likes.
        None => Made::Gone,
        Some(size) if size == 0 => Made::Gone,
        Some(size) => {
            conf.set_from("allowed_payload_size", size, "max_body_size");
            conf.set("size_unit", "bytes");
            Made::As("request-size-limiting")
        }
    }
}

pub(super) fn cors(conf: &mut Conf<'_, '_>) -> Made {
    origins(conf);
    for (from, to) in [("allow_methods", "methods"), ("allow_headers", "headers")] {
        let Some(given) = conf.take_text(from) else {
            continue;
        };
        // All of them is what ours are unless told.
        if !matches!(given.trim(), "*" | "**") {
            conf.set_from(to, listed(&given), from);
        }
    }
    match conf.take_text("expose_headers") {
        Some(given) if given.trim() == "**" => {
            let what =
                "`**` is sent as `*`: browsers read all headers of answers to requests without credentials";
            conf.remark(what, "list the headers, if requests have credentials");
            conf.set_from("exposed_headers", json!(["*"]), "expose_headers");
        }
        Some(given) if !given.trim().is_empty() => {
            conf.set_from("exposed_headers", listed(&given), "expose_headers");
        }
        _ => {}
    }
    conf.copy_or("max_age", 5);
    conf.rename("allow_credential", "credentials");
    conf.lacking(
        &["timing_allow_origins", "timing_allow_origins_by_regex"],
        "`Timing-Allow-Origin` is not sent",
        "add it by `response-transformer`",
    );
    Made::As("cors")
}

/// Which origins may ask.
fn origins(conf: &mut Conf<'_, '_>) {
    let mut all: Vec<Value> = Vec::new();
    let given = conf.take_text("allow_origins");
    let regexes = conf.take_texts("allow_origins_by_regex");
    let by_metadata = conf.take_texts("allow_origins_by_metadata");
    let only = regexes.is_some() || by_metadata.is_some();
    match given.as_deref().map(str::trim) {
        // In APISIX the others take the place of `*`.
        None | Some("*") if only => {}
        None => all.push(Value::from("*")),
        Some("**") => {
            let what = "`**` is as `*` with `allow_credential`: any origin is told its own name";
            if conf.get("allow_credential").is_none() {
                conf.remark(what, "");
            }
            all.push(Value::from("*"));
        }
        Some(given) => all.extend(listed(given)),
    }
    // Ours are anchored at both ends, APISIX's at none.
    let loose = |regex: String| {
        let start = if regex.starts_with('^') { "" } else { ".*" };
        let end = if regex.ends_with('$') { "" } else { ".*" };
        Value::from(format!("{start}{regex}{end}"))
    };
    all.extend(regexes.into_iter().flatten().map(loose));
    for name in by_metadata.into_iter().flatten() {
        let metadata = conf.mapping.shelf.metadata("cors");
        let origins = metadata.and_then(|item| item.fields.get("allow_origins")?.get(&name)?.as_str());
        match origins {
            Some(origins) => all.extend(listed(origins)),
            None => conf.wrong(
                "allow_origins_by_metadata",
                &format!("the metadata of 'cors' have no `allow_origins.{name}`"),
            ),
        }
    }
    conf.set_from("origins", all, "allow_origins");
}

fn listed(given: &str) -> Vec<Value> {
    given
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(Value::from)
        .collect()
}
