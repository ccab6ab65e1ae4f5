//! The formats before 3.0: paths that look like regular expressions are some, and lists of plugins have other names.

use gw_core::{Document, Kind};
use serde_json::Value;

use super::flatten::Draft;
use super::text;

/// Names of settings that were others before.
const RENAMED: [(&str, &str); 2] = [("whitelist", "allow"), ("blacklist", "deny")];

/// Plugins that have them.
const WITH_LISTS: [&str; 3] = ["acl", "ip-restriction", "bot-detection"];

/// Brings the routes and plugins of a file of format 1.1 or 2.1 into the form of today.
pub(super) fn migrate(drafts: &mut [Draft]) {
    for draft in drafts.iter_mut() {
        match draft.kind {
            Kind::Route => migrate_route(&mut draft.document),
            Kind::Plugin => migrate_plugin(&mut draft.document),
            _ => {}
        }
    }
}

fn migrate_plugin(plugin: &mut Document) {
    let has_lists = text(plugin, "name").is_some_and(|name| WITH_LISTS.contains(&name));
    let Some(Value::Object(config)) = plugin.get_mut("config").filter(|_| has_lists) else {
        return;
    };
    for (old, new) in RENAMED {
        if config.get(new).is_none_or(Value::is_null)
            && let Some(list) = config.remove(old)
        {
            config.insert(new.to_owned(), list);
        }
    }
}

fn migrate_route(route: &mut Document) {
    let Some(Value::Array(paths)) = route.get_mut("paths") else {
        return;
    };
    for path in paths {
        if let Value::String(text) = path {
            *text = migrated(text);
        }
    }
}

/// Kong's rule: what has a character that no plain path has is a regular expression.
fn migrated(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~/%".contains(&byte);
    if path.bytes().all(is_plain) {
        // A path that has no normal form is the schema's to refuse.
        return gw_router::normalize(path).map_or_else(|_| path.to_owned(), Into::into);
    }
    let regex = path.strip_prefix('~').unwrap_or(path);
    format!("~{}", decoded(regex))
}

/// A regular expression without percent escapes, but for those of characters that would mean something else.
fn decoded(regex: &str) -> String {
    const RESERVED: &[u8] = b"!#$%&'()*+,/:;=?@[]";
    const META: &[u8] = b".^-{}\\|";
    let mut text = String::with_capacity(regex.len());
    let mut rest = regex;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let hex = after
            .get(..2)
            .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = if byte.is_some() {
            after.get(2..).unwrap_or_default()
        } else {
            after
        };
        match byte {
            // Note: Kong also decodes bytes that are no characters by themselves; they stay escaped here.
            Some(byte) if RESERVED.contains(&byte) || !(0x20..0x7f).contains(&byte) => {
                text.push_str(&format!("%{byte:02X}"));
            }
            Some(byte) => {
                if META.contains(&byte) {
                    text.push('\\');
                }
                text.push(char::from(byte));
            }
            None => text.push('%'),
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_of_plugins_get_the_names_of_today() {
        for (plugin, migrated) in [
            (
                json!({ "name": "acl", "config": { "whitelist": ["a"], "hide_groups_header": true } }),
                json!({ "name": "acl", "config": { "allow": ["a"], "hide_groups_header": true } }),
            ),
            (
                json!({ "name": "ip-restriction", "config": { "blacklist": ["::1"], "deny": null } }),
                json!({ "name": "ip-restriction", "config": { "deny": ["::1"] } }),
            ),
            // Two that say something: one is wrong, and the schema says so.
            (
                json!({ "name": "acl", "config": { "whitelist": ["a"], "allow": ["b"] } }),
                json!({ "name": "acl", "config": { "whitelist": ["a"], "allow": ["b"] } }),
            ),
            (
                json!({ "name": "cors", "config": { "whitelist": ["a"] } }),
                json!({ "name": "cors", "config": { "whitelist": ["a"] } }),
            ),
            (json!({ "name": "acl" }), json!({ "name": "acl" })),
        ] {
            let mut document = plugin.as_object().unwrap().clone();
            migrate_plugin(&mut document);
            assert_eq!(Value::Object(document), migrated);
        }
    }

    #[test]
    fn paths_that_look_like_regular_expressions_become_some() {
        for (old, new) in [
            ("/", "/"),
            ("/a/b-c_d.e~f", "/a/b-c_d.e~f"),
            ("/a%20b", "/a b"),
            ("/a/../b", "/b"),
            ("/a/.*", "~/a/.*"),
            ("/a/(?<id>\\d+)$", "~/a/(?<id>\\d+)$"),
            ("~/a/(b|c)", "~/a/(b|c)"),
            ("/v[12]/%41%2E%2f%zz", "~/v[12]/A\\.%2F%zz"),
            ("/é+%C3%A9", "~/é+%C3%A9"),
            ("/a b", "~/a b"),
            ("relative", "relative"),
        ] {
            assert_eq!(migrated(old), new, "{old}");
        }
    }
}
