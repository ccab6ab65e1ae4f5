//! Routes and services of APISIX's: routes of ours with a service that goes to their upstream, and rules for all.

use gw_core::Document;
use gw_schema::ViolationKind;
use serde_json::{Value, json};

use super::ledger::Entity;
use super::plugins::Scope;
use super::shelf::Item;
use super::upstreams::{Timeouts, Upstream};
use super::{Mapping, merge, names, uris};

/// A service of APISIX's, of which a route may be.
struct Behind<'a> {
    item: &'a Item,
    label: Option<String>,
}

impl Mapping<'_> {
    /// All routes of the file.
    pub(super) fn routes(&mut self) {
        let shelf = self.shelf;
        for item in shelf.list("services").iter().chain(shelf.list("plugin_configs")) {
            self.tell_of_switched_off(item);
        }
        for item in shelf.list("services") {
            if item.fields.contains_key("script") {
                self.refuse_code(item, "script");
            }
        }
        for item in shelf.list("routes").iter().filter(|item| item.is_right) {
            if item.fields.get("status").and_then(Value::as_u64) == Some(0) {
                let at = format!("{}/status", item.pointer);
                self.ledger
                    .adapted(at, "the route is switched off, and left out", "");
                continue;
            }
            for field in ["script", "script_id", "filter_func"] {
                if item.fields.contains_key(field) {
                    self.refuse_code(item, field);
                }
            }
            self.tell_of_switched_off(item);
            self.route(item);
        }
    }

    fn refuse_code(&mut self, item: &Item, field: &str) {
        let hint = match field {
            "filter_func" => "say the condition in `vars`",
            _ => "do by plugins what it does",
        };
        let at = format!("{}/{field}", item.pointer);
        self.ledger
            .fault_with(at, "Lua does not run here", ViolationKind::Other, hint);
    }

    fn route(&mut self, item: &Item) {
        let shelf = self.shelf;
        let named = |mapping: &mut Self, list, field| {
            shelf.named(list, &item.fields, field, &item.pointer, &mut mapping.ledger)
        };
        let service = named(self, "services", "service_id").map(|item| Behind {
            item,
            label: item.text("name").or(item.id.as_deref()).and_then(names::label),
        });
        let config = named(self, "plugin_configs", "plugin_config_id");
        let wanted = item.text("name").or(item.id.as_deref());
        let label = wanted.and_then(names::label);
        let mut route = Entity::new(&item.pointer);
        if let Some(label) = &label {
            let name = self.names.unique("routes", label);
            if Some(&*name) != wanted {
                let what = format!(
                    "it is called '{name}' here: names are unique, of letters, digits and '.', '-', '_', '~'"
                );
                self.ledger.adapted(&item.pointer, what, "");
            }
            route.set_from("name", name, format!("{}/name", item.pointer));
        }
        self.matchers(item, service.as_ref(), &mut route);
        self.destination = self.destination(item, service.as_ref(), label.as_deref(), &mut route);
        let passes_host = self
            .destination
            .as_ref()
            .is_none_or(|upstream| upstream.passes_host);
        route.set("preserve_host", passes_host);
        route.set("strip_path", false);
        let objects: Vec<&Item> = [Some(item), config, service.as_ref().map(|service| service.item)]
            .into_iter()
            .flatten()
            .collect();
        let uses = merge::nearest(&objects);
        self.uri = item.text("uri").map(str::to_owned);
        self.plugins(&uses, Scope::Route, &mut route);
        self.ledger.add("routes", route);
    }

    /// What a route takes.
    fn matchers(&mut self, item: &Item, service: Option<&Behind<'_>>, route: &mut Entity) {
        let Item { fields, pointer, .. } = item;
        let listed = listed(fields, "uri", "uris", pointer);
        let mut patterns = Vec::with_capacity(listed.len());
        for (uri, at) in listed {
            let found = uris::translate(&uri);
            if let Some((what, remedy)) = found.remark {
                self.ledger.adapted(&at, what, remedy);
            }
            route.moved(format!("/uris/{}", patterns.len()), at);
            patterns.push(Value::from(found.pattern));
        }
        route.set_from("uris", patterns, format!("{pointer}/uris"));
        let mut hosts = self::listed(fields, "host", "hosts", pointer);
        if let (true, Some(service)) = (hosts.is_empty(), service) {
            hosts = self::listed(&service.item.fields, "host", "hosts", &service.item.pointer);
        }
        let names: Vec<String> = hosts.iter().map(|(host, _)| host.to_lowercase()).collect();
        if self.is_guarded(&names) {
            route.set("require_client_certificate", true);
        }
        let addresses = self::listed(fields, "remote_addr", "remote_addrs", pointer);
        for (field, values) in [("hosts", hosts), ("remote_addrs", addresses)] {
            for (position, (_, at)) in values.iter().enumerate() {
                route.moved(format!("/{field}/{position}"), at.clone());
            }
            let values: Vec<Value> = values.into_iter().map(|(value, _)| Value::from(value)).collect();
            if !values.is_empty() {
                route.set(field, values);
            }
        }
        for field in ["methods", "vars", "priority"] {
            if let Some(value) = fields.get(field) {
                route.set(field, value.clone());
            }
        }
        if let Some(tags) = super::tags(fields) {
            route.set_from("tags", tags, format!("{pointer}/labels"));
        }
    }

    /// Where its requests go; none if its plugins say so, or answer.
    fn destination(
        &mut self,
        item: &Item,
        service: Option<&Behind<'_>>,
        label: Option<&str>,
        route: &mut Entity,
    ) -> Option<Upstream> {
        let has =
            |item: &Item| item.fields.contains_key("upstream") || item.fields.contains_key("upstream_id");
        let (holder, name) = match service {
            _ if has(item) => (item, label),
            Some(service) if has(service.item) => (service.item, service.label.as_deref()),
            _ => return None,
        };
        let upstream = if holder.pointer == item.pointer {
            self.upstream_of(&holder.fields, &holder.pointer, name)
        } else {
            // Its routes share it, whatever it is called.
            let known = self.by_id.get(&holder.pointer).cloned();
            known.or_else(|| {
                let made = self.upstream_of(&holder.fields, &holder.pointer, name)?;
                self.by_id.insert(holder.pointer.clone(), made.clone());
                Some(made)
            })
        };
        let upstream = upstream?;
        let timeouts = Timeouts::read(&item.fields, &item.pointer);
        let own = timeouts != Timeouts::default();
        let wanted = if own {
            label
        } else {
            name.filter(|_| has_inline(holder))
        };
        let service = self.service_to(&upstream, &timeouts, wanted);
        let origin = match has_inline(holder) {
            true => format!("{}/upstream", holder.pointer),
            false => format!("{}/upstream_id", holder.pointer),
        };
        route.set_from("service", json!({ "name": service }), origin);
        Some(upstream)
    }

    /// The plugins of global rules, which run for every request, besides the others.
    pub(super) fn rules(&mut self) {
        let shelf = self.shelf;
        for item in shelf.list("global_rules").iter().filter(|item| item.is_right) {
            self.tell_of_switched_off(item);
            let mut holder = Entity::new(&item.pointer);
            (self.uri, self.destination) = (None, None);
            self.plugins(&merge::nearest(&[item]), Scope::Global, &mut holder);
        }
    }
}

fn has_inline(item: &Item) -> bool {
    item.fields.contains_key("upstream")
}

/// The texts of a field that is there for one and for several, each with its place.
fn listed(fields: &Document, one: &str, many: &str, pointer: &str) -> Vec<(String, String)> {
    let single = fields.get(one).and_then(Value::as_str);
    let single = single.map(|text| (text.to_owned(), format!("{pointer}/{one}")));
    let several = fields.get(many).and_then(Value::as_array);
    let several = several.into_iter().flatten().enumerate();
    let several = several.filter_map(|(position, text)| {
        Some((text.as_str()?.to_owned(), format!("{pointer}/{many}/{position}")))
    });
    single.into_iter().chain(several).collect()
}
