//! The document that the parts make, and the status of one that fails. Values are passed on as they were written: a large
//! number stays what it is.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::part::Failed;
use super::setting;
use crate::plugin::BuildError;

/// How parts become a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Merge {
    /// Each is a member.
    Object,
    /// The members of each are.
    Flatten,
}

/// A document in the making.
#[derive(Debug)]
pub(super) struct Composition {
    merge: Merge,
    members: Vec<(String, Box<RawValue>)>,
    /// Where among them each name is.
    places: HashMap<String, usize>,
}

/// The status of a whole that fails, by how its part has failed.
#[derive(Debug, Default)]
pub(super) struct StatusMap {
    exact: HashMap<u16, StatusCode>,
    classes: HashMap<u16, StatusCode>,
    timeout: Option<StatusCode>,
    invalid: Option<StatusCode>,
}

impl Composition {
    pub(super) fn new(merge: Merge) -> Self {
        Self {
            merge,
            members: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Adds a part. One that has no members is one itself.
    pub(super) fn add(&mut self, name: &str, value: Box<RawValue>) {
        if self.merge == Merge::Flatten
            && let Some(members) = members(&value)
        {
            for (name, value) in members {
                self.set(&name, value.to_owned());
            }
            return;
        }
        self.set(name, value);
    }

    /// Sets a member.
    pub(super) fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self
            .places
            .get(name)
            .and_then(|place| self.members.get_mut(*place))
        {
            Some((_, known)) => *known = value,
            None => {
                self.places.insert(name.to_owned(), self.members.len());
                self.members.push((name.to_owned(), value));
            }
        }
    }

    pub(super) fn write(self) -> Bytes {
        let size: usize = self
            .members
            .iter()
            .map(|(name, value)| name.len() + value.get().len() + 4)
            .sum();
        let mut text = String::with_capacity(size + 2);
        text.push('{');
        for (place, (name, value)) in self.members.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            text.push_str(&Value::from(name.as_str()).to_string());
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        text.into()
    }
}

impl StatusMap {
    pub(super) fn build(map: HashMap<String, u16>) -> Result<Self, BuildError> {
        let mut built = Self::default();
        for (key, code) in map {
            let wrong = |what: String| setting(&format!("/status_map/{key}"), what);
            let status = StatusCode::from_u16(code).map_err(|_| wrong(format!("{code} is no status")))?;
            let class = key.strip_suffix("xx").and_then(|class| class.parse().ok());
            match (key.as_str(), class, key.parse()) {
                ("timeout", ..) => built.timeout = Some(status),
                ("invalid", ..) => built.invalid = Some(status),
                (_, Some(class), _) => drop(built.classes.insert(class, status)),
                (_, None, Ok(exact)) => drop(built.exact.insert(exact, status)),
                _ => {
                    return Err(wrong(
                        "is no status, no class of them as `4xx`, `timeout` or `invalid`".to_owned(),
                    ));
                }
            }
        }
        Ok(built)
    }

    pub(super) fn status(&self, failed: &Failed) -> StatusCode {
        match failed {
            Failed::TimedOut => self.timeout.unwrap_or(StatusCode::GATEWAY_TIMEOUT),
            Failed::Invalid(_) => self.invalid.unwrap_or(StatusCode::BAD_GATEWAY),
            Failed::Status(status) => {
                let code = status.as_u16();
                let known = self.exact.get(&code).or_else(|| self.classes.get(&(code / 100)));
                known.copied().unwrap_or(StatusCode::BAD_GATEWAY)
            }
        }
    }
}

/// A document as it is written.
pub(super) fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).expect("a document can be written")
}

fn members(value: &RawValue) -> Option<BTreeMap<Cow<'_, str>, &RawValue>> {
    if !value.get().starts_with('{') {
        return None;
    }
    serde_json::from_str(value.get()).ok()
}

/// What is at a JSON pointer.
pub(super) fn pick(value: &RawValue, pointer: &str) -> Option<Box<RawValue>> {
    let mut found = value;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        found = match found.get().as_bytes().first()? {
            b'{' => members(found)?.remove(token.as_str())?,
            b'[' => {
                let is_plain = token == "0"
                    || !token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit());
                let items: Vec<&RawValue> = serde_json::from_str(found.get()).ok().filter(|_| is_plain)?;
                items.get(token.parse::<usize>().ok()?).copied()?
            }
            _ => return None,
        };
    }
    Some(found.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn a_pointer_picks_what_it_points_to_as_it_was_written() {
        let document = read(r#"{ "a": [1, {"b/c": 12345678901234567890123.10, "~": null}], "": 2 }"#);
        for (pointer, found) in [
            ("", Some(document.get())),
            ("/a/0", Some("1")),
            ("/a/1/b~1c", Some("12345678901234567890123.10")),
            ("/a/1/~0", Some("null")),
            ("/", Some("2")),
            ("/a/2", None),
            ("/a/01", None),
            ("/a/-", None),
            ("/a/0/x", None),
            ("/b", None),
        ] {
            let picked = pick(&document, pointer);
            assert_eq!(picked.as_deref().map(RawValue::get), found, "{pointer}");
        }
    }

    #[test]
    fn members_are_told_apart_or_put_together() {
        for (merge, written) in [
            (
                Merge::Object,
                r#"{"a":{"x":1,"y":2},"b":{"y":3},"c":[1],"d":null}"#,
            ),
            (Merge::Flatten, r#"{"x":1,"y":3,"c":[1],"d":null}"#),
        ] {
            let mut composition = Composition::new(merge);
            composition.add("a", read(r#"{"x":1,"y":2}"#));
            composition.add("b", read(r#"{"y":3}"#));
            composition.add("c", read("[1]"));
            composition.set("d", raw(&Value::Null));
            assert_eq!(composition.write(), written);
        }
    }

    /// Looked through one by one these members would take very long.
    #[test]
    fn very_many_members_are_put_together_in_good_time() {
        let document: String = (0..60_000).map(|n| format!(r#""{n}":1,"#)).collect();
        let document = read(&format!("{{{}}}", document.trim_end_matches(',')));
        let begun = std::time::Instant::now();
        let mut composition = Composition::new(Merge::Flatten);
        for part in ["a", "b"] {
            composition.add(part, document.clone());
        }
        assert_eq!(composition.members.len(), 60_000);
        assert!(
            begun.elapsed() < std::time::Duration::from_secs(20),
            "{:?}",
            begun.elapsed()
        );
    }

    #[test]
    fn an_exact_status_counts_before_its_class() {
        let map = [("404", 404), ("4xx", 400), ("timeout", 503)];
        let map = map.map(|(key, status)| (key.to_owned(), status)).into();
        let map = StatusMap::build(map).unwrap();
        let status = |code: u16| Failed::Status(StatusCode::from_u16(code).unwrap());
        for (failed, expected) in [
            (status(404), 404),
            (status(403), 400),
            (status(500), 502),
            (Failed::TimedOut, 503),
            (Failed::Invalid("x"), 502),
        ] {
            assert_eq!(map.status(&failed).as_u16(), expected, "{failed:?}");
        }
    }
}
