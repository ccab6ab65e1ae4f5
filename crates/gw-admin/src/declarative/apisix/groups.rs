//! Rules about who may: consumer-restriction and acl, as groups of access lists that consumers are put in.

use serde_json::{Map, Value};

use super::conf::Conf;
use super::plugins::Made;
use super::shelf::id_of;

pub(super) fn by_consumers(conf: &mut Conf<'_, '_>) -> Made {
    let kind = conf
        .take_text("type")
        .unwrap_or_else(|| "consumer_name".to_owned());
    let prefix = match kind.as_str() {
        "consumer_name" => "consumer",
        "consumer_group_id" => "consumer_group",
        _ => {
            let at = conf.at("type");
            let what = format!("consumers are not held to some of a '{kind}' here");
            let remedy = "say at those routes which consumers may come: `type: consumer_name`";
            conf.mapping.ledger.unsupported(at, what, remedy);
            return Made::Unfit;
        }
    };
    if conf.get("allowed_by_methods").is_some() {
        let at = conf.at("allowed_by_methods");
        let what = "who may come does not hang on the method";
        let remedy = "make a route for each set of methods";
        conf.mapping.ledger.unsupported(at, what, remedy);
        return Made::Unfit;
    }
    if has_both(conf, ["whitelist", "blacklist"]) {
        return Made::Unfit;
    }
    for (from, to) in [("whitelist", "allow"), ("blacklist", "deny")] {
        let Some(names) = conf.take_list(from) else {
            continue;
        };
        let names: Vec<String> = names.iter().filter_map(id_of).collect();
        let groups: Vec<Value> = names
            .iter()
            .map(|name| Value::from(format!("{prefix}:{name}")))
            .collect();
        for name in &names {
            let members = if prefix == "consumer" {
                vec![name.clone()]
            } else {
                members_of(conf, name)
            };
            enrol(conf, &members, &format!("{prefix}:{name}"));
        }
        conf.set_from(to, groups, from);
    }
    refusal(conf);
    Made::As("acl")
}

/// Whether some are let in and others kept out by one and the same plugin.
fn has_both(conf: &mut Conf<'_, '_>, fields: [&str; 2]) -> bool {
    let both = fields.iter().all(|field| conf.get(field).is_some());
    if both {
        let at = conf.at(fields[1]);
        let what = "a list says who may come, or who may not, and not both";
        conf.mapping
            .ledger
            .unsupported(at, what, "keep the list of those who may");
    }
    both
}

/// The consumers of a group.
fn members_of(conf: &Conf<'_, '_>, group: &str) -> Vec<String> {
    let consumers = conf.mapping.shelf.list("consumers").iter();
    let members = consumers
        .filter(|consumer| consumer.fields.get("group_id").and_then(id_of).as_deref() == Some(group));
    members
        .filter_map(|consumer| consumer.text("username").map(str::to_owned))
        .collect()
}

pub(super) fn by_labels(conf: &mut Conf<'_, '_>) -> Made {
    let outside: Vec<String> = conf.names_that(|name| name.starts_with("external_user_"));
    for field in &outside {
        let at = conf.at(field);
        let what = "users of other systems have no labels here: consumers have";
        conf.mapping.ledger.unsupported(at, what, "give it to consumers");
        conf.skip(&[field.as_str()]);
    }
    if has_both(conf, ["allow_labels", "deny_labels"]) {
        return Made::Unfit;
    }
    for (from, to) in [("allow_labels", "allow"), ("deny_labels", "deny")] {
        let Some(labels) = conf.take_record(from) else {
            continue;
        };
        let mut groups = Vec::new();
        for (label, values) in &labels {
            for value in values.as_array().into_iter().flatten().filter_map(Value::as_str) {
                let group = format!("label:{label}:{value}");
                let members = labelled(conf, label, value);
                enrol(conf, &members, &group);
                groups.push(Value::from(group));
            }
        }
        conf.set_from(to, groups, from);
    }
    refusal(conf);
    Made::As("acl")
}

/// The consumers that have a label with this value, which may be one of several.
fn labelled(conf: &Conf<'_, '_>, label: &str, value: &str) -> Vec<String> {
    let has = |labels: &Map<String, Value>| {
        let Some(text) = labels.get(label).and_then(Value::as_str) else {
            return false;
        };
        if text.starts_with('[') {
            let listed: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
            return listed.iter().any(|item| item == value);
        }
        text.split(',').any(|item| item.trim() == value)
    };
    let consumers = conf.mapping.shelf.list("consumers").iter();
    let members = consumers.filter(|consumer| {
        let labels = consumer.fields.get("labels").and_then(Value::as_object);
        labels.is_some_and(has)
    });
    members
        .filter_map(|consumer| consumer.text("username").map(str::to_owned))
        .collect()
}

fn enrol(conf: &mut Conf<'_, '_>, members: &[String], group: &str) {
    for member in members {
        let groups = conf.mapping.groups.entry(member.clone()).or_default();
        groups.insert(group.to_owned());
    }
}

/// How somebody is refused.
fn refusal(conf: &mut Conf<'_, '_>) {
    conf.set("hide_groups_header", true);
    if conf.get("rejected_code").is_some_and(|code| *code == 403) {
        conf.skip(&["rejected_code"]);
    }
    let what = "who may not come is answered 403 `You cannot consume this service`";
    conf.adapted("rejected_code", what, "");
    conf.adapted("rejected_msg", what, "");
}
