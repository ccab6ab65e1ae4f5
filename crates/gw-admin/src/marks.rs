//! `/config/tags`: names for revisions, such as `known-good`. What a name stands for is kept for as long as it does.

use std::collections::BTreeMap;

use gw_core::Document;
use gw_store::{Entry, Op, Revision, View};
use http::StatusCode;
use serde_json::{Value, json};

use crate::AdminApi;
use crate::answer::Answer;
use crate::body::{self, Arguments};
use crate::conditions::State;
use crate::entity::history;
use crate::intent::Intent;
use crate::problem::Problem;

/// What store keys of tags begin with. They are reserved: no configuration, and in nobody's export.
const PREFIX: &str = "_tags/";

/// What stands for the newest revision, and is no name for another.
pub(crate) const HEAD: &str = "head";

/// Bound: characters of a name.
const MAX_NAME: usize = 64;

/// The revision that a stored tag names; none if the key is not one's.
pub(crate) fn revision_of(key: &str, value: &[u8]) -> Option<Revision> {
    key.strip_prefix(PREFIX)?;
    let document: Document = serde_json::from_slice(value).ok()?;
    document.get("revision").and_then(Value::as_u64).map(Revision)
}

/// The revision that a name stands for in a view.
pub(crate) fn named(view: &View, name: &str) -> Option<Revision> {
    let key = key(name);
    revision_of(&key, &view.get(&key)?.value)
}

/// The names that revisions have.
pub(crate) fn by_revision(view: &View) -> BTreeMap<u64, Vec<&str>> {
    let mut names: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (key, entry) in view.list(PREFIX, None) {
        let name = key.as_str().strip_prefix(PREFIX);
        if let (Some(name), Some(revision)) = (name, revision_of(key.as_str(), &entry.value)) {
            names.entry(revision.0).or_default().push(name);
        }
    }
    names
}

impl AdminApi {
    /// `GET /config/tags`
    pub(crate) fn marks(&self, view: &View) -> Value {
        let marks = view.list(PREFIX, None).filter_map(|(key, entry)| {
            let name = key.as_str().strip_prefix(PREFIX)?;
            Some(shown(name, entry))
        });
        json!({ "data": marks.collect::<Value>(), "next": null })
    }

    /// `GET /config/tags/{name}`
    pub(crate) fn mark(&self, view: &View, name: &str) -> Result<Value, Problem> {
        let entry = view.get(&key(name)).ok_or(Problem::NotFound)?;
        Ok(shown(name, entry))
    }

    /// The ETag of a name, if it stands for something.
    pub(crate) fn tag_of_mark(&self, view: &View, name: &str) -> Option<String> {
        let entry = view.get(&key(name))?;
        let history = history(view.incarnation());
        Some(format!("\"{history:08x}-{}-{}\"", entry.created, entry.modified))
    }

    /// `PUT /config/tags/{name}`
    pub(crate) async fn set_mark(
        &self,
        name: &str,
        sent: &Arguments,
        intent: Intent,
    ) -> Result<Answer, Problem> {
        self.refuse_without_database("tag", "revisions")?;
        if !is_name(name) {
            return Err(Problem::Argument {
                why: "a tag has 1 to 64 letters, digits, '.', '_', '~' and '-', and is neither a number nor 'head'",
            });
        }
        body::only(&sent.document, &["revision"])?;
        let asked = match sent.document.get("revision") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(number) => Some(number.to_string()),
        };
        // What there was stays what it was: it can be looked for before the commit.
        let revision = match asked.filter(|asked| asked != HEAD) {
            Some(asked) => Some(self.at(&asked).await?.revision()),
            None => None,
        };
        let (api, by) = (self.clone(), intent.clone());
        let name = name.to_owned();
        let message = format!("'{name}'");
        let mut left = None;
        let mut change = |view: &View| {
            api.check_mark(view, &name, &by)?;
            let revision = revision.unwrap_or(view.revision());
            let mark = json!({ "revision": revision.0, "at": now(), "by": by.author });
            let ops = vec![Op::put(key(&name), mark.to_string())];
            let after = api.store().preview(view, ops.clone());
            left = Some((api.mark(&after, &name)?, api.tag_of_mark(&after, &name)));
            Ok(ops)
        };
        if intent.dry_run {
            change(&self.store().view())?;
            let told = left.map(|(told, _)| told).unwrap_or_default();
            let revision = self.store().info().revision;
            return Ok(Answer::ok(json!({ "dry_run": true, "document": told }), revision));
        }
        let (made, committed) = self.commit_ops(&intent, "tag", message, change).await?;
        let (body, tag) = left.unwrap_or_default();
        let answer = Answer {
            tag,
            ..Answer::ok(body, made)
        };
        Ok(self.when_served(answer, &intent, made, committed).await)
    }

    /// `DELETE /config/tags/{name}`
    pub(crate) async fn remove_mark(&self, name: &str, intent: Intent) -> Result<Answer, Problem> {
        self.refuse_without_database("delete", "tags")?;
        let change = |view: &View| {
            self.check_mark(view, name, &intent)?;
            let found = view.get(&key(name));
            Ok(found.map(|_| Op::delete(key(name))).into_iter().collect())
        };
        if intent.dry_run {
            let _ops: Vec<Op> = change(&self.store().view())?;
            return Ok(Answer::ok(
                json!({ "dry_run": true, "document": null }),
                self.store().info().revision,
            ));
        }
        let made = self
            .commit_ops(&intent, "delete", format!("tag '{name}'"), change)
            .await?;
        let answer = Answer {
            revision: Some(made.0),
            ..Answer::empty(StatusCode::NO_CONTENT)
        };
        Ok(self.when_served(answer, &intent, made.0, made.1).await)
    }

    fn check_mark(&self, view: &View, name: &str, intent: &Intent) -> Result<(), Problem> {
        let tag = self.tag_of_mark(view, name);
        intent
            .conditions
            .check(tag.as_deref().map_or(State::Absent, State::Tagged))
    }
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn shown(name: &str, entry: &Entry) -> Value {
    let document: Document = serde_json::from_slice(&entry.value).unwrap_or_default();
    let at = document.get("at").and_then(Value::as_u64);
    json!({
        "name": name,
        "revision": document.get("revision"),
        "by": document.get("by"),
        "at": at.map(crate::history::seconds),
    })
}

/// Unix milliseconds.
fn now() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What cannot be taken for a revision, and can stand in a path.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.bytes().all(|byte| byte.is_ascii_digit())
        && name != HEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_revision() {
        for (name, is_one) in [
            ("known-good", true),
            ("v1.2_3~x", true),
            ("7a", true),
            ("7", false),
            ("head", false),
            ("", false),
            ("a b", false),
            ("a/b", false),
            ("ä", false),
        ] {
            assert_eq!(is_name(name), is_one, "{name}");
        }
        assert!(is_name(&"a".repeat(64)) && !is_name(&"a".repeat(65)));
    }
}
