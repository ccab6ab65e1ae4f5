//! Whether an object of a JSON text has two members of one name.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Whether any object in the text has two members of one name.
pub(super) fn has_repeated_names(text: &[u8]) -> bool {
    serde_json::from_slice::<Walk>(text).is_ok_and(|Walk(repeated)| repeated)
}

/// Whether a value has repeated names in it.
struct Walk(bool);

#[derive(PartialEq, Eq, Hash, serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Walk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Walk;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Walk, A::Error> {
        let (mut names, mut repeated) = (HashSet::new(), false);
        while let Some((name, Walk(below))) = map.next_entry::<Name<'de>, Walk>()? {
            repeated |= below | !names.insert(name);
        }
        Ok(Walk(repeated))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Walk, A::Error> {
        let mut repeated = false;
        while let Some(Walk(below)) = items.next_element()? {
            repeated |= below;
        }
        Ok(Walk(repeated))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Walk, E> {
        Ok(Walk(false))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Walk, E> {
        Ok(Walk(false))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Walk, E> {
        Ok(Walk(false))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Walk, E> {
        Ok(Walk(false))
    }

    fn visit_str<E>(self, _: &str) -> Result<Walk, E> {
        Ok(Walk(false))
    }

    fn visit_unit<E>(self) -> Result<Walk, E> {
        Ok(Walk(false))
    }
}
