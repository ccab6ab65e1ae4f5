//! A JSON object's members as fields that are edited: what is not touched stays as it was written, to the last digit.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::Fields;

/// The members of an object, in their order.
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Members<'a> {
    /// Reads an object; none if it is not one.
    pub(crate) fn read(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// Writes it.
    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A text as a JSON string.
pub(crate) fn written(text: &str) -> Box<RawValue> {
    to_raw_value(text).expect("every text can be written")
}

impl Fields for Members<'_> {
    type Name = Box<str>;
    type Value = Box<RawValue>;

    fn has(&self, name: &Box<str>) -> bool {
        self.0.iter().any(|(key, _)| **key == **name)
    }

    fn remove(&mut self, name: &Box<str>) {
        self.0.retain(|(key, _)| **key != **name);
    }

    fn rename(&mut self, old: &Box<str>, new: &Box<str>) {
        if old == new {
            return;
        }
        self.remove(new);
        for (key, _) in self.0.iter_mut().filter(|(key, _)| **key == **old) {
            *key = Cow::Owned(new.to_string());
        }
    }

    fn set(&mut self, name: &Box<str>, value: Box<RawValue>) {
        let place = self.0.iter().position(|(key, _)| **key == **name);
        let place = place.unwrap_or(self.0.len());
        self.remove(name);
        let member = (Cow::Owned(name.to_string()), Cow::Owned(value));
        self.0.insert(place.min(self.0.len()), member);
    }

    /// A list gets one item more; anything else becomes a list of itself and the value.
    fn append(&mut self, name: &Box<str>, value: Box<RawValue>) {
        // Of several members of one name the last counts, as it does for nearly all readers of JSON.
        let Some((_, held)) = self.0.iter_mut().rev().find(|(key, _)| **key == **name) else {
            let list = format!("[{value}]");
            self.set(name, raw(list));
            return;
        };
        let text = held.get();
        let list = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(items) if items.trim().is_empty() => format!("[{value}]"),
            Some(items) => format!("[{items},{value}]"),
            None => format!("[{text},{value}]"),
        };
        *held = Cow::Owned(raw(list));
    }
}

fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).expect("made of JSON")
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name.0, Cow::Borrowed(value)));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, &**value)?;
        }
        map.end()
    }
}
