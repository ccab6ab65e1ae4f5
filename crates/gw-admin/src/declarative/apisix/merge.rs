//! Which plugins run for a route: the route's own, then those of its plugin configuration, then of its service.

use gw_core::Document;
use serde_json::Value;

use super::Mapping;
use super::shelf::Item;
use crate::declarative::spot::segment;

/// One plugin of an object.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) name: String,
    pub(super) conf: Document,
    /// Where it stands.
    pub(super) pointer: String,
    /// It switches off what stands less near.
    pub(super) is_off: bool,
}

/// The plugins of an object, in the order of their names.
pub(super) fn of(item: &Item) -> Vec<Use> {
    let plugins = item.fields.get("plugins").and_then(Value::as_object);
    let uses = plugins.into_iter().flatten().filter_map(|(name, conf)| {
        let conf = conf.as_object()?;
        let flag =
            |conf: Option<&Document>| conf.and_then(|conf| conf.get("disable")) == Some(&Value::Bool(true));
        Some(Use {
            name: name.clone(),
            conf: conf.clone(),
            pointer: format!("{}/plugins/{}", item.pointer, segment(name)),
            is_off: flag(conf.get("_meta").and_then(Value::as_object)) || flag(Some(conf)),
        })
    });
    uses.collect()
}

/// What runs of several objects, the nearest first: of each name the nearest, whole; none where that is switched off.
pub(super) fn nearest(objects: &[&Item]) -> Vec<Use> {
    let mut chosen: Vec<Use> = Vec::new();
    for found in objects.iter().flat_map(|item| of(item)) {
        if chosen.iter().all(|nearer| nearer.name != found.name) {
            chosen.push(found);
        }
    }
    chosen.retain(|plugin| !plugin.is_off);
    chosen
}

impl Mapping<'_> {
    /// Tells of plugins that are switched off, so that a report has them.
    pub(super) fn tell_of_switched_off(&mut self, item: &Item) {
        for plugin in of(item).iter().filter(|plugin| plugin.is_off) {
            let what = format!("'{}' is switched off, and left out", plugin.name);
            self.ledger.adapted(&plugin.pointer, what, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(pointer: &str, plugins: Value) -> Item {
        let fields = json!({ "plugins": plugins });
        Item {
            pointer: pointer.to_owned(),
            id: None,
            fields: fields.as_object().unwrap().clone(),
            is_right: true,
        }
    }

    #[test]
    fn the_nearest_of_a_name_counts_whole() {
        let route = item(
            "/r",
            json!({ "a": { "x": 1 }, "b": { "_meta": { "disable": true } }, "c": { "disable": true } }),
        );
        let config = item(
            "/p",
            json!({ "a": { "y": 2 }, "b": {}, "d": { "_meta": { "disable": false } } }),
        );
        let service = item("/s", json!({ "c": {}, "d": {}, "e/f": {} }));
        let chosen: Vec<String> = nearest(&[&route, &config, &service])
            .iter()
            .map(|plugin| format!("{} {}", plugin.pointer, Value::Object(plugin.conf.clone())))
            .collect();
        assert_eq!(
            chosen,
            [
                "/r/plugins/a {\"x\":1}",
                "/p/plugins/d {\"_meta\":{\"disable\":false}}",
                "/s/plugins/e~1f {}"
            ]
        );
    }
}
