//! Upstreams that are written into a rule.

use std::sync::OnceLock;

use gw_core::{Document, Entity, Id, Kind, Kinds, PluginUse, Upstream};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::plugin::BuildError;
use crate::steering::OwnUpstream;

#[derive(serde::Deserialize)]
pub(super) struct Inline {
    name: Option<String>,
    #[serde(rename = "type")]
    algorithm: Algorithm,
    nodes: Value,
    hash_on: HashOn,
    key: Option<String>,
    upstream_host: Option<String>,
    healthchecks: Option<Value>,
}

#[derive(Clone, Copy, serde::Deserialize)]
enum Algorithm {
    #[serde(rename = "roundrobin")]
    RoundRobin,
    #[serde(rename = "chash")]
    Hash,
    #[serde(rename = "least_conn")]
    LeastConnections,
    #[serde(rename = "ewma")]
    Latency,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum HashOn {
    Vars,
    Header,
    Cookie,
    Consumer,
}

/// A node as APISIX writes it.
#[derive(serde::Deserialize)]
struct Node {
    host: String,
    port: u16,
    weight: u16,
    priority: i32,
}

/// Spreads the places of an instance's upstreams over the ids there are.
const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

/// The upstream, with an id that stays as long as its instance and its place in it do.
pub(super) fn build(
    inline: Inline,
    instance: Option<Id<PluginUse>>,
    position: usize,
    place: &str,
) -> Result<OwnUpstream, BuildError> {
    let instance = instance.map_or(0, |id| id.uuid().as_u128());
    let spread = SPREAD.wrapping_mul(position as u128 + 1);
    let id: Id<Upstream> = Uuid::from_u128(instance ^ spread).into();
    let nodes = nodes(&inline.nodes, place)?;
    let upstream = upstream(inline, id, place)?;
    let mut targets = Vec::new();
    for (number, node) in nodes.into_iter().enumerate() {
        // APISIX asks those of a higher number first, and ours are asked last.
        let priority = u16::try_from(32_767 - node.priority).unwrap_or_default();
        let host = match node.host.contains(':') && !node.host.starts_with(['[', 'u']) {
            true => format!("[{}]", node.host),
            false => node.host,
        };
        let target = match host.starts_with("unix:") {
            true => host,
            false => format!("{host}:{}", node.port),
        };
        let document = json!({
            "id": Uuid::from_u128(id.uuid().as_u128() ^ (number as u128 + 1)),
            "upstream": { "id": id.uuid() },
            "target": target,
            "weight": node.weight,
            "priority": priority,
            "created_at": number,
            "updated_at": number,
        });
        match entity(Kind::Target, document, &format!("{place}/nodes"))? {
            Entity::Target(target) => targets.push(target),
            _ => continue,
        }
    }
    Ok(OwnUpstream { upstream, targets })
}

fn upstream(inline: Inline, id: Id<Upstream>, place: &str) -> Result<std::sync::Arc<Upstream>, BuildError> {
    let algorithm = match inline.algorithm {
        Algorithm::RoundRobin => "round-robin",
        Algorithm::Hash => "consistent-hashing",
        Algorithm::LeastConnections => "least-connections",
        Algorithm::Latency => "latency",
    };
    let is_label = |name: &String| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = inline
        .name
        .filter(|name| is_label(name) && name.starts_with(|first: char| first.is_alphabetic()));
    let mut document = json!({
        "id": id.uuid(),
        "name": name.unwrap_or_else(|| format!("split-{}", id.uuid().simple())),
        "algorithm": algorithm,
        "host_header": inline.upstream_host,
        "created_at": 0,
        "updated_at": 0,
    });
    let fields = document.as_object_mut().expect("just made");
    if let Some(checks) = inline.healthchecks {
        fields.insert("healthchecks".to_owned(), checks);
    }
    if matches!(inline.algorithm, Algorithm::Hash) {
        hashing(fields, inline.hash_on, inline.key.as_deref(), place)?;
    }
    match entity(Kind::Upstream, document, place)? {
        Entity::Upstream(upstream) => Ok(upstream),
        _ => Err(refuse(place, "is not an upstream")),
    }
}

/// What requests stick to a node by.
fn hashing(fields: &mut Document, hash_on: HashOn, key: Option<&str>, place: &str) -> Result<(), BuildError> {
    let missing = || refuse(&format!("{place}/key"), "required field missing");
    let mut set = |input: &str, field: Option<(&str, &str)>| {
        fields.insert("hash_on".to_owned(), input.into());
        if let Some((name, value)) = field {
            fields.insert(name.to_owned(), value.into());
        }
    };
    match hash_on {
        HashOn::Consumer => set("consumer", None),
        HashOn::Header => {
            let key = key.ok_or_else(missing)?;
            let name = key
                .strip_prefix("http_")
                .map_or_else(|| key.to_owned(), |name| name.replace('_', "-"));
            set("header", Some(("hash_on_header", &name)));
        }
        HashOn::Cookie => {
            let key = key.ok_or_else(missing)?;
            set(
                "cookie",
                Some(("hash_on_cookie", key.strip_prefix("cookie_").unwrap_or(key))),
            );
        }
        HashOn::Vars => match key.ok_or_else(missing)? {
            "remote_addr" => set("ip", None),
            "uri" => set("path", None),
            "consumer_name" => set("consumer", None),
            key => match (
                key.strip_prefix("arg_"),
                key.strip_prefix("http_"),
                key.strip_prefix("cookie_"),
            ) {
                (Some(name), _, _) => set("query_arg", Some(("hash_on_query_arg", name))),
                (_, Some(name), _) => set("header", Some(("hash_on_header", &name.replace('_', "-")))),
                (_, _, Some(name)) => set("cookie", Some(("hash_on_cookie", name))),
                _ => {
                    let message = format!(
                        "requests cannot stick by `{key}`; use remote_addr, uri, consumer_name, arg_…, http_… or cookie_…"
                    );
                    return Err(refuse(&format!("{place}/key"), &message));
                }
            },
        },
    }
    Ok(())
}

/// `{ "host:port": weight }` or a list of nodes.
fn nodes(nodes: &Value, place: &str) -> Result<Vec<Node>, BuildError> {
    let wrong = |error: &dyn std::fmt::Display| refuse(&format!("{place}/nodes"), &error.to_string());
    let list: Vec<Node> = match nodes {
        Value::Object(weights) => {
            let read = |(address, weight): (&String, &Value)| {
                let port = address
                    .rsplit_once(':')
                    .filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
                let port = port.and_then(|(host, port)| Some((host, port.parse().ok()?)));
                let (host, port) = port.unwrap_or((address, 80));
                Node {
                    host: host.to_owned(),
                    port,
                    weight: weight
                        .as_u64()
                        .and_then(|weight| u16::try_from(weight).ok())
                        .unwrap_or(1),
                    priority: 0,
                }
            };
            weights.iter().map(read).collect()
        }
        list => serde::Deserialize::deserialize(list).map_err(|error: serde_json::Error| wrong(&error))?,
    };
    match list.is_empty() {
        true => Err(wrong(&"there is no node")),
        false => Ok(list),
    }
}

/// An entity as the gateway's own schemas have it.
fn entity(kind: Kind, mut document: Value, place: &str) -> Result<Entity, BuildError> {
    static KINDS: OnceLock<Kinds> = OnceLock::new();
    let kinds = KINDS.get_or_init(|| Kinds::new([]).expect("the gateway's own schemas compile"));
    let document = document.as_object_mut().expect("made as an object");
    Kinds::expand(kind, document);
    kinds.complete(kind, document).map_err(|violations| {
        let first = violations.into_iter().next();
        let (pointer, message) = first.map_or_else(Default::default, |found| (found.pointer, found.message));
        refuse(&format!("{place}{pointer}"), &message)
    })
}

fn refuse(pointer: &str, message: &str) -> BuildError {
    BuildError::Setting {
        pointer: pointer.into(),
        message: message.into(),
    }
}
