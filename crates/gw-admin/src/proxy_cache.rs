//! `/proxy-cache`: what this node keeps of responses, and how it is dropped; as in Kong.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use gw_core::Kind;
use gw_plugins::Registry;
use gw_plugins::cache::{Cache, Key, Stored};
use serde_json::{Map, Value, json};

use crate::api::Site;
use crate::entity::Entities;
use crate::problem::Problem;

/// What all instances of the plugin share.
fn cache(registry: &Registry) -> Arc<Cache> {
    registry.env().shared().get()
}

/// `GET /proxy-cache/{key}`, `GET /proxy-cache/{plugins}/caches/{key}`
pub(crate) fn show(entities: &Entities<'_>, registry: &Registry, site: &Site) -> Result<Value, Problem> {
    let key = key(entities, site)?;
    let stored = cache(registry).newest(&key).ok_or(Problem::NotFound)?;
    Ok(shown(&stored))
}

/// `DELETE /proxy-cache`, `DELETE /proxy-cache/{key}`, `DELETE /proxy-cache/{plugins}/caches/{key}`
pub(crate) fn purge(entities: &Entities<'_>, registry: &Registry, site: &Site) -> Result<(), Problem> {
    let cache = cache(registry);
    if site.names.is_empty() {
        cache.clear();
        return Ok(());
    }
    let was_there = cache.remove(&key(entities, site)?);
    was_there.then_some(()).ok_or(Problem::NotFound)
}

/// The key that a path ends with. A plugin that it names is one that caches.
fn key(entities: &Entities<'_>, site: &Site) -> Result<Key, Problem> {
    if let [plugin, _] = site.names.as_slice() {
        let plugin = entities.by_id(entities.spec(Kind::Plugin)?, plugin);
        let caches =
            plugin.is_some_and(|plugin| plugin.get("name").is_some_and(|name| name == "proxy-cache"));
        if !caches {
            return Err(Problem::NotFound);
        }
    }
    let text = site.names.last().ok_or(Problem::NotFound)?;
    Key::parse(text).ok_or(Problem::NotFound)
}

fn shown(stored: &Stored) -> Value {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut headers = Map::new();
    for name in stored.headers.keys() {
        let mut values: Vec<Value> = stored
            .headers
            .get_all(name)
            .iter()
            .map(|value| text(value).into())
            .collect();
        let value = match values.len() {
            1 => values.swap_remove(0),
            _ => Value::Array(values),
        };
        headers.insert(name.as_str().to_owned(), value);
    }
    let at = stored.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "status": stored.status.as_u16(),
        "headers": headers,
        "body": String::from_utf8_lossy(&stored.body),
        "body_len": stored.body.len(),
        "timestamp": at.as_secs(),
        "ttl": stored.lifetime.as_secs(),
        "version": 1,
    })
}
