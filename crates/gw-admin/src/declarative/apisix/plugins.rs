//! Plugins of APISIX's as ours: which is which, and where an instance goes.

mod absent;
mod access;
mod auth;
mod cache;
mod logs;
mod respond;
mod same;
mod traffic;
mod transform;

use gw_schema::ViolationKind;
use serde_json::Value;

use super::Mapping;
use super::conf::Conf;
use super::groups;
use super::ledger::{Entity, Ledger};
use super::merge::Use;
use super::shelf::Item;
pub(in crate::declarative) use absent::instead;

/// What an instance runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Route,
    Consumer,
    Group,
    /// Every request, besides what else runs.
    Global,
}

/// What becomes of a plugin.
pub(super) enum Made {
    /// One of ours.
    As(&'static str),
    /// Nothing, which was told.
    Gone,
    /// It cannot be, which was told: it counts as one that is not here.
    Unfit,
}

type Translate = fn(&mut Conf<'_, '_>) -> Made;

/// The plugins of APISIX's that are here, by name.
const KNOWN: &[(&str, Translate)] = &[
    ("acl", groups::by_labels),
    ("basic-auth", auth::basic_auth),
    ("batch-requests", respond::batch_requests),
    ("client-control", access::client_control),
    ("consumer-restriction", groups::by_consumers),
    ("cors", access::cors),
    ("fault-injection", respond::fault_injection),
    ("file-logger", logs::file_logger),
    ("forward-auth", same::forward_auth),
    ("hmac-auth", auth::hmac_auth),
    ("http-logger", logs::http_logger),
    ("ip-restriction", access::ip_restriction),
    ("jwt-auth", auth::jwt_auth),
    ("key-auth", auth::key_auth),
    ("limit-conn", same::limit_conn),
    ("limit-count", same::limit_count),
    ("limit-req", same::limit_req),
    ("mocking", respond::mocking),
    ("opentelemetry", logs::opentelemetry),
    ("prometheus", logs::prometheus),
    ("proxy-buffering", transform::proxy_buffering),
    ("proxy-cache", cache::proxy_cache),
    ("proxy-control", transform::proxy_control),
    ("proxy-rewrite", same::proxy_rewrite),
    ("public-api", respond::public_api),
    ("redirect", same::redirect),
    ("request-id", transform::request_id),
    ("request-validation", same::request_validation),
    ("response-rewrite", transform::response_rewrite),
    ("syslog", logs::syslog),
    ("tcp-logger", logs::tcp_logger),
    ("traffic-split", traffic::traffic_split),
    ("ua-restriction", same::ua_restriction),
    ("udp-logger", logs::udp_logger),
];

/// Plugins whose settings for a consumer are how the consumer is known.
pub(super) const CREDENTIALS: [&str; 4] = ["key-auth", "basic-auth", "jwt-auth", "hmac-auth"];

impl Mapping<'_> {
    /// Makes the plugins of an object.
    pub(super) fn plugins(&mut self, uses: &[Use], scope: Scope, holder: &mut Entity) {
        for plugin in uses {
            refuse_secrets(
                &Value::Object(plugin.conf.clone()),
                &plugin.pointer,
                &mut self.ledger,
            );
            let known = KNOWN.iter().find(|(name, _)| *name == plugin.name);
            let mut conf = Conf::new(self, plugin, scope);
            let Some((_, translate)) = known else {
                // Not here, or one that somebody has added to this gateway.
                conf.copy_all();
                conf.finish(&plugin.name, holder);
                continue;
            };
            match translate(&mut conf) {
                Made::As(name) => conf.finish(name, holder),
                Made::Gone => conf.finish("", holder),
                Made::Unfit => {
                    conf.copy_all();
                    let name = match conf.mapping.registry.get(&plugin.name) {
                        Some(_) => format!("apisix/{}", plugin.name),
                        None => plugin.name.clone(),
                    };
                    conf.finish(&name, holder);
                }
            }
        }
    }

    /// Puts an instance where it belongs.
    pub(super) fn place(
        &mut self,
        mut plugin: Entity,
        pointer: &str,
        name: &str,
        scope: Scope,
        holder: &mut Entity,
    ) {
        let registered = self.registry.get(name);
        if matches!(scope, Scope::Consumer | Scope::Group)
            && registered.is_some_and(|registered| !registered.consumer_scope)
        {
            let what = format!("'{name}' runs before it is known who calls, so not for some consumers only");
            return self.ledger.unsupported(
                pointer,
                what,
                "give it to routes, where consumers do not matter",
            );
        }
        if scope == Scope::Global {
            // Of this one a route's own instance counts, in APISIX too.
            if name != "prometheus" {
                plugin.set("global_rule", true);
            } else if self.names.unique("global plugins", name) != name {
                return self
                    .ledger
                    .adapted(pointer, "one such rule does for all", "leave it out");
            }
            return self.ledger.add("plugins", plugin);
        }
        if holder.texts("plugins", "name").any(|other| other == name) {
            let what =
                format!("another plugin of the same object is '{name}' here as well, and it runs once");
            return self.ledger.unsupported(pointer, what, "keep one of the two");
        }
        holder.adopt("plugins", plugin);
    }
}

/// Values that a manager of secrets holds.
fn refuse_secrets(value: &Value, pointer: &str, ledger: &mut Ledger) {
    match value {
        Value::String(text) if text.starts_with("$secret://") => {
            let hint = "give the value by the environment: `${{NAME}}`";
            ledger.fault_with(pointer, "no secrets are fetched", ViolationKind::Other, hint);
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                refuse_secrets(item, &format!("{pointer}/{position}"), ledger);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let below = crate::declarative::spot::segment(name);
                refuse_secrets(field, &format!("{pointer}/{below}"), ledger);
            }
        }
        _ => {}
    }
}

/// Fields of metadata that are read.
const METADATA: [(&str, &str); 3] = [
    ("cors", "allow_origins"),
    ("file-logger", "path"),
    ("opentelemetry", "collector"),
];

/// Tells of settings for all uses of a plugin that are not read.
pub(super) fn tell_of_metadata(item: &Item, ledger: &mut Ledger) {
    let Some(plugin) = &item.id else { return };
    let is_read = |field: &str| METADATA.contains(&(plugin.as_str(), field));
    let own = ["id", "name", "desc", "labels", "create_time", "update_time"];
    for field in item
        .fields
        .keys()
        .filter(|field| !own.contains(&field.as_str()) && !is_read(field))
    {
        let what = format!("a setting of all uses of '{plugin}' that none here has");
        let at = format!("{}/{}", item.pointer, crate::declarative::spot::segment(field));
        ledger.unsupported(at, what, "see docs/plugins.md for what each use can be told");
    }
}
