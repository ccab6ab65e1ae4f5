//! How settings are read where Kong's files are loose.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value};

/// An object; an empty list, which is how an empty one is written by programs in Lua, and null are one too.
pub(crate) fn fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Object(fields) => Ok(fields),
        Value::Null => Ok(Map::new()),
        Value::Array(items) if items.is_empty() => Ok(Map::new()),
        _ => Err(Error::custom("expected an object")),
    }
}
